"""The ONNX zoo's Caffe2 resnet50, its real graph with weights of our own.

The onnx package has the graph (``light_resnet50.onnx``: opset 9, IR 3), most weights of which are ConstantOfShape; here
they become initializers, as they are in the zoo's file.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

_LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / "light_resnet50.onnx"

# "riv" is the variance, whatever its name says.
_NORM = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}
_DEPTHS = (3, 4, 6, 3)
# Of the training run; no node reads it.
STRAY = "gpu_0/imagenet1k_blobs_queue_f22e83c9-22cd-4a8b-a66d-113af6b832b4_0"


def build(weights: Mapping[str, np.ndarray], path: Path, *, softmax: bool = True) -> None:
    """``weights`` are a resnet50's of 1000 classes with torchvision's names (``layer1.0.conv1.weight``).

    ``softmax=False`` ends in the logits.
    """
    model = onnx.load(_LIGHT)
    graph = model.graph
    given = dict(_names())
    constant = {node.output[0] for node in graph.node if node.op_type == "ConstantOfShape"}
    held = {tensor.name for tensor in graph.initializer}
    if not constant <= set(given) <= constant | held:
        raise ValueError(f"the graph of {_LIGHT.name} is not the one known: {sorted(constant ^ set(given))[:5]}")
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    if not softmax:
        graph.output[0].name = nodes.pop().input[0]
    kept = [tensor for tensor in graph.initializer if not tensor.name.endswith("__SHAPE") and tensor.name not in given]
    kept += [numpy_helper.from_array(np.ascontiguousarray(weights[key]), name) for name, key in given.items()]
    data = next(value for value in graph.input if value.name == "gpu_0/data_0")
    # Up to IR 3 every initializer is a graph input too.
    inputs = [data, *(helper.make_tensor_value_info(item.name, item.data_type, list(item.dims)) for item in kept)]
    for field, values in ((graph.node, nodes), (graph.initializer, kept), (graph.input, inputs)):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)
    onnx.save(model, path)


def _names() -> Iterator[tuple[str, str]]:
    """Caffe2's names and torchvision's."""
    yield "gpu_0/conv1_w_0", "conv1.weight"
    yield from _norm("gpu_0/res_conv1", "bn1")
    for stage, depth in enumerate(_DEPTHS, start=1):
        for block in range(depth):
            theirs, ours = f"gpu_0/res{stage + 1}_{block}", f"layer{stage}.{block}"
            for k, letter in enumerate("abc", start=1):
                yield f"{theirs}_branch2{letter}_w_0", f"{ours}.conv{k}.weight"
                yield from _norm(f"{theirs}_branch2{letter}", f"{ours}.bn{k}")
            if block == 0:
                yield f"{theirs}_branch1_w_0", f"{ours}.downsample.0.weight"
                yield from _norm(f"{theirs}_branch1", f"{ours}.downsample.1")
    yield "gpu_0/pred_w_0", "fc.weight"
    yield "gpu_0/pred_b_0", "fc.bias"


def _norm(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for letter, leaf in _NORM.items():
        yield f"{theirs}_bn_{letter}_0", f"{ours}.{leaf}"
