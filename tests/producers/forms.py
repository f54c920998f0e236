"""One network in other operators, attributes and dimensions that compute the same."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from onnx import TensorProto

from mshub_convert.mappings.traits import Traits

from . import edits
from .edits import Model, edited
from .registry import Producer


def sums(model: Model) -> None:
    """Sum for Add, as caffe2 writes it, the shortcut first."""
    for add in edits.nodes(model, "Add"):
        add.op_type = "Sum"
        branch, shortcut = add.input
        add.input[:] = [shortcut, branch]


def padded(model: Model, *, value: float | None = None) -> None:
    """A Pad in front of every padded convolution and of the pool, which then pad nothing themselves."""
    for node in edits.nodes(model, "Conv", "MaxPool"):
        pads = edits.attribute(node, "pads")
        if not pads or not any(pads):
            continue
        source, made = node.input[0], f"{node.output[0]}.padded"
        dims = [0, 0, *pads[:2], 0, 0, *pads[2:]]
        fill = value if node.op_type == "MaxPool" else None
        if edits.opset(model) < 11:
            pad = edits.node(
                "Pad", [source], made, pads=dims, mode="constant", **({} if fill is None else {"value": fill})
            )
        else:
            inputs = [source, edits.put(model, f"{made}.pads", np.array(dims, np.int64))]
            if fill is not None:
                inputs.append(edits.put(model, f"{made}.value", np.array(fill, np.float32)))
            pad = edits.node("Pad", inputs, made)
        node.input[0] = made
        edits.set_attribute(node, pads=[0, 0, 0, 0])
        edits.before(model, node, pad)


def biased(model: Model, *, draw: Callable[[Any, int], Any]) -> None:
    """A bias in every convolution that a BatchNorm follows, the running mean moved by as much."""
    random, values = np.random.default_rng(0), edits.constants(model)
    norms = {norm.input[0]: norm for norm in edits.nodes(model, "BatchNormalization")}
    for conv in edits.nodes(model, "Conv"):
        mean = norms[conv.output[0]].input[3]
        bias = np.asarray(draw(random, values[mean].size), np.float32)
        conv.input.append(edits.put(model, f"{conv.name}.bias", bias))
        edits.put(model, mean, values[mean] + bias)


def spelt_out(model: Model) -> None:
    """Attributes that only say what holds anyway."""
    for conv in edits.nodes(model, "Conv"):
        edits.set_attribute(conv, dilations=[1, 1], auto_pad="NOTSET")
    for norm in edits.nodes(model, "BatchNormalization"):
        edits.set_attribute(norm, momentum=0.9, training_mode=0)
    for pool in edits.nodes(model, "MaxPool"):
        edits.set_attribute(pool, dilations=[1, 1], ceil_mode=0, storage_order=0)


def left_out(model: Model) -> None:
    """No attribute that has its default as value, no kernel shape where the weight tells it."""
    for conv in edits.nodes(model, "Conv"):
        defaults = {"group": 1, "strides": [1, 1], "pads": [0, 0, 0, 0]}
        edits.set_attribute(conv, kernel_shape=None)
        for name, default in defaults.items():
            if edits.attribute(conv, name) == default:
                edits.set_attribute(conv, **{name: None})
    for norm in edits.nodes(model, "BatchNormalization"):
        edits.set_attribute(norm, epsilon=None)
    edits.set_attribute(edits.nodes(model, "Flatten")[0], axis=None)


def noise(model: Model) -> None:
    """Identity, Cast to what the value is, and Dropout, all of which do nothing, after every node but the last."""
    for number, node in enumerate(list(model.graph.node)[:-1]):
        value, made = node.output[0], f"{node.output[0]}.again"
        edits.rewire(model, value, made)
        idle = _idle(model, value, made, number % 3)
        model.graph.node.insert(list(model.graph.node).index(node) + 1, idle)


def _idle(model: Model, value: str, made: str, kind: int) -> Any:
    if kind == 0:
        return edits.node("Identity", [value], made)
    if kind == 1:
        return edits.node("Cast", [value], made, to=TensorProto.FLOAT)
    if edits.opset(model) < 12:
        return edits.node("Dropout", [value], made, ratio=0.2)
    ratio = edits.put(model, "dropout.ratio", np.array(0.2, np.float32))
    return edits.node("Dropout", [value, ratio, edits.put(model, "dropout.training", np.array(False))], made)


def split_groups(model: Model) -> None:
    """Grouped convolutions as Split, one convolution a group, Concat."""
    values = edits.constants(model)
    for conv in edits.nodes(model, "Conv"):
        groups, (source, weight) = edits.attribute(conv, "group"), conv.input
        if groups == 1:
            continue
        kernels, made = values[weight], conv.output[0]
        parts, outputs = ([f"{made}.{what}{group}" for group in range(groups)] for what in ("in", "out"))
        each = kernels.shape[1]
        sizes: tuple[list[str], dict[str, Any]] = ([], {"split": [each] * groups})
        if edits.opset(model) >= 18:
            sizes = ([], {"num_outputs": groups})
        elif edits.opset(model) >= 13:
            sizes = ([edits.put(model, f"{made}.sizes", np.array([each] * groups, np.int64))], {})
        split = edits.node("Split", [source, *sizes[0]], made, axis=1, **sizes[1])
        split.output[:] = parts
        window = {name: edits.attribute(conv, name) for name in ("kernel_shape", "strides", "pads")}
        convs = [
            edits.node("Conv", [part, edits.put(model, f"{weight}.{group}", kernel)], output, **window)
            for group, (part, output, kernel) in enumerate(zip(parts, outputs, np.split(kernels, groups), strict=True))
        ]
        edits.drop_constant(model, weight)
        edits.replace(model, conv, [split, *convs, edits.node("Concat", outputs, made, axis=1)])


def dead_nodes(model: Model) -> None:
    """Nodes that lead to no output."""
    add = edits.nodes(model, "Add")[0]
    model.graph.node.append(edits.node("GlobalMaxPool", [add.output[0]], "unused.pool"))
    model.graph.node.append(edits.node("Flatten", ["unused.pool"], "unused.flat"))


def _zeros(_: Any, size: int) -> Any:
    return np.zeros(size)


def _drawn(random: Any, size: int) -> Any:
    return random.normal(0, 0.3, size)


_SAME_POOL, _SAME = Traits(stem_pool="same"), Traits(stem_pool="same", padding="same", norm_eps=1e-4)

PRODUCERS = {
    "sum": Producer("Sum for Add, shortcut first", edited(sums)),
    "pad-nodes": Producer("Pad nodes before convolutions and pool", edited(padded)),
    "pad-nodes-7": Producer("Pad nodes at opset 7", edited(padded, opset=7)),
    "pad-nodes-infinity": Producer("Pad nodes, the pool's with -inf", edited(partial(padded, value=-np.inf))),
    "bias-zero": Producer("zero bias before BatchNorm", edited(partial(biased, draw=_zeros))),
    "bias": Producer("bias before BatchNorm", edited(partial(biased, draw=_drawn)), exact=False),
    "spelt-out": Producer("default attributes written out", edited(spelt_out, opset=14)),
    "left-out": Producer("default attributes left out", edited(left_out)),
    "noise": Producer("Identity, Cast and Dropout between all nodes", edited(noise)),
    "noise-9": Producer("the same at opset 9", edited(noise, opset=9)),
    "split-groups-11": Producer("a convolution a group, opset 11", edited(split_groups, opset=11)),
    "split-groups": Producer("a convolution a group, opset 13", edited(split_groups)),
    "split-groups-18": Producer("a convolution a group, opset 18", edited(split_groups, opset=18)),
    "dead-nodes": Producer("nodes that lead nowhere", edited(dead_nodes)),
    "fixed-batch": Producer("fixed batch", edited(batch=2), batch=2),
    "fixed-size": Producer("fixed batch and size", edited(batch=1, final=7), batch=1, final=7),
    "same-pool": Producer("stem pool SAME_UPPER", edited(), traits=_SAME_POOL),
    "same-padding": Producer("all SAME_UPPER, epsilon 1e-4", edited(), traits=_SAME),
    "stride-first": Producer("stride in the first 1x1", edited(), traits=Traits(bottleneck_stride="1x1")),
    "epsilon": Producer("epsilon 1e-3", edited(), traits=Traits(norm_eps=1e-3)),
}
