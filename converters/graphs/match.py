"""Walk a foreign chain beside ours, node by node: what of theirs is each parameter of ours, or where they part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations

from ...mappings.chains import Branches, Chain
from ...mappings.graph import Attribute, Node, Shape, ints
from .blocks import padding_style
from .errors import ForeignGraphError

# kernel of 3, stride 2, even input: a pool with no padding that rounds up sees what SAME_UPPER does.
_EVEN = "even"


@dataclass(frozen=True, slots=True)
class Layer:
    """A node of ours with parameters and the one of theirs; ``theirs`` is None for a BatchNorm that was folded away.

    Of a folded one, ``bias`` is the constant that the convolution before it adds instead (empty if none).
    """

    ours: Node
    theirs: Node | None
    bias: str = ""


@dataclass(slots=True)
class Match:
    """What was found: layers in order, and sizes of the input at which the two are one function.

    ``even`` names a node whose fixed pads stand for SAME_UPPER, which holds at even sizes only; ``pool`` is the window
    of an average pool that stands for a global one, which holds where it covers everything.
    """

    layers: list[Layer] = field(default_factory=list)
    even: str = ""
    pool: tuple[int, ...] | None = None

    def copied(self) -> "Match":
        """A copy to try something with."""
        return Match(list(self.layers), self.even, self.pool)


@dataclass(frozen=True, slots=True)
class Matcher:
    """``shapes`` are those of their constants and our parameters; ``told`` names their nodes."""

    shapes: Mapping[str, Shape]
    told: Mapping[str, str]

    def match(self, ours: Chain, theirs: Chain) -> Match:
        """Match whole chains; raises ForeignGraphError where they part."""
        found = Match()
        self._chain(ours, theirs, found)
        return found

    def _chain(self, ours: Chain, theirs: Chain, found: Match) -> None:
        left = list(theirs)
        after_conv: Node | None = None
        for step in ours:
            here = left[0] if left else None
            if isinstance(step, Branches):
                if not isinstance(here, Branches) or here.node.op != step.node.op:
                    raise self._parting(step.node, here, found)
                self._branches(step, here, found)
                left.pop(0)
                after_conv = None
                continue
            if step.op == "BatchNormalization" and after_conv is not None and not _is(here, step.op):
                # Folded: the convolution has its bias already.
                found.layers.append(Layer(step, None, _bias(after_conv)))
                after_conv = None
                continue
            if here is None or isinstance(here, Branches):
                raise self._parting(step, here, found)
            self._node(step, here, found)
            left.pop(0)
            after_conv = here if step.op == "Conv" else None
        if left:
            raise self._parting(None, left[0], found)

    def _branches(self, ours: Branches, theirs: Branches, found: Match) -> None:
        """Branches in whichever order fits; where none does, what got furthest is told."""
        furthest = ForeignGraphError("")
        for order in permutations(theirs.chains):
            trial = found.copied()
            try:
                if len(order) != len(ours.chains):
                    raise self._parting(ours.node, theirs, found)
                for own, other in zip(ours.chains, order, strict=True):
                    self._chain(own, other, trial)
            except ForeignGraphError as error:
                furthest = max(furthest, error, key=lambda failure: (bool(failure.message), failure.depth))
                continue
            found.layers, found.even, found.pool = trial.layers, trial.even, trial.pool
            return
        raise furthest

    def _node(self, ours: Node, theirs: Node, found: Match) -> None:
        if ours.op == "GlobalAveragePool" and theirs.op == "AveragePool" and _covers(theirs):
            found.pool = ints(theirs, "kernel_shape")
            return
        if ours.op != theirs.op:
            raise self._parting(ours, theirs, found)
        parameters = [name for name in ours.inputs if name in self.shapes]
        constants = [name for name in theirs.inputs if name in self.shapes]
        for own, other in zip(parameters, constants, strict=False):
            if self.shapes[own] != self.shapes[other]:
                fact = f"has weights of shape {list(self.shapes[other])} where {own} has {list(self.shapes[own])}"
                raise self._differs(theirs, fact, found)
        if len(constants) < len(parameters) and ours.op != "Gemm":
            raise self._differs(theirs, f"has {len(constants)} weights where {ours.name} has {len(parameters)}", found)
        for name, (mine, yours) in _attributes(ours, theirs).items():
            if mine != yours:
                if _EVEN in (mine, yours):
                    found.even = found.even or self.told[theirs.output]
                    continue
                raise self._differs(theirs, f"has {name}={_said(yours)} where {ours.name} has {_said(mine)}", found)
        if parameters:
            found.layers.append(Layer(ours, theirs))

    def _differs(self, theirs: Node, fact: str, found: Match) -> ForeignGraphError:
        return ForeignGraphError(f"{self.told[theirs.output]} {fact}", depth=len(found.layers))

    def _parting(self, ours: Node | None, theirs: "Node | Branches | None", found: Match) -> ForeignGraphError:
        node = theirs.node if isinstance(theirs, Branches) else theirs
        there = self.told[node.output] if node is not None else "the end"
        joins = "where branches meet, " if isinstance(theirs, Branches) else ""
        here = f"{ours.op} {ours.name}" if ours is not None else "nothing more"
        return ForeignGraphError(f"{joins}{there} stands where our network has {here}", depth=len(found.layers))


def _is(step: "Node | Branches | None", op: str) -> bool:
    return isinstance(step, Node) and step.op == op


def _bias(conv: Node) -> str:
    return conv.inputs[2] if len(conv.inputs) > 2 else ""


def _covers(pool: Node) -> bool:
    """Whether an average pool has one window without padding, so that it may be a global one."""
    return "auto_pad" not in pool.attributes and not any(ints(pool, "pads"))


def _attributes(ours: Node, theirs: Node) -> dict[str, tuple[object, object]]:
    """Attributes of both that say something, by name."""
    own, other = _plain(ours), _plain(theirs)
    pairs = {name: (own.get(name, 0), other.get(name, 0)) for name in {**own, **other}}
    if own.get("padding") == "same" and _same_when_even(theirs):
        pairs |= {"padding": (_EVEN, "fixed pads"), "ceil_mode": (0, 0)}
    return pairs


def _plain(node: Node) -> dict[str, object]:
    attributes: dict[str, Attribute] = dict(node.attributes)
    plain: dict[str, object] = {name: value for name, value in attributes.items() if name not in ("auto_pad", "pads")}
    if "auto_pad" in attributes or "pads" in attributes:
        plain["padding"] = _padding(node)
    return plain


def _padding(node: Node) -> object:
    """``same`` or the pads; at stride 1 with an odd window (or 1x1) ``same`` is so much on every side."""
    if "auto_pad" not in node.attributes:
        return ints(node, "pads")
    kernel, strides = ints(node, "kernel_shape"), ints(node, "strides")
    if kernel == (1, 1):
        return (0, 0, 0, 0)
    if strides == (1, 1) and all(size % 2 for size in kernel):
        return (kernel[0] // 2, kernel[1] // 2) * 2
    return "same"


def _same_when_even(node: Node) -> bool:
    return "auto_pad" not in node.attributes and padding_style(node) == "same"


def _said(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
