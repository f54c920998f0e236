"""The layers and operators of a graph as MindSpore's own cells, or cells of a few of its operators."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from mindspore import nn, ops

from ...mappings.graph import Node, ints
from ..errors import NetworkError
from .places import Place


class _Split(nn.Cell):  # type: ignore[misc]
    """A grouped convolution as one convolution a group."""

    def __init__(self, convs: tuple[nn.Cell, ...]) -> None:
        super().__init__()
        self.convs = convs
        self.split = ops.Split(axis=1, output_num=len(convs))
        self.concat = ops.Concat(axis=1)

    def construct(self, x: Any) -> Any:
        outputs: Any = ()
        parts = self.split(x)
        for index, conv in enumerate(self.convs):
            outputs += (conv(parts[index]),)
        return self.concat(outputs)


class _Dense(nn.Cell):  # type: ignore[misc]
    """A dense layer over the channels of 1x1 values; held in a tuple, which takes no part in naming."""

    def __init__(self, layers: tuple[nn.Cell, ...]) -> None:
        super().__init__()
        self.layers = layers
        self.flat = (-1, layers[0].in_channels)
        self.whole = (-1, layers[0].out_channels, 1, 1)

    def construct(self, x: Any) -> Any:
        return self.layers[0](x.reshape(self.flat)).reshape(self.whole)


class _PaddedMaxPool(nn.Cell):  # type: ignore[misc]
    """A max-pool with explicit padding, of the least number there is.

    Not ``nn.MaxPool2d(pad_mode="pad")``, which is a 3-D pool between reshapes: a MINDIR of it for pictures of any size
    does not run.
    """

    def __init__(self, kernel: tuple[int, ...], stride: tuple[int, ...], pads: tuple[int, ...]) -> None:
        super().__init__()
        top, left, bottom, right = pads
        self.paddings = (left, right, top, bottom)
        self.least = float(np.finfo(np.float32).min)
        self.pad = ops.PadV3()
        self.pool = ops.MaxPool(kernel, stride, "valid")

    def construct(self, x: Any) -> Any:
        return self.pool(self.pad(x, self.paddings, self.least))


class _Transpose(nn.Cell):  # type: ignore[misc]
    def __init__(self, perm: tuple[int, ...]) -> None:
        super().__init__()
        self.perm = perm

    def construct(self, x: Any) -> Any:
        return ops.transpose(x, self.perm)


class _Rows(nn.Cell):  # type: ignore[misc]
    """A reshape that keeps the first axis."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.rest = shape[1:]

    def construct(self, x: Any) -> Any:
        return ops.reshape(x, (x.shape[0], *self.rest))


class _Concat(nn.Cell):  # type: ignore[misc]
    def __init__(self, axis: int) -> None:
        super().__init__()
        self.concat = ops.Concat(axis)

    def construct(self, *inputs: Any) -> Any:
        return self.concat(inputs)


class _GlobalAveragePool(nn.Cell):  # type: ignore[misc]
    def construct(self, x: Any) -> Any:
        return x.mean((2, 3), keep_dims=True)


def layer(place: Place) -> nn.Cell:
    """A layer with parameters, all its kernels zero; of a kernel that is split, one of its parts."""
    node, parts = place.node, len(place.paths)
    if node.op == "Conv" and not place.dense:
        out, per_group, *kernel = place.shape
        groups = int(node.attributes["group"]) // parts  # type: ignore[arg-type]
        return nn.Conv2d(
            per_group * groups, out // parts, tuple(kernel), ints(node, "strides"), group=groups, weight_init="zeros",
            has_bias=len(node.inputs) > 2, **_padding(node),
        )  # fmt: skip
    if node.op == "BatchNormalization":
        return nn.BatchNorm2d(place.shape[0], eps=node.attributes["epsilon"], momentum=0.9)
    return nn.Dense(place.shape[1], place.shape[0], weight_init="zeros", has_bias=len(node.inputs) > 2)


def _padding(node: Node) -> dict[str, Any]:
    if "auto_pad" in node.attributes:
        return {"pad_mode": "same"}
    top, left, bottom, right = ints(node, "pads")
    return {"pad_mode": "pad", "padding": (top, bottom, left, right)}


def _max_pool(node: Node) -> nn.Cell:
    window = {"kernel_size": ints(node, "kernel_shape"), "stride": ints(node, "strides")}
    if "auto_pad" in node.attributes:
        return nn.MaxPool2d(**window, pad_mode="same")
    if not node.attributes.get("ceil_mode", 0):
        return _PaddedMaxPool(window["kernel_size"], window["stride"], ints(node, "pads"))
    return nn.MaxPool2d(**window, pad_mode="pad", padding=_both_sides(node), ceil_mode=True)


def _clip(node: Node) -> nn.Cell:
    bounds = node.attributes["min"], node.attributes["max"]
    if bounds != (0.0, 6.0):
        raise NetworkError(f"{node.name} clips to {bounds}; our MindSpore networks have ReLU6 alone")
    return nn.ReLU6()


def _average_pool(node: Node) -> nn.Cell:
    kernel, strides, padding = ints(node, "kernel_shape"), ints(node, "strides"), _both_sides(node)
    ceil, count_pad = (bool(node.attributes.get(name, 0)) for name in ("ceil_mode", "count_include_pad"))
    if ceil and not count_pad and kernel == strides == (2, 2) and padding == (0, 0):
        # The same windows and counts; MindSpore has pad_mode="pad" on fewer devices.
        return nn.AvgPool2d(kernel, strides, pad_mode="same")
    return nn.AvgPool2d(kernel, strides, pad_mode="pad", padding=padding, ceil_mode=ceil, count_include_pad=count_pad)


def _both_sides(node: Node) -> tuple[int, int]:
    top, left, bottom, right = (-1, -1, 0, 0) if "auto_pad" in node.attributes else ints(node, "pads")
    if (top, left) != (bottom, right):
        raise NetworkError(f"{node.name}: MindSpore has no pool with unequal padding")
    return top, left


_OPERATORS: Mapping[str, Callable[[Node], nn.Cell]] = {
    "Relu": lambda _: nn.ReLU(),
    "Sigmoid": lambda _: nn.Sigmoid(),
    "Clip": lambda node: _clip(node),
    "Transpose": lambda node: _Transpose(ints(node, "perm")),
    "Reshape": lambda node: _Rows(ints(node, "shape")),
    "Concat": lambda node: _Concat(int(node.attributes["axis"])),  # type: ignore[arg-type]
    "Add": lambda _: ops.Add(),
    "Mul": lambda _: ops.Mul(),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda _: _GlobalAveragePool(),
    "Flatten": lambda node: nn.Flatten(start_dim=node.attributes["axis"]),
}


def whole(place: Place, layers: list[nn.Cell]) -> nn.Cell:
    """What runs the layers of a place as the one node that they stand for."""
    if place.dense:
        return _Dense((layers[0],))
    return layers[0] if len(layers) == 1 else _Split(tuple(layers))


def operator(node: Node) -> nn.Cell:
    """An operator without parameters."""
    return _OPERATORS[node.op](node)
