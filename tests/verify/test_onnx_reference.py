"""Written ONNX files in float64, as onnx's own reference computes them, against torch in float64."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import mshub_convert as mc
from mshub_convert.verify.inputs import pictures

pytestmark = pytest.mark.slow


def in_float64(path: Path) -> onnx.ModelProto:
    """The same model with its weights and values in float64; epsilons stay float32 attributes."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return model


def relative(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({}, 1e-7),
        ({"fold_bn": True}, 1e-7),
        ({"to": "onnx:modelzoo"}, 1e-7),
        ({"traits": {"stem_pool": "same", "padding": "same", "norm_eps": "1e-3", "bottleneck_stride": "1x1"}}, 1e-7),
    ],
    ids=["plain", "folded", "split", "other traits"],
)
def test_the_reference_in_float64(
    weights_file: Callable[..., Path], tmp_path: Path, options: dict[str, object], limit: float
) -> None:
    # The reference's BatchNormalization is right from opset 14 on.
    path = mc.convert(weights_file(), **{"to": "onnx", "opset": 17, **options}, out=tmp_path / "net.onnx").path
    traits = options.get("traits", {})
    network = mc.load_torch(tmp_path / "small.safetensors", traits=traits).double()
    import torch

    for height, width in ((64, 64), (65, 71)):
        x = pictures(2, height, width).astype(np.float64)
        (actual,) = ReferenceEvaluator(in_float64(path)).run(None, {"input": x})
        expected = network(torch.from_numpy(x)).detach().numpy()
        assert relative(actual, expected) < limit, (height, width)


def test_the_reference_tells_another_epsilon(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    path = mc.convert(weights_file(), to="onnx", opset=17, out=tmp_path / "net.onnx").path
    model = in_float64(path)
    node = next(node for node in model.graph.node if node.op_type == "BatchNormalization")
    node.attribute[0].f = 1.1e-5
    import torch

    x = pictures(2, 64, 64).astype(np.float64)
    (actual,) = ReferenceEvaluator(model).run(None, {"input": x})
    expected = mc.load_torch(tmp_path / "small.safetensors").double()(torch.from_numpy(x)).detach().numpy()
    assert relative(actual, expected) > 1e-7
