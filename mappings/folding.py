"""BatchNorm folded into the convolution before it: the graph that computes the same with fewer parameters.

Folding has no inverse: scale, shift, mean and variance cannot be told from what is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from .dialects import Grounding, Slot
from .graph import Graph, Module, Node, Parameter

# Leaves of a convolution that a BatchNorm was folded into; the names differ from the unfolded ones on purpose, since
# a folded kernel under its old name would be taken for the original.
KERNEL, BIAS = "folded_kernel", "folded_bias"


@dataclass(frozen=True, slots=True)
class Fold:
    """A convolution and the BatchNorm that goes into it, by their paths, and its epsilon."""

    conv: str
    norm: str
    epsilon: float


def folds(graph: Graph) -> tuple[Fold, ...]:
    """Every convolution whose output goes into one BatchNorm and nowhere else."""
    uses: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            uses.setdefault(name, []).append(node)
    owner = {parameter.key: module.path for module in graph.modules for parameter in module.parameters}
    found = []
    for node in graph.nodes:
        after = uses.get(node.output, [])
        if node.op == "Conv" and len(after) == 1 and after[0].op == "BatchNormalization":
            epsilon = after[0].attributes["epsilon"]
            found.append(Fold(owner[node.inputs[1]], owner[after[0].inputs[1]], float(epsilon)))  # type: ignore[arg-type]
    return tuple(found)


def folded(graph: Graph) -> Graph:
    """The graph without those BatchNorms; the convolutions have a bias instead."""
    by_conv = {fold.conv: fold for fold in folds(graph)}
    gone = {fold.norm for fold in by_conv.values()}
    owner = {parameter.key: module.path for module in graph.modules for parameter in module.parameters}
    modules = tuple(
        _with_bias(module) if module.path in by_conv else module for module in graph.modules if module.path not in gone
    )
    outputs: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        path = owner.get(node.inputs[1], "") if len(node.inputs) > 1 else ""
        if path in gone:
            # What read the BatchNorm reads the convolution.
            outputs[node.output] = outputs.get(node.inputs[0], node.inputs[0])
            continue
        inputs = tuple(outputs.get(name, name) for name in node.inputs)
        if path in by_conv:
            inputs = (inputs[0], f"{path}.{KERNEL}", f"{path}.{BIAS}")
        nodes.append(replace(node, inputs=inputs))
    taps, given = (
        MappingProxyType({name: outputs.get(value, value) for name, value in values.items()})
        for values in (graph.taps, graph.outputs)
    )
    return replace(graph, modules=modules, nodes=tuple(nodes), taps=taps, outputs=given)


def folded_grounding(grounding: Grounding, graph: Graph) -> Grounding:
    """Names for a folded graph: ``conv1.weight`` becomes ``conv1.weight_folded``, with ``conv1.bias_folded``."""
    slots: dict[str, Slot] = {}
    for module in graph.modules:
        for parameter in module.parameters:
            if parameter.leaf == KERNEL:
                slots |= _folded_slots(grounding.slots[f"{module.path}.kernel"], module)
            elif parameter.leaf != BIAS and parameter.key in grounding.slots:
                slots[parameter.key] = grounding.slots[parameter.key]
    return with_slots(grounding, slots)


def graph_grounding(grounding: Grounding) -> Grounding:
    """Names for a container that holds the graph: every tensor in the shape the graph needs, and none it never reads.

    BatchNorm counters go to ``unnamed``; a kernel that a dialect splits stays split.
    """
    counters = tuple(slot.parameter for slot in grounding.slots.values() if slot.parameter.leaf == "count")
    slots = {
        key: slot if len(slot.names) > 1 else replace(slot, shape=slot.parameter.shape)
        for key, slot in grounding.slots.items()
        if slot.parameter.leaf != "count"
    }
    return replace(with_slots(grounding, slots), unnamed=(*grounding.unnamed, *counters))


def with_slots(grounding: Grounding, slots: Mapping[str, Slot]) -> Grounding:
    """The grounding with other slots."""
    specs = {name: slot.shape for slot in slots.values() for name in slot.names}
    return replace(grounding, slots=MappingProxyType(dict(slots)), specs=MappingProxyType(specs))


def _with_bias(module: Module) -> Module:
    kernel = module.parameters[0]
    bias = Parameter(f"{module.path}.{BIAS}", module.path, BIAS, (kernel.shape[0],))
    return replace(
        module, parameters=(replace(kernel, key=f"{module.path}.{KERNEL}", leaf=KERNEL), bias)
    )  # fmt: skip


def _folded_slots(kernel: Slot, module: Module) -> dict[str, Slot]:
    """The folded kernel under one name, whether or not the dialect splits it, and the bias beside it."""
    weight, bias = module.parameters
    layer, _, leaf = kernel.names[0].rpartition(".")
    if len(kernel.names) > 1:
        layer = layer.rpartition(".")[0]
    return {
        weight.key: Slot(weight, (f"{layer}.{leaf}_folded",), weight.shape),
        bias.key: Slot(bias, (f"{layer}.bias_folded",), bias.shape),
    }
