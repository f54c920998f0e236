"""Pre-activation ResNets through files, plans and networks; Gluon's structure in torch is the oracle."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.codecs import open_checkpoint
from mshub_convert.converters.errors import PlanError
from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.architectures.resnet_v2 import ResNetV2
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.errors import MappingError
from mshub_convert.verify.inputs import pictures

# An identity shortcut, convolved ones, no shortcut at all in the first stage; 20 MB.
SMALL = ResNetV2((1, 2, 1, 1), "basic", classes=10)
SMALL_BOTTLENECK = ResNetV2((2, 1, 1, 1), "bottleneck", classes=10)


def file_of(network: ResNetV2, folder: Path, dialect_name: str = "gluon") -> Path:
    path = folder / f"small-{dialect_name}.safetensors"
    calibrated.write(network, dialect_name, 0, path)
    return path


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    with open_checkpoint(path) as checkpoint:
        return {name: ref.read().copy() for name, ref in checkpoint.tensors.items()}


def distance(values: np.ndarray, right: np.ndarray) -> float:
    return float((np.linalg.norm(values - right, axis=1) / np.linalg.norm(right, axis=1)).max())


# Files


def test_there_and_back_through_every_container_is_bit_identical(tmp_path: Path) -> None:
    source = file_of(SMALL, tmp_path)
    ckpt = mc.convert(source, to="ckpt", out=tmp_path / "a.ckpt")
    pth = mc.convert(ckpt.path, to="pth", out=tmp_path / "b.pth")
    again = mc.convert(pth.path, to="safetensors:gluon", out=tmp_path / "c.safetensors")
    assert mc.inspect(ckpt.path).network["name"] == SMALL.name
    assert (ckpt.record.dialect, pth.record.dialect) == ("gluon-ms", "gluon")
    assert ckpt.record.architecture["family"] == "resnet_v2"
    before, after = tensors_of(source), tensors_of(again.path)
    assert list(before) == list(after)
    for name, array in before.items():
        assert array.dtype == after[name].dtype
        assert array.tobytes() == after[name].tobytes(), name


@pytest.mark.parametrize(
    ("to", "default", "taken", "framework", "loader"),
    [
        ("ckpt", "mindcv", "gluon-ms", "mindspore", "load_mindspore"),
        ("pth", "timm", "gluon", "torch", "load_torch"),
        ("safetensors", "timm", "gluon", "torch", "load_torch"),
    ],
)
def test_a_default_dialect_without_names_gives_way_to_the_only_one(
    to: str, default: str, taken: str, framework: str, loader: str, tmp_path: Path
) -> None:
    plan = mc.plan(file_of(SMALL, tmp_path), to=to)
    assert not plan.problems
    assert plan.target.dialect.name == taken
    notices = {finding.code: finding for finding in plan.notices}
    assert set(notices) == {"no-library"}, f"nobody asked for {default}"
    assert notices["no-library"].line == (
        f"MXNet Gluon has no networks in {framework}: the names follow its convention"
    )
    assert f"mshub_convert.{loader}" in notices["no-library"].told


def test_a_dialect_that_was_asked_for_is_taken_without_that_notice(tmp_path: Path) -> None:
    plan = mc.plan(file_of(SMALL, tmp_path), to="safetensors:gluon-ms")
    assert plan.target.dialect.name == "gluon-ms"
    assert [finding.code for finding in plan.notices if finding.code == "dialect"] == []


@pytest.mark.parametrize("to", ["ckpt:mindcv", "safetensors:timm", "pth:torchvision", "ckpt:modelzoo-resnet"])
def test_a_dialect_that_was_asked_for_and_has_no_names_is_an_error(to: str, tmp_path: Path) -> None:
    name = to.partition(":")[2]
    with pytest.raises(MappingError, match=rf"dialect {name} has no name for input\.norm of {SMALL.name}") as caught:
        mc.convert(file_of(SMALL, tmp_path), to=to, out=tmp_path / "out/")
    assert caught.value.remedy == "Dialects that can name it: gluon or gluon-ms."
    assert not (tmp_path / "out").exists()


def test_strict_makes_the_missing_library_a_problem(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="MXNet Gluon has no networks in mindspore"):
        mc.convert(file_of(SMALL, tmp_path), to="ckpt", out=tmp_path / "x.ckpt", strict=True)


def test_other_networks_keep_the_default_dialect(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    calibrated.write(architecture("resnet_1-1"), "timm", 0, path)
    plan = mc.plan(path, to="ckpt")
    assert plan.target.dialect.name == "mindcv"
    assert "dialect" not in {finding.code for finding in plan.notices}


def test_a_file_without_a_record_is_recognised(tmp_path: Path) -> None:
    arrays = tensors_of(file_of(SMALL, tmp_path, "gluon-ms"))
    # Gluon's traits are those of PyTorch's networks: where the weights come from makes no difference to be warned of.
    assert "traits" not in {finding.code for finding in mc.plan(arrays, to="pth").notices}
    result = mc.convert(arrays, to="ckpt", out=tmp_path / "x.ckpt")
    found = mc.inspect(result.path)
    assert (found.network["name"], found.network["dialect"], found.network["classes"]) == (SMALL.name, "gluon-ms", 10)


def test_gluons_onnx_file_is_converted_as_what_it_is(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    from ..producers import gluon

    weights = {name: array for name, array in tensors_of(file_of(SMALL_BOTTLENECK, tmp_path)).items() if array.shape}
    # As Gluon has them: the first norm has neither scale nor shift of its own.
    weights |= {"features.0.weight": np.ones(3, np.float32), "features.0.bias": np.zeros(3, np.float32)}
    gluon.build_v2(weights, tmp_path / "model.onnx")
    assert mc.inspect(tmp_path / "model.onnx").network["name"] == SMALL_BOTTLENECK.name
    result = mc.convert(tmp_path / "model.onnx", to="pth", out=tmp_path / "x.pth")
    written = tensors_of(result.path)
    for name, array in weights.items():
        assert written.pop(name).tobytes() == array.tobytes(), name
    assert all(name.endswith("num_batches_tracked") for name in written)
    with pytest.raises(MappingError, match="dialect mindcv has no name for"):
        mc.convert(tmp_path / "model.onnx", to="ckpt:mindcv", out=tmp_path / "x.ckpt")


# Drawn weights


def test_the_last_convolution_of_a_branch_is_quiet() -> None:
    modules = {module.path: module for module in architecture("resnet50_v2").graph().modules}
    for path, fan_in, scale in (
        ("stages.3.1.conv3", 512, 0.3),
        ("stages.3.1.conv2", 512 * 9, 1.0),
        ("stages.3.0.shortcut.conv", 1024, 1.0),
    ):
        kernel = calibrated.draw(0, modules[path], "kernel").astype(np.float64)
        assert kernel.std() == pytest.approx(scale * np.sqrt(2 / fan_in), rel=0.01)
    scale = calibrated.draw(0, modules["stages.3.1.norm3"], "scale")
    assert 0.75 <= scale.min() < scale.max() <= 1.25


# Networks


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, 50, 152])
def test_torch_has_gluons_names_and_function_and_drawn_weights_are_healthy(depth: int, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    from ..producers.gluon_networks import SPECIFICATION, GluonV2, run

    network = architecture(f"resnet{depth}_v2", classes=10)
    path = file_of(network, tmp_path)
    weights, batch = tensors_of(path), pictures(2, 129, 161)
    theirs, ours = GluonV2(*SPECIFICATION[depth], classes=10), mc.load_torch(path)
    assert list(theirs.state_dict()) == list(dialect("gluon").ground(network).specs)
    assert sorted(ours.state_dict()) == sorted(theirs.state_dict())
    with torch.inference_mode():
        single = ours(torch.from_numpy(batch)).numpy()
        exact = ours.double()(torch.from_numpy(batch).double()).numpy()
    right = run(theirs, weights, batch)
    assert distance(exact, right) < 1e-13
    # Neither chaos nor a constant: measured 2e-7 to 3e-7 at all depths.
    assert 1e-8 < distance(single, right) < 1e-5
    assert 0.5 < right.std() < 100
    assert np.linalg.norm(right[0] - right[1]) > 5e-3 * np.linalg.norm(right[0])


@pytest.mark.slow
@pytest.mark.parametrize("network", [SMALL, SMALL_BOTTLENECK], ids=lambda network: network.block)
def test_mindspore_computes_what_gluons_network_does(network: ResNetV2, tmp_path: Path) -> None:
    mindspore = pytest.importorskip("mindspore", reason="the mindspore extra is not installed")
    pytest.importorskip("torch", reason="the torch extra is not installed")
    from ..producers.gluon_networks import GluonV2, run

    path, batch = file_of(network, tmp_path), pictures(2, 97, 64)
    right = run(GluonV2(network.block, network.depths, classes=10), tensors_of(path), batch)
    built = mc.load_mindspore(path)  # from PyTorch names: it takes those of the first MindSpore dialect that has any
    assert set(built.parameters_dict()) == set(dialect("gluon-ms").ground(network).specs)
    assert distance(built(mindspore.Tensor(batch)).asnumpy(), right) < 1e-5
    ckpt = mc.convert(path, to="ckpt", out=tmp_path / "x.ckpt").path
    from_ckpt = mc.load_mindspore(ckpt)
    assert distance(from_ckpt(mindspore.Tensor(batch)).asnumpy(), right) < 1e-5
    import torch

    with torch.inference_mode():
        back = mc.load_torch(ckpt)(torch.from_numpy(batch)).numpy()
    assert distance(back, right) < 1e-5
    # The control: another place of the stride is another function with the same weights.
    moved = mc.load_mindspore(ckpt, traits={"stem_pool": "same", "padding": "same"})
    assert distance(moved(mindspore.Tensor(batch)).asnumpy(), right) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("fold_bn", [False, True])
@pytest.mark.parametrize("network", [SMALL, SMALL_BOTTLENECK], ids=lambda network: network.block)
def test_onnx_runtime_computes_what_gluons_network_does(network: ResNetV2, fold_bn: bool, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    pytest.importorskip("torch", reason="the torch extra is not installed")
    from ..producers.gluon_networks import GluonV2, run

    path, batch = file_of(network, tmp_path), pictures(2, 97, 64)
    right = run(GluonV2(network.block, network.depths, classes=10), tensors_of(path), batch)
    result = mc.convert(path, to="onnx", out=tmp_path / "x.onnx", fold_bn=fold_bn)
    session = runtime.InferenceSession(result.path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: batch})
    assert distance(logits, right) < 1e-5


@pytest.mark.slow
def test_a_conversion_is_proven_and_a_spoilt_one_is_not(tmp_path: Path) -> None:
    pytest.importorskip("mindspore", reason="the mindspore extra is not installed")
    # The small networks are too small: their rounding errors are warned of.
    source = file_of(architecture("resnet18_v2"), tmp_path)
    few: Any = {"sizes": [(97, 64)], "count": 4}
    result = mc.convert(source, to="ckpt", out=tmp_path / "x.ckpt", verify=True, **few)
    assert result.proof
    assert result.proof.verdict.name == "PASS"
    said = result.proof.as_dict()
    assert "built by mshub-convert" in str(said)
    arrays = tensors_of(source)
    first, second = "features.6.0.bn1.weight", "features.6.0.bn1.bias"
    arrays[first], arrays[second] = arrays[second], arrays[first]
    spoilt = mc.convert(arrays, to="ckpt", out=tmp_path / "y.ckpt")
    assert not mc.verify(source, spoilt.path, **few)
