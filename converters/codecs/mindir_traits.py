"""Traits read off the graph of a MINDIR: what its operators compute, whatever the names of its weights promise."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ...mappings.graph import Shape
from .mindir_parse import Operator, Value

# What hands a value on: the parameter that a convolution reads stands behind one of these.
_HANDS_ON = ("Load", "Depend", "Cast")
# Activations that no network of ours has; Sigmoid and HSigmoid are also gates of squeeze-and-excitation.
_ACTIVATIONS = (
    "ELU", "Elu", "GeLU", "HSwish", "LeakyReLU", "LogSoftmax", "Mish", "PReLU", "SiLU", "Softmax", "Softplus",
    "Swish", "Tanh",
)  # fmt: skip
_PAD_MODES: Mapping[Value, str] = {0: "pad", 1: "same", 2: "valid"}
_COLOURS = 3
# Inputs of BatchNorm where it is a function: x, scale, shift, mean, variance, then these.
_TRAINING, _EPSILON = 5, 6


@dataclass(frozen=True, slots=True)
class _Conv:
    """A convolution: kernel and stride of the last axis, how it pads, and whether it reads the picture."""

    kernel: int
    stride: int
    padding: str
    first: bool


class Structure:
    """The operators of a graph, by the values they make."""

    def __init__(self, operators: Iterable[Operator], shapes: Mapping[str, Shape]) -> None:
        self._operators = tuple(operators)
        self._makers = {operator.output: operator for operator in self._operators}
        self._shapes = shapes

    def traits(self) -> dict[str, object]:
        """Traits that the operators tell; where they disagree, a value that says so and is no trait's.

        Of ``norm_eps`` all epsilons are told: a network may fix those of some of its norms.
        """
        convs = list(self._convs())
        told: dict[str, list[Value | None]] = {
            "stem_pool": [self._pool_padding(operator) for operator in self._of("MaxPool", "MaxPool3DWithArgmax")],
            "padding": [conv.padding for conv in convs if conv.kernel > 1],
            "norm_eps": [self._constant(o, "epsilon", _EPSILON) for o in self._of("BatchNorm")],
            "bottleneck_stride": [_bottleneck_stride(convs)],
        }
        found: dict[str, object] = {}
        for name, values in told.items():
            distinct = list(dict.fromkeys(value for value in values if value is not None))
            if distinct:
                several = tuple(distinct) if name == "norm_eps" else " and ".join(map(str, distinct))
                found[name] = distinct[0] if len(distinct) == 1 else several
        return found

    @property
    def relu6s(self) -> int:
        """How often it computes ReLU6, which a detector's heads do and a ResNet does not."""
        return len(list(self._of("ReLU6")))

    def notes(self) -> tuple[str, ...]:
        """What in the graph no network of ours has."""
        notes = []
        strange = sorted({operator.op for operator in self._of(*_ACTIVATIONS)})
        if strange:
            notes.append(f"its graph computes {', '.join(strange)} too, which a ResNet's logits do not need: not kept")
        if any(self._constant(operator, "is_training", _TRAINING) for operator in self._of("BatchNorm")):
            notes.append("its BatchNorm is in training mode; the network is taken in inference mode")
        return tuple(notes)

    def _of(self, *ops: str) -> Iterator[Operator]:
        return (operator for operator in self._operators if operator.op in ops)

    def _convs(self) -> Iterator[_Conv]:
        for operator in self._of("Conv2D"):
            kernel, stride = (_last(operator.attributes.get(name)) for name in ("kernel_size", "stride"))
            shape = self._shapes.get(self._source(operator.inputs[1])) if len(operator.inputs) > 1 else None
            first = shape is not None and len(shape) == 4 and shape[1] == _COLOURS
            yield _Conv(kernel, stride, _padding(operator, kernel), first)

    def _pool_padding(self, pool: Operator) -> str:
        mode = _mode(pool)
        if mode == "same":
            return "same"
        kernel = _last(pool.attributes.get("kernel_size", pool.attributes.get("ksize")))
        if pool.op == "MaxPool3DWithArgmax":
            pads = _integers(pool.attributes.get("pads"))
        else:
            before = self._makers.get(self._source(pool.inputs[0])) if pool.inputs else None
            pads = self._paddings(before) if before is not None else ()
        if [size for size in pads if size] in ([kernel // 2] * 2, [kernel // 2] * 4):
            return "symmetric"
        return f"{mode} with pads {','.join(map(str, pads)) or 'of 0'}"

    def _paddings(self, operator: Operator) -> tuple[int, ...]:
        """What an operator before a pool pads."""
        if operator.op == "Pad":
            return _integers(operator.attributes.get("paddings"))
        return _integers(self._constant(operator, "paddings", 1)) if operator.op == "PadV3" else ()

    def _constant(self, operator: Operator, name: str, place: int) -> Value | None:
        """An argument: an attribute, or a constant input at its place."""
        if name in operator.attributes:
            return operator.attributes[name]
        maker = self._makers.get(operator.inputs[place]) if place < len(operator.inputs) else None
        return maker.attributes.get("value") if maker is not None and maker.op == "Constant" else None

    def _source(self, value: str) -> str:
        """Where a value comes from, behind operators that only hand it on; a parameter goes without its scope."""
        for _ in range(len(_HANDS_ON) + 1):
            maker = self._makers.get(value)
            if maker is None:
                return parameter_name(value)
            if maker.op not in _HANDS_ON or not maker.inputs:
                break
            value = maker.inputs[0]
        return value


def parameter_name(value: str) -> str:
    """A parameter's name without the scope before it."""
    return value.partition(":")[2] or value


def _bottleneck_stride(convs: Iterable[_Conv]) -> str | None:
    """Where blocks stride: in a 3x3 convolution, or, where none does, in the first 1x1 (shortcuts are 1x1 too)."""
    kernels = {conv.kernel for conv in convs if conv.stride == 2 and not conv.first}
    return "3x3" if 3 in kernels else "1x1" if 1 in kernels else None


def _padding(conv: Operator, kernel: int) -> str:
    mode, pads = _mode(conv), _integers(conv.attributes.get("pad"))
    if mode == "same":
        return "same"
    if mode == "pad" and set(pads) == {kernel // 2}:
        return "symmetric"
    return f"{mode} with pads {','.join(map(str, pads)) or 'of 0'}"


def _mode(operator: Operator) -> str:
    """How an operator pads: ``same``, ``valid`` or ``pad``; some versions have a number for it."""
    mode = operator.attributes.get("pad_mode", "pad" if operator.op == "MaxPool3DWithArgmax" else "valid")
    return mode.lower() if isinstance(mode, str) else _PAD_MODES.get(mode, str(mode))


def _last(value: Value | None) -> int:
    """The size on the last axis."""
    numbers = _integers(value)
    return numbers[-1] if numbers else 0


def _integers(value: Value | None) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) if isinstance(value, int) else ()
