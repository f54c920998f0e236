"""What a layer may compute instead of what it should, tried one after the other until one explains what it gave.

For layers whose parameters are right, or hidden. A hypothesis counts only if it brings the error to the rounding floor.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ...mappings.graph import Graph, Node, ints
from ...mappings.names import listed
from .layers import Deviation, distance
from .matching import nearest_rows, spans, told

Array = npt.NDArray[Any]
Parameter = Callable[[str], Array]

# How many channels may be off for their numbers to be told.
_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Cause:
    """What is wrong: ``kind`` in a word, ``layer`` the node, and ``said`` of it in words, without a subject."""

    kind: str
    layer: str
    said: str


def explain(deviation: Deviation, parameter: Parameter, target: Graph) -> Cause | None:
    """The first hypothesis that explains a value; ``target`` is the graph with the traits of the target.

    ``parameter`` gives the target's own where they are known, so that only what they leave open is explained.
    """
    tries = itertools.chain(
        _traits(deviation, target), _attributes(deviation), _epsilon(deviation, parameter),
        _leaves(deviation, parameter), _replaced(deviation, parameter),
    )  # fmt: skip
    for cause, changed, arrays in tries:
        other = partial(_either, arrays, parameter)
        try:
            found = deviation.segment.run(other, {node.name: node for node in changed})
        except ValueError:  # shapes that do not go together
            continue
        if distance(deviation.value, found) <= deviation.limit:
            return cause
    return next(filter(None, _by_the_values(deviation, parameter)), None)


# A cause, the nodes and the parameters that stand for those there are.
_Try = tuple[Cause, tuple[Node, ...], Mapping[str, Array]]


def _either(arrays: Mapping[str, Array], parameter: Parameter, key: str) -> Array:
    return arrays[key] if key in arrays else parameter(key)


def _traits(deviation: Deviation, target: Graph) -> Iterator[_Try]:
    """What the target's traits, which are not the source's, make of these layers."""
    theirs = {node.name: node for node in target.nodes}
    changed = [
        theirs[node.name] for node in deviation.segment.nodes
        if node.name in theirs and dict(theirs[node.name].attributes) != dict(node.attributes)
    ]  # fmt: skip
    if changed:
        ours = {node.name: node for node in deviation.segment.nodes}
        said = "; ".join(_attributes_told(node, ours[node.name]) for node in changed)
        yield Cause("traits", listed([node.name for node in changed]), said), tuple(changed), {}


def _attributes(deviation: Deviation) -> Iterator[_Try]:
    """Other strides, paddings and roundings of windows."""
    for node in deviation.segment.nodes:
        if "kernel_shape" not in node.attributes:
            continue
        kept = {name: value for name, value in node.attributes.items() if name not in _PADDING}
        half = tuple(side // 2 for side in ints(node, "kernel_shape"))
        paddings: list[dict[str, Any]] = [
            {name: node.attributes[name] for name in _PADDING if name in node.attributes},
            {"auto_pad": "SAME_UPPER"}, {"pads": (*half, *half)}, {"pads": (0, 0, 0, 0)},
        ]  # fmt: skip
        roundings = ({}, {"ceil_mode": 1}, {"ceil_mode": 0}) if node.op != "Conv" else ({},)
        others = [
            replace(node, attributes={**kept, **padding, "strides": strides, **rounding})
            for strides, padding, rounding in itertools.product(((1, 1), (2, 2)), paddings, roundings)
        ]
        # The fewest changes that explain it come first.
        for other in sorted(others, key=lambda other: len(_changes(other, node))):
            if _changes(other, node):
                yield Cause("window", node.name, _attributes_told(other, node)), (other,), {}


_PADDING = ("pads", "auto_pad")


def _changes(theirs: Node, ours: Node) -> list[tuple[str, str, str]]:
    """What differs in how two nodes compute: which attribute, theirs and ours in words."""
    here, there = _attributes_of(theirs), _attributes_of(ours)
    names = sorted({*here, *there})
    return [
        (name, here.get(name, "none"), there.get(name, "none")) for name in names if here.get(name) != there.get(name)
    ]


def _attributes_of(node: Node) -> dict[str, str]:
    """Attributes in words: padding is one, and what has no say is left out."""
    said = {_WORDS.get(name, name): _told(value) for name, value in node.attributes.items() if name not in _PADDING}
    if "kernel_shape" in node.attributes:
        said["padding"] = "`same`" if "auto_pad" in node.attributes else _told(node.attributes["pads"])
        said["rounding of sizes"] = "up (ceil_mode)" if node.attributes.get("ceil_mode", 0) else "down"
        said.pop("ceil_mode", None)
    return said


def _attributes_told(theirs: Node, ours: Node) -> str:
    """How the attributes of a node differ, in words."""
    return "has " + ", ".join(
        f"{name} {one} where the source has {other}" for name, one, other in _changes(theirs, ours)
    )


_WORDS = {"strides": "stride", "kernel_shape": "kernel", "group": "groups"}


def _told(value: Any) -> str:
    if isinstance(value, tuple):
        return str(value[0]) if len(set(value)) == 1 else str(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _epsilon(deviation: Deviation, parameter: Parameter) -> Iterator[_Try]:
    """Another epsilon of a BatchNorm, from how much each channel was amplified; and statistics of the batch."""
    norm = _last(deviation, "BatchNormalization")
    if norm is None:
        return
    x = _before(deviation, norm, parameter)
    scale, shift, mean, var = (parameter(key).astype(np.float64) for key in norm.inputs[1:])
    axes = (0, 2, 3)
    centred = x - mean[:, None, None]
    if x.shape == deviation.value.shape:
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = ((deviation.value - shift[:, None, None]) * centred).sum(axes) / np.square(centred).sum(axes)
            fitted = (scale / gain) ** 2 - var
        # Where the variance is small epsilon shows best.
        known = np.isfinite(fitted)
        if known.any():
            order = np.argsort(var[known])
            best = float(np.median(fitted[known][order[: max(len(order) // 4, 1)]]))
            ours = float(norm.attributes["epsilon"])  # type: ignore[arg-type]
            for epsilon in (float(f"{best:.1g}"), float(f"{best:.3g}"), best):
                if epsilon >= 0 and epsilon != ours:
                    other = replace(norm, attributes={**norm.attributes, "epsilon": epsilon})
                    yield Cause("epsilon", norm.name, _attributes_told(other, norm)), (other,), {}
    batch = dict(zip(norm.inputs[3:], (x.mean(axes), x.var(axes)), strict=True))
    said = "normalises with the statistics of the batch, not its own (training mode)"
    yield Cause("training", norm.name, said), (), batch


def _leaves(deviation: Deviation, parameter: Parameter) -> Iterator[_Try]:
    """Leaves of a BatchNorm in each other's place."""
    norm = _last(deviation, "BatchNormalization")
    if norm is None:
        return
    leaves = norm.inputs[1:]
    for order in itertools.permutations(range(4)):
        moved = {leaves[to]: leaves[at] for to, at in enumerate(order) if to != at}
        if moved:
            names = [f"{at.rpartition('.')[2]} as {to.rpartition('.')[2]}" for to, at in moved.items()]
            cause = Cause("leaves", norm.name, f"uses {', '.join(names)}")
            yield cause, (), {to: parameter(at) for to, at in moved.items()}


def _replaced(deviation: Deviation, parameter: Parameter) -> Iterator[_Try]:
    """Kernels turned, red and blue mixed up, a bias left out, another pool."""
    for node in deviation.segment.nodes:
        if node.op == "Conv":
            kernel = parameter(node.inputs[1])
            for said, turned in (
                ("turns its kernels by 180 degrees (a convolution, not a correlation)", kernel[:, :, ::-1, ::-1]),
                ("has height and width of its kernels in each other's place", kernel.swapaxes(2, 3)),
                ("gets its input channels in reverse order (for the stem: RGB and BGR)", kernel[:, ::-1]),
            ):
                yield Cause("kernel", node.name, said), (), {node.inputs[1]: turned}
        elif node.op == "Gemm" and len(node.inputs) > 2:
            bias = np.zeros_like(parameter(node.inputs[2]))
            yield Cause("bias", node.name, "leaves out its bias"), (), {node.inputs[2]: bias}
        elif node.op == "MaxPool":
            attributes = {name: value for name, value in node.attributes.items() if name != "ceil_mode"}
            other = replace(node, op="AveragePool", attributes=attributes)
            yield Cause("operator", node.name, "takes averages, not maxima"), (other,), {}


def _last(deviation: Deviation, op: str) -> Node | None:
    return next((node for node in reversed(deviation.segment.nodes) if node.op == op), None)


def _before(deviation: Deviation, node: Node, parameter: Parameter) -> Array:
    """What a node of the segment gets."""
    name, nodes = node.inputs[0], deviation.segment.nodes
    if name in deviation.segment.given:
        return deviation.segment.given[name]
    upto = next(place for place, other in enumerate(nodes) if other.output == name)
    return replace(deviation.segment, nodes=nodes[: upto + 1]).run(parameter)


def _by_the_values(deviation: Deviation, parameter: Parameter) -> Iterator[Cause | None]:
    """What the values alone show, whatever the layer is: channels permuted, scaled, shifted, or some wrong."""
    try:
        ours = deviation.segment.run(parameter)
    except ValueError:
        return
    theirs, name = deviation.value, deviation.segment.nodes[-1].name
    if theirs.shape != ours.shape:
        shapes = "x".join(map(str, theirs.shape[1:])), "x".join(map(str, ours.shape[1:]))
        yield Cause("shape", name, f"gives {shapes[0]} where the source gives {shapes[1]}")
        return
    if not np.isfinite(theirs).all():
        yield Cause("not finite", name, "gives NaN or Inf")
        return
    rows, expected = (np.moveaxis(a, 1, 0).reshape(a.shape[1], -1).astype(np.float64) for a in (theirs, ours))
    typical = float(np.sqrt(np.square(expected).sum(1).mean()))

    def fits(made: Array) -> bool:
        return bool(np.sqrt(np.square(made - rows).sum(1)).max() <= deviation.limit * typical)

    mapping = nearest_rows(expected, rows)
    if fits(expected[mapping]):
        groups = [n.attributes.get("group", 1) for n in deviation.segment.nodes if n.op == "Conv"] or [1]
        yield Cause("channels", name, told(mapping, int(groups[-1]), "output channels"))  # type: ignore[arg-type]
    factor = float((rows * expected).sum() / max(float(np.square(expected).sum()), np.finfo(np.float64).tiny))
    if fits(expected * factor):
        yield Cause("scaled", name, f"gives {factor:.6g} times what it should")
    wrong = np.flatnonzero(np.sqrt(np.square(expected - rows).sum(1)) > deviation.limit * typical)
    if len(wrong) <= _SHARE * len(rows):
        yield Cause("rows", name, f"is wrong in {len(wrong)} of {len(rows)} channels ({spans(wrong.tolist())})")
    middle = expected.mean(1, keepdims=True)
    spread = np.maximum(np.square(expected - middle).sum(1, keepdims=True), np.finfo(np.float64).tiny)
    gain = ((rows - rows.mean(1, keepdims=True)) * (expected - middle)).sum(1, keepdims=True) / spread
    if expected.shape[1] > 2 and fits(rows.mean(1, keepdims=True) + gain * (expected - middle)):
        yield Cause("affine", name, "scales and shifts every channel otherwise, as a BatchNorm of other values does")
