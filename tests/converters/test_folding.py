"""Folding BatchNorm into convolutions, telling it apart again, and giving it statistics for training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

import mshub_convert as mc
from mshub_convert.converters.errors import UsageError
from mshub_convert.converters.folding import FoldedParts, identity_norm, identity_variance, mean_under_bias
from mshub_convert.converters.tensors import TensorRef, TensorSpec
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.folding import Fold, folded, folds
from mshub_convert.request import SourceRequest
from mshub_convert.verify.compare import Verdict
from mshub_convert.verify.weights import compare_weights

EPSILONS = [1e-5, 1e-4, 1e-3, 2e-5, 1.001e-5]


def ref(array: np.ndarray) -> TensorRef:
    return TensorRef(TensorSpec("t", array.shape, array.dtype.name), None, lambda: array)


@pytest.fixture
def source(weights_file: Callable[..., Path]) -> Path:
    return weights_file()


@pytest.fixture
def written(source: Path, tmp_path: Path) -> Path:
    return mc.convert(source, to="onnx", out=tmp_path / "folded.onnx", fold_bn=True).path


@pytest.mark.parametrize("name", ["resnet50", "resnext50d_32x4d", "resnet18", "seresnet50", "resnet50_v2"])
def test_a_folded_graph_has_no_norm_behind_a_convolution(name: str) -> None:
    graph = architecture(name).graph()
    result = folded(graph)
    before, after = ([node.op for node in g.nodes] for g in (graph, result))
    assert before.count("BatchNormalization") - after.count("BatchNormalization") == len(folds(graph)) > 0
    assert folds(result) == ()
    assert result.shapes(64, 96)[result.output] == graph.shapes(64, 96)[graph.output]
    known = {result.input, *(p.key for p in result.parameters)}
    for node in result.nodes:
        assert set(node.inputs) <= known
        known.add(node.output)
    assert set(result.taps.values()) <= known


def test_pre_activation_norms_before_convolutions_stay() -> None:
    graph = architecture("resnet50_v2").graph()
    kept = {node.name for node in folded(graph).nodes if node.op == "BatchNormalization"}
    assert {"input.norm", "final.norm", "stages.0.0.norm1"} <= kept
    assert "stages.0.0.norm2" not in kept


@given(seed=st.integers(0, 2**32 - 1), epsilon=st.sampled_from(EPSILONS))
def test_folding_is_the_convolution_and_its_norm(seed: int, epsilon: float) -> None:
    random = np.random.default_rng(seed)
    kernel = random.normal(size=(4, 3, 1, 1)).astype(np.float32)
    scale, shift, mean = (random.normal(size=4).astype(np.float32) for _ in range(3))
    var = random.uniform(0.1, 2, 4).astype(np.float32)
    parts = FoldedParts(
        Fold("c", "n", epsilon),
        {"kernel": ref(kernel), "scale": ref(scale), "shift": ref(shift), "mean": ref(mean), "var": ref(var)},
    )
    x = random.normal(size=(3, 5))
    wide = [array.astype(np.float64).reshape(-1, 1) for array in (scale, shift, mean, var)]
    expected = wide[0] * (kernel.astype(np.float64)[:, :, 0, 0] @ x - wide[2]) / np.sqrt(wide[3] + epsilon) + wide[1]
    actual = parts.kernel("float64")[:, :, 0, 0] @ x + parts.bias("float64").reshape(-1, 1)
    assert np.abs(actual - expected).max() < 1e-12
    assert parts.kernel("float32").tobytes() == parts.kernel("float64").astype(np.float32).tobytes()


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("seed", range(3))
def test_an_identity_norm_changes_no_bit_and_folds_back(epsilon: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    kernel, bias = random.normal(size=(64, 3, 3, 3)).astype(np.float32), random.normal(size=64).astype(np.float32)
    norm = identity_norm(ref(bias), 64, epsilon, "float32")
    # In float32, as runtimes compute it.
    root = np.sqrt(norm["var"].read() + np.float32(epsilon))
    assert (root == np.float32(1)).all()
    back = FoldedParts(Fold("c", "n", epsilon), {"kernel": ref(kernel), **norm})
    assert back.kernel("float32").tobytes() == kernel.tobytes()
    assert back.bias("float32").tobytes() == bias.tobytes()


def test_a_variance_of_one_would_change_nearly_every_element() -> None:
    values = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    changed = values / np.sqrt(np.float32(1) + np.float32(1e-5)) != values
    assert changed.mean() > 0.9
    assert identity_variance(1e-5) != 1


def test_a_bias_before_a_norm_goes_into_its_mean() -> None:
    mean, bias = np.float32([1.0, 2.0]), np.float32([0.25, 1e-9])
    assert mean_under_bias(ref(mean), ref(bias)).read().tolist() == [0.75, 2.0]


def test_a_folded_file_has_other_names_and_says_what_was_done(written: Path, source: Path) -> None:
    names = {item.name for item in onnx.load(written).graph.initializer}
    assert {"conv1.weight_folded", "conv1.bias_folded", "fc.weight"} <= names
    assert not any("bn" in name or "running" in name for name in names)
    with SourceRequest(written).open() as opened:
        assert opened.found.architecture.name == "resnext_1-1_4x2d"
        assert any("were folded into convolutions" in finding.line for finding in opened.notices)
        assert "BatchNorm folded into convolutions in float64, rounded once" in opened.carried.texts("operations")


def test_a_folded_file_is_compared_folded(written: Path, source: Path) -> None:
    with SourceRequest(source).open() as ours, SourceRequest(written).open() as theirs:
        weights = compare_weights(ours, theirs)
    assert weights.verdict is Verdict.PASS
    assert weights.reason.endswith("BatchNorm folded in float64, rounded once")


@pytest.mark.parametrize("name", ["layer1.0.conv2.weight_folded", "layer2.0.conv1.bias_folded", "fc.bias"])
def test_one_changed_bit_of_a_folded_file_is_seen(written: Path, source: Path, name: str, tmp_path: Path) -> None:
    model = onnx.load(written)
    (tensor,) = (item for item in model.graph.initializer if item.name == name)
    array = numpy_helper.to_array(tensor).copy()
    array.reshape(-1).view(np.uint32)[0] ^= 1
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    changed = tmp_path / "changed.onnx"
    onnx.save(model, changed)
    with SourceRequest(source).open() as ours, SourceRequest(changed).open() as theirs:
        weights = compare_weights(ours, theirs)
    assert weights.verdict is Verdict.FAIL
    assert weights.differing == (name,)


def test_unfolded_again_and_folded_again_is_the_same_file(written: Path, tmp_path: Path) -> None:
    between = mc.convert(written, to="ckpt", out=tmp_path / "between.ckpt").path
    again = mc.convert(between, to="onnx", out=tmp_path / "again.onnx", fold_bn=True).path
    first, second = (
        {item.name: item.raw_data for item in onnx.load(path).graph.initializer} for path in (written, again)
    )
    assert first == second


@pytest.mark.slow
def test_statistics_for_training(written: Path, source: Path, tmp_path: Path) -> None:
    result = mc.convert(written, to="pth", out=tmp_path / "net.pth", bn="calibrated", verify=True)
    assert result.proof
    assert any("statistics of 16 drawn pictures" in notice for notice in result.notices)
    assert "BatchNorm statistics calibrated" in result.record.operations
    import torch

    state = torch.load(result.path)
    assert not torch.allclose(state["bn1.running_var"], torch.ones(64), atol=0.01)
    identity = mc.convert(written, to="pth", out=tmp_path / "identity.pth").path
    networks = [mc.load_torch(path) for path in (result.path, identity, source)]
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 3, 64, 64)).astype(np.float32))
    calibrated, plain, original = (network(x).detach() for network in networks)
    assert torch.allclose(calibrated, original, atol=1e-4)
    assert torch.allclose(plain, original, atol=1e-4)
    # In training mode it starts where it was, which identities do not.
    drift = [float((network.train()(x).detach() - original).norm() / original.norm()) for network in networks[:2]]
    assert drift[0] < drift[1]


def test_statistics_are_for_folded_files_only(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"small\.safetensors has its own"):
        mc.convert(source, to="pth", out=tmp_path / "net.pth", bn="calibrated")
    with pytest.raises(UsageError, match="neither identity nor calibrated"):
        mc.convert(source, to="pth", out=tmp_path / "net.pth", bn="magic")
