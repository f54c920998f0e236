"""Rules for what computes: convolutions, norms, pools, linear layers, sums and gates."""

from collections.abc import Mapping, Sequence

from ...mappings.graph import Attribute, Node
from .constants import number, reshaped, transposed
from .errors import ForeignGraphError
from .foreign import ForeignNode
from .walk import Rule, Walk, ints_of


def _conv(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    value, kernel = inputs[0], walk.constant(node, inputs[1])
    bias = [walk.constant(node, inputs[2])] if len(inputs) > 2 and inputs[2] else []
    shape = walk.constants.refs[kernel].spec.shape
    if len(shape) != 4:
        raise ForeignGraphError(f"{node.told} has a kernel of shape {list(shape)}: no convolution of pictures")
    stated = ints_of(node, "kernel_shape", shape[2:])
    if stated != shape[2:]:
        raise ForeignGraphError(f"{node.told} states the kernel {stated}, its weight has {shape[2:]}")
    value, before = walk.padding(value, node, 0.0)
    window = _window(node, stated, before)
    groups = number(node.attributes.get("group", 1))
    walk.emit("Conv", node.outputs[0], value, kernel, *bias, **window, group=groups)


def _window(node: ForeignNode, kernel: tuple[int, ...], before: tuple[int, ...] = (0, 0, 0, 0)) -> dict[str, Attribute]:
    """Kernel, strides and padding; SAME_UPPER at stride 1 is the same on all sides, and said so."""
    if set(ints_of(node, "dilations", (1, 1))) != {1}:
        raise ForeignGraphError(f"{node.told} is dilated, which no network of ours is")
    strides = ints_of(node, "strides", (1, 1))
    if len(kernel) != 2 or len(strides) != 2 or min(*kernel, *strides) < 1:
        raise ForeignGraphError(f"{node.told} has a window of {kernel} with strides {strides}: of no picture")
    window: dict[str, Attribute] = {"kernel_shape": kernel, "strides": strides}
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto == "SAME_UPPER" and not any(before):
        if set(strides) == {1} and all(size % 2 for size in kernel):
            return window | {"pads": (kernel[0] // 2, kernel[1] // 2) * 2}
        return window | {"auto_pad": "SAME_UPPER"}
    if auto not in ("NOTSET", "VALID", ""):
        raise ForeignGraphError(f"{node.told} pads with auto_pad={auto}, which no network of ours does")
    pads = ints_of(node, "pads", (0, 0, 0, 0)) if auto != "VALID" else (0, 0, 0, 0)
    if len(pads) != 4 or min(pads) < 0:
        raise ForeignGraphError(f"{node.told} has the pads {pads}: of no picture")
    return window | {"pads": tuple(own + more for own, more in zip(pads, before, strict=True))}


def _norm(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    if node.attributes.get("training_mode", 0) or [name for name in node.outputs[1:] if name]:
        raise ForeignGraphError(
            f"{node.told} is in training mode: it normalises by the batch",
            remedy="Export the model after model.eval().",
        )
    if node.attributes.get("spatial", 1) != 1:
        raise ForeignGraphError(f"{node.told} normalises every pixel by itself (spatial=0)")
    weights = [walk.constant(node, name) for name in inputs[1:5]]
    epsilon = node.attributes.get("epsilon", 1e-5)
    if not isinstance(epsilon, float):
        raise ForeignGraphError(f"{node.told} has the epsilon {epsilon!r}")
    walk.emit("BatchNormalization", node.outputs[0], inputs[0], *weights, epsilon=float(f"{epsilon:.7g}"))


def _plain(op: str) -> "Rule":
    def rule(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
        walk.emit(op, node.outputs[0], *inputs)

    return rule


def _clip(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    """A ReLU, where only what is below zero is clipped."""
    low, high = (_bound(walk, node, name, inputs[place:]) for place, name in ((1, "min"), (2, "max")))
    walk.emit("Relu" if low == 0 and (high is None or high > 3e38) else "Clip", node.outputs[0], inputs[0])


def _bound(walk: Walk, node: ForeignNode, attribute: str, inputs: list[str]) -> float | None:
    """A bound of Clip: an attribute, from opset 11 on an input; None where there is none."""
    stated = node.attributes.get(attribute)
    if isinstance(stated, float):
        return stated
    ref = walk.constants.refs.get(inputs[0]) if inputs else None
    return None if ref is None else float(ref.read().reshape(-1)[0])


def _max_pool(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    value, before = walk.padding(inputs[0], node, None)
    window = _window(node, ints_of(node, "kernel_shape", ()), before)
    ceil = {"ceil_mode": 1} if node.attributes.get("ceil_mode", 0) else {}
    walk.emit("MaxPool", node.outputs[0], value, **window, **ceil)


def _average_pool(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    window = _window(node, ints_of(node, "kernel_shape", ()))
    extra = {name: number(node.attributes.get(name, 0)) for name in ("ceil_mode", "count_include_pad")}
    walk.emit("AveragePool", node.outputs[0], inputs[0], **window, **extra)


def _gemm(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    for name, wanted in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        if node.attributes.get(name, wanted) != wanted:
            raise ForeignGraphError(f"{node.told} has {name}={node.attributes[name]}, which no classifier of ours has")
    bias = [walk.constant(node, name) for name in inputs[2:3] if name]
    _linear(walk, node, inputs[0], inputs[1], bias, turned=not node.attributes.get("transB", 0))


def _mat_mul(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    _linear(walk, node, inputs[0], inputs[1], [], turned=True)


def _linear(walk: Walk, node: ForeignNode, value: str, kernel: str, bias: Sequence[str], *, turned: bool) -> None:
    walk.constant(node, kernel)
    if turned:
        kernel = walk.derived(f"{kernel}:transposed", [kernel], transposed(walk.constants.refs[kernel]))
    walk.emit("Gemm", node.outputs[0], value, kernel, *bias, transB=1)


def _add(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    """Two branches, or the bias of what came before."""
    fixed = [name for name in inputs if name in walk.constants.refs]
    values = [name for name in inputs if name not in walk.constants.refs]
    output = node.outputs[0]
    before = walk.made.get(values[0]) if len(values) == 1 else None
    if len(inputs) == 1:
        walk.alias[output] = inputs[0]
    elif before is not None and fixed and before.op in ("Conv", "Gemm"):
        rows = walk.constants.refs[before.inputs[1]].spec.shape[0]
        bias = walk.constants.refs[fixed[0]]
        if bias.spec.size != rows or len(before.inputs) > 2:
            raise ForeignGraphError(f"{node.told} adds {list(bias.spec.shape)} to {rows} channels")
        name = walk.derived(f"{fixed[0]}:flat", fixed, reshaped(bias, (rows,)))
        walk.absorbed.add(before.output)
        walk.emit(before.op, output, *before.inputs, name, **before.attributes)
    else:
        walk.emit("Add", output, *inputs)


def _mul(walk: Walk, node: ForeignNode, inputs: list[str]) -> None:
    """Two values, one of which may be a gate: linear layers over the means of the channels, written as such."""
    walk.emit("Mul", node.outputs[0], *(_as_gate(walk, name) for name in inputs))


def _as_gate(walk: Walk, name: str) -> str:
    """A gate whose layers are linear ones of flat values, as one of 1x1 convolutions of single pixels."""
    ops = ("Reshape", "Sigmoid", "Gemm", "Relu", "Gemm", "Flatten", "GlobalAveragePool")
    found: list[Node] = []
    value = name
    for op in ops:
        made = walk.made.get(value)
        if made is None or made.op != op:
            return name
        found.append(made)
        value = made.inputs[0]
    _, sigmoid, second, relu, first, _, pool = found
    value = pool.output
    walk.absorbed.update(node.output for node in found[:-1])
    for node, op in ((first, "Conv"), (relu, "Relu"), (second, "Conv"), (sigmoid, "Sigmoid")):
        output = f"{node.output}:pixel"
        walk.told[output] = walk.told[node.output]
        if op == "Conv":
            kernel = walk.constants.refs[node.inputs[1]]
            four = walk.derived(
                f"{node.inputs[1]}:pixel", [node.inputs[1]], reshaped(kernel, (*kernel.spec.shape, 1, 1))
            )
            pads: dict[str, Attribute] = {"kernel_shape": (1, 1), "strides": (1, 1), "pads": (0, 0, 0, 0), "group": 1}
            walk.emit(op, output, value, four, *node.inputs[2:], **pads)
        else:
            walk.emit(op, output, value)
        value = output
    return value


RULES: Mapping[str, Rule] = {
    "Conv": _conv, "BatchNormalization": _norm, "Relu": _plain("Relu"), "Sigmoid": _plain("Sigmoid"), "Mul": _mul,
    "Clip": _clip, "MaxPool": _max_pool, "AveragePool": _average_pool,
    "GlobalAveragePool": _plain("GlobalAveragePool"), "Gemm": _gemm, "MatMul": _mat_mul, "Add": _add, "Sum": _add,
    "Softmax": _plain("Softmax"), "LogSoftmax": _plain("LogSoftmax"),
}  # fmt: skip
