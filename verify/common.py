"""What two sides can both run: pictures of which sizes, and how many at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..mappings.names import listed
from .errors import RuntimeRefusedError
from .inputs import InputSet
from .sides import Side


@dataclass(frozen=True, slots=True)
class Common:
    """The inputs of a proof; each side's batch (None: all pictures at once); ``notices`` say what they cannot show."""

    inputs: InputSet
    source_batch: int | None = None
    target_batch: int | None = None
    notices: tuple[str, ...] = ()


def common(inputs: InputSet, source: Side, target: Side) -> Common:
    """The inputs where both sides take them; raises RuntimeRefusedError where their sizes exclude each other.

    A size that a file fixes is the only one. A side that takes any batch runs in the other's, because the batch alone
    changes roundings.
    """
    sides = {"source": source, "target": target}
    fixed = {name: side.size for name, side in sides.items() if side.size is not None}
    batches = source.batch or target.batch, target.batch or source.batch
    if not fixed:
        return Common(inputs, *batches, inputs.notices)
    sizes = sorted(set(fixed.values()))
    if len(sizes) > 1:
        told = listed([f"the {name} takes {_told(size)}" for name, size in fixed.items()])
        raise RuntimeRefusedError(
            f"{told} only, so no picture runs through both",
            remedy="Export one of them for the other's size, or for any.",
        )
    notices = (*_notices(sizes, inputs, tuple(fixed)), *inputs.notices)
    return Common(inputs.narrowed(tuple(sizes)), *batches, notices)


def _notices(sizes: Sequence[tuple[int, int]], inputs: InputSet, names: Sequence[str]) -> tuple[str, ...]:
    if set(inputs.sizes) == set(sizes):
        return ()
    verb = "takes" if len(names) == 1 else "take"
    return (
        f"the {listed(names)} {verb} pictures of {_told(sizes[0])} only: no other size was compared,"
        " and some mistakes of padding show at others only",
    )


def _told(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
