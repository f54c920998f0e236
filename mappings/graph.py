"""The graph of a network: modules with parameters, and nodes in ONNX's operator terms."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

Shape = tuple[int, ...]
Attribute = int | float | str | tuple[int, ...]

# The leaves of a module, by what the module is.
LEAVES: Mapping[str, tuple[str, ...]] = {
    "conv": ("kernel",),
    "linear": ("kernel", "bias"),
    "squeeze": ("kernel", "bias"),
    "predictor": ("kernel", "bias"),
    "norm": ("scale", "shift", "mean", "var", "count"),
}


class Lookup(Protocol):
    """Finds the shape that a file has for a canonical parameter, or None where it has no such tensor."""

    def __call__(self, pattern: str, leaf: str, **indices: int) -> Shape | None:
        """Look up ``leaf`` of the module ``pattern`` (``stages.{s}.{b}.conv{k}``) at these indices."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One tensor of the network: canonical key, shape, and what it is for.

    ``dtype`` is ``float32`` but for BatchNorm counters (``int64``, shape ``()``), which no node reads.
    """

    key: str
    module: str
    leaf: str
    shape: Shape
    dtype: str = "float32"

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def trainable(self) -> bool:
        """Whether an optimiser would change it (running statistics and counters are buffers)."""
        return self.leaf not in ("mean", "var", "count")


@dataclass(frozen=True, slots=True)
class Module:
    """A named group of parameters.

    ``path`` is the canonical path (``stages.2.4.conv2``), ``pattern`` the same with variables for the numbers
    (``stages.{s}.{b}.conv{k}``) and ``indices`` their values. ``closes_branch`` marks the last norm of a residual
    branch; ``groups`` is the cardinality of a convolution; ``prior`` is the probability that an output of a classifier
    has before training, where training starts from one (Lin et al. 2017, arXiv:1708.02002).
    """

    path: str
    pattern: str
    indices: Mapping[str, int]
    kind: str
    parameters: tuple[Parameter, ...]
    groups: int = 1
    closes_branch: bool = False
    prior: float = 0.5


@dataclass(frozen=True, slots=True)
class Node:
    """One operator, in ONNX's terms; ``name`` is unique, inputs are values or parameter keys."""

    op: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Graph:
    """A whole network.

    ``outputs`` name the values it gives: ``head``, the logits, for a classifier. ``taps`` name those worth looking at,
    from stem to outputs.
    """

    modules: tuple[Module, ...]
    nodes: tuple[Node, ...]
    input: str
    outputs: Mapping[str, str]
    channels: int
    taps: Mapping[str, str]

    @property
    def output(self) -> str:
        """The value of the only output; raises where there are several."""
        if len(self.outputs) != 1:
            raise ValueError(f"the graph has the outputs {', '.join(self.outputs) or 'none'}, not one")
        return next(iter(self.outputs.values()))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters, in the order of the modules."""
        return tuple(parameter for module in self.modules for parameter in module.parameters)

    def shapes(self, height: int, width: int) -> dict[str, Shape]:
        """Shape of every value for one image of this size, without the batch axis."""
        known: dict[str, Shape] = {self.input: (self.channels, height, width)}
        for parameter in self.parameters:
            known[parameter.key] = parameter.shape
        for node in self.nodes:
            known[node.output] = _output_shape(node, [known[name] for name in node.inputs])
        return known

    def macs(self, height: int = 224, width: int = 224) -> int:
        """Multiply-adds of the convolutions and linear layers for one image, biases not counted."""
        shapes = self.shapes(height, width)
        return sum(
            math.prod(shapes[node.output]) * math.prod(shapes[node.inputs[1]][1:])
            for node in self.nodes
            if node.op in ("Conv", "Gemm")
        )

    def flops_mmcv(self, height: int = 224, width: int = 224) -> int:
        """Operations for one image as mmcv's counter has them, the figure that mmcls publishes as FLOPs.

        Multiply-adds, plus the additions of biases, two operations an element for BatchNorm, and one an element for
        ReLU (of its output) and for pooling (of its input); sigmoids and products are not counted.
        """
        shapes = self.shapes(height, width)
        extra = 0
        for node in self.nodes:
            if node.op == "BatchNormalization":
                extra += 2 * math.prod(shapes[node.output])
            elif node.op == "Relu":
                extra += math.prod(shapes[node.output])
            elif node.op in ("MaxPool", "AveragePool", "GlobalAveragePool"):
                extra += math.prod(shapes[node.inputs[0]])
            elif node.op in ("Conv", "Gemm") and len(node.inputs) > 2:
                extra += math.prod(shapes[node.output])
        return self.macs(height, width) + extra


def pads(node: Node, height: int, width: int) -> tuple[int, int, int, int]:
    """Padding of a convolution or pool as (top, left, bottom, right) for this input size.

    ``auto_pad=SAME_UPPER`` pads to ceil(input / stride) outputs, the odd row below and to the right.
    """
    if node.attributes.get("auto_pad") != "SAME_UPPER":
        top, left, bottom, right = ints(node, "pads")
        return top, left, bottom, right
    (kernel_h, kernel_w), (stride_h, stride_w) = ints(node, "kernel_shape"), ints(node, "strides")
    total_h = max((-(-height // stride_h) - 1) * stride_h + kernel_h - height, 0)
    total_w = max((-(-width // stride_w) - 1) * stride_w + kernel_w - width, 0)
    return total_h // 2, total_w // 2, total_h - total_h // 2, total_w - total_w // 2


def ints(node: Node, attribute: str) -> tuple[int, ...]:
    """An attribute that is a list of integers."""
    value = node.attributes[attribute]
    if not isinstance(value, tuple):
        raise TypeError(f"{node.name}: {attribute} is {value!r}, not a list of integers")
    return value


def _output_shape(node: Node, inputs: list[Shape]) -> Shape:
    first = inputs[0]
    if node.op in ("BatchNormalization", "Relu", "Clip", "Sigmoid", "Add"):
        return first
    if node.op == "Transpose":  # the batch stays first
        return tuple(first[axis - 1] for axis in ints(node, "perm")[1:])
    if node.op == "Reshape":
        return _reshaped(first, ints(node, "shape")[1:])
    if node.op == "Concat":
        axis = int(node.attributes["axis"]) - 1  # type: ignore[arg-type]
        return (*first[:axis], sum(shape[axis] for shape in inputs), *first[axis + 1 :])
    if node.op == "Mul":  # a factor of one row or column counts for all
        return tuple(max(sizes) for sizes in zip(*inputs, strict=True))
    if node.op == "GlobalAveragePool":
        return (first[0], 1, 1)
    if node.op == "Flatten":
        return (math.prod(first),)
    if node.op == "Gemm":
        return (inputs[1][0],)
    if node.op in ("Conv", "MaxPool", "AveragePool"):
        channels = inputs[1][0] if node.op == "Conv" else first[0]
        return (channels, *_window_sizes(node, first[1], first[2]))
    raise NotImplementedError(f"no shape rule for operator {node.op}")


def _reshaped(shape: Shape, wanted: Shape) -> Shape:
    """The sizes asked for, of which one may be -1: what is left."""
    known = math.prod(size for size in wanted if size > 0)
    return tuple(math.prod(shape) // known if size < 0 else size for size in wanted)


def _window_sizes(node: Node, height: int, width: int) -> Iterable[int]:
    top, left, bottom, right = pads(node, height, width)
    ceil = bool(node.attributes.get("ceil_mode", 0))
    kernels, strides = ints(node, "kernel_shape"), ints(node, "strides")
    windows = zip((height, width), (top, left), (bottom, right), kernels, strides, strict=True)
    for size, before, after, kernel, stride in windows:
        span = size + before + after - kernel
        count = (-(-span // stride) if ceil else span // stride) + 1
        # As torch and ONNX have it: the last window must start inside the input or its leading padding.
        if ceil and (count - 1) * stride >= size + before:
            count -= 1
        yield count
