"""The classes of a network: what a source's address promises of them, and leaving out the last ones."""

from collections.abc import Mapping, Sequence
from functools import partial

from ..mappings.dialects import Grounding
from ..mappings.identify import Identification
from ..mappings.names import listed
from .errors import UsageError
from .findings import Finding
from .sources import Source
from .tensors import Array, Extent, TensorRef, TensorSpec

_IMAGENET, _UNUSED = 1000, 1001


def check_asked(classes: int | None, *, backbone: bool) -> None:
    """Refuse a number of classes that no network has, and any of a backbone."""
    if classes is not None and backbone:
        message = f"--classes {classes} keeps rows of the classifier, and --backbone leaves all of it out"
        raise UsageError(message, remedy="Leave one of them out.")
    if classes is not None and classes < 1:
        raise UsageError(f"--classes {classes} leaves no class", remedy="Give how many of the first ones to keep.")


def too_many(asked: int | None, source: Source, found: Identification) -> tuple[Finding, ...]:
    """The problem of asking for more classes than there are."""
    held = found.architecture.classes
    if asked is not None and asked < held and not can_cut(found):
        fact = f"--classes {asked}, but {found.architecture.name} is a detector: its classes are told of every anchor"
        return (Finding("classes", fact, (), f"Leave it out: all {held} are kept."),)
    if asked is None or asked <= held:
        return ()
    fact = f"--classes {asked}, but {source.file.name} has {held}"
    return (Finding("classes", fact, (), f"Leave it out, or give up to {held}: classes can be left out, not added."),)


def can_cut(found: Identification) -> bool:
    """Whether the last classes can be left out: those of a classifier are rows of its last layer."""
    return "head.kernel" in found.grounding.slots


def told(asked: int | None, source: Source, found: Identification) -> list[Finding]:
    """What there is to tell of the number of classes: rows left out, one unused, or others than promised."""
    held, likely = found.architecture.classes, source.likely_classes
    if not can_cut(found):
        return []
    if asked is not None and asked < held:
        return [Finding("classes-cut", cut_said(held, asked), found.grounding.slots["head.kernel"].names)]
    if likely and held not in likely:
        said = f"{listed([str(count) for count in likely], 'or')} classes"
        return [Finding("classes", f"{source.address} promises {said}, {source.file.name} has {held}")]
    if held == _UNUSED and _IMAGENET in likely:
        fact = f"{source.file.name} has {_UNUSED} classes for ImageNet's {_IMAGENET}: one of its rows is unused"
        remedy = f"model_zoo's labels are 0 to 999, so it should be the last one: --classes {_IMAGENET} leaves it out."
        return [Finding("unused-class", fact, (), remedy)]
    return []


def cut_said(held: int, kept: int) -> str:
    """The operation of leaving out classes, in words."""
    rows = f"row {kept}" if held - kept == 1 else f"rows {kept} to {held - 1}"
    return f"the first {kept} of {held} classes kept, {rows} of the classifier left out"


def shortened(source: Grounding, target: Grounding) -> Mapping[str, int]:
    """Canonical keys of which the target has fewer rows than the source, and how many it has."""
    rows = {key: slot.parameter.shape[0] for key, slot in target.slots.items() if slot.parameter.shape}
    return {
        key: rows[key]
        for key, slot in source.slots.items()
        if key in rows and len(slot.names) == 1 and rows[key] < slot.parameter.shape[0]
    }


def first_rows(parts: Sequence[TensorRef], rows: int) -> list[TensorRef]:
    """The first rows of a parameter, which a file has in one tensor: a shorter range of its bytes where it can be."""
    return [_first_rows(part, rows) for part in parts]


def _first_rows(part: TensorRef, rows: int) -> TensorRef:
    spec = TensorSpec(part.spec.name, (rows, *part.spec.shape[1:]), part.spec.dtype)
    if part.extents is None:
        return TensorRef(spec, None, partial(_read_rows, part, rows))
    left = spec.nbytes
    kept: list[Extent] = []
    for extent in part.extents:
        if left > 0:
            kept.append(extent.part(0, min(left, extent.length)))
            left -= kept[-1].length
    return TensorRef(spec, tuple(kept))


def _read_rows(part: TensorRef, rows: int) -> Array:
    return part.read()[:rows]
