"""Networks that are none of ours: near misses, made of the plain file by one change."""

from functools import partial
from typing import Any

import numpy as np

from . import edits, forms, heads, plain
from .edits import Model, edited
from .registry import Refused

_STRIDED, _SHORTCUT = "stages.1.0.conv2/Conv", "stages.1.0.shortcut.conv/Conv"


def with_attributes(model: Model, *, name: str, **values: Any) -> None:
    """One node with other attributes."""
    edits.set_attribute(edits.named(model, name), **values)


def stride_of_rows(model: Model) -> None:
    """A stage that halves the height only."""
    for name in (_STRIDED, _SHORTCUT):
        edits.set_attribute(edits.named(model, name), strides=[2, 1])


def no_stride(model: Model) -> None:
    """A stage that does not halve the map."""
    for name in (_STRIDED, _SHORTCUT):
        edits.set_attribute(edits.named(model, name), strides=[1, 1])


def without(model: Model, *, name: str) -> None:
    """One node left out: what it read goes on."""
    node = edits.named(model, name)
    edits.rewire(model, node.output[0], node.input[0])
    edits.replace(model, node, [])


def followed(model: Model, *, name: str, op: str, **attributes: Any) -> None:
    """One more node after another."""
    value = edits.named(model, name).output[0]
    added = edits.node(op, [value], f"{value}.more", **attributes)
    edits.rewire(model, value, f"{value}.more")
    after = list(model.graph.node).index(edits.named(model, name))
    model.graph.node.insert(after + 1, added)


def other_op(model: Model, *, name: str, op: str, **attributes: Any) -> None:
    """Another operator in a node's place; attributes of the old one that are not given go."""
    node = edits.named(model, name)
    made = edits.node(op, list(node.input), node.output[0], **attributes)
    made.name = f"{name.rpartition('/')[0]}/{op}"
    edits.replace(model, node, [made])


def one_more_layer(model: Model) -> None:
    """A convolution more between two blocks."""
    value = edits.named(model, "stages.1.0.relu3/Relu").output[0]
    edits.put(model, "more.weight", np.eye(512, dtype=np.float32)[:, :, None, None] * 0.5)
    added = edits.node("Conv", [value, "more.weight"], "more", kernel_shape=[1, 1])
    edits.rewire(model, value, "more", but=(added,))
    edits.before(model, edits.named(model, "stages.1.1.conv1/Conv"), added)


def shortcut_before_relu(model: Model) -> None:
    """An identity shortcut that starts before the ReLU, not after it."""
    add = edits.named(model, "stages.1.1.add/Add")
    start = edits.named(model, "stages.1.0.relu3/Relu")
    add.input[:] = [start.input[0] if name == start.output[0] else name for name in add.input]


def no_shortcut(model: Model) -> None:
    """A block without its identity shortcut."""
    add = edits.named(model, "stages.1.1.add/Add")
    start = edits.named(model, "stages.1.0.relu3/Relu").output[0]
    edits.rewire(model, add.output[0], next(name for name in add.input if name != start))
    edits.replace(model, add, [])


def parts_swapped(model: Model) -> None:
    """A grouped convolution as one a group, two of whose outputs change places."""
    forms.split_groups(model)
    concat = edits.nodes(model, "Concat")[0]
    concat.name = "swapped/Concat"
    concat.input[:2] = [concat.input[1], concat.input[0]]


def shuffled(model: Model) -> None:
    """Channels interleaved after a grouped convolution, as ShuffleNet does it."""
    conv = edits.named(model, "stages.0.0.conv2/Conv")
    value = conv.output[0]
    shapes = {"shuffle.apart": [0, 4, 2, -1], "shuffle.flat": [0, 8, -1, 14]}
    for name, shape in shapes.items():
        edits.put(model, name, np.array(shape, np.int64))
    made = [
        edits.node("Reshape", [value, "shuffle.apart"], "shuffle.parts"),
        edits.node("Transpose", ["shuffle.parts"], "shuffle.turned", perm=[0, 2, 1, 3]),
        edits.node("Reshape", ["shuffle.turned", "shuffle.flat"], "shuffle.done"),
    ]
    edits.rewire(model, value, "shuffle.done")
    edits.before(model, edits.named(model, "stages.0.0.norm2/BatchNormalization"), *made)


def normalised_input(model: Model) -> None:
    """Pictures of 0 to 255 that the file itself normalises."""
    picture = model.graph.input[0].name
    edits.put(model, "mean", np.full((1, 3, 1, 1), 0.45, np.float32))
    edits.put(model, "deviation", np.full((1, 3, 1, 1), 0.22, np.float32))
    edits.rewire(model, picture, "picture")
    edits.before(
        model, model.graph.node[0], edits.node("Sub", [picture, "mean"], "centred"),
        edits.node("Div", ["centred", "deviation"], "picture"),
    )  # fmt: skip


def channels_last(model: Model) -> None:
    """Pictures as (N, H, W, 3), turned inside."""
    picture = model.graph.input[0]
    edits.rewire(model, picture.name, "turned")
    edits.before(model, model.graph.node[0], edits.node("Transpose", [picture.name], "turned", perm=[0, 3, 1, 2]))
    picture.CopyFrom(plain.value(picture.name, ["batch", "height", "width", 3]))


def grey(model: Model) -> None:
    """Pictures of one channel."""
    weight = edits.named(model, "stem.conv/Conv").input[1]
    edits.put(model, weight, edits.constants(model)[weight][:, :1])
    model.graph.input[0].CopyFrom(plain.value(model.graph.input[0].name, ["batch", 1, "height", "width"]))


def training_mode(model: Model) -> None:
    """BatchNorm that normalises by the batch."""
    for norm in edits.nodes(model, "BatchNormalization"):
        edits.set_attribute(norm, training_mode=1)
        norm.output.extend([f"{norm.output[0]}.mean", f"{norm.output[0]}.var"])


def features(model: Model) -> None:
    """The backbone alone."""
    gemm, flatten = edits.nodes(model, "Gemm")[0], edits.nodes(model, "Flatten")[0]
    model.graph.node.remove(gemm)
    model.graph.output[0].CopyFrom(plain.value(flatten.output[0], ["batch", 512]))


def padded_classifier(model: Model) -> None:
    """A 1x1 convolution as classifier that pads the pooled pixel: nine times the classes."""
    heads.convolution(model)
    edits.set_attribute(edits.named(model, "head.map/Conv"), pads=[1, 1, 1, 1])
    model.graph.output[0].CopyFrom(plain.value(model.graph.output[0].name, ["batch", 90]))


def _changed(title: str, edit: edits.Edit, node: str, reason: str = "", **more: Any) -> Refused:
    opset, final = more.pop("opset", 13), more.pop("final", None)
    return Refused(title, edited(edit, opset=opset, final=final), node, reason, **more)


_RELU1, _POOL = "stages.0.0.relu1/Relu", "stem.pool/MaxPool"

REFUSED = {
    "stride-of-rows": _changed("a stage that halves the height only", stride_of_rows, "stages.1.0.*/Conv", "strides"),
    "no-stride": _changed("a stage without stride", no_stride, "stages.1.0.*/Conv", "strides"),
    "epsilon-once": _changed(
        "one BatchNorm with another epsilon",
        partial(with_attributes, name="stages.1.0.norm2/BatchNormalization", epsilon=1e-4),
        "stages.1.0.norm2", "epsilon",
    ),
    "dilated": _changed(
        "a dilated convolution", partial(with_attributes, name=_STRIDED, dilations=[2, 2], pads=[2] * 4), "conv2/Conv",
        "dilat",
    ),
    "relu-missing": _changed("a missing ReLU", partial(without, name=_RELU1), "stages.0.0.conv2/Conv"),
    "relu-added": _changed(
        "a ReLU before the addition", partial(followed, name="stages.0.0.norm3/BatchNormalization", op="Relu"),
        "more/Relu",
    ),
    "layer-added": _changed("one convolution more", one_more_layer, "more/Conv"),
    "shortcut-before-relu": _changed("a shortcut from before the ReLU", shortcut_before_relu, "stages.1.[01].*"),
    "no-shortcut": _changed("a block without shortcut", no_shortcut, "stages.1.1"),
    "parts-swapped": _changed("groups in another order", parts_swapped, "swapped/Concat"),
    "shuffled": _changed("shuffled channels", shuffled, "shuffle", final=7),
    "product": _changed(
        "a product for the sum", partial(other_op, name="stages.0.0.add/Add", op="Mul"), "stages.0.0.add/Mul"
    ),
    "leaky-relu": _changed(
        "LeakyReLU", partial(other_op, name=_RELU1, op="LeakyRelu", alpha=0.1), "stages.0.0.relu1/LeakyRelu"
    ),
    "relu6": _changed(
        "ReLU6", partial(other_op, name=_RELU1, op="Clip", min=0.0, max=1.0), "stages.0.0.relu1/Clip", opset=9
    ),
    "average-stem": _changed(
        "an average pool in the stem",
        partial(other_op, name=_POOL, op="AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        "stem.pool/AveragePool",
    ),
    "pool-lower": _changed(
        "stem pool SAME_LOWER", partial(with_attributes, name=_POOL, pads=None, auto_pad="SAME_LOWER"),
        _POOL, "SAME_LOWER", computes="same",  # at stride 2 the last row is never read
    ),
    "max-head": _changed(
        "a global max-pool", partial(other_op, name="head.pool/GlobalAveragePool", op="GlobalMaxPool"), "GlobalMaxPool"
    ),
    "scaled-head": _changed(
        "Gemm with alpha", partial(with_attributes, name="head/Gemm", alpha=0.5), "head/Gemm", "alpha"
    ),
    "scaled-features": _changed("features squashed", partial(followed, name="head.flatten/Flatten", op="Tanh"), "Tanh"),
    "padded-classifier": _changed("a padded classifier", padded_classifier, "head.map/Conv", computes="no logits"),
    "features": _changed("no classifier", features, "Flatten|head", computes="no logits"),
    "normalised-input": _changed("normalisation inside", normalised_input, "centred/Sub"),
    "channels-last": _changed("pictures with channels last", channels_last, "turned/Transpose", computes="no logits"),
    "grey": _changed("pictures of one channel", grey, "stem.conv/Conv", computes="no logits"),
    "training-mode": _changed(
        "BatchNorm in training mode", training_mode, "norm/BatchNormalization", "training", opset=15
    ),
}  # fmt: skip
