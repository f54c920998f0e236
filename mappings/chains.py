"""A graph as nested chains: what runs one after the other, and branches that part and meet again.

Frameworks that compile a network handle nested blocks in seconds and a flat list of nodes in minutes. A graph with
several outputs, or whose branches do not nest, is a few such chains that read each other's values.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import MappingError
from .graph import Graph, Node

Chain = tuple["Node | Branches", ...]


class NestingError(MappingError):
    """A graph whose branches do not nest; ``value`` is where that shows, empty if nowhere in particular."""

    def __init__(self, message: str, *, value: str = "") -> None:
        super().__init__(message)
        self.value = value


@dataclass(frozen=True, slots=True)
class Branches:
    """Chains that start from one value and end in the inputs of ``node``; an empty one hands the value on."""

    node: Node
    chains: tuple[Chain, ...]


def chain(graph: Graph) -> Chain:
    """The graph from input to output as one chain; raises where branches do not nest.

    >>> from mshub_convert.mappings.architectures import architecture
    >>> steps = chain(architecture("resnet50").graph())
    >>> [step.op if isinstance(step, Node) else len(step.chains[0]) for step in steps][:6]
    ['Conv', 'BatchNormalization', 'Relu', 'MaxPool', 8, 'Relu']
    """
    steps = _Walk(graph).between(graph.input, graph.output)
    times = Counter(_names(steps))
    odd = next((node for node in graph.nodes if times[node.name] != 1), None)
    if odd is not None:
        fact = "the branches of the graph do not nest, or not all of them lead to its output"
        raise NestingError(fact, value=odd.output)
    return steps


@dataclass(frozen=True, slots=True)
class Segment:
    """Part of a graph: a chain from its one source to ``output``, or a single node that joins several sources."""

    sources: tuple[str, ...]
    steps: Chain
    output: str


def segments(graph: Graph) -> tuple[Segment, ...]:
    """The graph as chains in the order to run them: one, where all of it nests.

    What several of them read, and what the graph gives, is the output of one of them.
    """
    return _Cut(graph).segments()


def _names(steps: Chain) -> Iterator[str]:
    """Names of all nodes; one that stands in two branches comes twice."""
    for step in steps:
        if isinstance(step, Branches):
            for branch in step.chains:
                yield from _names(branch)
            yield step.node.name
        else:
            yield step.name


class _Walk:
    def __init__(self, graph: Graph) -> None:
        parameters = {parameter.key for parameter in graph.parameters}
        self.input = graph.input
        self.producers = {node.output: node for node in graph.nodes}
        self.sources = {node.output: [name for name in node.inputs if name not in parameters] for node in graph.nodes}
        self.forks: dict[str, str] = {}

    def between(self, start: str, end: str) -> Chain:
        steps: list[Node | Branches] = []
        value = end
        while value != start:
            node, sources = self.producers[value], self.sources[value]
            before = self.before(value)
            steps.append(node if len(sources) == 1 else Branches(node, tuple(self.between(before, s) for s in sources)))
            value = before
        return tuple(reversed(steps))

    def before(self, value: str) -> str:
        """The value from which everything goes to make this one: its source, or where its branches part."""
        if value not in self.sources:
            raise NestingError(f"no node of the graph makes {value}", value=value)
        sources = self.sources[value]
        if len(sources) == 1:
            return sources[0]
        if not sources:
            raise NestingError(f"{value} is made of constants alone", value=value)
        if value not in self.forks:
            first, *others = (self.spine(source) for source in sources)
            common = [name for name in first if all(name in other for other in others)]
            if not common:
                raise NestingError(f"the branches that meet in {value} do not part from one value", value=value)
            self.forks[value] = common[0]
        return self.forks[value]

    def spine(self, value: str) -> list[str]:
        """A value and those it goes back to, up to the input."""
        names = [value]
        while names[-1] != self.input:
            names.append(self.before(names[-1]))
        return names


class _Cut:
    """A graph cut into chains: between the values that more than one chain reads."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.walk = _Walk(graph)
        self.readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for source in dict.fromkeys(self.walk.sources[node.output]):
                self.readers.setdefault(source, []).append(node)
        self.outputs = {node.name: node.output for node in graph.nodes}
        # The value that nested branches part from, and the nodes between it and the node that joins them.
        self.parts = {node.output: found for node in graph.nodes if (found := self._nested(node)) is not None}

    def segments(self) -> tuple[Segment, ...]:
        kept = self._kept()
        found = []
        for node in self.graph.nodes:
            if node.output not in kept:
                continue
            sources = tuple(self.walk.sources[node.output])
            if self._is_loose(node):
                found.append(Segment(sources, (node,), node.output))
                continue
            start = self._before(node.output)
            while start not in kept:
                start = self._before(start)
            found.append(Segment((start,), self.walk.between(start, node.output), node.output))
        return tuple(found)

    def _kept(self) -> set[str]:
        """Values at which chains end: outputs, what joins without nesting reads and gives, what several read."""
        kept = {self.graph.input, *self.graph.outputs.values()}
        inside = {name for _, names in self.parts.values() for name in names}
        outer = [node for node in self.graph.nodes if node.output not in inside]
        read: Counter[str] = Counter()
        for node in outer:
            if self._is_loose(node):
                kept |= {node.output, *self.walk.sources[node.output]}
            else:
                read[self._before(node.output)] += 1
        return kept | {name for name, count in read.items() if count > 1}

    def _is_loose(self, node: Node) -> bool:
        return len(self.walk.sources[node.output]) > 1 and node.output not in self.parts

    def _before(self, value: str) -> str:
        return self.parts[value][0] if value in self.parts else self.walk.sources[value][0]

    def _nested(self, node: Node) -> tuple[str, frozenset[str]] | None:
        """Where the branches that meet in a node part and what is on them, if nothing else reads that."""
        if len(self.walk.sources[node.output]) < 2:
            return None
        start = self.walk.before(node.output)
        names = list(_names(self.walk.between(start, node.output)))
        inner = frozenset(names) - {node.name}
        made = {self.outputs[name] for name in inner}
        leaves = made & set(self.graph.outputs.values())
        read_outside = any(
            reader.name not in inner and reader is not node for value in made for reader in self.readers.get(value, ())
        )
        if leaves or read_outside or len(names) != len(inner) + 1:
            return None
        return start, frozenset(made)
