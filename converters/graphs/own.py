"""Networks that we wrote ourselves, in graphs that are no chain of blocks: found by their record, and compared.

Such a graph is not matched by structure. The file's record says which network it is; what we write for that is
compared with what the file holds, node by node, so that a graph that was changed since is refused.
"""

import struct
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

import numpy as np

from ...mappings.architectures import Architecture, from_dict
from ...mappings.dialects import Grounding, dialect
from ...mappings.errors import MshubConvertError
from ...mappings.folding import folded, folded_grounding, folds, graph_grounding
from ...mappings.graph import Graph
from ...mappings.names import listed
from ...mappings.traits import Traits
from ..codecs import Described
from ..codecs.onnx_detection import HEADS, detection_nodes, outputs
from ..codecs.onnx_nodes import INPUT, OnnxNode, network_nodes, ports, value_names
from ..codecs.pieces import RECORD_KEY
from ..codecs.record_text import parse_record
from ..findings import folded_notice
from ..folding import identity_norm
from ..tensors import TensorRef
from .errors import ForeignGraphError
from .foreign import ForeignGraph, ForeignNode
from .recovered import Recovered

_REMEDY = "Give the file as it was written, or convert the one it was made from again."


def recover_own(graph: ForeignGraph) -> Recovered | None:
    """The network in a file of ours that gives something else than logits; None for any other file.

    Raises ForeignGraphError where the graph is not the one we write for what the record says.
    """
    told = _told(graph)
    if told is None:
        return None
    network, naming, traits = told
    whole = network.graph(traits)
    if "head" in whole.outputs:
        return None
    plain = graph_grounding(dialect(naming).ground(network))
    short = folded(whole)
    forms = ((whole, plain), (short, folded_grounding(plain, short)))
    # Whichever form it is of has all its tensors; the detection that follows is told by what comes after.
    ours, names = next((form for form in forms if form[1].specs.keys() <= graph.constants.keys()), forms[0])
    described = _described(graph, network, ours, names, traits)
    dims = next((port.dims for port in graph.inputs if port.name == INPUT), None) or (None,) * 4
    batch, _, height, width = dims
    tensors, held = _tensors(graph, whole, plain, names)
    count = len(folds(whole)) if ours is not whole else 0
    values = value_names(described)
    return Recovered(
        network, traits, tensors, held, count, batch, (height, width) if height and width else None,
        INPUT, {name: values[value] for name, value in ours.outputs.items()}, values,
        (folded_notice(count),) if count else (),
    )  # fmt: skip


def _told(graph: ForeignGraph) -> tuple[Architecture, str, Traits] | None:
    """Network, dialect and traits by the record in the file, if it has one that says so."""
    record: Mapping[str, Any] = parse_record(graph.metadata.get(RECORD_KEY)) or {}
    try:
        network = from_dict(record["architecture"])
        dialect(record["dialect"]).ground(network)
        return network, record["dialect"], Traits().with_values(record["traits"])
    except (MshubConvertError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _described(
    graph: ForeignGraph, network: Architecture, ours: Graph, names: Grounding, traits: Traits
) -> Described:  # fmt: skip
    """What we would have written, if the file holds that; else the error with the first node that differs."""
    dims = next((port.dims for port in graph.inputs if port.name == INPUT), None)
    size = tuple(side or 0 for side in dims) if dims is not None and len(dims) == 4 and all(dims[2:]) else None
    half = any(node.name == "cast_input" for node in graph.nodes)
    faults = []
    for heads in HEADS:
        described = Described(
            network.name, network.classes, ours, names, "", "", graph.opset, traits, size, heads=heads,
            side=network.side,
        )  # fmt: skip
        expected = [*network_nodes(described, half=half), *detection_nodes(described)]
        fault = _fault(expected, graph.nodes) or _other_outputs(graph, described)
        if not fault:
            return described
        faults.append(fault)
    # The form that fits longest says best where it stops fitting.
    place, fact = max(faults)
    raise ForeignGraphError(
        f"its record says {network.name}, and it is not the graph that mshub-convert writes for that: {fact}",
        remedy=_REMEDY, depth=place,
    )  # fmt: skip


def _fault(expected: Iterable[OnnxNode], found: Iterable[ForeignNode]) -> tuple[int, str] | None:
    for place, (ours, theirs) in enumerate(zip_longest(expected, found)):
        if ours is None:
            return place, f"there is {theirs.told} beyond its end"
        if theirs is None:
            return place, f"{ours.op} {ours.name!r} is missing"
        if _form(ours) != _form(theirs):
            return place, f"{theirs.told} stands where {ours.op} {ours.name!r} should, or reads or computes otherwise"
    return None


def _form(node: OnnxNode | ForeignNode) -> tuple[object, ...]:
    """All that a node is, floats as the file rounds them."""
    attributes = {name: _plain(value) for name, value in node.attributes.items()}
    return node.op, node.name, tuple(node.inputs), tuple(node.outputs), attributes


def _plain(value: object) -> object:
    if isinstance(value, float):
        return struct.pack("<f", value)
    array = value.read() if isinstance(value, TensorRef) else value
    return (array.shape, array.dtype.name, array.tobytes()) if isinstance(array, np.ndarray) else array


def _other_outputs(graph: ForeignGraph, described: Described) -> tuple[int, str] | None:
    """Whether the model gives something else than we have it give."""
    ours = ports(described).values() if described.heads == "raw" else outputs(described)
    theirs = tuple(port.name for port in graph.outputs)
    return None if theirs == tuple(ours) else (len(graph.nodes), f"its outputs are {listed(theirs)}")


def _tensors(
    graph: ForeignGraph, whole: Graph, plain: Grounding, names: Grounding
) -> tuple[dict[str, TensorRef], dict[str, tuple[str, ...]]]:
    """Tensors by canonical key, and what the file calls them; BatchNorms that were folded away as identities."""
    tensors: dict[str, TensorRef] = {}
    held: dict[str, tuple[str, ...]] = {}
    for key, slot in names.slots.items():
        (name,) = slot.names
        ref = graph.constants.get(name)
        if ref is None or ref.spec.shape != slot.shape:
            raise ForeignGraphError(f"nothing in it is {name} of shape {slot.shape}", remedy=_REMEDY)
        tensors[key], held[key] = ref, (name,)
    for fold in folds(whole) if names.slots.keys() != plain.slots.keys() else ():
        bias = tensors.pop(f"{fold.conv}.folded_bias")
        told = held.pop(f"{fold.conv}.folded_bias")
        tensors[f"{fold.conv}.kernel"] = tensors.pop(f"{fold.conv}.folded_kernel")
        held[f"{fold.conv}.kernel"] = held.pop(f"{fold.conv}.folded_kernel")
        for leaf, ref in identity_norm(bias, bias.spec.shape[0], fold.epsilon, bias.spec.dtype).items():
            tensors[f"{fold.norm}.{leaf}"] = ref
            held[f"{fold.norm}.{leaf}"] = told if leaf == "shift" else ()
    return tensors, held
