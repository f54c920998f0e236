"""Evaluate what a graph computes from constants alone, without reading tensors where their bytes stay as they are."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush

import numpy as np

from ..tensors import DTYPES, Array, Extent, TensorRef, TensorSpec
from .errors import ForeignGraphError
from .foreign import ForeignGraph, ForeignNode, Value

# ONNX's number of a data type, in the attribute of Cast.
CAST = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64", 16: "bfloat16"}
# A constant that is made, not stored, may be as large as the largest kernel there is, not as a hostile shape says.
_MADE_LIMIT = 1 << 28


@dataclass(slots=True)
class Constants:
    """Constants by name, and the names in the file that each was made of."""

    refs: dict[str, TensorRef] = field(default_factory=dict)
    origins: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def numbers(self, name: str) -> tuple[int, ...] | None:
        """A small constant of integers (a shape, axes), or None where it is none."""
        ref = self.refs.get(name)
        if ref is None or ref.spec.size > 64 or not ref.spec.dtype.startswith("int"):
            return None
        return tuple(int(value) for value in ref.read().reshape(-1))


def evaluate(graph: ForeignGraph) -> tuple[list[ForeignNode], Constants]:
    """The nodes that depend on the input, and all constants, those that nodes made among them."""
    constants = Constants(dict(graph.constants), {name: (name,) for name in graph.constants})
    left: list[ForeignNode] = []
    for node in ordered(graph.nodes):
        inputs = [name for name in node.inputs if name]
        if node.op == "CastLike" and inputs[0] in constants.refs and inputs[1] not in constants.refs:
            # Like a value of the network, which is of the weights' dtype: nothing is cast.
            node, inputs = replace(node, op="Identity"), inputs[:1]
        known = all(name in constants.refs for name in inputs)
        if node.domain or not known or node.op not in _RULES or (not inputs and node.op != "Constant"):
            left.append(node)
            continue
        refs = [constants.refs.get(name) if name else None for name in node.inputs]
        try:
            made = _RULES[node.op](node, refs)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ForeignGraphError(f"{node.told} makes no constant that can be evaluated: {error}") from None
        for name, ref in zip(node.outputs, made, strict=False):
            constants.refs[name] = ref
            constants.origins[name] = tuple(
                dict.fromkeys(origin for part in inputs for origin in constants.origins.get(part, ()))
            ) or (name,)
    return left, constants


def ordered(nodes: Sequence[ForeignNode]) -> Iterator[ForeignNode]:
    """Every node behind those it reads, else in the file's order, which need not be so (some converters' is not).

    Nodes that read each other come last, as they are: who looks at them finds that nothing makes what they read.
    """
    makers = {name: place for place, node in enumerate(nodes) for name in node.outputs if name}
    waiting = [
        {makers[name] for name in node.inputs if makers.get(name, place) != place} for place, node in enumerate(nodes)
    ]
    readers: dict[int, list[int]] = {}
    for place, needed in enumerate(waiting):
        for maker in needed:
            readers.setdefault(maker, []).append(place)
    ready = [place for place, needed in enumerate(waiting) if not needed]
    done: set[int] = set()
    while ready:
        place = heappop(ready)
        done.add(place)
        yield nodes[place]
        for reader in readers.get(place, ()):
            waiting[reader].discard(place)
            if not waiting[reader]:
                heappush(ready, reader)
    yield from (node for place, node in enumerate(nodes) if place not in done)


def reshaped(ref: TensorRef, shape: Sequence[int]) -> TensorRef:
    """The same bytes in another shape."""
    spec = replace(ref.spec, shape=tuple(shape))
    if spec.size != ref.spec.size:
        raise ValueError(f"{list(ref.spec.shape)} cannot be {list(shape)}")
    compute = ref.compute
    return TensorRef(spec, ref.extents, None if compute is None else (lambda: compute().reshape(spec.shape)))


def transposed(ref: TensorRef, axes: Sequence[int] | None = None) -> TensorRef:
    """A constant with its axes in another order (reversed by default)."""
    order = tuple(axes) if axes else tuple(reversed(range(len(ref.spec.shape))))
    shape = tuple(ref.spec.shape[axis] for axis in order)
    return TensorRef(replace(ref.spec, shape=shape), None, lambda: ref.read().transpose(order))


def joined(refs: Sequence[TensorRef]) -> TensorRef:
    """Constants one after the other on axis 0."""
    first = refs[0].spec
    if any((ref.spec.shape[1:], ref.spec.dtype) != (first.shape[1:], first.dtype) for ref in refs):
        raise ValueError("the parts differ in shape or dtype")
    spec = replace(first, shape=(sum(ref.spec.shape[0] for ref in refs), *first.shape[1:]))
    extents: list[Extent] = []
    for ref in refs:
        if ref.extents is None:
            return TensorRef(spec, None, lambda: np.concatenate([part.read() for part in refs]))
        extents += ref.extents
    return TensorRef(spec, tuple(extents))


def made(name: str, array: Array) -> TensorRef:
    """A small constant that is there already."""
    kind = array.dtype.newbyteorder("=").name
    return TensorRef(TensorSpec(name, array.shape, kind), None, lambda: array)


def _constant(node: ForeignNode, _: Sequence[TensorRef | None]) -> Iterable[TensorRef]:
    name = node.outputs[0]
    for key, value in node.attributes.items():
        if key == "value" and isinstance(value, TensorRef):
            return [replace(value, spec=replace(value.spec, name=name))]
        if key in ("value_int", "value_ints"):
            return [made(name, np.array(value, np.int64))]
        if key in ("value_float", "value_floats"):
            return [made(name, np.array(value, np.float32))]
    raise ValueError("it holds no tensor")


def _constant_of_shape(node: ForeignNode, refs: Sequence[TensorRef | None]) -> Iterable[TensorRef]:
    shape = tuple(int(size) for size in _first(refs).read().reshape(-1))
    value = node.attributes.get("value")
    dtype = value.spec.dtype if isinstance(value, TensorRef) else "float32"
    fill = value.read().reshape(-1)[0] if isinstance(value, TensorRef) else 0.0
    return [_full(node.outputs[0], shape, fill, dtype)]


def _full(name: str, shape: tuple[int, ...], fill: object, dtype: str) -> TensorRef:
    spec = TensorSpec(name, shape, dtype)
    if min(shape, default=1) < 0 or len(shape) > 8 or spec.size > _MADE_LIMIT:
        raise ValueError(f"a constant of shape {list(shape)}")
    return TensorRef(spec, None, lambda: np.full(shape, fill, DTYPES[dtype]))


def _same(_: ForeignNode, refs: Sequence[TensorRef | None]) -> Iterable[TensorRef]:
    return [_first(refs)]


def _cast(node: ForeignNode, refs: Sequence[TensorRef | None]) -> Iterable[TensorRef]:
    ref = _first(refs)
    if node.op == "CastLike":
        like = refs[1]
        dtype = like.spec.dtype if like is not None else ""
    else:
        dtype = CAST.get(number(node.attributes.get("to")), "")
    if dtype not in DTYPES:
        raise ValueError("a cast to an unknown data type")
    if dtype == ref.spec.dtype:
        return [ref]
    return [TensorRef(replace(ref.spec, dtype=dtype), None, lambda: ref.read().astype(DTYPES[dtype]))]


def _reshape(node: ForeignNode, refs: Sequence[TensorRef | None]) -> Iterable[TensorRef]:
    ref, shape = _first(refs), refs[1]
    wanted = [int(size) for size in shape.read().reshape(-1)] if shape is not None else []
    sizes = [ref.spec.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    if -1 in sizes:
        rest = int(np.prod([size for size in sizes if size != -1], dtype=np.int64))
        sizes[sizes.index(-1)] = ref.spec.size // max(rest, 1)
    return [reshaped(ref, sizes)]


def _squeeze(node: ForeignNode, refs: Sequence[TensorRef | None]) -> Iterable[TensorRef]:
    ref = _first(refs)
    axes = _axes(node, refs, [axis for axis, size in enumerate(ref.spec.shape) if size == 1], len(ref.spec.shape))
    return [reshaped(ref, [size for axis, size in enumerate(ref.spec.shape) if axis not in axes])]


def _unsqueeze(node: ForeignNode, refs: Sequence[TensorRef | None]) -> Iterable[TensorRef]:
    ref = _first(refs)
    raw = _axes(node, refs, [], 0)
    rank = len(ref.spec.shape) + len(raw)
    axes = {axis % rank for axis in raw}
    sizes = iter(ref.spec.shape)
    return [reshaped(ref, [1 if axis in axes else next(sizes) for axis in range(rank)])]


def _axes(node: ForeignNode, refs: Sequence[TensorRef | None], default: list[int], rank: int) -> list[int]:
    given = node.attributes.get("axes")
    if isinstance(given, tuple):
        axes = [int(axis) for axis in given]
    elif len(refs) > 1 and refs[1] is not None:
        axes = [int(axis) for axis in refs[1].read().reshape(-1)]
    else:
        return default
    return [axis % rank for axis in axes] if rank else axes


def _transpose(node: ForeignNode, refs: Sequence[TensorRef | None]) -> Iterable[TensorRef]:
    axes = node.attributes.get("perm")
    return [transposed(_first(refs), [int(axis) for axis in axes] if isinstance(axes, tuple) else None)]


def _expand(_: ForeignNode, refs: Sequence[TensorRef | None]) -> Iterable[TensorRef]:
    ref, wanted = _first(refs), refs[1]
    shape = np.broadcast_shapes(ref.spec.shape, tuple(int(size) for size in wanted.read().reshape(-1)))  # type: ignore[union-attr]
    spec = replace(ref.spec, shape=tuple(shape))
    if spec.size > _MADE_LIMIT:
        raise ValueError(f"a constant of shape {list(shape)}")
    return [TensorRef(spec, None, lambda: np.broadcast_to(ref.read(), shape))]


def _concat(node: ForeignNode, refs: Sequence[TensorRef | None]) -> Iterable[TensorRef]:
    given = [ref for ref in refs if ref is not None]
    axis = number(node.attributes.get("axis"))
    rank = len(given[0].spec.shape)
    if axis % max(rank, 1) == 0:
        return [joined(given)]
    return [made(node.outputs[0], np.concatenate([ref.read() for ref in given], axis))]


def _shape(node: ForeignNode, refs: Sequence[TensorRef | None]) -> Iterable[TensorRef]:
    shape = _first(refs).spec.shape
    start, end = number(node.attributes.get("start", 0)), number(node.attributes.get("end", len(shape)))
    return [made(node.outputs[0], np.array(shape[start:end], np.int64))]


def _gather(node: ForeignNode, refs: Sequence[TensorRef | None]) -> Iterable[TensorRef]:
    axis = number(node.attributes.get("axis", 0))
    indices = refs[1].read() if refs[1] is not None else np.zeros(0, np.int64)
    return [made(node.outputs[0], np.take(_small(_first(refs)), indices.astype(np.int64), axis))]


def _arithmetic(function: Callable[[Array, Array], Array]) -> "_Rule":
    def rule(node: ForeignNode, refs: Sequence[TensorRef | None]) -> Iterable[TensorRef]:
        first, second = (ref for ref in refs if ref is not None)
        return [made(node.outputs[0], np.asarray(function(_small(first), _small(second))))]

    return rule


def _small(ref: TensorRef) -> Array:
    if ref.spec.size > 1 << 16:
        raise ValueError(f"{ref.spec.name} is a tensor of {ref.spec.size} elements, which is not computed with")
    return ref.read()


def _first(refs: Sequence[TensorRef | None]) -> TensorRef:
    if not refs or refs[0] is None:
        raise ValueError("its first input is missing")
    return refs[0]


def number(value: Value | None) -> int:
    """An attribute that is one integer."""
    if not isinstance(value, int):
        raise ValueError(f"{value!r} is no integer")
    return value


_Rule = Callable[[ForeignNode, Sequence[TensorRef | None]], Iterable[TensorRef]]
_RULES: Mapping[str, _Rule] = {
    "Constant": _constant, "ConstantOfShape": _constant_of_shape, "Identity": _same, "Dropout": _same,
    "Cast": _cast, "CastLike": _cast, "Reshape": _reshape, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze,
    "Transpose": _transpose, "Expand": _expand, "Concat": _concat, "Shape": _shape, "Gather": _gather,
    "Add": _arithmetic(np.add), "Sub": _arithmetic(np.subtract), "Mul": _arithmetic(np.multiply),
    "Div": _arithmetic(np.divide),
}  # fmt: skip
