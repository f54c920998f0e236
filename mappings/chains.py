"""A graph as nested chains: what runs one after the other, and branches that part and meet again.

Frameworks that compile a network handle nested blocks in seconds and a flat list of nodes in minutes.
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
