"""The device verdict: float32 by the ratio, lower precisions by an emulation, on devices that are simulated."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mshub_convert.converters.errors import EnvironmentError_, UsageError
from mshub_convert.verify.compare import Verdict
from mshub_convert.verify.device import DeviceParity, device_parity, parse_precision
from mshub_convert.verify.errors import MissingPackageError, RuntimeRefusedError
from mshub_convert.verify.runtimes import FileNetwork, GraphNetwork, Job, Weights, om, run
from mshub_convert.verify.runtimes.available import check_available
from mshub_convert.verify.runtimes.where import Where
from mshub_convert.verify.verdicts import parts

EXACT = np.random.default_rng(0).standard_normal((4, 10))


def off(size: float, seed: int) -> np.ndarray:
    """Logits at this relative distance from the exact ones, row by row."""
    direction = np.random.default_rng(seed).standard_normal(EXACT.shape)
    direction *= np.linalg.norm(EXACT, axis=1, keepdims=True) / np.linalg.norm(direction, axis=1, keepdims=True)
    return EXACT + size * direction


def judged(precision: str, device: float, cpu: float = 1e-6, emulated: float | None = None) -> DeviceParity:
    sizes = {"exact": 0.0, "cpu": cpu, "device": device, **({} if emulated is None else {"emulated": emulated})}
    runs = {name: [{"head": off(size, seed)}] for seed, (name, size) in enumerate(sizes.items())}
    return device_parity("mindspore:Ascend:0", parse_precision(precision), runs, {"conv_allow_hf32": "False"})


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(1.9e-6, Verdict.PASS), (3.9e-6, Verdict.WARN), (4.1e-6, Verdict.FAIL), (1e-3, Verdict.FAIL), (0.0, Verdict.PASS)],
)
def test_in_float32_the_cpu_is_the_yardstick(error: float, verdict: Verdict) -> None:
    found = judged("float32", error)
    assert found.verdict is verdict
    assert bool(found) is verdict.good
    assert found.limit == pytest.approx(4e-6)
    assert found.emulated is None
    assert found.blind_to == ""
    if verdict is Verdict.FAIL:
        assert "--device-precision hf32" in found.reason


@pytest.mark.parametrize("cpu", [0.0, 1e-2])
def test_a_cpu_that_is_no_yardstick(cpu: float) -> None:
    found = judged("float32", 1e-6, cpu=cpu)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "no yardstick for mindspore:Ascend:0" in found.reason


@pytest.mark.parametrize(
    ("precision", "error", "emulated", "verdict"),
    [
        ("hf32", 2.4e-4, 2.5e-4, Verdict.PASS), ("hf32", 9e-4, 2.5e-4, Verdict.FAIL),
        ("float16", 1.4e-3, 5e-4, Verdict.PASS), ("float16", 3e-2, 5e-4, Verdict.FAIL),
        ("bfloat16", 9e-3, 4e-3, Verdict.PASS), ("bfloat16", 1e-2, 2e-2, Verdict.INCONCLUSIVE),
        ("float16", 1e-4, float("nan"), Verdict.INCONCLUSIVE), ("float16", 1e-4, 0.0, Verdict.INCONCLUSIVE),
    ],
)  # fmt: skip
def test_three_times_the_emulation_is_allowed(precision: str, error: float, emulated: float, verdict: Verdict) -> None:
    found = judged(precision, error, emulated=emulated)
    assert found.verdict is verdict
    assert precision in found.reason
    assert "proven bit for bit and the graph on the CPU" in found.blind_to
    told = found.as_dict()
    assert told["settings"] == {"conv_allow_hf32": "False"}
    assert (told["precision"], told["verdict"], told["pictures"]) == (precision, verdict.value, 4)


def test_the_worst_size_decides() -> None:
    fine, wrong = {"head": off(1e-6, 1)}, {"head": off(1e-2, 2)}
    runs = {"exact": [{"head": EXACT}] * 2, "cpu": [{"head": off(1e-6, 3)}] * 2, "device": [fine, wrong]}
    found = device_parity("torch:cuda:0", "float32", runs, {})
    assert found.verdict is Verdict.FAIL
    assert found.pictures == 8


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (np.full(EXACT.shape, np.nan), "torch:cuda:0 gives NaN or Inf"),
        (EXACT[:, :5], "shapes differ"),
        (EXACT[:2], "shapes differ"),
    ],
)
def test_outputs_that_cannot_be_compared_fail(broken: np.ndarray, said: str) -> None:
    runs = {"exact": [{"head": EXACT}], "cpu": [{"head": off(1e-6, 1)}], "device": [{"head": broken}]}
    found = device_parity("torch:cuda:0", "float32", runs, {})
    assert found.verdict is Verdict.FAIL
    assert said in found.reason
    assert not found
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["error"] is None


def test_nothing_compared_is_not_true() -> None:
    found = device_parity("torch:cuda:0", "float32", {"exact": [], "cpu": [], "device": []}, {})
    assert found.verdict is Verdict.INCONCLUSIVE
    assert not found


@pytest.mark.parametrize(("budget", "verdict"), [(5e-4, Verdict.PASS), (1e-4, Verdict.FAIL)])
def test_a_budget_that_was_predicted_elsewhere(budget: float, verdict: Verdict) -> None:
    runs = {"exact": [{"head": EXACT}], "cpu": [{"head": off(1e-6, 1)}], "device": [{"head": off(1e-3, 2)}]}
    found = device_parity("mindspore:Ascend:0", "float16", runs, {}, budgets=(budget,))
    assert found.verdict is verdict
    assert found.emulated == budget


def test_a_bundle_tells_what_a_device_may_cost() -> None:
    from mshub_convert.verify.bundle.replay import _device

    manifest = SimpleNamespace(budgets={"hf32": {"224x224": 2e-4, "225x231": 3e-4}})
    side = SimpleNamespace(where=Where.parse("mindspore:Ascend"), device_precision="float32")
    inputs = SimpleNamespace(labels=("225x231", "224x224"))
    assert _device(side, None, manifest, inputs).precision == "float32"
    assert _device(side, "hf32", manifest, inputs).budgets == (3e-4, 2e-4)
    with pytest.raises(RuntimeRefusedError, match="the bundle has no budget for float16 at 225x231 and 224x224"):
        _device(side, "float16", manifest, inputs)
    side.where = Where.parse("mindspore")
    assert _device(side, None, manifest, inputs) is None


def test_an_unknown_precision() -> None:
    with pytest.raises(UsageError, match="no device precision 'fp16'"):
        parse_precision("fp16")


# Emulations


@pytest.mark.slow
def test_hf32_keeps_eleven_bits_to_the_nearest_even() -> None:
    import torch

    from mshub_convert.verify.networks.torch_rounded import to_hf32

    value = np.concatenate([
        np.random.default_rng(0).standard_normal(10000).astype(np.float32) * 1e3,
        np.array([0.0, -0.0, 1.0, np.inf, -np.inf, 1 + 2.0**-12, 1 + 3 * 2.0**-12, 1 - 2.0**-13], np.float32),
    ])  # fmt: skip
    bits = value.view(np.int32).astype(np.int64)
    expected = ((bits + 0x7FF + ((bits >> 12) & 1)) >> 12 << 12).astype(np.int32).view(np.float32)
    found = to_hf32(torch.from_numpy(value)).numpy()
    assert np.array_equal(found, expected)
    finite = np.isfinite(value) & (value != 0)
    assert np.max(np.abs(found[finite] / value[finite] - 1)) <= 2.0**-12
    # Ties go to the even neighbour: 1 + 2^-12 down, 1 + 3·2^-12 up.
    assert found[-3:-1].tolist() == [1.0, 1 + 2.0**-10]
    assert np.array_equal(to_hf32(torch.from_numpy(found)).numpy(), found)


@pytest.fixture
def made(tmp_path: Path, small, healthy) -> Callable[..., np.ndarray]:
    """Runs the small network in a precision, with other epsilons if asked; gives its logits."""
    import safetensors.numpy

    from mshub_convert.mappings.dialects import dialect
    from mshub_convert.mappings.traits import Traits
    from mshub_convert.verify.inputs import pictures

    tensors = {name: np.array(array) for name, array in healthy(dialect("timm").ground(small)).items()}
    safetensors.numpy.save_file(tensors, tmp_path / "w.safetensors")
    np.save(tmp_path / "x.npy", pictures(4, 64, 64))

    def logits(precision, edit=None, **traits):
        file = tmp_path / "w.safetensors"
        if edit is not None:
            changed = {name: np.array(array) for name, array in tensors.items()}
            edit(changed)
            file = tmp_path / "edited.safetensors"
            safetensors.numpy.save_file(changed, file)
        network = GraphNetwork(small, "timm", Traits(**traits))
        job = Job("torch", network, Weights(file, "safetensors"), (tmp_path / "x.npy",), tmp_path / "out", precision)
        return run(job, timeout=300.0).logits[0]

    return logits


@pytest.mark.slow
def test_simulated_devices_and_what_they_hide(made: Callable[..., np.ndarray]) -> None:
    """A device that rounds passes; on one that rounds, a wrong graph fails and one wrong epsilon cannot be seen."""
    exact, cpu = made("float64"), made("float32")
    emulated = {precision: made(precision) for precision in ("hf32", "float16", "bfloat16")}

    def verdict(precision: str, device: np.ndarray) -> Verdict:
        runs = {name: [{"head": array}] for name, array in {"exact": exact, "cpu": cpu, "device": device}.items()}
        if precision != "float32":
            runs["emulated"] = [{"head": emulated[precision]}]
        return device_parity("om:Ascend:0", parse_precision(precision), runs, {}).verdict

    # What computes in less than it says does not pass for float32, nor float16 for HF32's twin of more bits.
    assert verdict("float32", cpu) is Verdict.PASS
    for precision, device in emulated.items():
        assert verdict(precision, device) is Verdict.PASS
        assert verdict("float32", device) is Verdict.FAIL
    assert verdict("float16", emulated["bfloat16"]) is Verdict.FAIL
    wrong = made("float16", stem_pool="same")
    assert verdict("float16", wrong) is Verdict.FAIL
    assert verdict("hf32", made("hf32", padding="same")) is Verdict.FAIL

    def another_epsilon(tensors: dict[str, np.ndarray]) -> None:
        # As a variance that is so much larger: the epsilon of one layer at 1e-4 instead of 1e-5.
        tensors["layer2.0.bn2.running_var"] += np.float32(9e-5)

    assert verdict("float32", made("float32", another_epsilon)) is Verdict.FAIL
    assert verdict("float16", made("float16", another_epsilon)) is Verdict.PASS


# The om runtime, on an ais_bench that is simulated


AIS_BENCH = """
import onnxruntime
class InferSession:
    def __init__(self, device_id, model_path):
        if device_id > 0:
            raise RuntimeError('[ERROR] acl init failed\\nmore')
        self.model = onnxruntime.InferenceSession(model_path.removesuffix('.om') + '.onnx')
    def infer(self, feeds, mode):
        assert mode == 'static' and len(feeds) == 1, 'no input: it would run on zeros'
        if feeds[0].shape[0] != 2:
            raise ValueError('input size does not match')
        return [array.astype('float16') for array in self.model.run(None, {self.model.get_inputs()[0].name: feeds[0]})]
"""


@pytest.fixture
def ais_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts an ais_bench with this interface before all packages of the workers."""

    def make(code: str) -> None:
        folder = tmp_path / "packages" / "ais_bench" / "infer"
        folder.mkdir(parents=True)
        for at in (folder.parent, folder):
            (at / "__init__.py").touch()
        (folder / "interface.py").write_text(code, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))

    return make


@pytest.fixture
def om_job(tmp_path: Path) -> Job:
    import mshub_convert as mc
    from mshub_convert.converters.sources import calibrated
    from mshub_convert.mappings.architectures.resnet import ResNet
    from mshub_convert.verify.inputs import pictures

    calibrated.write(ResNet((1, 1), cardinality=4, base_width=8, classes=10), "timm", 0, tmp_path / "w.safetensors")
    mc.convert(tmp_path / "w.safetensors", to="onnx", out=tmp_path / "w.onnx", input_shape=(2, 3, 64, 64))
    np.save(tmp_path / "x.npy", pictures(4, 64, 64))
    weights = Weights(tmp_path / "w.onnx", "onnx")
    return Job(
        "om",
        FileNetwork({"head": "logits"}),
        weights,
        (tmp_path / "x.npy",),
        tmp_path / "out",
        device="ascend",
        batch=2,
    )


def test_without_ais_bench_the_remedy_is_told() -> None:
    with pytest.raises(MissingPackageError, match=r"ais_bench is not installed, which runs an \.om") as caught:
        check_available(Where.parse("om"))
    assert caught.value.exit_code == 5
    assert "source its set_env.sh" in caught.value.remedy


def test_an_ais_bench_without_cann(ais_bench: Callable[[str], None]) -> None:
    ais_bench("raise ImportError('libascendcl.so: cannot open shared object file')")
    with pytest.raises(MissingPackageError, match=r"is installed but cannot be imported: libascendcl\.so"):
        check_available(Where.parse("om"))


@pytest.mark.slow
def test_an_om_runs_on_the_pictures(ais_bench: Callable[[str], None], om_job: Job) -> None:
    from dataclasses import replace

    ais_bench(AIS_BENCH)
    with pytest.raises(EnvironmentError_, match=r"no file .*w\.om") as caught:
        run(om_job, timeout=120.0)
    assert "--to om" in caught.value.remedy
    compiled = om.compiled(om_job.weights.file)
    compiled.write_bytes(b"IMOD")
    outcome = run(om_job, timeout=120.0)
    host = run(replace(om_job, runtime="onnxruntime", device="cpu"), timeout=120.0)
    assert np.array_equal(outcome.logits[0], host.logits[0].astype(np.float16).astype(np.float32))
    assert outcome.settings == {"device_id": "0", "mode": "static"}
    with pytest.raises(EnvironmentError_, match=r"w\.om cannot be loaded on device 1: \[ERROR\] acl init failed →"):
        run(replace(om_job, index=1), timeout=120.0)
    with pytest.raises(RuntimeRefusedError, match=r"does not run on \(4, 3, 64, 64\): input size does not match"):
        run(replace(om_job, batch=4), timeout=120.0)


def test_the_precision_of_an_om_is_read_from_its_command_line(tmp_path: Path) -> None:
    file = tmp_path / "w.om"
    file.write_bytes(b"IMOD" + b"x" * 5000 + b"atc_cmdline atc --precision_mode_v2=origin --output=w")
    assert om.keeps_precision(file)
    file.write_bytes(b"IMOD" + b"x" * 5000 + b"atc_cmdline atc --precision_mode=force_fp16")
    assert not om.keeps_precision(file)


# Whole proofs


@pytest.mark.slow
def test_a_proof_with_a_device(ais_bench: Callable[[str], None], om_job: Job, tmp_path: Path) -> None:
    import mshub_convert as mc

    ais_bench(AIS_BENCH)
    source, file = tmp_path / "w.safetensors", om_job.weights.file
    om.compiled(file).write_bytes(b"IMOD")
    proof = mc.verify(source, file, runtime="om", count=4)
    assert proof, proof.reason
    (device,) = proof.devices
    assert (device.device, device.precision, device.verdict) == ("om:Ascend:0", "float16", Verdict.PASS)
    assert device.emulated is not None
    assert 1e-5 < device.error < device.limit
    told = proof.as_dict()
    assert told["devices"][0]["settings"] == {"device_id": "0", "mode": "static"}
    assert told["runs"]["target on device"]["device"] == "ascend"
    # The runtime verdict is of the CPU, where float32 is float32.
    assert "the file itself in ONNX Runtime on CPU" in proof.target_network
    assert all(item.target_error < 1e-5 for item in proof.comparisons)
    assert any("invisible on om:Ascend:0" in notice for notice in proof.notices)
    assert any(part.name.startswith("Device") and "expected in float16" in part.said for part in parts(proof))
    # One that says that it keeps float32 is held to that.
    om.compiled(file).write_bytes(b"IMOD --precision_mode_v2=origin")
    proof = mc.verify(source, file, runtime="om", count=4)
    assert proof.verdict is Verdict.FAIL
    assert "times as far from float64 as the CPU, in float32" in proof.reason
    assert "--device-precision hf32" in proof.reason
    assert all(item.verdict.good for item in proof.comparisons)


@pytest.mark.slow
def test_a_device_with_another_graph_fails_the_proof(
    ais_bench: Callable[[str], None], om_job: Job, tmp_path: Path
) -> None:
    import mshub_convert as mc

    source, file = tmp_path / "w.safetensors", om_job.weights.file
    wrong = mc.convert(
        source, to="onnx", out=tmp_path / "wrong.onnx", traits={"stem_pool": "same"}, input_shape=(2, 3, 64, 64)
    )  # fmt: skip
    ais_bench(AIS_BENCH.replace("model_path.removesuffix('.om') + '.onnx'", repr(str(wrong.path))))
    om.compiled(file).write_bytes(b"IMOD")
    proof = mc.verify(source, file, runtime="om", count=4)
    assert proof.verdict is Verdict.FAIL
    assert proof.weights.verdict is Verdict.PASS
    assert proof.reason == proof.devices[0].reason
    assert "an emulation of float16" in proof.reason


@pytest.mark.slow
def test_an_om_needs_an_onnx_of_its_size(om_job: Job, tmp_path: Path) -> None:
    import mshub_convert as mc

    source = tmp_path / "w.safetensors"
    free = mc.convert(source, to="onnx", out=tmp_path / "free.onnx").path
    ckpt = mc.convert(source, to="ckpt", out=tmp_path / "w.ckpt").path
    from mshub_convert.request import SourceRequest
    from mshub_convert.verify.sides import asked_side

    with (
        SourceRequest(free).open() as opened,
        pytest.raises(UsageError, match=r"free\.onnx takes pictures of any size"),
    ):
        asked_side(opened, "om")
    with SourceRequest(ckpt).open() as opened, pytest.raises(UsageError, match=r"om runs a \.onnx itself, and w\.ckpt"):
        asked_side(opened, "om")


def test_a_device_precision_needs_a_device() -> None:
    import mshub_convert as mc

    with pytest.raises(UsageError, match="--device-precision hf32 is what a device computes in, and nothing runs on"):
        mc.verify("a.ckpt", "b.ckpt", runtime="torch", device_precision="hf32")
