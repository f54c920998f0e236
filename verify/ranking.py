"""Which classes come first on both sides, where float64 says that it can be told at all."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Logits = npt.NDArray[np.generic]

_TOP = 5


@dataclass(frozen=True, slots=True)
class Ranking:
    """On how many of ``of`` pictures the first class, and the set of the first five, are the same.

    ``ties`` counts the pictures on which they differ by classes that float64 holds to be nearer than rounding may move
    them: those agree.
    """

    top1: int
    top5: int
    of: int
    ties: int

    @property
    def good(self) -> bool:
        """Whether nothing differs but by such ties."""
        return self.of > 0 and self.top1 == self.top5 == self.of


def ranking(source: Logits, target: Logits, reference: Logits, margins: Array) -> Ranking:
    """Compare the first classes of logits (N, classes).

    ``margins``, one a picture, are how far apart two logits of the reference must be for their order to count.
    """
    top1 = top5 = ties = 0
    depth = min(_TOP, reference.shape[1])
    for ours, theirs, exact, margin in zip(source, target, reference.astype(np.float64), margins, strict=True):
        first = _agree(ours, theirs, exact, margin, 1)
        five = _agree(ours, theirs, exact, margin, depth)
        top1, top5 = top1 + (first is not None), top5 + (five is not None)
        ties += bool(first) or bool(five)
    return Ranking(top1, top5, len(reference), ties)


def _agree(ours: Logits, theirs: Logits, exact: Array, margin: float, depth: int) -> bool | None:
    """None if the first classes differ; else whether they agree by a tie only."""
    here, there = ({*np.argsort(-logits, kind="stable")[:depth].tolist()} for logits in (ours, theirs))
    if here == there:
        return False
    lowest = min(exact[label] for label in here)
    # A class that only the target has must be as good as the last one of the source.
    return True if all(exact[label] >= lowest - margin for label in there - here) else None
