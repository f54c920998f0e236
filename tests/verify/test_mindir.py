"""MINDIR as MindSpore exports, loads and runs it: our exports, its own, and the proof of both."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mshub_convert.conversion import convert, plan
from mshub_convert.converters.codecs import Described, mindir_write, open_checkpoint
from mshub_convert.converters.codecs.protobuf import BYTES, Reader
from mshub_convert.inspection import inspect
from mshub_convert.loading import load_mindspore
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.traits import Traits
from mshub_convert.verification import verify
from mshub_convert.verify.compare import Verdict
from mshub_convert.verify.errors import MissingPackageError, RuntimeCrashError, RuntimeTimeoutError
from mshub_convert.verify.export import export_mindir
from mshub_convert.verify.inputs import pictures

slow = pytest.mark.slow


@pytest.fixture
def network(small: ResNet) -> Described:
    return Described(
        small.name, small.classes, small.graph(Traits()), dialect("mindcv").ground(small), "x.mindir", "test", 13,
        Traits(),
    )  # fmt: skip


@pytest.fixture
def source(weights_file: Callable[..., Path], small: ResNet) -> Path:
    return weights_file(small)


# Without MindSpore


def hide_mindspore(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mindspore" else find(name))


def test_without_mindspore_nothing_is_written(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hide_mindspore(monkeypatch)
    with pytest.raises(
        MissingPackageError, match="a MINDIR is exported by mindspore, which is not installed"
    ) as caught:
        convert(source, to="mindir", out=tmp_path / "new" / "x.mindir")
    assert caught.value.exit_code == 5
    assert caught.value.remedy == "pip install 'mshub-convert[mindspore]'"
    assert not (tmp_path / "new").exists()


def test_a_plan_needs_no_mindspore(source: Path, monkeypatch: pytest.MonkeyPatch):
    hide_mindspore(monkeypatch)
    monkeypatch.setitem(sys.modules, "mindspore", None)
    found = plan(source, to="mindir:modelzoo")
    assert not found.problems
    assert {step.target.spec.name for step in found.steps} == set(found.target.specs)


@pytest.fixture
def fake_mindspore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has the worker import these lines as MindSpore."""

    def make(lines: str) -> None:
        (tmp_path / "fake").mkdir()
        (tmp_path / "fake" / "mindspore.py").write_text(lines)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))

    return make


def test_a_crash_is_told_with_what_was_written_last(network: Described, fake_mindspore: Callable[[str], None]):
    fake_mindspore("import os; print('the last words', flush=True); os._exit(7)")
    with pytest.raises(RuntimeCrashError, match=r"(?s)MINDIR export ended without a result \(exit code 7.*last words"):
        export_mindir(network)


@pytest.mark.slow
def test_an_export_without_end_is_ended(network: Described, fake_mindspore: Callable[[str], None]):
    fake_mindspore("import time; time.sleep(600)")
    with pytest.raises(RuntimeTimeoutError, match="the MINDIR export did not finish in 3 seconds"):
        export_mindir(network, timeout=3.0)


def test_a_broken_mindspore_is_told_as_such(network: Described, fake_mindspore: Callable[[str], None]):
    fake_mindspore("raise ImportError('libgomp.so.1: cannot open shared object file')")
    with pytest.raises(MissingPackageError, match=r"installed but cannot be imported: libgomp\.so\.1"):
        export_mindir(network)


# In MindSpore


def run(file: Path, batch: np.ndarray) -> np.ndarray:
    import mindspore
    from mindspore import nn

    return nn.GraphCell(mindspore.load(str(file)))(mindspore.Tensor(batch)).asnumpy()


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def without_record(file: Path) -> Path:
    """The same model without our record, as it would be after somebody else wrote it."""
    data = file.read_bytes()
    reader = Reader(memoryview(data), 0, len(data))
    kept = b""
    while reader.more:
        start = reader.position
        number, wire = reader.key()
        reader.skip(wire)
        if (number, wire) != (14, BYTES):
            kept += data[start : reader.position]
    bare = file.with_name("bare.mindir")
    bare.write_bytes(kept)
    return bare


@slow
@pytest.mark.parametrize(
    ("to", "traits"),
    [
        ("mindir", Traits()),
        ("mindir:modelzoo", Traits(stem_pool="same")),
        ("mindir:modelzoo-resnet", Traits(stem_pool="same", padding="same", norm_eps=1e-4)),
        ("mindir:mindcv", Traits(bottleneck_stride="1x1", norm_eps=1e-3)),
    ],
)
def test_an_export_computes_what_the_network_does(source: Path, tmp_path: Path, to: str, traits: Traits):
    said = {name: str(value) for name, value in traits.as_dict().items()}
    made = convert(source, to=to, out=tmp_path / "x.mindir", traits=said).path
    network = load_mindspore(source, traits=said)
    import mindspore

    for shape in ((1, 64, 64), (3, 57, 71), (2, 96, 96)):
        batch = pictures(*shape)
        expected = network(mindspore.Tensor(batch)).asnumpy()
        assert difference(run(made, batch), expected) < 1e-6
    # Our record does not disturb MindSpore, and the graph alone tells the traits.
    bare = without_record(made)
    assert difference(run(bare, batch), expected) < 1e-6
    found = inspect(bare)
    assert not found.record
    assert found.network["traits"] == traits.as_dict()
    assert found.network["name"] == inspect(made).network["name"]


@slow
def test_another_trait_is_another_function(source: Path, tmp_path: Path):
    """The control: what the test above would see if a trait got lost."""
    batch = pictures(2, 64, 64)
    outputs = [
        run(convert(source, to="mindir", out=tmp_path / f"{pool}.mindir", traits={"stem_pool": pool}).path, batch)
        for pool in ("symmetric", "same")
    ]
    assert difference(*outputs) > 1e-3


@slow
def test_two_exports_are_equal(network: Described):
    first, second = export_mindir(network), export_mindir(network)
    assert first == second


@slow
def test_a_fixed_shape(source: Path, tmp_path: Path):
    made = convert(source, to="mindir", out=tmp_path / "x.mindir", input_shape=(2, 3, 64, 64)).path
    assert inspect(made).metadata["input_shape"] == [2, 3, 64, 64]
    assert run(made, pictures(2, 64, 64)).shape == (2, 10)


@slow
def test_mindspore_reads_tensors_beside_the_model(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = convert(source, to="mindir", out=tmp_path / "whole.mindir").path
    monkeypatch.setattr(mindir_write, "LIMIT", 1000)
    split = convert(source, to="mindir", out=tmp_path / "split.mindir").path
    assert (tmp_path / "split.mindir.data").is_file()
    batch = pictures(2, 64, 64)
    np.testing.assert_array_equal(run(split, batch), run(whole, batch))


@slow
@pytest.mark.parametrize("split", [False, True])
def test_mindcvs_own_export_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: bool):
    import mindspore
    from mindcv.models.resnet import Bottleneck
    from mindcv.models.resnet import ResNet as Theirs
    from mindspore.train import serialization

    if split:
        monkeypatch.setattr(serialization, "TOTAL_SAVE", 0)  # as if it had more than 1 GB
    network = Theirs(Bottleneck, [1, 1, 1, 1], num_classes=10).set_train(False)
    mindspore.export(
        network, mindspore.ops.zeros((1, 3, 64, 64)), file_name=str(tmp_path / "theirs"), file_format="MINDIR"
    )
    file = tmp_path / ("theirs_graph.mindir" if split else "theirs.mindir")
    assert (tmp_path / "theirs_variables" / "data_0").is_file() == split
    with open_checkpoint(file) as checkpoint:
        theirs = {name: parameter.asnumpy() for name, parameter in network.parameters_dict().items()}
        assert set(checkpoint.tensors) == set(theirs)
        for name, array in theirs.items():
            np.testing.assert_array_equal(checkpoint.tensors[name].read(), array)
    found = inspect(file)
    assert found.network["dialect"] == "mindcv"
    assert found.network["traits"] == dialect("mindcv").traits.as_dict()
    assert found.metadata["input_shape"] == [1, 3, 64, 64]
    assert not found.problems


@slow
def test_the_way_round(source: Path, tmp_path: Path):
    middle = convert(source, to="mindir", out=tmp_path / "x.mindir").path
    ckpt = convert(middle, to="ckpt", out=tmp_path / "x.ckpt").path
    for again in (convert(middle, to="pth", out=tmp_path / "x.pth"), convert(ckpt, to="pth", out=tmp_path / "y.pth")):
        with open_checkpoint(again.path) as made, open_checkpoint(source) as held:
            assert set(made.tensors) == set(held.tensors)
            for name, ref in held.tensors.items():
                assert made.tensors[name].read().tobytes() == ref.read().tobytes(), name


@slow
def test_a_conversion_is_proven(source: Path, tmp_path: Path):
    result = convert(source, to="mindir", out=tmp_path / "x.mindir", verify=True)
    assert result.proof is not None
    assert result.proof.verdict in (Verdict.PASS, Verdict.WARN)


@slow
def test_a_graph_with_another_trait_is_not_proven(source: Path, tmp_path: Path):
    """The control: equal weights, but the graph in the file pads its pool on one side."""
    other = convert(source, to="mindir", out=tmp_path / "x.mindir", traits={"stem_pool": "same"}).path
    proof = verify(source, other)
    assert proof.verdict is Verdict.FAIL
