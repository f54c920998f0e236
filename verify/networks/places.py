"""Where a dialect puts the layers of a graph: which node computes with which named tensors."""

from collections.abc import Mapping
from dataclasses import dataclass

from ...mappings.dialects import Grounding
from ...mappings.graph import Graph, Module, Node, Shape
from ..errors import LoadError, NetworkError

# What the networks compute with; anything else in a graph would be another function, so it is refused.
_WINDOW = {"kernel_shape", "strides", "pads", "auto_pad"}
_ATTRIBUTES: Mapping[str, set[str]] = {
    "Conv": _WINDOW | {"group"}, "MaxPool": _WINDOW | {"ceil_mode"},
    "AveragePool": _WINDOW | {"ceil_mode", "count_include_pad"}, "BatchNormalization": {"epsilon"},
    "Gemm": {"transB"}, "Flatten": {"axis"}, "GlobalAveragePool": set(), "Relu": set(), "Sigmoid": set(),
    "Add": set(), "Mul": set(), "Clip": {"min", "max"}, "Transpose": {"perm"}, "Reshape": {"shape"}, "Concat": {"axis"},
}  # fmt: skip
_VALUES: Mapping[str, object] = {"auto_pad": "SAME_UPPER", "transB": 1}


@dataclass(frozen=True, slots=True)
class Place:
    """A node with parameters and the dotted paths of its layers.

    There is one path, or one a group where the dialect splits grouped kernels. ``names`` are those of the tensors
    by leaf, one a path; ``shape`` is that of the first parameter, whole. A ``dense`` one is a 1x1 convolution of 1x1
    values to us and a dense layer to the dialect.
    """

    node: Node
    module: Module
    paths: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    shape: Shape
    dense: bool = False


def places(graph: Graph, grounding: Grounding, framework: str) -> dict[str, Place]:
    """Places by the name of their node, in the order of the graph's modules."""
    dialect = grounding.dialect
    if dialect.framework != framework:
        raise NetworkError(
            f"dialect {dialect.name} names networks of {dialect.framework}, not of {framework}",
            remedy=f"Use a dialect of {framework}.",
        )
    _check_operators(graph)
    owner = {parameter.key: module for module in graph.modules for parameter in module.parameters}
    nodes = {
        owner[node.inputs[1]].path: node for node in graph.nodes if len(node.inputs) > 1 and node.inputs[1] in owner
    }
    found: dict[str, Place] = {}
    for module in graph.modules:
        slots = {p.leaf: grounding.slots[p.key] for p in module.parameters if p.key in grounding.slots}
        names = {leaf: slot.names for leaf, slot in slots.items()}
        paths = {tuple(name.rpartition(".")[0] for name in of_leaf) for of_leaf in names.values()}
        if len(paths) != 1:
            raise NetworkError(f"dialect {dialect.name} scatters the tensors of {module.path}: {sorted(paths)}")
        node = nodes[module.path]
        dense = module.kind in dialect.dense
        found[node.name] = Place(node, module, paths.pop(), names, module.parameters[0].shape, dense)
    return found


def _check_operators(graph: Graph) -> None:
    for node in graph.nodes:
        if node.op not in _ATTRIBUTES:
            raise NetworkError(f"{node.name} is a {node.op}, which our networks do not compute")
        for name, value in node.attributes.items():
            if name not in _ATTRIBUTES[node.op] or _VALUES.get(name, value) != value:
                raise NetworkError(f"{node.name} has {name}={value!r}, which our networks do not compute")


def check_fit(what: str, wanted: Mapping[str, Shape], given: Mapping[str, Shape]) -> None:
    """Raise unless the tensors given are exactly those wanted."""
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    shapes = [
        f"{name}: {given[name]} in the weights, {shape} in the network"
        for name, shape in wanted.items()
        if name in given and tuple(given[name]) != tuple(shape)
    ]
    if missing or unexpected or shapes:
        raise LoadError.of(what, missing=missing, unexpected=unexpected, shapes=shapes)
