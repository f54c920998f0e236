"""ONNX files as MXNet wrote them for Gluon's resnet50 (ONNX model zoo): v1 (``resnetv17``) and v2 (``resnetv24``).

Every layer has a name from a counter within its stage, downsampling after the block's own: ``resnetv17_stage2_conv3``.
Parameters are graph inputs too. Sources: gluon/model_zoo/vision/resnet.py and contrib/onnx/mx2onnx of MXNet 1.9.1.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import count, takewhile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Weights = Mapping[str, np.ndarray]

_NORM = {"gamma": "weight", "beta": "bias", "running_mean": "running_mean", "running_var": "running_var"}


def build_v1(
    weights: Weights, path: Path, *, opset: int = 7, size: tuple[int, int] = (224, 224), batch: int | str = 1
) -> None:
    """resnet50_v1 and its kind: ``weights`` have torchvision's names (``layer1.0.conv1.weight``), with ``conv1.bias``
    and ``conv3.bias`` in every block; strides are in the first convolution.
    """
    file = _File("resnetv17", weights, opset)
    value = file.conv("data", "conv1", stride=2)
    value = file.relu(file.norm(value, "bn1"))
    value = file.max_pool(value)
    for stage in (1, 2, 3, 4):
        file.enter(stage)
        for block in _blocks(weights, f"layer{stage}.{{}}.conv1.weight"):
            stride = 2 if stage > 1 and block == 0 else 1
            place = f"layer{stage}.{block}"
            branch = file.conv(value, f"{place}.conv1", stride=stride)
            branch = file.relu(file.norm(branch, f"{place}.bn1"))
            branch = file.relu(file.norm(file.conv(branch, f"{place}.conv2"), f"{place}.bn2"))
            branch = file.norm(file.conv(branch, f"{place}.conv3"), f"{place}.bn3")
            if f"{place}.downsample.0.weight" in weights:
                value = file.conv(value, f"{place}.downsample.0", stride=stride)
                value = file.norm(value, f"{place}.downsample.1")
            value = file.activation(file.plus(value, branch))
    file.leave()
    value = file.node("GlobalAveragePool", "pool", [value])
    value = file.node("Flatten", "flatten", [value], axis=1)
    file.save(path, file.dense(value, "fc"), size, batch)


def build_v2(
    weights: Weights, path: Path, *, opset: int = 7, size: tuple[int, int] = (224, 224), batch: int | str = 1,
    flatten: bool = False,
) -> None:  # fmt: skip
    """resnet50_v2 and its kind: ``weights`` have Gluon's own paths (``features.5.0.conv1.weight``, ``output.bias``).

    Gluon's ``nn.Flatten`` was exported as a Reshape by the zoo's MXNet, as a Flatten (``flatten``) by a later one.
    """
    file = _File("resnetv24", weights, opset)
    value = file.norm("data", "features.0")
    value = file.conv(value, "features.1", stride=2)
    value = file.relu(file.norm(value, "features.2"))
    value = file.max_pool(value)
    for stage in (1, 2, 3, 4):
        file.enter(stage)
        for block in _blocks(weights, f"features.{stage + 4}.{{}}.conv1.weight"):
            place = f"features.{stage + 4}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            last = 3 if f"{place}.conv3.weight" in weights else 2
            branch, activated = value, ""
            for k in range(1, last + 1):
                branch = file.activation(file.norm(branch, f"{place}.bn{k}"))
                activated = activated or branch
                # Bottlenecks stride in the second convolution, basic blocks in the first.
                branch = file.conv(branch, f"{place}.conv{k}", stride=stride if k == last - 1 else 1)
            if f"{place}.downsample.weight" in weights:
                value = file.conv(activated, f"{place}.downsample", stride=stride)
            value = file.plus(branch, value)
    file.leave()
    value = file.relu(file.norm(value, "features.9"))
    value = file.node("GlobalAveragePool", "pool", [value])
    value = file.node("Flatten", "flatten", [value], axis=1) if flatten else file.reshape(value)
    file.save(path, file.dense(value, "output"), size, batch)


def _blocks(weights: Weights, key: str) -> list[int]:
    return list(takewhile(lambda block: key.format(block) in weights, count()))


class _File:
    """Nodes and parameters as they come; a value is called as the node that makes it."""

    def __init__(self, prefix: str, weights: Weights, opset: int) -> None:
        self.weights, self.opset = weights, opset
        self.prefix = self.top = prefix
        self.counters: dict[str, Counter[str]] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def enter(self, stage: int) -> None:
        """Names are counted within a stage."""
        self.prefix = f"{self.top}_stage{stage}"

    def leave(self) -> None:
        self.prefix = self.top

    def name(self, kind: str) -> str:
        counter = self.counters.setdefault(self.prefix, Counter())
        counter[kind] += 1
        return f"{self.prefix}_{kind}{counter[kind] - 1}"

    def node(self, op: str, kind: str, inputs: list[str], end: str = "_fwd", **attributes: object) -> str:
        return self.add(op, self.name(kind) + end, inputs, **attributes)

    def add(self, op: str, name: str, inputs: list[str], **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants[name] = array
        return name

    def conv(self, value: str, key: str, *, stride: int = 1) -> str:
        name, kernel = self.name("conv"), self.weights[f"{key}.weight"]
        size = kernel.shape[2]
        inputs = [value, self.constant(f"{name}_weight", kernel)]
        if f"{key}.bias" in self.weights:
            inputs.append(self.constant(f"{name}_bias", self.weights[f"{key}.bias"]))
        return self.add(
            "Conv", f"{name}_fwd", inputs, dilations=[1, 1], group=1, kernel_shape=[size, size],
            pads=[size // 2] * 4, strides=[stride, stride],
        )  # fmt: skip

    def norm(self, value: str, key: str) -> str:
        name = self.name("batchnorm")
        inputs = [self.constant(f"{name}_{leaf}", self.weights[f"{key}.{own}"]) for leaf, own in _NORM.items()]
        spatial = {"spatial": 1} if self.opset < 9 else {}
        return self.add(
            "BatchNormalization", f"{name}_fwd", [value, *inputs], epsilon=1e-5, momentum=0.9, **spatial
        )  # fmt: skip

    def relu(self, value: str) -> str:
        """A layer of its own."""
        return self.node("Relu", "relu", [value])

    def activation(self, value: str) -> str:
        """An operator inside a block."""
        return self.node("Relu", "activation", [value], end="")

    def plus(self, first: str, second: str) -> str:
        return self.node("Add", "_plus", [first, second], end="")

    def max_pool(self, value: str) -> str:
        return self.node("MaxPool", "pool", [value], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])

    def reshape(self, value: str) -> str:
        name = self.name("flatten") + "_reshape0"
        shape = self.constant(f"reshape_attr_tensor{len(self.nodes)}", np.array([0, -1], np.int64))
        return self.add("Reshape", name, [value, shape])

    def dense(self, value: str, key: str) -> str:
        name = self.name("dense")
        inputs = [self.constant(f"{name}_{leaf}", self.weights[f"{key}.{leaf}"]) for leaf in ("weight", "bias")]
        return self.add("Gemm", f"{name}_fwd", [value, *inputs], alpha=1.0, beta=1.0, transA=0, transB=1)

    def save(self, path: Path, output: str, size: tuple[int, int], batch: int | str) -> None:
        classes = self.constants[f"{self.top}_dense0_bias"].shape[0]
        tensors = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in self.constants.items()]
        inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, 3, *size])]
        inputs += [helper.make_tensor_value_info(item.name, item.data_type, list(item.dims)) for item in tensors]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, classes])]
        graph = helper.make_graph(self.nodes, "mxnet_converted_model", inputs, outputs, tensors)
        imports = [helper.make_opsetid("", self.opset)]
        version = helper.find_min_ir_version_for(imports)
        onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=version), path)
