"""A graph run in NumPy, in float64 and nothing else: an oracle that shares no code with any framework."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...mappings.graph import Graph, Node, ints, pads
from ..errors import NetworkError

Array = npt.NDArray[np.float64]


def values(graph: Graph, tensors: Mapping[str, npt.NDArray[Any]], pictures: npt.NDArray[Any]) -> Iterator[
    tuple[str, Array]
]:  # fmt: skip
    """The output of every node for pictures (N, 3, H, W), in the graph's order.

    ``tensors`` are the parameters by canonical key. A value is forgotten once no node needs it any more.
    """
    known: dict[str, Array] = {graph.input: pictures.astype(np.float64)}
    parameters = {key: array.astype(np.float64) for key, array in tensors.items()}
    last_use = {name: node.name for node in graph.nodes for name in node.inputs}
    for node in graph.nodes:
        known[node.output] = apply(node, [known[name] if name in known else parameters[name] for name in node.inputs])
        result = known[node.output]
        for name in node.inputs:
            if last_use[name] == node.name:
                known.pop(name, None)
        yield node.output, result


def apply(node: Node, inputs: Sequence[Array]) -> Array:
    """One node on its inputs, values and parameters in the node's order, all float64."""
    if node.op not in _OPERATORS:
        raise NetworkError(f"{node.name} is a {node.op}, which the float64 reference does not compute")
    return _OPERATORS[node.op](node, *inputs)


def _padded(node: Node, x: Array, value: float) -> Array:
    top, left, bottom, right = pads(node, x.shape[2], x.shape[3])
    if not (top or left or bottom or right):
        return x
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)


def _convolve(node: Node, x: Array, kernel: Array, bias: Array | None = None) -> Array:
    groups = node.attributes["group"]
    (step_h, step_w), (kernel_h, kernel_w) = ints(node, "strides"), kernel.shape[2:]
    x = _padded(node, x, 0.0)
    # One product of matrices a group: what a window sees are the columns.
    weights = kernel.reshape(groups, len(kernel) // int(groups), -1)  # type: ignore[arg-type]
    made = []
    for picture in x:
        windows: Any = np.lib.stride_tricks.sliding_window_view(picture, (kernel_h, kernel_w), (1, 2))  # type: ignore[call-overload]
        windows = windows[:, ::step_h, ::step_w]
        height, width = windows.shape[1:3]
        columns = windows.transpose(0, 3, 4, 1, 2).reshape(len(weights), -1, height * width)
        made.append((weights @ columns).reshape(len(kernel), height, width))
    result = np.stack(made)
    return result if bias is None else np.add(result, bias[:, None, None])


def _normalise(node: Node, x: Array, scale: Array, shift: Array, mean: Array, var: Array) -> Array:
    factor = scale / np.sqrt(var + float(node.attributes["epsilon"]))  # type: ignore[arg-type]
    return np.add((x - mean[:, None, None]) * factor[:, None, None], shift[:, None, None])


def _windows(node: Node, x: Array, value: float) -> Iterator[Array]:
    """What the windows of a pool see, one place of the window after the other; ``value`` stands outside."""
    (kernel_h, kernel_w), (step_h, step_w) = ints(node, "kernel_shape"), ints(node, "strides")
    height, width = _pooled(node, x.shape[2], x.shape[3])
    x = _padded(node, x, value)
    # A last window that sticks out, with ceil_mode.
    beyond = [max((count - 1) * step + kernel - size, 0) for count, step, kernel, size in
              zip((height, width), (step_h, step_w), (kernel_h, kernel_w), x.shape[2:], strict=True)]  # fmt: skip
    x = np.pad(x, ((0, 0), (0, 0), (0, beyond[0]), (0, beyond[1])), constant_values=value)
    for row in range(kernel_h):
        for column in range(kernel_w):
            yield x[:, :, row : row + height * step_h : step_h, column : column + width * step_w : step_w][
                :, :, :height, :width
            ]


def _pooled(node: Node, height: int, width: int) -> tuple[int, ...]:
    """Rows and columns that a pool gives, by the graph's own rule."""
    known = Graph((), (node,), node.inputs[0], {"pooled": node.output}, 1, {}).shapes(height, width)
    return known[node.output][1:]


def _max_pool(node: Node, x: Array) -> Array:
    windows = _windows(node, x, -np.inf)
    result = next(windows).copy()
    for values_ in windows:
        np.maximum(result, values_, out=result)
    return result


def _average_pool(node: Node, x: Array) -> Array:
    if node.attributes.get("count_include_pad", 0):
        raise NetworkError(f"{node.name} counts its padding, which the float64 reference does not")
    counted = sum(_windows(node, np.ones_like(x[:1, :1]), 0.0))
    return np.asarray(sum(_windows(node, x, 0.0)) / counted)


_OPERATORS: Mapping[str, Callable[..., Array]] = {
    "Conv": _convolve,
    "BatchNormalization": _normalise,
    "Gemm": lambda _, x, kernel, bias: x @ kernel.T + bias,
    "Relu": lambda _, x: np.maximum(x, 0.0),
    "Clip": lambda node, x: np.clip(x, node.attributes["min"], node.attributes["max"]),
    "Transpose": lambda node, x: x.transpose(ints(node, "perm")),
    "Reshape": lambda node, x: x.reshape(len(x), *ints(node, "shape")[1:]),
    "Concat": lambda node, *parts: np.concatenate(parts, int(node.attributes["axis"])),
    "Sigmoid": lambda _, x: 1.0 / (1.0 + np.exp(-x)),
    "Add": lambda _, x, y: x + y,
    "Mul": lambda _, x, y: x * y,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda _, x: x.mean((2, 3), keepdims=True),
    "Flatten": lambda _, x: x.reshape(len(x), -1),
}
