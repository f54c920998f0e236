"""The Gluon and Caffe2 files: the forms they are said to have, and ONNX Runtime on them against torch."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.architectures.resnet_v2 import ResNetV2
from mshub_convert.mappings.dialects import dialect
from mshub_convert.verify.inputs import pictures

from . import caffe2, gluon

Weights = dict[str, np.ndarray]


def drawn(network, dialect_name: str) -> Weights:
    """Drawn weights by name, without counters."""
    modules = {module.path: module for module in network.graph().modules}
    return {
        slot.names[0]: calibrated.draw(0, modules[slot.parameter.module], slot.parameter.leaf)
        for slot in dialect(dialect_name).ground(network).slots.values()
        if slot.parameter.leaf != "count"
    }


def weights_v1(network) -> Weights:
    """With the biases that Gluon's 1x1 convolutions have."""
    random, weights = np.random.default_rng(1), drawn(network, "timm")
    places = [name.removesuffix(".weight") for name in weights if name.endswith((".conv1.weight", ".conv3.weight"))]
    biases = {f"{place}.bias": weights[f"{place}.weight"].shape[0] for place in places if place.startswith("layer")}
    return weights | {name: random.normal(0, 0.2, size).astype(np.float32) for name, size in biases.items()}


def weights_v2(network: ResNetV2) -> Weights:
    """With the first norm as Gluon fixes it."""
    weights = drawn(network, "gluon")
    return weights | {"features.0.weight": np.ones(3, np.float32), "features.0.bias": np.zeros(3, np.float32)}


def session(path: Path):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # it warns of unused initializers, of which Caffe2's file has one
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def distance(values: np.ndarray, right: np.ndarray) -> float:
    return float(np.linalg.norm(values - right) / np.linalg.norm(right))


# Forms

TINY_V1 = {
    **{f"{place}.{leaf}": np.ones(2, np.float32)
       for place in ("bn1", *(f"layer{s}.0.bn{k}" for s in (1, 2, 3, 4) for k in (1, 2, 3)),
                     *(f"layer{s}.0.downsample.1" for s in (1, 2, 3, 4)))
       for leaf in ("weight", "bias", "running_mean", "running_var")},
    "conv1.weight": np.ones((2, 3, 7, 7), np.float32),
    **{f"layer{s}.0.conv{k}.weight": np.ones((2, 2, size, size), np.float32)
       for s in (1, 2, 3, 4) for k, size in ((1, 1), (2, 3), (3, 1))},
    **{f"layer{s}.0.conv{k}.bias": np.ones(2, np.float32) for s in (1, 2, 3, 4) for k in (1, 3)},
    **{f"layer{s}.0.downsample.0.weight": np.ones((2, 2, 1, 1), np.float32) for s in (1, 2, 3, 4)},
    "fc.weight": np.ones((5, 2), np.float32), "fc.bias": np.ones(5, np.float32),
}  # fmt: skip


def attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


@pytest.mark.parametrize(("opset", "ir"), [(7, 3), (8, 3), (9, 4), (10, 5), (11, 6), (12, 7)])
def test_v1_has_the_form_of_the_zoos_file(opset: int, ir: int, tmp_path: Path) -> None:
    path = tmp_path / "v1.onnx"
    gluon.build_v1(TINY_V1, path, opset=opset)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (ir, opset)
    assert {item.name for item in model.graph.input} == {"data"} | {item.name for item in model.graph.initializer}
    assert [item.name for item in model.graph.output] == ["resnetv17_dense0_fwd"]
    nodes = {node.name: node for node in model.graph.node}
    assert list(nodes)[:8] == [
        "resnetv17_conv0_fwd", "resnetv17_batchnorm0_fwd", "resnetv17_relu0_fwd", "resnetv17_pool0_fwd",
        "resnetv17_stage1_conv0_fwd", "resnetv17_stage1_batchnorm0_fwd", "resnetv17_stage1_relu0_fwd",
        "resnetv17_stage1_conv1_fwd",
    ]  # fmt: skip
    biased = {name: len(node.input) == 3 for name, node in nodes.items() if node.op_type == "Conv"}
    assert biased == {
        "resnetv17_conv0_fwd": False,
        **{f"resnetv17_stage{s}_conv{k}_fwd": k in (0, 2) for s in (1, 2, 3, 4) for k in range(4)},
    }
    strided = {name for name, node in nodes.items() if attributes(node).get("strides") == [2, 2]}
    assert strided == {
        "resnetv17_conv0_fwd", "resnetv17_pool0_fwd",
        *(f"resnetv17_stage{s}_conv{k}_fwd" for s in (2, 3, 4) for k in (0, 3)),
    }  # fmt: skip
    assert ("spatial" in attributes(nodes["resnetv17_batchnorm0_fwd"])) == (opset < 9)
    assert attributes(nodes["resnetv17_dense0_fwd"])["transB"] == 1
    assert {"resnetv17_stage1__plus0", "resnetv17_stage1_activation0"} <= set(nodes)


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("opset", [7, 12])
def test_v2_has_the_form_of_the_zoos_file(opset: int, flatten: bool, tmp_path: Path) -> None:
    path = tmp_path / "v2.onnx"
    gluon.build_v2(weights_v2(ResNetV2((1, 2, 1, 1), "basic", classes=4)), path, opset=opset, flatten=flatten)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [item.name for item in model.graph.output] == ["resnetv24_dense0_fwd"]
    assert model.graph.node[0].op_type == "BatchNormalization"
    assert model.graph.node[0].input[0] == "data"
    operators = Counter(node.op_type for node in model.graph.node)
    assert operators["Conv"] == 1 + 2 * 5 + 3
    assert operators["BatchNormalization"] == 2 + 2 * 5 + 1
    assert operators["Flatten" if flatten else "Reshape"] == 1
    nodes = {node.name: node for node in model.graph.node}
    # The shortcut convolves what the first activation of the block gives, and stands after the block's own layers.
    assert nodes["resnetv24_stage2_conv2_fwd"].input[0] == "resnetv24_stage2_activation0"
    assert "resnetv24_stage2_conv2_fwd" in nodes["resnetv24_stage2__plus0"].input
    assert nodes["resnetv24_stage2_conv3_fwd"].input[0] == "resnetv24_stage2_activation2"


@pytest.mark.slow
@pytest.mark.parametrize("softmax", [True, False])
def test_caffe2_keeps_its_graph_and_takes_the_weights(softmax: bool, tmp_path: Path) -> None:
    path = tmp_path / "caffe2.onnx"
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes_of("resnet50").items()}
    weights["layer3.2.bn2.running_var"] += 7
    caffe2.build(weights, path, softmax=softmax)
    model = onnx.load(path)
    assert (model.ir_version, model.opset_import[0].version) == (3, 9)
    operators = Counter(node.op_type for node in model.graph.node)
    expected = {"Conv": 53, "BatchNormalization": 53, "Relu": 49, "Sum": 16, "MaxPool": 1, "AveragePool": 1,
                "Reshape": 1, "Gemm": 1, "Softmax": int(softmax)}  # fmt: skip
    assert operators == Counter(expected)
    assert model.graph.output[0].name == ("gpu_0/softmax_1" if softmax else model.graph.node[-1].output[0])
    held = {item.name: item for item in model.graph.initializer}
    assert {item.name for item in model.graph.input} == {"gpu_0/data_0", *held}
    read = {name for node in model.graph.node for name in node.input}
    assert set(held) - read == {caffe2.STRAY}
    assert onnx.numpy_helper.to_array(held["gpu_0/res4_2_branch2b_bn_riv_0"]).min() == 7


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    return {key: shape for key, shape in dialect("timm").ground(architecture(name)).specs.items() if shape}


# Functions


@pytest.mark.slow
@pytest.mark.parametrize("opset", [7, 12])
def test_v1_computes_what_gluons_network_does(opset: int, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the torch extra is not installed")
    from .gluon_networks import GluonV1, run

    weights, batch = weights_v1(architecture("resnet50", classes=10)), pictures(1, 96, 112)
    gluon.build_v1(weights, tmp_path / "v1.onnx", opset=opset, size=(96, 112))
    (logits,) = session(tmp_path / "v1.onnx").run(["resnetv17_dense0_fwd"], {"data": batch})
    assert distance(logits, run(GluonV1((3, 4, 6, 3), classes=10), weights, batch)) < 1e-5
    # The control: without its biases, or with the stride elsewhere, the network is another function.
    unbiased = {
        name: array * (0 if ".conv" in name and name.endswith("bias") else 1) for name, array in weights.items()
    }
    assert distance(logits, run(GluonV1((3, 4, 6, 3), classes=10), unbiased, batch)) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("name", "opset", "flatten"), [("resnet50_v2", 7, False), ("resnet18_v2", 12, True)])
def test_v2_computes_what_gluons_network_does(name: str, opset: int, flatten: bool, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the torch extra is not installed")
    from .gluon_networks import SPECIFICATION, GluonV2, run

    weights, batch = weights_v2(architecture(name, classes=10)), pictures(2, 96, 112)
    gluon.build_v2(weights, tmp_path / "v2.onnx", opset=opset, size=(96, 112), batch="N", flatten=flatten)
    (logits,) = session(tmp_path / "v2.onnx").run(["resnetv24_dense0_fwd"], {"data": batch})
    block, depths = SPECIFICATION[int(name[6:8])]
    assert distance(logits, run(GluonV2(block, depths, classes=10), weights, batch)) < 1e-5


@pytest.mark.slow
def test_caffe2_computes_what_torchvision_does(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision", reason="the torch extra is not installed")
    from .gluon_networks import run

    weights, batch = drawn(architecture("resnet50"), "timm"), pictures(1, 224, 224)
    expected = run(torchvision.models.resnet50(), weights, batch)
    caffe2.build(weights, tmp_path / "caffe2.onnx", softmax=False)
    runner = session(tmp_path / "caffe2.onnx")
    (logits,) = runner.run(None, {"gpu_0/data_0": batch})
    assert distance(logits, expected) < 1e-5
    caffe2.build(weights, tmp_path / "softmax.onnx")
    (shares,) = session(tmp_path / "softmax.onnx").run(["gpu_0/softmax_1"], {"gpu_0/data_0": batch})
    exponents = np.exp(expected - expected.max())
    assert distance(shares, exponents / exponents.sum()) < 1e-4
