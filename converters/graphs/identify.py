"""A recovered network as a source of weights: under the names of the dialect that its file speaks, if it speaks one."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from ...mappings.dialects import BUILTIN, Dialect, Grounding, dialect, dialects_for
from ...mappings.folding import graph_grounding
from ...mappings.identify import Identification
from ..errors import PlanError
from ..tensors import Array, Checkpoint, TensorRef, TensorSpec
from .errors import ForeignGraphError
from .foreign import ForeignGraph
from .recover import recover
from .recovered import Recovered

_NONE_OF_OURS = (
    "Only networks of `mshub-convert list` are converted: their weights and nothing that computes otherwise."
)


def recovered_from(checkpoint: Checkpoint, graph: ForeignGraph, norm_eps: float | None) -> Recovered:
    """The network in a file; raises PlanError where it is none of ours. ``norm_eps`` is for folded files, which have
    no BatchNorm to tell it."""
    try:
        return recover(graph, norm_eps=norm_eps)
    except ForeignGraphError as error:
        raise PlanError(f"{checkpoint.path}: {error.message}", remedy=error.remedy or _NONE_OF_OURS) from None


def identified(recovered: Recovered, wanted: str | None) -> tuple[Identification, Mapping[str, TensorRef]]:
    """What the file holds and its tensors, named as in ``wanted``, else as in the file, else in the first dialect.

    Names are told, not trusted: which tensor is which was found by structure.
    """
    spoken = (dialect(wanted),) if wanted else tuple(map(dialect, dialects_for(recovered.architecture)))
    naming = next((naming for naming in spoken if _speaks(naming, recovered)), spoken[0])
    grounding = graph_grounding(naming.ground(recovered.architecture))
    tensors = {
        name: ref
        for key, slot in grounding.slots.items()
        for name, ref in _parts(recovered.tensors[key], slot.names, slot.shape)
    }
    names = {name: name for name in tensors}
    twins = tuple(name for name in BUILTIN if name != naming.name and _speaks(dialect(name), recovered))
    return Identification(grounding, "", names, (), (), twins), tensors


def _speaks(naming: Dialect, recovered: Recovered) -> bool:
    """Whether the constants of the file are called as in a dialect (those that the file has)."""
    if not naming.can_name(recovered.architecture):
        return False
    grounding: Grounding = graph_grounding(naming.ground(recovered.architecture))
    held = {key: names for key, names in recovered.names.items() if names}
    return bool(held) and all(held[key] == slot.names for key, slot in grounding.slots.items() if key in held)


def _parts(ref: TensorRef, names: tuple[str, ...], shape: tuple[int, ...]) -> list[tuple[str, TensorRef]]:
    """A tensor under its name, or cut on axis 0 where the dialect splits it."""
    found = []
    for place, name in enumerate(names):
        spec = TensorSpec(name, shape, ref.spec.dtype)
        if len(names) == 1:
            found.append((name, replace(ref, spec=spec)))
        else:
            found.append((name, TensorRef(spec, None, partial(_cut, ref, place, spec))))
    return found


def _cut(ref: TensorRef, place: int, spec: TensorSpec) -> Array:
    return ref.read().reshape(-1)[place * spec.size : (place + 1) * spec.size]
