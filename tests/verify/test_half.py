"""Networks that compute in float16: what an emulation allows them, and what it does not."""

from pathlib import Path

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.traits import Traits
from mshub_convert.request import SourceRequest
from mshub_convert.verify.compare import Verdict, compare, relative_l2
from mshub_convert.verify.errors import RuntimeRefusedError
from mshub_convert.verify.inputs import Inputs, pictures
from mshub_convert.verify.prover import Prover
from mshub_convert.verify.runtimes import Job, LibraryNetwork, Weights, run

NETWORK = ResNet((1, 2, 2, 1), cardinality=4, base_width=8, classes=100)
REFERENCE = np.random.default_rng(0).standard_normal((4, 10))


def off(size: float, seed: int) -> np.ndarray:
    """Logits at this relative distance from the reference, row by row."""
    direction = np.random.default_rng(seed).standard_normal(REFERENCE.shape)
    direction *= np.linalg.norm(REFERENCE, axis=1, keepdims=True) / np.linalg.norm(direction, axis=1, keepdims=True)
    return REFERENCE + size * direction


# The rule


@pytest.mark.parametrize(
    ("target", "emulated", "verdict"),
    [
        (5e-4, 5e-4, Verdict.PASS), (1.4e-3, 5e-4, Verdict.PASS), (1.6e-3, 5e-4, Verdict.FAIL),
        (3e-2, 5e-4, Verdict.FAIL), (1e-6, 5e-4, Verdict.PASS), (2e-2, 2e-2, Verdict.INCONCLUSIVE),
    ],
)  # fmt: skip
def test_three_times_the_emulation_is_allowed(target: float, emulated: float, verdict: Verdict) -> None:
    found = compare("x", off(1e-6, 1), off(target, 2), REFERENCE, emulated_error=emulated)
    assert found.verdict is verdict
    assert found.ratio == pytest.approx(target / emulated)
    assert "float16" in found.reason


def test_the_float32_yardstick_must_be_sound_all_the_same() -> None:
    found = compare("x", off(1e-2, 1), off(1e-4, 2), REFERENCE, emulated_error=1e-4)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "another function" in found.reason


def test_an_emulation_that_rounded_nothing_allows_nothing() -> None:
    assert compare("x", off(1e-6, 1), off(1e-6, 2), REFERENCE, emulated_error=0.0).verdict is Verdict.FAIL


@pytest.mark.parametrize("error", [float("nan"), float("inf")])
def test_an_emulation_that_overflowed_proves_nothing(error: float) -> None:
    found = compare("x", off(1e-6, 1), off(1e-6, 2), REFERENCE, emulated_error=error)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert not found


# The emulation


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("half") / "w.safetensors"
    calibrated.write(NETWORK, "timm", 0, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("naming", ["timm", "mmcls"])
def test_the_emulation_folds_and_rounds_as_torch_in_float16_would(naming: str) -> None:
    import torch

    from mshub_convert.verify.networks import torch as networks
    from mshub_convert.verify.networks.torch_rounded import RoundedNetwork

    grounding, graph = dialect(naming).ground(NETWORK), NETWORK.graph(Traits(norm_eps=1e-3))
    modules = {module.path: module for module in NETWORK.graph().modules}
    tensors = {
        slot.names[0]: calibrated.draw(0, modules[slot.parameter.module], slot.parameter.leaf).reshape(slot.shape)
        for slot in grounding.slots.values()
    }
    half, exact = RoundedNetwork(graph, grounding, "float16").eval(), networks.build(graph, grounding).double()
    networks.load(half, tensors)
    networks.load(exact, tensors)
    half.settle()
    x = torch.from_numpy(pictures(2, 64, 64))
    with torch.inference_mode():
        ours, reference = half(x).numpy(), exact(x.double()).numpy()
    assert np.array_equal(ours, ours.astype(np.float16).astype(np.float32))
    assert 1e-4 < relative_l2(ours, reference).max() < 3e-3
    norms = [layer for layer in half.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert not norms
    kernels = [layer.weight.numpy() for layer in half.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert all(np.array_equal(kernel, kernel.astype(np.float16).astype(np.float32)) for kernel in kernels)


@pytest.mark.slow
def test_the_emulation_is_of_our_networks_only(weights: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", pictures(1, 64, 64))
    job = Job(
        "torch", LibraryNetwork("timm", "resnet26", 10), Weights(weights, "safetensors"), (tmp_path / "x.npy",),
        tmp_path / "out", "float16",
    )  # fmt: skip
    with pytest.raises(RuntimeRefusedError, match="float16 is emulated in our networks only"):
        run(job, timeout=300.0)


# Whole proofs


@pytest.mark.slow
def test_a_half_precision_onnx_is_proven_and_a_wrong_one_is_not(weights: Path, tmp_path: Path) -> None:
    file = mc.convert(weights, to="onnx", dtype="float16", out=tmp_path / "w.onnx").path
    inputs = Inputs(count=4, sizes=((64, 64),))
    with SourceRequest(weights).open() as source, SourceRequest(file).open() as target:
        proof = Prover(source, inputs=inputs).prove(target)
        (found,) = proof.comparisons
        assert proof, proof.reason
        assert proof.weights.rounded == "float16"
        assert proof.target_network == "the file itself in ONNX Runtime on CPU, float16"
        # It is thousands of times the source's error, and no more than float16 makes it.
        assert found.target_error > 500 * found.source_error
        assert found.ratio < 2
        assert any(name == "float16" for name, _ in proof.facts())
        # The same file as the source of one with the same weights, in float32 arithmetic.
        ckpt = mc.convert(file, to="ckpt", out=tmp_path / "w.ckpt").path
        with SourceRequest(ckpt).open() as back:
            proof = Prover(target, inputs=inputs).prove(back, library_check=False)
        assert proof, proof.reason
        assert [item.label for item in proof.comparisons] == ["64x64", "64x64, source"]
        assert proof.comparisons[0].emulated_error is None
        assert proof.comparisons[0].source_error < 1e-5
    _mix_up_a_norm(file)
    with SourceRequest(weights).open() as source, SourceRequest(file).open() as target:
        proof = Prover(source, inputs=inputs).prove(target)
    assert proof.verdict is Verdict.FAIL
    # By its outputs alone, even with what float16 is allowed.
    assert [item.verdict for item in proof.comparisons] == [Verdict.FAIL]


def _mix_up_a_norm(file: Path) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(file))
    by_name = {tensor.name: tensor for tensor in model.graph.initializer}
    scale, shift = by_name["layer2.1.bn2.weight"], by_name["layer2.1.bn2.bias"]
    first, second = numpy_helper.to_array(scale), numpy_helper.to_array(shift)
    scale.CopyFrom(numpy_helper.from_array(second, scale.name))
    shift.CopyFrom(numpy_helper.from_array(first, shift.name))
    onnx.save(model, str(file))
