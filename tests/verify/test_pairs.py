"""Every container in every runtime: each pair of runtimes agrees on each container, and mistakes fail in each."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.codecs import EmbeddedRecord, codec, open_checkpoint
from mshub_convert.converters.sources import calibrated
from mshub_convert.converters.splice import splice
from mshub_convert.converters.tensors import TensorRef
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.request import SourceRequest
from mshub_convert.verify import sides
from mshub_convert.verify.compare import Verdict, compare
from mshub_convert.verify.errors import MissingPackageError
from mshub_convert.verify.inputs import Inputs
from mshub_convert.verify.prover import Prover
from mshub_convert.verify.runtimes import RUNTIMES, FileNetwork, GraphNetwork, Job, Outcome, run

CONTAINERS = ("safetensors", "pth", "ckpt", "ckpt:modelzoo", "onnx", "onnx:modelzoo", "mindir")
NETWORK = ResNet((1, 2, 2, 1), cardinality=4, base_width=8, classes=100)
INPUTS = Inputs(count=4, sizes=((64, 64), (57, 71)))
TIMEOUT = 300.0


@dataclass(frozen=True)
class Files:
    """Files of one set of weights in every container, made when asked for; their runs are kept."""

    folder: Path
    source: Path
    runs: dict[tuple[str, str], Outcome] = field(default_factory=dict)

    def file(self, to: str) -> Path:
        container = to.partition(":")[0]
        path = self.folder / f"{to.replace(':', '-')}.{container}"
        if not path.exists():
            mc.convert(self.source, to=to, out=path)
        return path

    def run(self, to: str, runtime: str, precision: Literal["float32", "float64"] = "float32") -> Outcome:
        if (to, runtime + precision) not in self.runs:
            with SourceRequest(self.file(to)).open() as opened:
                side = sides.own_side(opened, runtime)
            output = self.folder / f"{to.replace(':', '-')}-{runtime}-{precision}"
            job = Job(runtime, side.network, side.weights, INPUTS.save(self.folder), output, precision)
            self.runs[to, runtime + precision] = run(job, timeout=TIMEOUT)
        return self.runs[to, runtime + precision]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("right")
    calibrated.write(NETWORK, "timm", 0, folder / "source.safetensors")
    return Files(folder, folder / "source.safetensors")


@pytest.fixture(scope="module")
def wrong(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The same weights with scale and shift of one BatchNorm in each other's place."""
    folder = tmp_path_factory.mktemp("wrong")
    scale, shift = "layer2.1.bn2.weight", "layer2.1.bn2.bias"
    with open_checkpoint(files.source) as checkpoint:
        arrays = {name: np.array(ref.read()) for name, ref in checkpoint.tensors.items()}
        arrays[scale], arrays[shift] = arrays[shift], arrays[scale]
        refs = [TensorRef(ref.spec, None, lambda name=name: arrays[name]) for name, ref in checkpoint.tensors.items()]
        pieces = codec("safetensors").layout(refs, EmbeddedRecord(b"", bytes), framework="torch")
        splice(folder / "source.safetensors", pieces)
    return Files(folder, folder / "source.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("to", CONTAINERS)
def test_every_pair_of_runtimes_agrees(to: str, files: Files) -> None:
    exact = files.run("safetensors", "torch", "float64")
    runs = {runtime: files.run(to, runtime) for runtime in RUNTIMES}
    for source, target in itertools.permutations(RUNTIMES, 2):
        for index, label in enumerate(INPUTS.labels):
            found = compare(
                f"{source} and {target}, {label}",
                runs[source].logits[index], runs[target].logits[index], exact.logits[index],
            )  # fmt: skip
            assert found, (found.label, found.reason)
            # Two frameworks never round alike: equal logits would be one run in two names.
            assert found.max_abs > 0, found.label


@pytest.mark.slow
@pytest.mark.parametrize("to", [to for to in CONTAINERS if ":" not in to])
def test_a_mixed_up_norm_fails_in_every_runtime(to: str, files: Files, wrong: Files) -> None:
    exact, source = files.run("safetensors", "torch", "float64"), files.run("safetensors", "torch")
    for runtime in RUNTIMES:
        target = wrong.run(to, runtime)
        for index, label in enumerate(INPUTS.labels):
            found = compare(label, source.logits[index], target.logits[index], exact.logits[index])
            assert found.verdict is Verdict.FAIL
            assert found.ratio > 1000


# Which network runs where


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "own", "kind"),
    [
        ("safetensors", "torch", GraphNetwork), ("pth", "torch", GraphNetwork), ("ckpt", "mindspore", GraphNetwork),
        ("onnx", "onnxruntime", FileNetwork), ("mindir", "mindspore", FileNetwork),
    ],
)  # fmt: skip
def test_a_file_runs_where_it_belongs_unless_asked_otherwise(to: str, own: str, kind: type, files: Files) -> None:
    with SourceRequest(files.file(to)).open() as opened:
        side = sides.own_side(opened)
        assert (side.runtime, type(side.network)) == (own, kind)
        assert sides.torch_side(opened).runtime == "torch"
        for other in set(RUNTIMES) - {own}:
            rebuilt = sides.own_side(opened, other)
            assert (rebuilt.runtime, type(rebuilt.network)) == (other, GraphNetwork)
            assert "built by mshub-convert" in rebuilt.label


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runtime", "extra"), [("onnxruntime", "onnx"), ("mindspore", "mindspore"), ("torch", "torch")]
)
def test_a_runtime_that_is_not_installed_is_said_before_anything_runs(
    runtime: str, extra: str, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides, "installed", lambda package: package != runtime)
    monkeypatch.setattr(Prover, "_run", lambda *_: pytest.fail("something ran"))
    target = {"onnxruntime": "onnx", "mindspore": "mindir", "torch": "onnx"}[runtime]
    with pytest.raises(MissingPackageError, match="is not installed, and the verification runs it") as caught:
        mc.verify(files.source, files.file(target))
    assert (caught.value.exit_code, caught.value.remedy) == (5, f"pip install 'mshub-convert[{extra}]'")


# By the front door


@pytest.mark.slow
def test_the_runtimes_of_both_sides_can_be_chosen(files: Files) -> None:
    proof = mc.verify(files.source, files.file("onnx"), runtime="mindspore", source_runtime="onnxruntime")
    assert proof, proof.reason
    assert "mindspore on CPU" in proof.target_network
    assert "onnxruntime on CPU" in proof.source_network
    assert "built by mshub-convert" in proof.target_network
    assert proof.runs["target"]["versions"].keys() == {"python", "numpy", "mindspore"}
    assert proof.runs["source"]["versions"].keys() == {"python", "numpy", "onnxruntime"}
    for option in ("runtime", "source_runtime"):
        with pytest.raises(mc.MshubConvertError, match="no runtime 'onnxruntim'") as caught:
            mc.verify(files.source, files.file("onnx"), **{option: "onnxruntim"})
        assert (caught.value.exit_code, caught.value.remedy) == (2, "Did you mean onnxruntime?")


@pytest.mark.slow
@pytest.mark.parametrize(("source", "target"), [("onnx", "safetensors"), ("safetensors", "onnx"), ("mindir", "onnx")])
def test_files_that_are_the_network_are_sides_of_a_proof(source: str, target: str, files: Files, wrong: Files) -> None:
    with SourceRequest(files.file(source)).open() as opened, SourceRequest(files.file(target)).open() as other:
        prover = Prover(opened, inputs=INPUTS)
        proof = prover.prove(other)
        assert proof, proof.reason
        assert proof.weights.verdict is Verdict.PASS
        said = {"onnx": "the file itself in ONNX Runtime on CPU, float32",
                "mindir": "the file itself in MindSpore on CPU, float32"}  # fmt: skip
        assert proof.source_network == said.get(source, proof.source_network)
        assert proof.target_network == said.get(target, proof.target_network)
        with SourceRequest(wrong.file(target)).open() as mistaken:
            failed = prover.prove(mistaken)
    assert failed.verdict is Verdict.FAIL
    assert all(item.verdict is Verdict.FAIL for item in failed.comparisons)
    assert len(failed.weights.differing) == 2


@pytest.mark.slow
def test_bytes_that_the_onnx_package_reads_otherwise_fail(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    from mshub_convert.verify import prover as module

    genuine: Callable[..., Outcome] = module.run

    def lying(job: Job, *, timeout: float) -> Outcome:
        outcome = genuine(job, timeout=timeout)
        if isinstance(job.network, FileNetwork):
            outcome.hashes["layer1.0.conv1.weight"] = "0" * 64  # type: ignore[index]
        return outcome

    monkeypatch.setattr(module, "run", lying)
    with SourceRequest(files.source).open() as opened, SourceRequest(files.file("onnx")).open() as target:
        proof = Prover(opened, inputs=INPUTS).prove(target)
    assert proof.verdict is Verdict.FAIL
    assert proof.reason == "onnx.load reads other bytes than we do for layer1.0.conv1.weight of the target"


@pytest.mark.slow
def test_a_fixed_size_is_the_only_one_compared(files: Files, tmp_path: Path) -> None:
    fixed = {
        size: mc.convert(files.source, to="onnx", out=tmp_path / f"{size}.onnx", input_shape=(1, 3, size, size)).path
        for size in (64, 96)
    }
    with SourceRequest(files.source).open() as opened, SourceRequest(fixed[64]).open() as small:
        proof = Prover(opened).prove(small)
        assert proof, proof.reason
        assert [item.label for item in proof.comparisons] == ["64x64"]
        assert proof.inputs.sizes == ((64, 64),)
        assert any("the target takes pictures of 64x64 only" in notice for notice in proof.notices)
        with SourceRequest(fixed[96]).open() as large:
            proof = Prover(small).prove(large)
    assert proof.verdict is Verdict.INCONCLUSIVE
    assert "the source takes 64x64 and the target takes 96x96 only" in proof.reason


@pytest.mark.slow
def test_the_command_line_chooses_runtimes(files: Files, wrong: Files) -> None:
    def verify(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "mshub_convert", "verify", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)

    passed = verify(str(files.source), str(files.file("onnx")), "--source-runtime", "onnxruntime", "--quiet")
    assert passed.returncode == 0, passed.stderr
    assert "the file itself in ONNX Runtime on CPU" in passed.stdout
    failed = verify(str(files.source), str(wrong.file("onnx")), "--runtime", "onnxruntime", "--quiet")
    assert failed.returncode == 4, failed.stderr
    assert "FAIL" in failed.stdout
    assert verify(str(files.source), str(files.file("onnx")), "--runtime", "tensorrt").returncode == 2
