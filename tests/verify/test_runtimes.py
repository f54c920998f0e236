"""Jobs in worker processes: real loaders, strict loading, and every way in which a run can fail."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from mshub_convert.converters.errors import EnvironmentError_
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.traits import Traits
from mshub_convert.verify.errors import (
    LoadError,
    MissingPackageError,
    RuntimeCrashError,
    RuntimeRefusedError,
    RuntimeTimeoutError,
)
from mshub_convert.verify.inputs import pictures
from mshub_convert.verify.runtimes import GraphNetwork, Job, LibraryNetwork, Weights, run
from mshub_convert.verify.runtimes.weights import Loaded, for_network, in_precision, sha256

TIMEOUT = 120.0
MINDCV = dialect("mindcv").traits


def digests(tensors):
    return {name: hashlib.sha256(np.asarray(array).tobytes()).hexdigest() for name, array in tensors.items()}


def distance(values, reference):
    return float((np.linalg.norm(values - reference, axis=1) / np.linalg.norm(reference, axis=1)).max())


@pytest.fixture
def inputs(tmp_path):
    """Two batches of different sizes."""
    paths = (tmp_path / "even.npy", tmp_path / "odd.npy")
    np.save(paths[0], pictures(2, 64, 64))
    np.save(paths[1], pictures(1, 57, 71))
    return paths


@pytest.fixture
def job(tmp_path, inputs, small):
    """Makes a job; the network is the small one of the graph unless another is given."""

    def make(runtime, file, container=None, *, network=None, traits=None, slots=None, absent=(), select="", **options):
        name = "timm" if runtime == "torch" else "mindcv"
        return Job(
            runtime=runtime, network=network or GraphNetwork(small, name, traits or dialect(name).traits),
            weights=Weights(file, container or file.suffix[1:], slots or {}, tuple(absent), select),
            inputs=inputs, output=tmp_path / "out", **options,
        )  # fmt: skip

    return make


def save_pth(path, tensors, wrap=lambda state: state):
    import torch

    def tensor(array):
        if array.dtype == ml_dtypes.bfloat16:
            return torch.from_numpy(array.view(np.uint16).copy()).view(torch.bfloat16)
        return torch.from_numpy(np.array(array))

    torch.save(wrap({name: tensor(array) for name, array in tensors.items()}), path)
    return path


def save_mindspore(path, tensors):
    import mindspore

    rows = [{"name": name, "data": mindspore.Tensor(array)} for name, array in tensors.items()]
    mindspore.save_checkpoint(rows, str(path), format=path.suffix[1:])
    return path


# Without a framework


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = (
        "import sys, mshub_convert.verify.runtimes, mshub_convert.verify.worker, mshub_convert.verify.inputs\n"
        "print([name for name in ('torch', 'mindspore', 'timm', 'safetensors') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("own", [True, False])
def test_a_job_survives_json(own, small, tmp_path):
    network = LibraryNetwork("timm", "resnet50", 7) if own else GraphNetwork(small, "modelzoo", Traits(norm_eps=1e-4))
    job = Job(
        runtime="torch", network=network, inputs=(tmp_path / "a.npy",), output=tmp_path, precision="float64",
        watch="stages",
        weights=Weights(tmp_path / "w.pth", "pth", {"a": ("b", "c")}, ("d",), "state_dict.model"),
    )  # fmt: skip
    assert Job.from_dict(json.loads(json.dumps(job.as_dict()))) == job


def test_slots_join_reshape_and_report_what_is_left():
    parts = {f"p.{i}": np.full((2, 3, 1, 1), i, np.float32) for i in range(3)}
    loaded = Loaded({**parts, "count": np.array([5]), "momentum": np.zeros(2)}, "loader", ("epoch",))
    weights = Weights(
        Path("w.ckpt"), "ckpt", {"whole": tuple(parts), "dense": ("p.1",), "n.num_batches_tracked": ("count",)},
        ("m.num_batches_tracked",),
    )  # fmt: skip
    shapes = {"whole": (6, 3, 1, 1), "dense": (2, 3), "n.num_batches_tracked": (), "m.num_batches_tracked": ()}
    tensors, unused = for_network(loaded, weights, shapes)
    assert {name: array.shape for name, array in tensors.items()} == shapes
    assert tensors["whole"].tobytes() == b"".join(part.tobytes() for part in parts.values())
    assert tensors["n.num_batches_tracked"] == 5
    assert tensors["m.num_batches_tracked"] == 0
    assert unused == ("momentum", "epoch")


@pytest.mark.parametrize(
    ("slots", "absent", "said"),
    [
        ({"a": ("b",)}, (), r"missing from the weights: b"),
        ({"a": ("t",)}, (), r"a: \(3, 2\) in the weights, \(2, 3\) in the network"),
        ({"a": ("t", "v")}, (), "differ in shape"),
        ({}, ("a",), "a cannot be filled with zeros"),
        ({}, ("z.num_batches_tracked",), "cannot be filled with zeros"),
    ],
)
def test_slots_that_do_not_fit(slots, absent, said):
    loaded = Loaded({"t": np.zeros((3, 2)), "v": np.zeros((3, 1))}, "loader")
    with pytest.raises(LoadError, match=said):
        for_network(loaded, Weights(Path("w.ckpt"), "ckpt", slots, absent), {"a": (2, 3)})


def test_precision_is_changed_for_floats_only_and_rounding_is_named():
    tensors = {
        "half": np.array([1.5, np.nan], np.float16), "brain": np.array([1.5], ml_dtypes.bfloat16),
        "exact": np.array([0.5]), "inexact": np.array([0.1]), "huge": np.array([1e300]), "count": np.array(3),
    }  # fmt: skip
    cast, rounded = in_precision(tensors, "float32")
    assert {array.dtype.name for name, array in cast.items() if name != "count"} == {"float32"}
    assert cast["count"].dtype == np.int64
    assert rounded == ("inexact", "huge")
    assert in_precision(tensors, "float64")[1] == ()


def test_hashes_are_of_the_raw_bytes():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert sha256(array) == hashlib.sha256(array.tobytes()).hexdigest()
    assert sha256(array.T) == hashlib.sha256(np.ascontiguousarray(array.T).tobytes()).hexdigest()
    assert sha256(array.astype(">f4")) == sha256(array)
    assert sha256(np.array(7)) == hashlib.sha256(np.array(7).tobytes()).hexdigest()


def test_files_that_are_not_there(job, tmp_path, inputs):
    with pytest.raises(EnvironmentError_, match=r"no file .*w\.pth"):
        run(job("torch", tmp_path / "w.pth"), timeout=TIMEOUT)
    (tmp_path / "w.pth").touch()
    inputs[1].unlink()
    with pytest.raises(EnvironmentError_, match=r"no file .*odd\.npy"):
        run(job("torch", tmp_path / "w.pth"), timeout=TIMEOUT)


def test_an_unknown_runtime_is_refused(job, tmp_path):
    with pytest.raises(RuntimeRefusedError, match="no runtime 'tensorflow'"):
        run(job("tensorflow", tmp_path / "w.pth"), timeout=TIMEOUT)


# The torch runtime


@pytest.mark.slow
def test_a_library_network_from_a_wrapped_pth(job, tmp_path, healthy, inputs):
    from mshub_convert.mappings.architectures import architecture

    tensors = healthy(dialect("timm").ground(architecture("resnet26d", classes=5)))
    file = save_pth(tmp_path / "w.pth", tensors, lambda state: {"model": {"ema": state}, "epoch": 3})
    made = job("torch", file, network=LibraryNetwork("timm", "resnet26d", 5), select="model.ema")
    outcome = run(made, timeout=TIMEOUT)
    assert [array.shape for array in outcome.logits] == [(2, 5), (1, 5)]
    assert outcome.hashes == digests(tensors)
    assert outcome.loader == "torch.load(weights_only=True)"
    assert outcome.finite
    assert set(outcome.versions) == {"python", "numpy", "torch", "timm"}
    assert set(outcome.dtypes.values()) == {"float32", "int64"}
    assert outcome.watched == ({}, {})
    assert all(outcome.seconds[step] > 0 for step in ("import", "load", "run"))
    assert outcome.unused == ()
    with pytest.raises(LoadError, match=r"there is no model\.best in it"):
        run(job("torch", file, network=made.network, select="model.best"), timeout=TIMEOUT)


@pytest.mark.slow
def test_float64_is_a_reference_for_float32(job, tmp_path, healthy, small):
    import safetensors.numpy

    file = tmp_path / "w.safetensors"
    tensors = healthy(dialect("timm").ground(small))
    safetensors.numpy.save_file({name: np.array(array) for name, array in tensors.items()}, file)
    single, double = (
        run(job("torch", file, precision=kind, watch="stages"), timeout=TIMEOUT) for kind in ("float32", "float64")
    )
    assert single.loader == "safetensors.torch.load_file"
    assert single.hashes == double.hashes == digests(tensors)
    for ours, reference in zip(single.logits, double.logits, strict=True):
        assert (ours.dtype, reference.dtype) == (np.float32, np.float64)
        assert 0 < distance(ours, reference) < 1e-5
    assert list(double.watched[1]) == list(small.graph().taps)
    assert np.array_equal(double.watched[1]["head"], double.logits[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_other_float_widths_are_hashed_as_they_are(kind, job, tmp_path, healthy, small):
    dtype = np.dtype(getattr(ml_dtypes, kind, kind))
    tensors = {
        name: array.astype(dtype) if array.ndim else array
        for name, array in healthy(dialect("timm").ground(small)).items()
    }
    tensors["fc.bias"] = (tensors["fc.bias"] * dtype.type(1.1)).astype(dtype)
    outcome = run(job("torch", save_pth(tmp_path / "w.pth", tensors)), timeout=TIMEOUT)
    assert outcome.hashes == digests(tensors)
    assert outcome.dtypes["fc.weight"] == kind
    assert outcome.rounded == (("fc.bias",) if kind == "float64" else ())
    assert outcome.finite


@pytest.mark.slow
def test_a_pth_with_foreign_objects_is_read_by_our_own_codec(job, tmp_path, healthy, small):
    import argparse

    tensors = healthy(dialect("timm").ground(small))
    state = {"args": argparse.Namespace(lr=0.1)}
    file = save_pth(tmp_path / "w.pth", tensors, lambda weights: {"state_dict": weights, **state})
    outcome = run(job("torch", file, select="state_dict"), timeout=TIMEOUT)
    assert outcome.loader.startswith("mshub-convert's own reader (torch.load(weights_only=True) refused")
    assert "argparse.Namespace" in outcome.loader
    assert outcome.hashes == digests(tensors)
    with pytest.raises(LoadError, match="no weights at model in it, only at state_dict"):
        run(job("torch", file, select="model"), timeout=TIMEOUT)


@pytest.mark.slow
def test_a_pth_with_more_than_weights_at_the_top(job, tmp_path, healthy, small):
    tensors = healthy(dialect("timm").ground(small))
    nested = {name: array for name, array in tensors.items() if name.startswith("layer1.0.")}
    flat = {name: array for name, array in tensors.items() if name not in nested}

    def wrap(state):
        inner = {name.removeprefix("layer1.0."): state.pop(name) for name in nested}
        return {**state, "layer1": {"0": inner}, "epoch": 3, "step.5": {}}

    file = save_pth(tmp_path / "w.pth", tensors, wrap)
    slots = {name: (name,) for name in tensors}
    outcome = run(job("torch", file, slots=slots), timeout=TIMEOUT)
    assert outcome.hashes == digests(nested | flat)
    assert outcome.unused == ("epoch", "step.5")


@pytest.mark.slow
def test_weights_that_do_not_fit_are_listed(job, tmp_path, healthy, small):
    tensors = healthy(dialect("timm").ground(small.with_classes(11)))
    tensors["stray"] = tensors.pop("bn1.bias")
    with pytest.raises(LoadError) as caught:
        run(job("torch", save_pth(tmp_path / "w.pth", tensors)), timeout=TIMEOUT)
    assert caught.value.message.startswith(f"{tmp_path / 'w.pth'} in torch: the weights do not fit")
    assert caught.value.missing == ("bn1.bias",)
    assert caught.value.unexpected == ("stray",)
    assert caught.value.shapes[0] == "fc.weight: (11, 1024) in the weights, (10, 1024) in the network"
    assert caught.value.exit_code == 4


@pytest.mark.slow
def test_inputs_that_are_no_pictures_are_refused(job, tmp_path, healthy, small, inputs):
    file = save_pth(tmp_path / "w.pth", healthy(dialect("timm").ground(small)))
    np.save(inputs[1], np.zeros((1, 3, 8, 8)))
    with pytest.raises(RuntimeRefusedError, match=r"odd\.npy holds float64 of shape \(1, 3, 8, 8\)"):
        run(job("torch", file), timeout=TIMEOUT)


# The MindSpore runtime


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "loader"),
    [("ckpt", "mindspore.load_checkpoint()"), ("safetensors", "mindspore.load_checkpoint(format='safetensors')")],
)
def test_mindspore_reads_its_own_files(suffix, loader, job, tmp_path, healthy, small):
    tensors = healthy(dialect("mindcv").ground(small))
    file = save_mindspore(tmp_path / f"w.{suffix}", tensors)
    # Files under verification have a temporary name, which MindSpore would not take.
    waiting = file.rename(tmp_path / f"w.{suffix}.part")
    outcome = run(job("mindspore", waiting, suffix, watch="stages"), timeout=TIMEOUT)
    assert outcome.loader == loader
    assert outcome.hashes == digests(tensors)
    assert set(outcome.versions) == {"python", "numpy", "mindspore"}
    assert list(outcome.watched[0]) == list(small.graph().taps)

    # The same file gives the float64 reference, in torch and under torch's names.
    ours, theirs = (dialect(name).ground(small) for name in ("timm", "mindcv"))
    slots = {slot.names[0]: theirs.slots[key].names for key, slot in ours.slots.items() if key in theirs.slots}
    absent = [slot.names[0] for key, slot in ours.slots.items() if key not in theirs.slots]
    made = job("torch", waiting, suffix, traits=MINDCV, slots=slots, absent=absent, precision="float64")
    reference = run(made, timeout=TIMEOUT)
    assert reference.hashes == outcome.hashes
    assert reference.loader.startswith("mshub-convert's own" if suffix == "ckpt" else "safetensors.torch")
    for values, exact in zip(outcome.logits, reference.logits, strict=True):
        assert distance(values, exact) < 1e-5


@pytest.mark.slow
def test_split_kernels_join_for_the_reference(job, tmp_path, healthy, small):
    ours, theirs = (dialect(name).ground(small) for name in ("timm", "modelzoo"))
    tensors = healthy(theirs) | {"momentum": np.zeros(3, np.float32)}
    file = save_mindspore(tmp_path / "w.ckpt", tensors)
    slots = {slot.names[0]: theirs.slots[key].names for key, slot in ours.slots.items() if key in theirs.slots}
    absent = [slot.names[0] for key, slot in ours.slots.items() if key not in theirs.slots]
    reference = run(job("torch", file, traits=MINDCV, slots=slots, absent=absent, precision="float64"), timeout=TIMEOUT)
    assert reference.unused == ("momentum",)
    network = GraphNetwork(small, "modelzoo", MINDCV)
    own = {name: (name,) for name in theirs.specs}
    outcome = run(job("mindspore", file, network=network, slots=own), timeout=TIMEOUT)
    assert outcome.unused == ("momentum",)
    assert distance(outcome.logits[1], reference.logits[1]) < 1e-5
    with pytest.raises(LoadError, match="1 tensor unknown to the network: momentum"):
        run(job("mindspore", file, network=network), timeout=TIMEOUT)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_mindspore_reads_half_precision(kind, job, tmp_path, healthy, small):
    import mindspore

    dtype = np.dtype(getattr(ml_dtypes, kind, kind))
    tensors = {name: array.astype(dtype) for name, array in healthy(dialect("mindcv").ground(small)).items()}
    rows = [{"name": name, "data": mindspore.Tensor(array.astype(np.float32)).astype(getattr(mindspore, kind))}
            for name, array in tensors.items()]  # fmt: skip
    mindspore.save_checkpoint(rows, str(tmp_path / "w.ckpt"))
    outcome = run(job("mindspore", tmp_path / "w.ckpt"), timeout=TIMEOUT)
    assert outcome.hashes == digests(tensors)
    assert set(outcome.dtypes.values()) == {kind}
    assert outcome.rounded == ()


@pytest.mark.slow
def test_mindcvs_own_network(job, tmp_path, healthy):
    from mshub_convert.mappings.architectures import architecture

    tensors = healthy(dialect("mindcv").ground(architecture("resnet50", classes=5)))
    file = save_mindspore(tmp_path / "w.ckpt", tensors)
    network = LibraryNetwork("mindcv", "resnet50", 5)
    outcome = run(job("mindspore", file, network=network), timeout=TIMEOUT)
    assert outcome.logits[0].shape == (2, 5)
    assert "mindcv" in outcome.versions
    with pytest.raises(RuntimeRefusedError, match="has no taps"):
        run(job("mindspore", file, network=network, watch="stages"), timeout=TIMEOUT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "float64"}, "no float64 convolutions"),
        ({"device": "npu"}, "runs on the cpu, ascend or gpu, not on 'npu'"),
        ({"network": LibraryNetwork("mindcv2", "resnet50")}, "knows no library 'mindcv2'"),
    ],
)
def test_what_mindspore_cannot_do(options, said, job, tmp_path):
    (tmp_path / "w.ckpt").touch()
    with pytest.raises(RuntimeRefusedError, match=said):
        run(job("mindspore", tmp_path / "w.ckpt", **options), timeout=TIMEOUT)


# When the worker fails; a module called timm stands in for whatever goes wrong.


@pytest.fixture
def with_timm(job, tmp_path, monkeypatch):
    """Makes a job whose worker imports these lines as timm."""

    def make(code):
        folder = tmp_path / "fake"
        folder.mkdir()
        (folder / "timm.py").write_text(code, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", str(folder))
        (tmp_path / "w.pth").touch()
        return job("torch", tmp_path / "w.pth", network=LibraryNetwork("timm", "resnet50"))

    return make


@pytest.mark.slow
def test_a_missing_package_names_the_extra(with_timm):
    with pytest.raises(MissingPackageError, match="the torch runtime needs timm, which is not installed") as caught:
        run(with_timm("raise ModuleNotFoundError('No module named timm', name='timm')"), timeout=TIMEOUT)
    assert caught.value.exit_code == 5
    assert caught.value.remedy == "pip install 'mshub-convert[torch]'"


@pytest.mark.slow
def test_a_package_that_cannot_be_imported_says_why(with_timm):
    with pytest.raises(MissingPackageError, match="cannot be imported: numpy is too new") as caught:
        run(with_timm("raise ImportError('numpy is too new')"), timeout=TIMEOUT)
    assert caught.value.exit_code == 5


def test_mindspore_missing_altogether(job, tmp_path, monkeypatch):
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "mindspore.py").write_text("raise ModuleNotFoundError('no', name='mindspore')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(fake))
    (tmp_path / "w.ckpt").touch()
    with pytest.raises(MissingPackageError, match="needs mindspore") as caught:
        run(job("mindspore", tmp_path / "w.ckpt"), timeout=TIMEOUT)
    assert caught.value.remedy == "pip install 'mshub-convert[mindspore]'"


@pytest.mark.slow
def test_a_timeout_ends_the_worker_and_its_children(with_timm, tmp_path):
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(600)\n"
    )
    started = time.monotonic()
    with pytest.raises(RuntimeTimeoutError, match="did not finish in 6 seconds"):
        run(with_timm(code), timeout=6)
    assert time.monotonic() - started < 12
    worker, child = map(int, pids.read_text(encoding="utf-8").split())
    for pid in (worker, child):
        deadline = time.monotonic() + 5
        while _alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _alive(pid)


def _alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.write(2, b'last words'); os.kill(os.getpid(), 11)", "was killed by SIGSEGV.*last words"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL, perhaps for want of memory"),
        ("import os; os._exit(3)", r"ended without a result \(exit code 3\)"),
        ("raise RuntimeError('boom')", "the torch runtime failed: RuntimeError: boom.*Traceback"),
    ],
)
def test_a_crash_is_reported(code, said, with_timm):
    with pytest.raises(RuntimeCrashError, match=f"(?s){said}") as caught:
        run(with_timm(code), timeout=TIMEOUT)
    assert caught.value.exit_code == 4


@pytest.mark.slow
def test_a_folder_called_torch_is_not_imported(job, tmp_path, monkeypatch, healthy, small):
    file = save_pth(tmp_path / "w.pth", healthy(dialect("timm").ground(small)))
    (tmp_path / "out").mkdir()
    for folder in (tmp_path, tmp_path / "out"):
        (folder / "torch.py").write_text("raise RuntimeError('the wrong torch')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    made = job("torch", Path("w.pth"), "pth")
    outcome = run(made, timeout=TIMEOUT)
    assert outcome.finite
    assert Path("out/result.json").exists()
    assert file.exists()
