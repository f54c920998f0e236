"""The figures of a report: errors picture by picture, outputs against each other, errors along the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..compare import FAIL_ABOVE, WARN_ABOVE, relative_l2
from ..exhibits import Exhibits
from .drawing import FAINT, INK, SOURCE, TARGET, brief, drawn, power

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]

# Batches are told apart by the form of their marks.
_MARKS = "o^sDvP"
# More points than this make a file large and a figure no clearer.
_MOST_POINTS = 1200


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn figure; ``alt`` tells what it shows to those who do not see it."""

    title: str
    svg: str
    alt: str
    caption: str


def errors(exhibits: Exhibits, labels: Sequence[str], output: str, yardstick: str, exact: str) -> Figure:
    """Source and target against float64 for each picture; ``yardstick`` and ``exact`` name runs."""
    runs = exhibits.outputs
    floor = [relative_l2(a[output], b[output]) for a, b in zip(runs[yardstick], runs["reference"], strict=True)]
    found = [relative_l2(a[output], b[output]) for a, b in zip(runs["target"], runs[exact], strict=True)]
    ours, theirs = np.concatenate(floor), np.concatenate(found)
    ends = np.cumsum([len(values) for values in floor])

    def draw(axes: "Axes") -> None:
        x = np.arange(1, len(ours) + 1)
        axes.set_yscale("log")
        # Bands reach half a step beyond the outermost marks.
        across, band = np.array([0.5, *x, len(x) + 0.5]), np.array([ours[0], *ours, ours[-1]])
        for low, high, alpha in ((1.0, WARN_ABOVE, 0.20), (WARN_ABOVE, FAIL_ABOVE, 0.10)):
            axes.fill_between(across, band * low, band * high, step="mid", color=SOURCE, alpha=alpha, linewidth=0)
        axes.plot(x - 0.15, ours, "o", color=SOURCE, markersize=5, label="source (the floor)")
        axes.plot(x + 0.15, theirs, "^", color=TARGET, markersize=6, fillstyle="none", label="target")
        low, high = (f(np.concatenate([ours[ours > 0], theirs[theirs > 0]])) for f in (np.min, np.max))
        top = max(high, low * FAIL_ABOVE)
        axes.set_ylim(low / 6, top * (top / low) ** 0.2 * 4)
        for end, label, size in zip(ends, labels, floor, strict=True):
            if end < len(ours):
                axes.axvline(end + 0.5, color=FAINT, linewidth=1)
            axes.annotate(label, (end - len(size) / 2 + 0.5, 0.02), xycoords=("data", "axes fraction"), ha="center")
        axes.yaxis.set_major_formatter(power)
        axes.yaxis.set_minor_formatter(lambda *_: "")
        axes.set_xticks(x if len(x) <= 20 else x[:: len(x) // 10])
        axes.set_xlabel("picture")
        axes.set_ylabel("relative L2 to float64")
        axes.legend(loc="upper center", ncols=2)

    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = theirs / ours
    return Figure(
        "Error of the output against its noise floor", drawn(f"errors-{output}", draw),
        f"For each of {len(ours)} pictures, the distance to float64: source {brief(ours.min())} to {brief(ours.max())},"
        f" target {brief(theirs.min())} to {brief(theirs.max())}; the ratio is {ratio.min():.2g} to {ratio.max():.3g}.",
        f"Inner band: up to {WARN_ABOVE:g} times the source's own error, which passes; outer band: up to"
        f" {FAIL_ABOVE:g} times, a warning.",
    )  # fmt: skip


def differences(exhibits: Exhibits, labels: Sequence[str], output: str) -> Figure:
    """Target less source for every value of an output, magnified, against the source's value."""
    source, target = (
        [batch[output].reshape(-1).astype(np.float64) for batch in exhibits.outputs[run]]
        for run in ("source", "target")
    )
    apart = [b - a for a, b in zip(source, target, strict=True)]
    largest = max(float(np.abs(values).max()) for values in apart)
    exponent = -int(np.floor(np.log10(largest))) if largest > 0 else 0
    total = sum(len(values) for values in source)
    kept = [_kept(values, _MOST_POINTS * len(values) // max(total, 1)) for values in apart]

    def draw(axes: "Axes") -> None:
        axes.axhline(0, linewidth=1, color=INK)
        for number, (x, y, which) in enumerate(zip(source, apart, kept, strict=True)):
            axes.plot(
                x[which], y[which] * 10.0**exponent, _MARKS[number % len(_MARKS)], fillstyle="none", markersize=4,
                markeredgewidth=0.8, color=(SOURCE, TARGET)[number % 2], label=labels[number],
            )  # fmt: skip
        axes.set_xlabel("source's value")
        axes.set_ylabel(f"(target - source) x 1e{exponent}" if exponent else "target - source")
        axes.margins(y=0.2)
        axes.legend(loc="upper center", ncols=4, markerscale=1.5)

    shown = sum(len(which) for which in kept)
    few = "" if shown == total else f" Drawn are {shown:,} of {total:,} values, the largest differences among them."
    both = np.concatenate(source), np.concatenate(target)
    return Figure(
        "Difference of every output value, magnified", drawn(f"differences-{output}", draw),
        f"Target less source for each output value: at most {brief(largest)}, where values reach"
        f" {np.abs(both[0]).max():.3g}.",
        f"A faithful target scatters evenly about the line; a fault shows as a slope, a curve or an offset.{few}",
    )  # fmt: skip


def agreement(exhibits: Exhibits, labels: Sequence[str], output: str) -> Figure:
    """The target's values against the source's."""
    runs = [[batch[output].reshape(-1) for batch in exhibits.outputs[run]] for run in ("source", "target")]
    apart = [np.abs(b.astype(np.float64) - a) for a, b in zip(*runs, strict=True)]
    total = sum(len(values) for values in apart)
    kept = [_kept(values, _MOST_POINTS * len(values) // max(total, 1)) for values in apart]

    def draw(axes: "Axes") -> None:
        for number, (x, y, which) in enumerate(zip(*runs, kept, strict=True)):
            axes.plot(
                x[which], y[which], _MARKS[number % len(_MARKS)], fillstyle="none", markersize=4, markeredgewidth=0.8,
                color=(SOURCE, TARGET)[number % 2], label=labels[number],
            )  # fmt: skip
        low, high = min(float(a.min()) for a in runs[0]), max(float(a.max()) for a in runs[0])
        axes.axline(
            (low, low), (high, high) if high > low else None, slope=None if high > low else 1, linewidth=1, color=INK
        )
        axes.set_xlabel("source's value")
        axes.set_ylabel("target's value")
        axes.legend(loc="upper left", markerscale=1.5)

    x, y = (np.concatenate(values).astype(np.float64) for values in runs)
    together = float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) > 0 and np.ptp(y) > 0 else float("nan")
    return Figure(
        "Outputs of source and target", drawn(f"agreement-{output}", draw),
        f"The target's output values against the source's; correlation {together:.9f}.",
        "On the line both give the same. A fault of a few percent hardly leaves it: so the next figure magnifies.",
    )  # fmt: skip


def _kept(apart: Array, most: int) -> npt.NDArray[np.int64]:
    """Indices of about so many values: the tenth that is furthest apart, the others as many of every size."""
    if len(apart) <= most:
        return np.arange(len(apart))
    order = np.argsort(-np.abs(apart), kind="stable")
    far, others = order[: most // 10], order[most // 10 :]
    return np.sort(np.concatenate([far, others[:: max(1, len(others) // max(1, most - len(far)))]]))
