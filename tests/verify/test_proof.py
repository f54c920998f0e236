"""Whole proofs: correct conversions pass, deliberate mistakes fail, and the reason names the cause."""

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.codecs import EmbeddedRecord, codec
from mshub_convert.converters.opened import Opened
from mshub_convert.converters.pipeline import Options, Prepared, prepare, write
from mshub_convert.converters.plan import Step
from mshub_convert.converters.splice import splice
from mshub_convert.converters.target import Form, parse_target
from mshub_convert.converters.tensors import Array, TensorRef, TensorSpec
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.request import SourceRequest
from mshub_convert.verify.compare import Verdict
from mshub_convert.verify.proof import Proof
from mshub_convert.verify.prover import Prover
from mshub_convert.verify.weights import compare_weights

pytestmark = pytest.mark.slow

NETWORK = ResNet((1, 2, 1), cardinality=4, base_width=8, classes=20)


@pytest.fixture(scope="module")
def source_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mshub_convert.converters.sources import calibrated

    path = tmp_path_factory.mktemp("source") / "source.safetensors"
    calibrated.write(NETWORK, "timm", 0, path)
    return path


@pytest.fixture(scope="module")
def opened(source_file: Path) -> Iterator[Opened]:
    with SourceRequest(source_file).open() as opened:
        yield opened


@pytest.fixture(scope="module")
def prover(opened: Opened) -> Prover:
    return Prover(opened)


def prepared(opened: Opened, to: str, path: Path) -> Prepared:
    return prepare(opened, parse_target(to), path, Options())


def proof_of(prover: Prover, path: Path, traits: Mapping[str, str] | None = None) -> Proof:
    with SourceRequest(path, traits=traits or {}).open() as target:
        return prover.prove(target, library_check=False)


@pytest.mark.parametrize("to", ["ckpt", "ckpt:modelzoo", "pth", "pth:mmcls", "safetensors", "safetensors:modelzoo-gpu"])
def test_correct_conversions_pass(prover: Prover, opened: Opened, tmp_path: Path, to: str) -> None:
    path = tmp_path / f"target.{to.partition(':')[0]}"
    with write(prepared(opened, to, path)) as staged:
        staged.commit()
    proof = proof_of(prover, path)
    assert proof, proof.reason
    assert proof.weights.verdict is Verdict.PASS
    assert {item.label for item in proof.comparisons} == {"224x224", "225x231"}
    assert "rebuilt by us" in proof.source_network


Mistake = Callable[[dict[str, Array]], None]


def swap_scale_and_shift(arrays: dict[str, Array]) -> None:
    scale, shift = "layer2.1.bn2.gamma", "layer2.1.bn2.beta"
    arrays[scale], arrays[shift] = arrays[shift], arrays[scale]


def swap_two_channels_of_a_group(arrays: dict[str, Array]) -> None:
    kernel = arrays["layer2.0.conv2.weight"]
    kernel[[0, 1]] = kernel[[1, 0]]


def put_groups_in_text_order(arrays: dict[str, Array]) -> None:
    kernel = arrays["layer3.0.conv2.weight"]
    groups = np.split(kernel.copy(), NETWORK.cardinality)
    kernel[:] = np.concatenate([groups[1], groups[0], *groups[2:]])


def zero_one_weight(arrays: dict[str, Array]) -> None:
    kernel = arrays["conv1.weight"]
    kernel.reshape(-1)[np.abs(kernel).argmax()] = 0


def swap_red_and_blue(arrays: dict[str, Array]) -> None:
    arrays["conv1.weight"][:] = arrays["conv1.weight"][:, ::-1].copy()


def swap_mean_and_variance(arrays: dict[str, Array]) -> None:
    mean, var = "bn1.moving_mean", "bn1.moving_variance"
    arrays[mean], arrays[var] = arrays[var], arrays[mean]


def transpose_pointwise(arrays: dict[str, Array]) -> None:
    kernel = arrays["layer1.0.conv1.weight"]
    kernel[:] = kernel.reshape(kernel.shape[1], kernel.shape[0]).T.reshape(kernel.shape).copy()


SAID = {
    "swap_scale_and_shift": "scale and shift are in each other's place",
    "swap_two_channels_of_a_group": "layer2.0.conv2.weight: output channels 0 and 1 are swapped inside group 0",
    "put_groups_in_text_order": "layer3.0.conv2.weight: groups 0 and 1 are swapped",
    "zero_one_weight": "conv1.weight: one value differs: [",
    "swap_red_and_blue": "conv1.weight: red and blue are in each other's place",
    "swap_mean_and_variance": "mean and var are in each other's place",
    "transpose_pointwise": "layer1.0.conv1.weight: read as if its axes were in the order (1, 0, 2, 3), then put right",
}


@pytest.mark.parametrize(
    "mistake",
    [
        swap_scale_and_shift, swap_two_channels_of_a_group, put_groups_in_text_order, zero_one_weight,
        swap_red_and_blue, swap_mean_and_variance, transpose_pointwise,
    ],
)  # fmt: skip
def test_wrong_weights_fail_both_verdicts(prover: Prover, opened: Opened, tmp_path: Path, mistake: Mistake) -> None:
    good = prepared(opened, "ckpt", tmp_path / "target.ckpt")
    arrays = {step.target.spec.name: np.array(step.target.read()) for step in good.plan.steps}
    mistake(arrays)
    steps = tuple(held_in_memory(step, arrays[step.target.spec.name]) for step in good.plan.steps)
    with write(replace(good, plan=replace(good.plan, steps=steps))) as staged:
        path = staged.commit()
    proof = proof_of(prover, path)
    assert proof.verdict is Verdict.FAIL
    assert proof.weights.verdict is Verdict.FAIL
    assert proof.weights.differing
    assert proof.diagnosis is not None
    assert SAID[mistake.__name__] in proof.diagnosis.first
    assert all(fault.explained for fault in proof.diagnosis.faults)
    # The forward alone tells as well.
    assert all(item.verdict is not Verdict.PASS for item in proof.comparisons), [i.ratio for i in proof.comparisons]


def held_in_memory(step: Step, array: Array) -> Step:
    return replace(step, target=TensorRef(step.target.spec, None, lambda: array))


@pytest.mark.parametrize(
    ("trait", "value", "sizes"),
    [
        ("stem_pool", "same", {"224x224"}),  # at odd sizes the two pools agree
        ("padding", "same", {"224x224", "225x231"}),
        ("norm_eps", "1e-3", {"224x224", "225x231"}),
        ("norm_eps", "1.1e-5", {"224x224", "225x231"}),
        ("bottleneck_stride", "1x1", {"224x224", "225x231"}),
    ],
)
def test_wrong_traits_fail_although_the_weights_are_equal(
    prover: Prover, opened: Opened, tmp_path: Path, trait: str, value: str, sizes: set[str]
) -> None:
    with write(prepared(opened, "ckpt", tmp_path / "target.ckpt")) as staged:
        path = staged.commit()
    proof = proof_of(prover, path, {trait: value})
    assert proof.weights.verdict is Verdict.PASS
    assert proof.verdict is Verdict.FAIL
    assert {item.label for item in proof.comparisons if item.verdict is Verdict.FAIL} >= sizes
    assert any(trait in notice for notice in proof.notices)
    assert proof.diagnosis is not None
    assert "where the source has" in proof.diagnosis.first
    assert proof.as_dict()["diagnosis"]["lines"] == list(proof.diagnosis.lines)


def test_a_file_resaved_by_mindspore_needs_its_traits_said(prover: Prover, opened: Opened, tmp_path: Path) -> None:
    import mindspore

    with write(prepared(opened, "ckpt", tmp_path / "target.ckpt")) as staged:
        path = staged.commit()
    parameters = mindspore.load_checkpoint(str(path))
    resaved = tmp_path / "resaved.ckpt"
    mindspore.save_checkpoint([{"name": name, "data": value} for name, value in parameters.items()], str(resaved))
    without = proof_of(prover, resaved)
    assert without.verdict is Verdict.FAIL
    assert any("--trait stem_pool=symmetric" in notice for notice in without.notices)
    assert proof_of(prover, resaved, {"stem_pool": "symmetric"})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounded_targets_are_compared_with_their_own_float64(
    prover: Prover, opened: Opened, tmp_path: Path, dtype: str
) -> None:
    target = parse_target("ckpt", Form(dtype))
    with write(prepare(opened, target, tmp_path / "target.ckpt", Options())) as staged:
        path = staged.commit()
    proof = proof_of(prover, path)
    assert proof, proof.reason
    assert proof.weights.rounded == dtype
    assert proof.rounding > 1e-5


def test_another_network_fails_before_anything_runs(opened: Opened, tmp_path: Path) -> None:
    from mshub_convert.converters.sources import calibrated

    other = tmp_path / "other.safetensors"
    calibrated.write(replace(NETWORK, classes=21), "timm", 0, other)
    with SourceRequest(other).open() as target:
        proof = Prover(opened).prove(target)
    assert proof.verdict is Verdict.FAIL
    assert "21 classes" in proof.reason
    assert not proof


def test_weights_with_nan_fail(opened: Opened, tmp_path: Path) -> None:
    arrays = {name: np.array(ref.read()) for name, ref in opened.tensors.items()}
    arrays["fc.bias"][3] = np.nan
    refs = [TensorRef(TensorSpec(n, a.shape, a.dtype.name), None, lambda a=a: a) for n, a in arrays.items()]
    path = tmp_path / "nan.safetensors"
    splice(path, codec("safetensors").layout(refs, EmbeddedRecord(b"", lambda: b""), framework="torch"))
    with SourceRequest(path).open() as first, SourceRequest(path).open() as second:
        assert compare_weights(first, second).verdict is Verdict.FAIL
    with pytest.raises(mc.MshubConvertError, match="NaN or Inf"):
        mc.convert(path, to="ckpt", out=tmp_path, verify=True)
    assert not list(tmp_path.glob("*.ckpt"))
    result = mc.convert(path, to="ckpt", out=tmp_path)
    assert any("NaN or Inf in 1 tensor: classifier.bias" in notice for notice in result.notices)


def test_the_command_line_verifies_and_fails(source_file: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mshub_convert", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)

    converted = run(str(source_file), "--to", "ckpt", "--verify")
    assert converted.returncode == 0, converted.stderr
    assert "bit for bit those of the source" in converted.stderr
    assert "225x231" in converted.stderr
    assert converted.stdout == "source.ckpt\n"
    failed = run("verify", str(source_file), "source.ckpt", "--trait", "norm_eps=1e-3", "-q")
    assert failed.returncode == 4
    assert "FAIL" in failed.stdout
    assert "norm_eps" in failed.stdout
    assert "why  " in failed.stdout
    assert "has epsilon 0.001 where the source has 1e-05" in failed.stdout


def test_a_failed_verification_keeps_the_old_file(
    source_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mshub_convert.verify.weights import Weights

    old = tmp_path / "source.ckpt"
    old.write_text("old")
    bad = Proof(Verdict.FAIL, "made to fail", Weights(Verdict.PASS, "", 1), (), "", "", "")
    monkeypatch.setattr(importlib.import_module("mshub_convert.verify.prover"), "prove", lambda *_, **__: bad)
    with pytest.raises(mc.MshubConvertError) as caught:
        mc.convert(source_file, to="ckpt", out=tmp_path, overwrite=True, verify=True)
    assert caught.value.exit_code == 4
    assert old.read_text() == "old"
    assert (tmp_path / "source.ckpt.failed").is_file()
    assert (tmp_path / "source.ckpt.failed.mshub.json").is_file()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_dialect_of_the_users_is_proven_like_any(source_file: Path, tmp_path: Path) -> None:
    text = resources.files("mshub_convert.mappings").joinpath("mindcv.toml").read_text(encoding="utf-8")
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace('name = "mindcv"', 'name = "mine"').replace('"classifier"', '"top"'), encoding="utf-8")
    result = mc.convert(source_file, to=f"ckpt:{mine}", out=tmp_path / "mine.ckpt", verify=True)
    assert result.proof
    assert "top.weight" in mc.inspect(result.path).shapes
