"""A walk over a foreign graph: what was made of it so far, in our terms, and what the rules share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...mappings.graph import Attribute, Node
from ..findings import Finding
from ..tensors import TensorRef
from .constants import Constants
from .errors import ForeignGraphError
from .foreign import ForeignNode, Value

# Height and width, as axes are told.
SPATIAL = ({2, 3}, {-1, -2}, {2, -1}, {3, -2})


@dataclass(slots=True)
class Walk:
    """What a graph has come to, node by node.

    ``alias`` gives for a value the one that stands for it, ``made`` the nodes in our terms by their output, ``told``
    their words for each; ``shapes`` are values that are shapes of others, ``pads`` those that padding makes (its
    source, sides and filling), ``splits`` parts of a value (its source, place and number); ``absorbed`` are nodes
    that went into others.
    """

    constants: Constants
    rules: Mapping[str, "Rule"]
    input: str
    output: str
    alias: dict[str, str] = field(default_factory=dict)
    made: dict[str, Node] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    notices: list[Finding] = field(default_factory=list)
    shapes: set[str] = field(default_factory=set)
    pads: dict[str, tuple[str, tuple[int, ...], float]] = field(default_factory=dict)
    splits: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    absorbed: set[str] = field(default_factory=set)
    casts: int = 0

    def at(self, name: str) -> str:
        """The value that stands for a name."""
        while name in self.alias:
            name = self.alias[name]
        return name

    def add(self, node: ForeignNode) -> None:
        """Take the next node."""
        inputs = [self.at(name) for name in node.inputs]
        if not node.outputs:
            raise ForeignGraphError(f"{node.told} has no output")
        self._check_order(node, inputs)
        output = node.outputs[0]
        self.told[output] = node.told
        if inputs and any(name in self.shapes for name in inputs) and node.op != "Reshape":
            self.shapes.update(node.outputs)
            return
        rule = self.rules.get(node.op)
        if rule is None:
            # Not ours; kept, so that the matching can say where the graph stops fitting.
            self.emit(node.op, output, *(name for name in inputs if name not in self.constants.refs))
            return
        try:
            rule(self, node, inputs)
        except ForeignGraphError:
            raise
        except (IndexError, TypeError, ValueError) as error:
            raise ForeignGraphError(f"{node.told} cannot be read: {error}") from None

    def _check_order(self, node: ForeignNode, inputs: Sequence[str]) -> None:
        """Nodes stand behind those they read, and make each value once: so no walk along them goes in circles."""
        known = (self.made, self.shapes, self.constants.refs, {"", self.input})
        for name in inputs:
            if not any(name in names for names in known):
                raise ForeignGraphError(f"{node.told} reads {name!r}, which nothing before it makes")
        for name in node.outputs:
            if name and any(name in names for names in (*known, self.alias)):
                raise ForeignGraphError(f"{node.told} makes {name!r}, which is there already")

    def emit(self, op: str, output: str, *inputs: str, **attributes: Attribute) -> None:
        """A node in our terms."""
        self.made[output] = Node(op, output, inputs, output, attributes)

    def constant(self, node: ForeignNode, name: str) -> str:
        """An input that must be a constant, because it is a weight."""
        if name not in self.constants.refs:
            raise ForeignGraphError(f"{node.told} computes with {name!r}, which is no constant: no weight of a network")
        return name

    def stated(self, node: ForeignNode, attribute: str, inputs: Sequence[str]) -> Value | None:
        """What an attribute says, or in newer opsets the second input in its place: a list of integers."""
        if len(inputs) > 1 and inputs[1]:
            return self.constants.numbers(inputs[1])
        return node.attributes.get(attribute)

    def derived(self, name: str, source: Sequence[str], ref: TensorRef) -> str:
        """A constant made of others."""
        self.constants.refs[name] = ref
        origins = (origin for part in source for origin in self.constants.origins.get(part, ()))
        self.constants.origins[name] = tuple(dict.fromkeys(origins))
        return name

    def padding(self, value: str, node: ForeignNode, fill: float | None) -> tuple[str, tuple[int, ...]]:
        """The value behind a Pad node, and its pads: those of a convolution must be zeros.

        A maximum may be padded with anything that no value is below: after a ReLU also zeros.
        """
        if value not in self.pads:
            return value, (0, 0, 0, 0)
        source, pads, filled = self.pads[value]
        self.absorbed.add(value)
        relu = source in self.made and self.made[source].op == "Relu"
        if filled != fill and not (fill is None and (filled < -1e30 or (filled == 0 and relu))):
            raise ForeignGraphError(f"the values before {node.told} are padded with {filled}: another function")
        return source, pads

    def logits(self, output: str) -> str:
        """The value before a softmax; other outputs beside the first are not looked at."""
        node = self.made.get(output)
        while node is not None and node.op in ("Softmax", "LogSoftmax"):
            self.notices.append(Finding(
                "softmax", f"{self.told[output]} at the end is left out: networks of ours end with the logits"
            ))  # fmt: skip
            output = node.inputs[0]
            node = self.made.get(output)
        return output

    def needed(self, output: str) -> tuple[list[Node], list[str]]:
        """The nodes that lead to the output, in order, and what the others are called."""
        needed = {output}
        kept: list[Node] = []
        unused: list[str] = []
        for node in reversed(self.made.values()):
            if node.output in needed:
                kept.append(node)
                needed.update(node.inputs)
            elif node.output not in self.absorbed:
                unused.append(self.told[node.output])
        return list(reversed(kept)), unused


def ints_of(node: ForeignNode, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """An attribute that is a list of integers; raises where it is something else."""
    value: Value = node.attributes.get(name, default)
    if not isinstance(value, tuple) or not all(isinstance(item, int) for item in value):
        raise ForeignGraphError(f"{node.told} has {name}={value!r}")
    return tuple(int(item) for item in value)


Rule = Callable[[Walk, ForeignNode, list[str]], None]
