"""The figure of errors along the network, from the input on."""

from typing import TYPE_CHECKING

import numpy as np

from ..diagnosis.result import Diagnosis
from .drawing import FAINT, INK, PAPER, SOURCE, TARGET, brief, drawn, power
from .plots import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More names than this would cover each other.
_MOST_NAMED = 4


def along(diagnosis: Diagnosis) -> Figure | None:
    """How errors grow on one picture, on both sides; None where no value of them was watched."""
    curve = diagnosis.curve
    ours, theirs = (np.array([getattr(point, side) for point in curve], np.float64) for side in ("source", "target"))
    seen = [values[np.isfinite(values) & (values > 0)] for values in (ours, theirs)]
    if not all(len(values) for values in seen):
        return None
    low, high = min(float(values.min()) for values in seen), max(float(values.max()) for values in seen)
    places = {point.value: number for number, point in enumerate(curve)}
    wrong = [(places[fault.layer], fault.layer) for fault in diagnosis.faults if fault.layer in places]
    starts = [number for number, point in enumerate(curve) if not number or curve[number - 1].stage != point.stage]

    def draw(axes: "Axes") -> None:
        axes.set_yscale("log", nonpositive="mask")
        # Room above for the names of the stages.
        axes.set_ylim(low / 2, high * (high / low) ** 0.25 * 2)
        axes.set_xlim(-0.5, len(curve) - 0.5)
        axes.grid(visible=False, axis="x")
        axes.plot(ours, "-", color=SOURCE, linewidth=1.6)
        axes.plot(theirs, "--", color=TARGET, linewidth=1.6)
        above = ours[-1] > theirs[-1]
        for values, name, colour, up in ((ours, "source", SOURCE, above), (theirs, "target", TARGET, not above)):
            last = values[np.isfinite(values) & (values > 0)][-1]
            axes.annotate(
                f" {name}", (1.0, last), xycoords=("axes fraction", "data"), color=colour, va="bottom" if up else "top",
                annotation_clip=False,
            )  # fmt: skip
        for number, start in enumerate(starts):
            axes.axvline(start - 0.5, color=FAINT, linewidth=1)
            # At two heights, for some stages are narrower than their names.
            axes.annotate(curve[start].stage, (start, 0.95 - 0.07 * (number % 2)), xycoords=("data", "axes fraction"))
        for place, name in wrong[:_MOST_NAMED]:
            axes.axvline(place, color=INK, linestyle=":", linewidth=1.2)
            axes.annotate(
                name, (place, 0.3), (-4, 0), xycoords=("data", "axes fraction"), textcoords="offset points",
                rotation=90, ha="right", bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip
        axes.yaxis.set_major_formatter(power)
        axes.yaxis.set_minor_formatter(lambda *_: "")
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel("value of the network, from input to output")
        axes.set_ylabel("relative L2 to float64")

    ends = " and ".join(f"{name} {brief(float(v[-1]))}" for name, v in (("source", seen[0]), ("target", seen[1])))
    named = ", ".join(name for _, name in wrong[:_MOST_NAMED])
    caption = "Solid: the source's network in float32, the noise floor; dashed: the target."
    return Figure(
        "Error along the network", drawn("layers", draw),
        f"The distance to float64 of {len(curve)} values from input to output on one picture; at the end: {ends}"
        + (f"; wrong by themselves: {named}." if named else "."),
        caption + (" Dotted lines mark layers that are wrong by themselves." if named else ""),
    )  # fmt: skip
