"""The fourth verdict: a device against a CPU run of the same graph, within what its precision explains.

In float32 the device may be as far from float64 as the ratio rule lets any runtime be. In a lower precision the
budget is predicted: the same weights and pictures run through an emulation of that precision. Such a budget hides what
a single layer does wrong; parameters are therefore proven bit for bit and the graph on the CPU, and the device run
proves the device.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..converters.errors import UsageError
from ..mappings.names import did_you_mean
from .compare import FAIL_ABOVE, HALF_FAIL_ABOVE, HALF_SANE_ERROR, SANE_ERROR, WARN_ABOVE, Verdict, as_json, relative_l2
from .runtimes import Values
from .runtimes.where import Where

DevicePrecision = Literal["float32", "hf32", "float16", "bfloat16"]
PRECISIONS: tuple[DevicePrecision, ...] = get_args(DevicePrecision)

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class DeviceParity:
    """A device and what it was compared with; true when it may be used.

    In float32 ``error`` is the device's relative L2 distance to float64 on the worst picture and ``limit`` four times
    that of the CPU there. In a lower precision ``error`` is the distance to the CPU, ``emulated`` that of the emulation
    to float64, and ``limit`` three times that. ``pictures`` counts all that ran.
    """

    device: str
    precision: DevicePrecision
    verdict: Verdict
    reason: str
    error: float
    emulated: float | None
    limit: float
    pictures: int
    settings: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.verdict.good and self.pictures > 0

    @property
    def said(self) -> str:
        """The reason and what is allowed, for a person to read."""
        return f"{self.reason}; up to {self.limit:.1e} is allowed; expected in {self.precision}"

    @property
    def blind_to(self) -> str:
        """What this comparison cannot show; empty in float32."""
        if self.precision == "float32":
            return ""
        return (
            f"at {self.precision} the mistake of one layer (an epsilon, two channels) is invisible on {self.device}:"
            " the parameters are proven bit for bit and the graph on the CPU, the device only by its budget"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "device": self.device, "precision": self.precision, "verdict": self.verdict.value, "reason": self.reason,
            "error": as_json(self.error), "limit": as_json(self.limit), "pictures": self.pictures,
            "emulated": None if self.emulated is None else as_json(self.emulated),
            "settings": dict(self.settings), "blind_to": self.blind_to,
        }  # fmt: skip


def expected(asked: str | None, *places: Where | None) -> DevicePrecision | None:
    """The precision that was asked for, None where none was; a UsageError where nothing runs on a device."""
    if asked is None:
        return None
    if not any(place is not None and place.on_device for place in places):
        raise UsageError(
            f"--device-precision {asked} is what a device computes in, and nothing runs on one",
            remedy="Say the device: --runtime mindspore:Ascend, for instance.",
        )
    return parse_precision(asked)


@dataclass(frozen=True, slots=True)
class OnDevice:
    """A side (``source``, ``target``) that ran on a device too, where, and what it was expected to compute in.

    ``budgets`` are what an emulation was off by elsewhere, one for each size; without them it has a run of its own.
    """

    side: str
    where: str
    precision: DevicePrecision
    budgets: tuple[float, ...] = ()

    @property
    def run(self) -> str:
        """What the run on the device is called."""
        return f"{self.side} on device"

    @property
    def emulated(self) -> str:
        """What the run of the emulation is called, in a precision below float32."""
        return f"{self.side} on device emulated"


def parse_precision(text: str) -> DevicePrecision:
    """One of ``PRECISIONS``; anything else is a UsageError."""
    for precision in PRECISIONS:
        if text == precision:
            return precision
    raise UsageError(f"no device precision {text!r}", remedy=did_you_mean(text, PRECISIONS))


def device_parity(
    device: str,
    precision: DevicePrecision,
    runs: Mapping[str, Sequence[Values]],
    settings: Mapping[str, str],
    *,
    budgets: Sequence[float] = (),
) -> DeviceParity:
    """Compare the runs ``device`` and ``cpu``, with ``exact`` (float64 on the same weights) as the reference.

    Each has outputs by name for every size. For a precision below float32 there is ``emulated`` too, or ``budgets``:
    its errors, one for each size. The worst size and output decide.
    """
    found = [
        _decide(device, precision, outputs, settings, budgets[index] if budgets else None)
        for index, outputs in _together(runs)
        if outputs["exact"].size or outputs["device"].size
    ]
    if not found:
        return DeviceParity(device, precision, Verdict.INCONCLUSIVE, "nothing ran", 0.0, None, 0.0, 0, settings)
    order = list(Verdict)
    decisive = max(found, key=lambda item: (order.index(item.verdict), item.error / item.limit if item.limit else 0.0))
    pictures = sum(len(next(iter(values.values()))) for values in runs["exact"])
    return DeviceParity(
        device, precision, decisive.verdict, decisive.reason, decisive.error, decisive.emulated, decisive.limit,
        pictures if decisive.pictures else 0, settings,
    )  # fmt: skip


def _together(runs: Mapping[str, Sequence[Values]]) -> Iterator[tuple[int, dict[str, Array]]]:
    """Which size, and the arrays of all runs, for each size and output."""
    for index, exact in enumerate(runs["exact"]):
        for name in exact:
            yield index, {run: batches[index][name] for run, batches in runs.items()}


def _decide(
    device: str,
    precision: DevicePrecision,
    arrays: Mapping[str, Array],
    settings: Mapping[str, str],
    budget: float | None,
) -> DeviceParity:
    nan = float("nan")
    if len({array.shape for array in arrays.values()}) > 1:
        told = ", ".join(f"{run} {array.shape}" for run, array in arrays.items())
        return DeviceParity(device, precision, Verdict.FAIL, f"shapes differ: {told}", nan, None, nan, 0, settings)
    for run in ("device", "cpu", "exact"):
        if not np.isfinite(arrays[run]).all():
            where = device if run == "device" else run
            return DeviceParity(
                device, precision, Verdict.FAIL, f"{where} gives NaN or Inf", nan, None, nan, 0, settings
            )
    judged = _in_float32(device, arrays) if precision == "float32" else _lower(device, precision, arrays, budget)
    return DeviceParity(device, precision, *judged, len(arrays["exact"]), settings)


def _in_float32(device: str, arrays: Mapping[str, Array]) -> tuple[Verdict, str, float, float | None, float]:
    own, errors = relative_l2(arrays["cpu"], arrays["exact"]), relative_l2(arrays["device"], arrays["exact"])
    if own.min() == 0.0 or own.max() > SANE_ERROR:
        told = "exactly 0" if own.min() == 0.0 else f"{own.max():.1e}, above {SANE_ERROR:.0e}"
        reason = f"the CPU's own error against float64 is {told}: it is no yardstick for {device}"
        return Verdict.INCONCLUSIVE, reason, float(errors.max()), None, float(own.max()) * FAIL_ABOVE
    at = int(np.argmax(errors / own))
    error, limit, ratio = float(errors[at]), float(own[at]) * FAIL_ABOVE, float(errors[at] / own[at])
    told = f"{device} is {ratio:.3g} times as far from float64 as the CPU, in float32"
    if ratio > FAIL_ABOVE:
        reason = (
            f"{told}; up to {FAIL_ABOVE:g} is allowed. If it computes in less, say so: --device-precision hf32, float16"
            " or bfloat16"
        )
        return Verdict.FAIL, reason, error, None, limit
    return (Verdict.WARN if ratio > WARN_ABOVE else Verdict.PASS), told, error, None, limit


def _lower(
    device: str, precision: DevicePrecision, arrays: Mapping[str, Array], budget: float | None
) -> tuple[Verdict, str, float, float | None, float]:
    error = float(relative_l2(arrays["device"], arrays["cpu"]).max())
    emulated = float(relative_l2(arrays["emulated"], arrays["exact"]).max()) if budget is None else budget
    limit = HALF_FAIL_ABOVE * emulated
    if not 0.0 < emulated <= HALF_SANE_ERROR:  # NaN too
        reason = (
            f"{precision} itself moves the outputs by {emulated:.1e}, which is not between 0 and {HALF_SANE_ERROR:.0e}:"
            f" nothing can be told of {device}"
        )
        return Verdict.INCONCLUSIVE, reason, error, emulated, limit
    told = f"{device} is {error:.1e} from the CPU, an emulation of {precision} {emulated:.1e} from float64"
    if error > limit:
        return Verdict.FAIL, f"{told}; up to {HALF_FAIL_ABOVE:g} times that is allowed", error, emulated, limit
    return Verdict.PASS, told, error, emulated, limit
