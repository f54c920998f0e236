"""The backbone alone: a source without its classifier or heads, and files that hold no more than a backbone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..mappings.architectures import Architecture
from ..mappings.folding import with_slots
from ..mappings.identify import Identification
from ..mappings.names import counted
from .errors import UsageError
from .findings import Finding
from .record import Carried

# What is stated of a whole network and not of its backbone.
_OF_CLASSES = ("accuracy", "labels")


@dataclass(frozen=True, slots=True)
class Body:
    """The backbone of a source, and the ``whole`` network that it is left of, where the source holds more."""

    found: Identification
    whole: Architecture | None = None
    notices: tuple[Finding, ...] = ()


def alone(found: Identification, file: str) -> Body:
    """The backbone of what ``file`` holds; raises UsageError for a network that has none by itself."""
    whole = found.architecture
    body = whole.backbone
    if body is None:
        raise UsageError(
            f"--backbone, but {file} holds {whole.name}, of which no backbone is described",
            remedy="Leave it out: the whole network is converted.",
        )
    keys = {parameter.key for parameter in body.graph().parameters}
    grounding = replace(
        with_slots(found.grounding, {key: slot for key, slot in found.grounding.slots.items() if key in keys}),
        architecture=body, unnamed=tuple(parameter for parameter in found.grounding.unnamed if parameter.key in keys),
    )  # fmt: skip
    heads = found.grounding.specs.keys() - grounding.specs.keys()
    left_out = tuple(full for name, full in found.names.items() if name in heads)
    kept = {name: full for name, full in found.names.items() if name not in heads}
    narrow = replace(found, grounding=grounding, names=kept)
    if not left_out:
        return Body(narrow)
    fact = f"{said(whole)}, the {counted(len(left_out), 'tensor')} after it left out"
    return Body(narrow, whole, (Finding("backbone", fact, left_out),))


def said(whole: Architecture) -> str:
    """What was done, in words."""
    return f"the backbone of {whole.name} alone"


def unasked(found: Identification, file: str, kept: Carried) -> tuple[Finding, ...]:
    """The problem of a file without a classifier that nobody said to be a backbone: it may be a damaged one."""
    network = found.architecture
    declared = kept.data.get("architecture")
    if network.classes or (isinstance(declared, dict) and declared.get("classes") == 0):
        return ()
    names = _classifier(found)
    fact = f"{file} holds {network.name} without its classifier"
    remedy = "--backbone converts the backbone alone; for the whole network give a file that has all of it."
    return (Finding("no-classifier", fact, names, remedy),)


def facts_of(facts: Mapping[str, Any], classes: int) -> Mapping[str, Any]:
    """What is known of the weights that is true of a network with so many classes."""
    return facts if classes else {key: value for key, value in facts.items() if key not in _OF_CLASSES}


def _classifier(found: Identification) -> tuple[str, ...]:
    """What the dialect would call the tensors of a classifier; a dialect of detectors has no such names."""
    whole = found.architecture.with_classes(1)
    if not found.dialect.can_name(whole):
        return ()
    slots = found.dialect.ground(whole).slots
    return tuple(name for key, slot in slots.items() if key not in found.grounding.slots for name in slot.names)
