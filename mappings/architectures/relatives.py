"""What a file is told to be that looks like one of our networks and is none."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Relative:
    """Which relative of our networks it is, and why it is none of them; ``remedy`` is what to do, if there is."""

    reason: str
    remedy: str = ""


def told_by(names: Iterable[str], signs: Sequence[tuple[str, Relative]]) -> Relative | None:
    """The first of some relatives, each with a pattern of names that only it has, of which there is a name."""
    held = tuple(names)
    return next((found for pattern, found in signs if any(re.search(pattern, name) for name in held)), None)
