"""Come to a verdict from the evidence of all runs, and say what explains it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from .compare import SANE_ERROR, Comparison, Output, Verdict, compare, deciding, relative_l2, worst
from .detections import DetectionParity, detection_parity, with_boxes
from .device import DeviceParity, OnDevice, device_parity
from .exhibits import Exhibits
from .float64 import Float64, compare_float64
from .inputs import InputSet
from .proof import Proof
from .runtimes import Outcome, Values
from .weights import Weights

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class LibraryCheck:
    """The library's own network with other traits than the weights': what ran, or why it did not.

    ``traits`` tell how they differ, ``loader`` which function of ours builds the network right.
    """

    label: str
    traits: str
    loader: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The runs by name, and what else is known of the two sides.

    ``pictures`` are what ran, one array (N, 3, H, W) for each batch of ``inputs``. ``networks`` and ``reference`` say
    what source, target and float64 are; ``allowed`` is how far float64 may be off, and why. ``misread`` tells of files
    that a framework reads as others than we do, ``trait_cause`` how the sides' traits differ, ``notices`` the rest,
    ``devices`` which sides ran on one beside the CPU.
    """

    runs: Mapping[str, Outcome]
    inputs: InputSet
    pictures: tuple[Array, ...]
    networks: tuple[str, str]
    reference: str
    allowed: tuple[float, str]
    misread: tuple[str, ...] = ()
    trait_cause: str = ""
    library: LibraryCheck | None = None
    notices: tuple[str, ...] = ()
    devices: tuple[OnDevice, ...] = ()


def judge(weights: Weights, evidence: Evidence, *, seconds: float) -> Proof:
    """The proof: weights, the outputs at every size, and what a wrong trait or a misread file explains."""
    runs = evidence.runs
    float64 = _float64(weights, evidence)
    devices = tuple(_device(item, runs) for item in evidence.devices)
    comparisons = []
    detections: list[DetectionParity] = []
    rounding = 0.0
    for index, label in enumerate(evidence.inputs.labels):
        given = {name: outcome.outputs[index] for name, outcome in runs.items() if name != "oracle"}
        batch = with_boxes(given, *evidence.pictures[index].shape[2:])
        for name in batch["reference"]:
            moved, found = _compared(label, name, batch, rounded=bool(weights.rounded))
            rounding = max(rounding, moved)
            comparisons += found
        if "boxes" in batch["reference"]:
            detections.append(detection_parity(label, batch))
    outputs, on_devices = [item.verdict for item in comparisons], [item.verdict for item in devices]
    suppressed = [item.verdict for item in detections if item.verdict is not None]
    verdict = worst([weights.verdict, float64.verdict, *outputs, *suppressed, *on_devices])
    reason = _reason(verdict, weights, float64, comparisons, (*detections, *devices))
    notices = list(evidence.misread)
    if notices:
        verdict, reason = Verdict.FAIL, notices[0]
    notices += evidence.notices
    notices += [item.blind_to for item in devices if item.blind_to]
    notices += [item.reason for item in detections if item.verdict is None]
    if verdict is not Verdict.PASS and evidence.trait_cause:
        notices.append(evidence.trait_cause)
    difference = _library_difference(runs)
    if evidence.library is not None:
        notices += _of_library(evidence.library, difference, evidence.inputs.labels[0], good=verdict.good)
    return Proof(
        verdict, reason, weights, tuple(comparisons), *evidence.networks, evidence.reference, evidence.inputs,
        float64=float64, detections=tuple(detections), devices=devices,
        exhibits=Exhibits(evidence.pictures, {name: outcome.outputs for name, outcome in runs.items()}),
        runs={name: _run_facts(outcome) for name, outcome in runs.items()}, rounding=rounding,
        library_difference=difference, notices=tuple(notices), seconds=seconds,
    )  # fmt: skip


def _device(item: OnDevice, runs: Mapping[str, Outcome]) -> DeviceParity:
    """A device against the CPU, each on the side's own weights, rounded or not."""
    own = runs.get("target reference", runs["reference"]) if item.side == "target" else runs["reference"]
    named = {"device": runs[item.run], "cpu": runs[item.side], "exact": own}
    if item.emulated in runs:
        named["emulated"] = runs[item.emulated]
    outputs = {name: outcome.outputs for name, outcome in named.items()}
    return device_parity(item.where, item.precision, outputs, runs[item.run].settings, budgets=item.budgets)


def _library_difference(runs: Mapping[str, Outcome]) -> float | None:
    """How far the library's own network is from float64 on the first batch; None where it did not run."""
    if "library" not in runs:
        return None
    own, exact = (runs[name].outputs[0] for name in ("library", "reference"))
    return max(float(relative_l2(own[name], exact[name]).max()) for name in exact)


def _of_library(check: LibraryCheck, difference: float | None, label: str, *, good: bool) -> list[str]:
    if check.failure:
        return [check.failure]
    # Where the target is wrong anyway, or no picture shows a difference, the traits explain nothing.
    if difference is None or not good or difference <= SANE_ERROR:
        return []
    return [
        f"{check.label} loads the file strictly, but its output differs by {difference:.1e}"
        f" (relative L2 at {label}): it has {check.traits}"
        f" → use mshub_convert.{check.loader}, which builds the network with the weights' traits"
    ]


def _float64(weights: Weights, evidence: Evidence) -> Float64:
    """The target's weights in NumPy against the source in torch; rounded ones against themselves in torch."""
    exact = evidence.runs["target reference" if weights.rounded else "reference"]
    return compare_float64(exact.outputs, evidence.runs["oracle"].outputs, *evidence.allowed)


def _compared(label: str, output: str, batch: Mapping[str, Values], *, rounded: bool) -> tuple[float, list[Comparison]]:
    """How far rounding the weights moves an output, and what the runs say of it."""
    runs = {name: values[output] for name, values in batch.items()}
    reference, own = runs["reference"], runs.get("target reference")
    yardstick = runs.get("yardstick", runs["source"])
    told = label if len(batch["reference"]) == 1 else f"{label} {output}"
    found = [compare(
        told, yardstick, runs["target"], reference, ranked=output == "head", target_reference=own if rounded else None,
        emulated_error=_emulated("target", runs, reference if own is None else own),
    )]  # fmt: skip
    if "emulated source" in runs:
        found.append(_source_itself(told, yardstick, runs))
    moved = float(relative_l2(own, reference).max()) if rounded and own is not None else 0.0
    return moved, found


def _reason(
    verdict: Verdict,
    weights: Weights,
    float64: Float64,
    comparisons: Sequence[Comparison],
    others: Sequence[DetectionParity | DeviceParity],
) -> str:
    """What decides: what comes first of the verdicts, and of the comparisons the worst."""
    for earlier in (weights, float64):
        if earlier.verdict is verdict and not verdict.good:
            return earlier.reason
    found = deciding(comparisons, verdict)
    if found is not None:
        return found.reason
    return next((item.reason for item in others if item.verdict is verdict), weights.reason)


def _source_itself(label: str, yardstick: Output, runs: Mapping[str, Output]) -> Comparison:
    """A source that computes in float16: where it is not the reference's function, nothing can be proven by it."""
    exact = runs["reference"]
    half = _emulated("source", runs, exact)
    found = compare(f"{label}, source", yardstick, runs["source"], exact, emulated_error=half)
    if found.verdict is not Verdict.FAIL:
        return found
    return replace(found, verdict=Verdict.INCONCLUSIVE, reason=found.reason.replace("the target", "the source"))


def _emulated(name: str, runs: Mapping[str, Output], exact: Output) -> float | None:
    """What float16 costs a side that computes in it: its emulation's error; ``exact`` is float64 on its weights."""
    emulated = runs.get(f"emulated {name}")
    return None if emulated is None else float(relative_l2(emulated, exact).max())


def _run_facts(outcome: Outcome) -> dict[str, Any]:
    """How a run was made, without what it gave."""
    return {
        "versions": dict(outcome.versions), "device": outcome.device, "settings": dict(outcome.settings),
        "loader": outcome.loader,
        "seconds": dict(outcome.seconds), "unused": list(outcome.unused),
    }  # fmt: skip
