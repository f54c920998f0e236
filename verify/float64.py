"""The second verdict: in float64, where rounding hides nothing, source and target are one function to twelve digits.

The source runs in torch's double, in its library's own network where that is installed; the target's weights run in
NumPy with the target's traits, so that two implementations that share no code vouch for each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..converters.opened import Opened
from .compare import Verdict, as_json, relative_l2
from .runtimes import Values

# Relative L2 of an output, worst picture. A graph keeps epsilon as float32; folding rounds every kernel once more.
LIMIT, THROUGH_GRAPHS, FOLDED = 1e-12, 1e-7, 1e-6
# Pictures of each size: in float64 one shows what eight do, and two run in seconds.
PICTURES = 2


@dataclass(frozen=True, slots=True)
class Float64:
    """The verdict; ``error`` is the largest relative L2 distance of an output, ``limit`` what is allowed, and why."""

    verdict: Verdict
    reason: str
    error: float
    limit: float
    pictures: int

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "verdict": self.verdict.value, "reason": self.reason, "error": as_json(self.error), "limit": self.limit,
            "pictures": self.pictures,
        }  # fmt: skip


def limit(source: Opened, target: Opened) -> tuple[float, str]:
    """How far the two may be apart in float64, and why as far as that."""
    if source.folded or target.folded or source.operations:
        return FOLDED, "BatchNorm folded or restored, rounded once"
    if any(side.checkpoint.graph is not None or side.checkpoint.container == "mindir" for side in (source, target)):
        return THROUGH_GRAPHS, "a graph keeps epsilon in float32"
    return LIMIT, "nothing is rounded on the way"


def compare_float64(reference: Sequence[Values], oracle: Sequence[Values], allowed: float, why: str) -> Float64:
    """Compare outputs, one mapping for each size; the reference may have more pictures than the oracle ran."""
    errors: list[float] = []
    pictures = 0
    for exact, found in zip(reference, oracle, strict=True):
        for name, values in found.items():
            wanted = exact[name][: len(values)]
            if not values.size:
                continue
            if wanted.shape != values.shape or not np.isfinite(values).all():
                told = f"{name} has shape {values.shape} or is not finite, the reference's has {wanted.shape}"
                return Float64(Verdict.FAIL, f"in float64 {told}", float("inf"), allowed, 0)
            errors.append(float(relative_l2(values, wanted).max()))
        pictures += len(next(iter(found.values()), ()))
    if not pictures:
        return Float64(Verdict.INCONCLUSIVE, "nothing was compared in float64", float("nan"), allowed, 0)
    worst = max(errors)
    told = f"in float64, source and target differ by {worst:.1e} (relative L2)"
    if not worst <= allowed:
        return Float64(Verdict.FAIL, f"{told}, where {allowed:.0e} is allowed ({why})", worst, allowed, pictures)
    return Float64(Verdict.PASS, f"{told}; {allowed:.0e} is allowed ({why})", worst, allowed, pictures)
