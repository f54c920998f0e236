"""Rules for what moves values about: casts, flat and split values, padding, means over pixels."""

from collections.abc import Mapping

from ...mappings.graph import Node
from ..tensors import FLOATS
from .constants import CAST, joined, number, reshaped
from .errors import ForeignGraphError
from .foreign import ForeignNode
from .walk import SPATIAL, Rule, Walk


def _same(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    walk.alias[node.outputs[0]] = inputs[0]


def _dropout(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    """Nothing at inference; from opset 12 on an input may say that this is training."""
    mode = walk.constants.refs.get(inputs[2]) if len(inputs) > 2 and inputs[2] else None
    if mode is not None and bool(mode.read().reshape(-1)[0]):
        raise ForeignGraphError(
            f"{node.told} is in training mode: it drops values", remedy="Export the model after model.eval()."
        )
    _same(walk, node, inputs)


def _cast(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    if node.op == "Cast" and CAST.get(number(node.attributes.get("to"))) not in FLOATS:
        raise ForeignGraphError(f"{node.told} casts values to integers: another function")
    # Those at the ends only let a half precision network take and give float32.
    walk.casts += walk.input != inputs[0] and walk.output != node.outputs[0]
    _same(walk, node, inputs)


def _shape(walk: Walk, node: ForeignNode, _: list[str]) -> None:
    walk.shapes.update(node.outputs)


def _reduce_mean(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    axes = walk.stated(node, "axes", inputs)
    if not isinstance(axes, tuple) or set(axes) not in SPATIAL:
        raise ForeignGraphError(f"{node.told} averages over the axes {axes}, not over height and width")
    output = node.outputs[0]
    if number(node.attributes.get("keepdims", 1)):
        walk.emit("GlobalAveragePool", output, inputs[0])
    else:
        walk.told[f"{output}:pool"] = node.told
        walk.emit("GlobalAveragePool", f"{output}:pool", inputs[0])
        walk.emit("Flatten", output, f"{output}:pool", axis=1)


def _flatten(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    if number(node.attributes.get("axis", 1)) != 1:
        raise ForeignGraphError(f"{node.told} joins the pictures of a batch (axis {node.attributes['axis']})")
    _flat(walk, node.outputs[0], inputs[0])


def _flat(walk: Walk, output: str, value: str) -> None:
    """From one pixel to none. A classifier that is a 1x1 convolution of that pixel is a linear layer behind it."""
    before = walk.made.get(value)
    if before is not None and before.op in ("Flatten", "Gemm"):
        walk.alias[output] = value
        return
    pool = walk.made.get(before.inputs[0]) if before is not None and before.op == "Conv" else None
    if before is None or pool is None or pool.op not in ("GlobalAveragePool", "AveragePool") or not _is_linear(before):
        walk.emit("Flatten", output, value, axis=1)
        return
    _, kernel, *bias = before.inputs
    shape = walk.constants.refs[kernel].spec.shape
    matrix = walk.derived(f"{kernel}:matrix", [kernel], reshaped(walk.constants.refs[kernel], shape[:2]))
    walk.absorbed.add(value)
    walk.told[f"{output}:flat"] = walk.told[output]
    walk.told[output] = walk.told[value]
    walk.emit("Flatten", f"{output}:flat", pool.output, axis=1)
    walk.emit("Gemm", output, f"{output}:flat", matrix, *bias, transB=1)


def _is_linear(conv: Node) -> bool:
    """Whether a convolution of one pixel is a linear layer."""
    plain = {"kernel_shape": (1, 1), "strides": (1, 1), "pads": (0, 0, 0, 0), "group": 1}
    return all(conv.attributes.get(name) == value for name, value in plain.items())


def _reshape(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    stated = node.attributes.get("shape")  # before opset 5
    shape = stated if isinstance(stated, tuple) else walk.constants.numbers(inputs[1])
    # A shape that is computed can only be known at run time; the classifier's width shows whether it fits.
    if shape is None and inputs[1] not in walk.shapes:
        raise ForeignGraphError(f"{node.told} takes its shape from {inputs[1]!r}")
    if shape is None or len(shape) == 2:
        _flat(walk, node.outputs[0], inputs[0])
    else:
        walk.emit("Reshape", node.outputs[0], inputs[0])


def _unsqueeze(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    """Back from flat values to single pixels."""
    axes = walk.stated(node, "axes", inputs)
    before = walk.made.get(inputs[0])
    if before is not None and before.op == "Unsqueeze":  # one axis at a time
        walk.emit("Reshape", node.outputs[0], before.inputs[0])
    else:
        both = isinstance(axes, tuple) and set(axes) in SPATIAL
        walk.emit("Reshape" if both else "Unsqueeze", node.outputs[0], inputs[0])


def _squeeze(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    axes = walk.stated(node, "axes", inputs)
    if isinstance(axes, tuple) and set(axes) in SPATIAL:
        _flat(walk, node.outputs[0], inputs[0])
    else:
        walk.emit("Squeeze", node.outputs[0], inputs[0])


def _pad(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    pads = walk.stated(node, "pads", inputs)
    value = node.attributes.get("value", 0.0)
    if len(inputs) > 2 and inputs[2]:
        value = float(walk.constants.refs[walk.constant(node, inputs[2])].read().reshape(-1)[0])
    mode = node.attributes.get("mode", "constant")
    if not isinstance(pads, tuple) or len(pads) != 8 or mode != "constant" or not isinstance(value, (int, float)):
        raise ForeignGraphError(f"{node.told} does not pad a picture by fixed numbers with one value")
    sides = [int(size) for size in pads]
    if any(sides[axis] for axis in (0, 1, 4, 5)) or min(sides) < 0:
        raise ForeignGraphError(f"{node.told} pads more than height and width")
    walk.pads[node.outputs[0]] = (inputs[0], (sides[2], sides[3], sides[6], sides[7]), float(value))
    walk.emit("Pad", node.outputs[0], inputs[0])


def _split(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    count = len(node.outputs)
    if number(node.attributes.get("axis", 0)) != 1:
        raise ForeignGraphError(f"{node.told} does not split channels")
    sizes = walk.stated(node, "split", inputs)
    if isinstance(sizes, tuple) and len(set(sizes)) != 1:
        raise ForeignGraphError(f"{node.told} splits into parts of different sizes")
    for index, output in enumerate(node.outputs):
        walk.splits[output] = (inputs[0], index, count)
        walk.told[output] = node.told
        walk.emit("Split", output, inputs[0])


def _concat(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    """Convolutions of the parts of one value, put together again: one grouped convolution."""
    convs = [walk.made.get(name) for name in inputs]
    parts = [walk.splits.get(conv.inputs[0]) if conv is not None and conv.op == "Conv" else None for conv in convs]
    sources = {part[0] for part in parts if part is not None}
    ordered = [part[1:] for part in parts if part is not None] == [(i, len(inputs)) for i in range(len(inputs))]
    alike = {tuple(sorted(conv.attributes.items())) for conv in convs if conv is not None}
    if number(node.attributes.get("axis")) != 1 or len(sources) != 1 or not ordered or len(alike) != 1:
        walk.emit("Concat", node.outputs[0], *inputs)
        return
    found = [conv for conv in convs if conv is not None]
    walk.absorbed.update(inputs, (conv.inputs[0] for conv in found))
    names = []
    for position in range(1, len(found[0].inputs)):
        own = [conv.inputs[position] for conv in found]
        names.append(walk.derived(f"{own[0]}:joined", own, joined([walk.constants.refs[name] for name in own])))
    attributes = {**found[0].attributes, "group": len(found) * number(found[0].attributes["group"])}
    walk.emit("Conv", node.outputs[0], sources.pop(), *names, **attributes)


RULES: Mapping[str, Rule] = {
    "Identity": _same, "Dropout": _dropout, "Cast": _cast, "CastLike": _cast, "Shape": _shape,
    "ReduceMean": _reduce_mean, "Flatten": _flatten, "Reshape": _reshape, "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze, "Pad": _pad, "Split": _split, "Concat": _concat,
}  # fmt: skip
