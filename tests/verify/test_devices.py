"""Devices that are not there, and switches: real frameworks without a device, and stand-ins for one."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.errors import EnvironmentError_, UsageError
from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.verify.errors import MissingPackageError
from mshub_convert.verify.runtimes import available
from mshub_convert.verify.runtimes.available import check_available
from mshub_convert.verify.runtimes.where import Where

NETWORK = ResNet((1, 1), cardinality=4, base_width=8, classes=10)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    calibrated.write(NETWORK, "timm", 0, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a package of this name and code before all others in the workers."""

    def make(name: str, code: str) -> Path:
        folder = tmp_path / "packages"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", str(folder))
        return folder

    return make


# Told before anything else is done


def test_the_cpu_needs_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(*_: object, **__: object) -> None:
        raise AssertionError("a process was started for the CPU")

    monkeypatch.setattr(available, "call", call)
    for name in ("torch", "mindspore", "onnxruntime", "reference", "mindir"):
        check_available(Where.parse(name))
    check_available(None)


def test_a_runtime_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="mindspore is not installed, and mindir:Ascend:0 was") as caught:
        check_available(Where.parse("mindir:Ascend"))
    assert caught.value.remedy == "pip install 'mshub-convert[mindspore]'"
    check_available(Where.parse("reference"))


def test_a_runtime_says_how_to_verify_and_needs_that(weights: Path) -> None:
    with pytest.raises(UsageError, match="--runtime says how to verify, and that was not asked for"):
        mc.convert(weights, to="ckpt", runtime="torch")


def test_a_mindir_is_not_a_ckpt(weights: Path, tmp_path: Path) -> None:
    target = mc.convert(weights, to="ckpt", out=tmp_path).path
    with pytest.raises(UsageError, match=r"mindir runs a \.mindir itself, and w\.ckpt is a \.ckpt") as caught:
        mc.verify(weights, target, runtime="mindir")
    assert "--runtime mindspore" in caught.value.remedy


@pytest.mark.slow
def test_a_missing_device_is_told_before_anything_is_downloaded(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mshub_convert", "verify", "timm:resnet18", "none.ckpt", "--runtime", "torch:npu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith("error: torch_npu is not installed")
    assert "→ Install the torch_npu of this torch and CANN" in done.stderr


@pytest.mark.slow
def test_a_conversion_is_not_begun_without_its_device(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(EnvironmentError_, match="has no Ascend device here"):
        mc.convert(weights, to="ckpt", out=out / "w.ckpt", verify=True, runtime="mindspore:Ascend")
    assert not out.exists()


# What the frameworks do where a device is missing


@pytest.mark.slow
@pytest.mark.parametrize("device", ["Ascend", "GPU"])
def test_mindspore_without_a_device(device: str) -> None:
    import mindspore

    if mindspore.hal.is_available(device):
        pytest.skip(f"this machine has {device}")
    # What it says itself, were it not asked first.
    with pytest.raises(RuntimeError, match=f"Unsupported device target {device}"):
        mindspore.set_device(device, 0)
    imported = _seconds(lambda: subprocess.run([sys.executable, "-c", "import mindspore"], check=True, timeout=120))
    started = time.monotonic()
    with pytest.raises(EnvironmentError_, match=f"MindSpore .* has no {device} device here") as caught:
        check_available(Where.parse(f"mindspore:{device}"))
    assert time.monotonic() - started < imported + 3
    assert f"is_available('{device}')" in caught.value.remedy


def _seconds(work: Callable[[], object]) -> float:
    """How long it takes; the longer of two times, for machines that do other things too."""
    times = []
    for _ in range(2):
        started = time.monotonic()
        work()
        times.append(time.monotonic() - started)
    return max(times)


@pytest.mark.slow
def test_torch_without_cuda() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(EnvironmentError_, match=r"torch .* has no CUDA device here") as caught:
        check_available(Where.parse("torch:cuda"))
    assert "nvidia-smi" in caught.value.remedy or "built for CUDA" in caught.value.remedy


BROKEN = "raise ImportError('libhccl.so: cannot open shared object file: No such file or directory')"


@pytest.mark.slow
def test_a_torch_npu_that_breaks_torch(package: Callable[[str, str], Path], weights: Path, tmp_path: Path) -> None:
    """As the package does where CANN is missing: torch loads it by its entry point, and fails with it."""
    info = package("torch_npu", BROKEN) / "torch_npu-0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch-npu\nVersion: 0.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[torch.backends]\ntorch_npu = torch_npu:_autoload\n", encoding="utf-8")
    alone = subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, text=True, check=False)
    assert alone.returncode != 0
    assert "libhccl.so" in alone.stderr
    with pytest.raises(MissingPackageError, match=r"torch_npu is installed but cannot be imported: libhccl\.so") as got:
        check_available(Where.parse("torch:npu"))
    assert "source its set_env.sh" in got.value.remedy
    # The CPU is as good as it was.
    target = mc.convert(weights, to="pth", out=tmp_path / "w.pth").path
    assert mc.verify(weights, target, sizes=[(64, 64)], count=2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_real_onnxruntime_cann_without_cann(tmp_path: Path, weights: Path) -> None:
    """It lists its provider, and computes on the CPU if it may."""
    python = tmp_path / "venv" / "bin" / "python"
    steps = (
        [sys.executable, "-m", "venv", str(tmp_path / "venv")],
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "onnxruntime-cann", "numpy<2",
         "ml_dtypes<0.6", "click", "rich", "pooch"],
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        [str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index",
         str(tmp_path / f"mshub_convert-{mc.__version__}-py3-none-any.whl")],
    )  # fmt: skip
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, timeout=400, check=False)
        if "Could not find a version" in done.stderr or "Failed to establish a new connection" in done.stderr:
            pytest.skip("no package index can be reached, so onnxruntime-cann cannot be installed")
        assert done.returncode == 0, done.stderr
    code = (
        "import onnxruntime, numpy\n"
        "from mshub_convert.verify.runtimes.onnx_session import _PROBE\n"
        "session = onnxruntime.InferenceSession(_PROBE, providers=['CANNExecutionProvider'])\n"
        "print(onnxruntime.get_available_providers()[0], session.get_providers(),"
        " session.run(None, {'x': numpy.array([-1], 'float32')}))"
    )
    fell_back = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    *_, told = fell_back.stdout.splitlines()  # after what onnxruntime itself prints
    if "['CANNExecutionProvider'" in told:
        pytest.skip("this machine has CANN")
    assert told.startswith("CANNExecutionProvider ['CPUExecutionProvider'] [array([0.]")
    onnx = mc.convert(weights, to="onnx", out=tmp_path / "w.onnx").path
    command = [python, "-m", "mshub_convert", "verify", weights, onnx, "--runtime", "onnxruntime:CANN"]
    started = time.monotonic()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 5, done.stdout + done.stderr
    assert "CANNExecutionProvider could not be started: create CANN ExecutionProvider fail" in done.stderr
    assert "set_env.sh" in done.stderr
    assert time.monotonic() - started < 10


# Switches, on stand-ins for a device


@pytest.mark.slow
def test_torch_switches_tf32_off_on_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from mshub_convert.verify.runtimes import torch_device

    torch.backends.cuda.matmul.allow_tf32 = True
    settings = torch_device.set_up("cpu", 0)
    assert not torch.backends.cuda.matmul.allow_tf32
    assert settings == {
        "float32_matmul_precision": "highest", "cuda.matmul.allow_tf32": "False", "cudnn.allow_tf32": "False",
        "cudnn.deterministic": "True", "cudnn.benchmark": "False",
    }  # fmt: skip
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert torch_device.set_up("cuda", 1) == settings
    with pytest.raises(EnvironmentError_, match="torch has 2 CUDA devices here, and no cuda:2") as caught:
        torch_device.set_up("cuda", 2)
    assert caught.value.remedy == "The last is cuda:1."
    assert torch_device.named("cuda", 1) == torch.device("cuda:1")


@pytest.mark.slow
def test_torch_npu_switches_hf32_off(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from mshub_convert.verify.runtimes import torch_device

    conv, matmul = SimpleNamespace(allow_hf32=True), SimpleNamespace(allow_hf32=True)
    npu = SimpleNamespace(is_available=lambda: True, device_count=lambda: 1, conv=conv, matmul=matmul)
    monkeypatch.setitem(sys.modules, "torch_npu", SimpleNamespace())
    monkeypatch.setattr(torch, "npu", npu, raising=False)
    settings = torch_device.set_up("npu", 0)
    assert settings["npu.conv.allow_hf32"] == settings["npu.matmul.allow_hf32"] == "False"
    assert not conv.allow_hf32
    npu.is_available = lambda: False
    with pytest.raises(EnvironmentError_, match="has no NPU device here"):
        torch_device.set_up("npu", 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "title", "switches"),
    [
        ("ascend", "Ascend",
         {"conv_allow_hf32": False, "matmul_allow_hf32": False, "precision_mode": "must_keep_origin_dtype"}),
        ("gpu", "GPU", {"conv_allow_tf32": False, "matmul_allow_tf32": False}),
    ],
)  # fmt: skip
def test_mindspore_switches_hf32_and_tf32_off(
    device: str, title: str, switches: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import mindspore

    from mshub_convert.verify.runtimes import mindspore as runtime

    given: dict[str, Any] = {}
    precision = getattr(mindspore.device_context, device).op_precision
    monkeypatch.setattr(mindspore.hal, "is_available", lambda target: target == title)
    monkeypatch.setattr(mindspore, "set_device", lambda target, index: given.update(device=(target, index)))
    for name in switches:
        # The real function must be there, and take what it is given.
        assert callable(getattr(precision, name))
        monkeypatch.setattr(precision, name, lambda value, name=name: given.update({name: value}))
    settings = runtime.set_up(device, 3)
    assert given == {"device": (title, 3), **switches}
    told = {name: str(value) for name, value in switches.items()}
    assert settings == {"device_target": title, "device_id": "3", **told}

    def refuse(*_: object) -> None:
        raise RuntimeError("Device id 3 is out of range\n----\nmore")

    monkeypatch.setattr(mindspore, "set_device", refuse)
    with pytest.raises(EnvironmentError_, match=f"MindSpore cannot take {title}:3: Device id 3 is out of range"):
        runtime.set_up(device, 3)


@pytest.mark.slow
def test_the_reference_is_a_runtime_and_settings_are_told(weights: Path, tmp_path: Path) -> None:
    target = mc.convert(weights, to="ckpt", out=tmp_path / "w.ckpt").path
    proof = mc.verify(weights, target, runtime="reference", sizes=[(64, 64)], count=2)
    assert proof, proof.reason
    assert proof.comparisons[0].target_error < 1e-12
    assert "reference on CPU, float64" in proof.target_network
    runs = proof.as_dict()["runs"]
    assert runs["target"]["settings"] == {"dtype": "float64"}
    assert runs["source"]["settings"]["cudnn.allow_tf32"] == "False"
    # As a source it is no yardstick: float64 has no error to measure others by.
    proof = mc.verify(weights, target, source_runtime="reference", sizes=[(64, 64)], count=2)
    assert proof, proof.reason
    assert np.isfinite(proof.comparisons[0].ratio)
    assert proof.comparisons[0].source_error > 1e-9
    assert proof.as_dict()["runs"]["target"]["settings"]["device_target"] == "CPU"
