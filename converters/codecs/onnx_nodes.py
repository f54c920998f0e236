"""The nodes of a model, as a network of ours is written in ONNX: also what one that we wrote is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...mappings.graph import Attribute, Node
from ..tensors import Array
from . import Described
from .onnx_tensors import DTYPE_NUMBERS

INPUT = "input"
# What outputs are called where not as in the graph.
_PORTS = {"head": "logits"}
# Operators whose attributes are inputs in ONNX, in their order, and the kind of constant.
_AS_CONSTANTS: Mapping[str, Mapping[str, str]] = {
    "Clip": {"min": "value_float", "max": "value_float"}, "Reshape": {"shape": "value_ints"},
}  # fmt: skip


# An attribute; a constant may be a tensor.
Value = Attribute | Array


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """One node of a model."""

    op: str
    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, Value] = field(default_factory=dict)


def cast(name: str, value: str, output: str, dtype: str) -> OnnxNode:
    """A cast to another float type."""
    return OnnxNode("Cast", name, [value], [output], {"to": DTYPE_NUMBERS[dtype]})


def ports(network: Described) -> dict[str, str]:
    """What the model calls the outputs of the graph, by their values."""
    return {value: _PORTS.get(name, name) for name, value in network.graph.outputs.items()}


def network_nodes(network: Described, *, half: bool) -> list[OnnxNode]:
    """All nodes, in the graph's order, with names of the dialect; for half precision between two casts."""
    graph, slots = network.graph, network.grounding.slots
    called = node_names(network)
    values = {graph.input: INPUT}
    given = ports(network)
    nodes: list[OnnxNode] = []
    if half:
        values[graph.input] = f"{INPUT}_half"
        nodes.append(cast("cast_input", INPUT, f"{INPUT}_half", "float16"))
    for node in graph.nodes:
        inputs = []
        for name in node.inputs:
            slot = slots.get(name)
            if slot is None:
                inputs.append(values[name])
            elif len(slot.names) == 1:
                inputs.append(slot.names[0])
            else:  # a kernel that the dialect splits is joined again, which any runtime does once
                joined = f"{called[node.name]}.joined_{slot.parameter.leaf}"
                nodes.append(OnnxNode("Concat", joined, slot.names, [joined], {"axis": 0}))
                inputs.append(joined)
        port = given.get(node.output)
        values[node.output] = (f"{port}_half" if half else port) if port else called[node.name]
        nodes += _computed(node, called[node.name], inputs, values[node.output], half=half)
    if half:
        nodes += [cast(f"cast_{port}", f"{port}_half", port, "float32") for port in given.values()]
    return nodes


def _computed(node: Node, name: str, inputs: list[str], output: str, *, half: bool) -> list[OnnxNode]:
    """A node, after the constants that ONNX has where we have attributes."""
    attributes: dict[str, Value] = dict(node.attributes)
    made: list[OnnxNode] = []
    for key, kind in _AS_CONSTANTS.get(node.op, {}).items():
        constant = f"{name}.{key}"
        made.append(OnnxNode("Constant", constant, [], [constant], {kind: attributes.pop(key)}))
        if half and kind == "value_float":
            made.append(cast(f"{constant}_half", constant, f"{constant}_half", "float16"))
            constant = f"{constant}_half"
        inputs.append(constant)
    return [*made, OnnxNode(node.op, name, inputs, [output], attributes)]


def value_names(network: Described) -> dict[str, str]:
    """What the model calls the output of each node of the graph."""
    called, given = node_names(network), ports(network)
    return {node.output: given.get(node.output, called[node.name]) for node in network.graph.nodes}


def node_names(network: Described) -> dict[str, str]:
    """What each node is called: as its layer in the dialect; what has no layer, under the name of its block."""
    own: dict[str, str] = {}
    folders: dict[str, str] = {}
    for module in network.graph.modules:
        slot = next(
            (network.grounding.slots[p.key] for p in module.parameters if p.key in network.grounding.slots), None
        )
        if slot is None:
            continue
        layer = slot.names[0].rpartition(".")[0]
        own[module.path] = layer if len(slot.names) == 1 else layer.rpartition(".")[0]
        folders.setdefault(module.path.rpartition(".")[0], own[module.path].rpartition(".")[0])
    names: dict[str, str] = {}
    taken = {INPUT, *ports(network).values()}
    for node in network.graph.nodes:
        folder, _, last = node.name.rpartition(".")
        inside = folders.get(folder) if folder.startswith("stages.") else None
        wanted = own.get(node.name) or (f"{inside}.{last}" if inside else node.name)
        # A dialect may call a layer as another node is called; then that one keeps our name.
        names[node.name] = wanted if wanted not in taken else f"{node.name}:{node.op}"
        taken.add(names[node.name])
    return names
