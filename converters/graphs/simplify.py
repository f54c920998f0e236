"""Bring a foreign graph into the form of ours: one way to say each thing, only what computes the logits.

Every rule is an equality of functions at inference; what is none is left for the matching to refuse, with its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ...mappings.graph import Node
from ..findings import Finding
from . import layer_rules, shape_rules
from .constants import Constants, evaluate
from .errors import ForeignGraphError
from .foreign import ForeignGraph, ForeignNode
from .walk import Walk

_QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
              "ConvInteger", "MatMulInteger")  # fmt: skip
_RULES = {**layer_rules.RULES, **shape_rules.RULES}
_UNFUSED = "Save it unfused: with ORT_ENABLE_BASIC or without optimisation, or give the model it was made from."


@dataclass(slots=True)
class Simplified:
    """The graph in our terms: ``nodes`` read values or names in ``constants``; ``told`` has a node's own words.

    ``output`` holds the logits, ``unused`` names nodes that do not lead to them.
    """

    nodes: list[Node]
    constants: Constants
    input: str
    output: str
    told: dict[str, str]
    notices: list[Finding]
    unused: tuple[str, ...]


def simplify(graph: ForeignGraph) -> Simplified:
    """The graph in our terms; raises ForeignGraphError for what no rule allows."""
    nodes, constants = evaluate(graph)
    _refuse_foreign(nodes)
    pictures = [port for port in graph.inputs if port.name not in constants.refs]
    if len(pictures) != 1 or not graph.outputs:
        names = ", ".join(port.name for port in pictures) or "none"
        raise ForeignGraphError(f"a classifier has one input and an output; this has inputs {names}")
    walk = Walk(constants, _RULES, pictures[0].name, graph.outputs[0].name)
    for node in nodes:
        walk.add(node)
    output = walk.logits(walk.at(walk.output))
    kept, unused = walk.needed(output)
    if walk.casts:
        walk.notices.append(Finding("casts", f"left out {walk.casts} casts between float types"))
    return Simplified(kept, constants, walk.input, output, walk.told, walk.notices, tuple(unused))


def _refuse_foreign(nodes: Sequence[ForeignNode]) -> None:
    for node in nodes:
        if node.op in _QUANTISED:
            raise ForeignGraphError(
                f"it is quantised: {node.told}", remedy="Give the float model that it was quantised from."
            )
        if node.domain.startswith("com.microsoft"):
            raise ForeignGraphError(
                f"it was fused for one runtime: {node.told} is ONNX Runtime's own, its weights are laid out anew",
                remedy=_UNFUSED,
            )
        if node.domain:
            raise ForeignGraphError(f"{node.told} is of a domain that only its producer knows", remedy=_UNFUSED)
        if node.op in ("If", "Loop", "Scan"):
            raise ForeignGraphError(f"{node.told} chooses at run time what is computed")
