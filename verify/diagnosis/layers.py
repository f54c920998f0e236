"""Every layer of a target compared by itself: on the inputs that it got there, with the source's in float64.

One pass over the source's graph. Where the target's value is known it takes the place of the computed one, so that what
one layer does wrong is not blamed on those after it, and whatever values are known localise as finely as they can.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...mappings.graph import Graph, Node
from ..networks.exact import apply

Array = npt.NDArray[Any]

# A layer is wrong that is further from float64 than this many times its own rounding in NumPy's float32. Libraries,
# which sum in other orders and convolve through transforms, were up to 5 times as far.
WRONG_ABOVE = 20.0
# Rounding that is assumed at least, relative to the values of a typical channel: single precision, and half.
FLOOR, HALF_FLOOR = 1e-7, 1e-3


@dataclass(frozen=True, slots=True)
class Segment:
    """The nodes that lead to a value from values that are known: usually one, more where those between are hidden.

    ``given`` are the values that they start from.
    """

    nodes: tuple[Node, ...]
    given: Mapping[str, Array]

    def run(self, parameter: Callable[[str], Array], changed: Mapping[str, Node] | None = None) -> Array:
        """The last node's output; ``changed`` has nodes that stand for others, by name."""
        known = dict(self.given)
        for node in self.nodes:
            node = (changed or {}).get(node.name, node)
            known[node.output] = _applied(node, [known[n] if n in known else parameter(n) for n in node.inputs])
        return known[self.nodes[-1].output]


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a value of the target is from what the source's layers make of the target's own inputs.

    ``error`` is the relative L2 distance, that of the worst channel relative to a typical one; ``floor`` is what
    float32 costs there. Infinite where the shapes differ. ``value`` is the target's.
    """

    segment: Segment
    expected: Array
    value: Array
    error: float
    floor: float

    @property
    def limit(self) -> float:
        """The largest error that is rounding."""
        return WRONG_ABOVE * self.floor

    @property
    def wrong(self) -> bool:
        """Whether the layers between compute something else. True for NaN."""
        return not self.error <= self.limit


@dataclass(slots=True)
class _Known:
    """A value on the way, or None where there is nothing to compute it from: shapes that do not go together, NaN."""

    exact: Array | None
    single: Array | None
    segment: Segment | None = None


def deviations(
    graph: Graph,
    parameter: Callable[[str], Array],
    watched: Mapping[str, Array],
    pictures: Array,
    *,
    half: bool = False,
) -> Iterator[Deviation]:
    """One for each value of the graph that was watched, in order; ``parameter`` gives the source's by key."""
    known = {graph.input: _Known(pictures.astype(np.float64), pictures.astype(np.float32))}
    last_use = {name: node.name for node in graph.nodes for name in node.inputs}
    for node in graph.nodes:
        computed = _computed(node, known, parameter)
        theirs = watched.get(node.output)
        if theirs is not None:
            if computed.exact is not None and computed.segment is not None:
                yield _compared(computed, theirs, HALF_FLOOR if half else FLOOR)
            computed = _Known(theirs.astype(np.float64), theirs.astype(np.float32))
        known[node.output] = computed
        for name in node.inputs:
            if last_use[name] == node.name:
                known.pop(name, None)


def _computed(node: Node, known: Mapping[str, _Known], parameter: Callable[[str], Array]) -> _Known:
    values = {name: known[name] for name in node.inputs if name in known}
    # What NaN goes into tells nothing of the layer: frameworks differ in what they make of it.
    if any(value.exact is None or not np.isfinite(value.exact).all() for value in values.values()):
        return _Known(None, None)
    parameters = {name: parameter(name) for name in node.inputs if name not in values}
    before: dict[str, Node] = {}
    given: dict[str, Array] = {}
    for name, value in values.items():
        if value.segment is not None:
            before |= {other.name: other for other in value.segment.nodes}
            given |= value.segment.given
        elif value.exact is not None:
            given[name] = value.exact
    inputs = [values[name].exact if name in values else parameters[name].astype(np.float64) for name in node.inputs]
    low = [values[name].single if name in values else parameters[name].astype(np.float32) for name in node.inputs]
    try:
        exact, single = _applied(node, inputs), _applied(node, low)
    except ValueError:  # two hidden branches, one of them of the target's size and one of the source's
        return _Known(None, None)
    return _Known(exact, single, Segment((*before.values(), node), given))


def _applied(node: Node, inputs: Sequence[Array | None]) -> Array:
    """A node's output, whatever NaN a wrong parameter makes of it."""
    with np.errstate(all="ignore"):
        return apply(node, [value for value in inputs if value is not None])


def _compared(computed: _Known, theirs: Array, least: float) -> Deviation:
    if computed.exact is None or computed.single is None or computed.segment is None:
        raise ValueError("a value that was not computed cannot be compared")
    own = distance(computed.single, computed.exact)
    return Deviation(
        computed.segment, computed.exact, theirs, distance(theirs, computed.exact), max(own, least)
    )  # fmt: skip


def distance(theirs: Array, exact: Array) -> float:
    """The L2 distance of the worst channel (axis 1), relative to the root mean square of all channels' norms.

    Infinite where shapes differ, NaN where one side alone is not finite.
    """
    if theirs.shape != exact.shape:
        return float("inf")
    axes = tuple(axis for axis in range(exact.ndim) if axis != 1)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = theirs.astype(np.float64) - exact
        broken = ~np.isfinite(exact)
        if broken.any():  # NaN is as good as NaN
            same = (theirs == exact) | (np.isnan(theirs) & np.isnan(exact))
            apart[broken & same] = 0.0
            exact = np.where(broken, 0.0, exact)
        typical = float(np.sqrt(np.square(exact).sum(axes).mean()))
        return float(np.sqrt(np.square(apart).sum(axes)).max() / max(typical, np.finfo(np.float64).tiny))
