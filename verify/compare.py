"""Decide whether two runs of one network agree: by their distance to a float64 reference, as a ratio.

No fixed tolerance tells a correct conversion from a wrong one: correct runs of one network differ by more between
thread counts than some bugs do. The source framework's own float32 error against float64 is the yardstick; a
correct conversion stays within a small multiple of it, a wrong one does not come near.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .ranking import Ranking, ranking

Output = npt.NDArray[Any]  # float32 or float64

# Ratio of the target's error to the source's: up to 2 is a pass, up to 4 a warning, above a failure.
WARN_ABOVE, FAIL_ABOVE = 2.0, 4.0
# A source whose own float32 error is above this does not compute the reference's function.
SANE_ERROR = 1e-4
# A network that computes in float16 has no float32 yardstick; up to this many times the error of an emulation is a
# pass. An emulation that is off by more than the second figure says that float16 hides too much.
HALF_FAIL_ABOVE, HALF_SANE_ERROR = 3.0, 1e-2
# All of it, by the names that travel with evidence.
RULE = {
    "pass_to": WARN_ABOVE, "warn_to": FAIL_ABOVE, "source_error_to": SANE_ERROR,
    "emulated_to": HALF_FAIL_ABOVE, "emulated_error_to": HALF_SANE_ERROR,
}  # fmt: skip


class Verdict(enum.Enum):
    """Outcome of a comparison, from best to worst."""

    PASS = "pass"  # noqa: S105 - not a password
    WARN = "warn"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"

    @property
    def good(self) -> bool:
        """Whether the conversion may be used."""
        return self in (Verdict.PASS, Verdict.WARN)


_ORDER = list(Verdict)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of several verdicts; of none, inconclusive: a check that compared nothing proves nothing."""
    return max(verdicts, key=_ORDER.index) if verdicts else Verdict.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Comparison:
    """One output of source and target against float64 on one batch.

    Errors are the relative L2 distance of the output to float64, worst input; ``ratio`` is the worst ratio of
    target to source over the ``inputs``; ``max_abs`` the largest difference of a value between source and target,
    ``largest`` the largest value. ``ranking`` compares the first classes, where the output is logits. For a target
    that computes in float16 ``emulated_error`` is that of an emulation, and ``ratio`` that of the target's error to it.
    """

    label: str
    verdict: Verdict
    reason: str
    source_error: float
    target_error: float
    ratio: float
    max_abs: float
    largest: float
    inputs: int
    ranking: Ranking | None = None
    emulated_error: float | None = None

    def __bool__(self) -> bool:
        return self.verdict.good and self.inputs > 0


def deciding(comparisons: Sequence[Comparison], verdict: Verdict) -> Comparison | None:
    """The worst of those with this verdict, by its ratio; one whose ratio cannot be told is worse than others."""
    found = (item for item in comparisons if item.verdict is verdict)
    return max(found, key=lambda item: item.ratio if item.ratio == item.ratio else float("inf"), default=None)


def as_json(value: float) -> float | None:
    """A number for JSON, which has none for NaN and infinity."""
    return value if np.isfinite(value) else None


def relative_l2(output: Output, reference: Output) -> npt.NDArray[np.float64]:
    """Relative L2 distance of each row to the reference's, shape (N,), whatever the shape of a row."""
    rows, exact = (array.reshape(len(array), -1).astype(np.float64) for array in (output, reference))
    norms: npt.NDArray[np.float64] = np.linalg.norm(exact, axis=1)
    return np.asarray(np.linalg.norm(rows - exact, axis=1) / np.maximum(norms, np.finfo(np.float64).tiny))


def compare(
    label: str,
    source: Output,
    target: Output,
    reference: Output,
    *,
    ranked: bool = False,
    target_reference: Output | None = None,
    emulated_error: float | None = None,
) -> Comparison:
    """Compare an output of shape (N, ...), float32 for source and target, float64 for the reference.

    ``ranked`` says that it is logits (N, classes), whose first classes must be the same. ``target_reference`` is the
    float64 run of the target's own weights where they were rounded on the way; ``emulated_error`` what float16 may
    cost a target that computes in it: the relative L2 distance, worst input, of an emulation to float64 on the same
    weights.
    """
    theirs = reference if target_reference is None else target_reference
    if not (source.shape == target.shape == reference.shape == theirs.shape) or source.ndim < 2 or not source.size:
        shapes = f"{source.shape}, {target.shape}, {reference.shape}"
        return _empty(label, f"source, target and reference have outputs of shape {shapes}")
    if not all(np.isfinite(array).all() for array in (source, target, reference, theirs)):
        return _empty(label, "the output holds NaN or Inf")
    source_error, target_error = relative_l2(source, reference), relative_l2(target, theirs)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.max(target_error / source_error))
    verdict, reason = _decide(source_error, ratio)
    if emulated_error is not None:
        ratio = float(target_error.max()) / emulated_error if emulated_error else float("inf")
        verdict, reason = _decide_half(verdict, reason, emulated_error, float(target_error.max()))
    order = _ranking(source, target, reference, emulated_error or 0.0) if ranked else None
    if order is not None and not order.good and verdict.good:
        verdict, reason = Verdict.FAIL, _reordered(order)
    return Comparison(
        label, verdict, reason, float(source_error.max()), float(target_error.max()), ratio,
        float(np.abs(source.astype(np.float64) - target).max()), float(np.abs(reference).max()), len(source), order,
        emulated_error,
    )  # fmt: skip


def _ranking(source: Output, target: Output, reference: Output, half: float) -> Ranking:
    """The first classes; nearer ones than rounding may move, on both sides, have no order."""
    exact = reference.astype(np.float64)
    # What float16 may move a logit by is told of all of them together; one takes it all at the worst.
    moved = np.abs(source - exact).max(1) * FAIL_ABOVE + HALF_FAIL_ABOVE * half * np.linalg.norm(exact, axis=1)
    return ranking(source, target, reference, 2 * moved)


def _reordered(order: Ranking) -> str:
    first = f"the first class on {order.of - order.top1}, the first five on {order.of - order.top5} of {order.of}"
    return f"source and target rank the classes differently: {first} pictures, by more than rounding explains"


def _decide(source_error: npt.NDArray[np.float64], ratio: float) -> tuple[Verdict, str]:
    if source_error.min() == 0.0:
        return Verdict.INCONCLUSIVE, "the source's error against float64 is exactly 0: it is no independent yardstick"
    if source_error.max() > SANE_ERROR:
        return Verdict.INCONCLUSIVE, (
            f"the source's own float32 error is {source_error.max():.1e}, above {SANE_ERROR:.0e}: the float64 reference"
            " is another function (or the network is ill-conditioned)"
        )
    if ratio > FAIL_ABOVE:
        return (
            Verdict.FAIL,
            f"the target is {ratio:.3g} times as far from float64 as the source is; up to {FAIL_ABOVE:g} is allowed",
        )
    if ratio > WARN_ABOVE:
        return (
            Verdict.WARN,
            f"the target is {ratio:.2f} times as far from float64 as the source:"
            f" more than usual, below the limit of {FAIL_ABOVE:g} (seen with very small or untrained networks)",
        )
    if ratio < 0.01:  # it computes in float64 itself
        return Verdict.PASS, "the target is nearer to float64 than the source (less than 0.01 times its distance)"
    return Verdict.PASS, f"the target is as near to float64 as the source ({ratio:.2f} times its distance)"


def _decide_half(verdict: Verdict, reason: str, half: float, error: float) -> tuple[Verdict, str]:
    """The decision on a target of half precision, after that by the float32 yardstick."""
    if verdict is Verdict.INCONCLUSIVE:
        return verdict, reason
    if not half <= HALF_SANE_ERROR:  # NaN too
        return Verdict.INCONCLUSIVE, (
            f"float16 itself moves the output by {half:.1e}, above {HALF_SANE_ERROR:.0e}: it would hide mistakes"
        )
    told = f"the target, which computes in float16, is {error:.1e} from float64, an emulation {half:.1e}"
    if error > HALF_FAIL_ABOVE * half:
        return Verdict.FAIL, f"{told}; up to {HALF_FAIL_ABOVE:g} times that is allowed"
    return Verdict.PASS, told


def _empty(label: str, reason: str) -> Comparison:
    nan = float("nan")
    return Comparison(label, Verdict.FAIL, reason, nan, nan, nan, nan, nan, 0)
