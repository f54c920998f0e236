"""Mistakes that conversions really make, as changes of a graph or of its parameters, spread over the layers.

Nothing here runs anything. What is drawn depends on the seed and the network only.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from ...mappings.architectures import Architecture
from ...mappings.graph import Graph, Module, Node
from ...mappings.traits import Traits

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
T = TypeVar("T")
# The check that must tell a mistake, whatever the outputs show: of the weights, of the traits, or of each layer.
Claim = Literal["weights", "traits", "layers"]


@dataclass(frozen=True, slots=True)
class Mutation:
    """One mistake, or a change that is none, which nothing claims.

    ``nodes`` stand for those of the graph, by name; ``edit`` gives other parameters, by canonical key, from ``keys``;
    ``padded`` names a value that gets a border of zeros.
    """

    name: str
    words: str
    claim: Claim | None
    nodes: Mapping[str, Node] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    edit: Callable[[Arrays], Arrays] | None = None
    padded: str = ""

    def graph(self, graph: Graph) -> Graph:
        """The graph with the mutation's nodes."""
        return replace(graph, nodes=tuple(self.nodes.get(node.name, node) for node in graph.nodes))

    def first(self, graph: Graph) -> int:
        """The position of the first node that computes otherwise."""
        return next(
            place for place, node in enumerate(graph.nodes)
            if node.name in self.nodes or set(node.inputs) & set(self.keys)
        )  # fmt: skip


def mutations(network: Architecture, traits: Traits, *, count: int, seed: int = 0) -> tuple[Mutation, ...]:
    """So many mistakes for a network, or all there are: those that concern the whole once, then layer after layer."""
    graph = network.graph(traits)
    kinds = _by_layer(graph, seed)
    return tuple(islice(chain(_everywhere(network, graph, traits), _in_turn(kinds)), count))


def harmless(network: Architecture, traits: Traits) -> tuple[Mutation, ...]:
    """Changes that a correct conversion may have, and that must pass."""
    graph = network.graph(traits)
    single = float(np.float32(traits.norm_eps))
    found = [_of_traits(network, graph, traits, {"norm_eps": single}, "epsilon rounded to float32", None)]
    pool = next((node for node in graph.nodes if node.op == "MaxPool" and "pads" in node.attributes), None)
    if pool is not None:
        bare = replace(pool, attributes={**pool.attributes, "pads": (0, 0, 0, 0)})
        found.append(Mutation(
            f"zeros around {pool.name}", f"{pool.name} is padded with zeros, not with minus infinity, behind a ReLU",
            None, {pool.name: bare}, padded=pool.inputs[0],
        ))  # fmt: skip
    return tuple(mutation for mutation in found if mutation.nodes)


def _everywhere(network: Architecture, graph: Graph, traits: Traits) -> Iterator[Mutation]:
    coarse, near = (float(f"{traits.norm_eps * factor:.6g}") for factor in (100, 1.001))
    other_stride = "1x1" if traits.bottleneck_stride == "3x3" else "3x3"
    other_pool = "same" if traits.stem_pool == "symmetric" else "symmetric"
    for values, words in (
        ({"norm_eps": coarse}, f"epsilon {coarse:.4g} everywhere"),
        ({"norm_eps": near}, f"epsilon {near:.4g} everywhere"),
        ({"bottleneck_stride": other_stride}, f"the stride in the {other_stride} convolution of bottlenecks"),
        ({"stem_pool": other_pool}, f"stem pool padded as {other_pool}"),
    ):
        mutation = _of_traits(network, graph, traits, values, words, "traits")
        if mutation.nodes:
            yield mutation
    pool = next((node for node in graph.nodes if node.op == "MaxPool"), None)
    if pool is not None:
        up = replace(pool, attributes={**pool.attributes, "ceil_mode": 1})
        yield Mutation("ceil_mode", f"{pool.name} rounds sizes up (ceil_mode)", "layers", {pool.name: up})
    stem = next((node for node in graph.nodes if node.op == "Conv" and node.inputs[0] == graph.input), None)
    if stem is not None:
        yield _reordered("RGB and BGR", f"red and blue mixed up in {stem.name}", stem.inputs[1], (2, 1, 0), axis=1)


def _of_traits(
    network: Architecture, graph: Graph, traits: Traits, values: Mapping[str, object], words: str, claim: Claim | None
) -> Mutation:
    """What other traits make of a graph; without nodes where they change nothing."""
    theirs = network.graph(traits.with_values(values))
    changed = {
        there.name: there for here, there in zip(graph.nodes, theirs.nodes, strict=True)
        if dict(here.attributes) != dict(there.attributes)
    }  # fmt: skip
    return Mutation(", ".join(f"{name}={value}" for name, value in values.items()), words, claim, changed)


def _in_turn(kinds: Sequence[Iterator[Mutation]]) -> Iterator[Mutation]:
    """One of each kind after the other, as long as there are any."""
    left = list(kinds)
    while left:
        for kind in tuple(left):
            mutation = next(kind, None)
            if mutation is None:
                left.remove(kind)
            else:
                yield mutation


def _by_layer(graph: Graph, seed: int) -> list[Iterator[Mutation]]:
    """Each kind of mistake of one layer, in every layer that can have it, in an order that is drawn."""
    norms = [node for node in graph.nodes if node.op == "BatchNormalization"]
    modules = {module.path: module for module in graph.modules}
    convs = [modules[node.name] for node in graph.nodes if node.op == "Conv" and node.name in modules]
    grouped = [module for module in convs if 1 < module.groups < module.parameters[0].shape[0]]
    return [
        map(_epsilon, _drawn(norms, seed, "epsilon")),
        map(_leaves, _drawn(norms, seed, "leaves")),
        (_channels(module, seed) for module in _drawn(grouped or convs, seed, "channels")),
        map(_groups, _drawn(grouped, seed, "groups")),
        (_zeroed(module, seed) for module in _drawn(convs, seed, "zero")),
    ]


def _epsilon(norm: Node) -> Mutation:
    eps = float(f"{10 * float(norm.attributes['epsilon']):.6g}")  # type: ignore[arg-type]
    other = replace(norm, attributes={**norm.attributes, "epsilon": eps})
    return Mutation(f"epsilon of {norm.name}", f"epsilon {eps:.4g} in {norm.name}", "layers", {norm.name: other})


def _leaves(norm: Node) -> Mutation:
    scale, shift = norm.inputs[1:3]
    return Mutation(
        f"leaves of {norm.name}", f"scale and shift mixed up in {norm.name}", "weights", keys=(scale, shift),
        edit=partial(_exchanged, scale, shift),
    )  # fmt: skip


def _channels(module: Module, seed: int) -> Mutation:
    rows = module.parameters[0].shape[0]
    width = rows // module.groups
    random = _random(seed, f"channels of {module.path}")
    first, second = (int(row) for row in random.permutation(width)[:2] + width * int(random.integers(module.groups)))
    order = list(range(rows))
    order[first], order[second] = second, first
    words = f"channels {first} and {second} swapped in {module.path}"
    return _reordered(f"channels of {module.path}", words, module.parameters[0].key, order)


def _groups(module: Module) -> Mutation:
    rows = module.parameters[0].shape[0]
    order = np.arange(rows).reshape(module.groups, -1).T.ravel().tolist()
    words = f"the permutation of groups missing in {module.path}"
    return _reordered(f"groups of {module.path}", words, module.parameters[0].key, order)


def _zeroed(module: Module, seed: int) -> Mutation:
    parameter = module.parameters[0]
    at = int(_random(seed, f"zero in {module.path}").integers(parameter.size))
    place = tuple(int(index) for index in np.unravel_index(at, parameter.shape))
    return Mutation(
        f"zero in {module.path}", f"one weight zeroed in {module.path}, at {list(place)}", "weights",
        keys=(parameter.key,), edit=partial(_set, parameter.key, place),
    )  # fmt: skip


def _reordered(name: str, words: str, key: str, order: Sequence[int], axis: int = 0) -> Mutation:
    return Mutation(name, words, "weights", keys=(key,), edit=partial(_taken, key, tuple(order), axis))


def _exchanged(first: str, second: str, arrays: Arrays) -> Arrays:
    return {first: arrays[second], second: arrays[first]}


def _taken(key: str, order: tuple[int, ...], axis: int, arrays: Arrays) -> Arrays:
    return {key: np.take(arrays[key], order, axis)}


def _set(key: str, place: tuple[int, ...], arrays: Arrays) -> Arrays:
    changed = arrays[key].copy()
    changed[place] = 0
    return {key: changed}


def _random(seed: int, what: str) -> np.random.Generator:
    key = hashlib.sha256(f"{seed}:{what}".encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def _drawn(items: Sequence[T], seed: int, what: str) -> list[T]:
    return [items[int(place)] for place in _random(seed, what).permutation(len(items))]
