"""Come to a verdict from the evidence of all runs, and say what explains it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from ..converters.opened import Opened
from ..mappings.names import collapse, listed
from .compare import SANE_ERROR, Comparison, Output, Verdict, compare, relative_l2, worst
from .exhibits import Exhibits
from .float64 import Float64, compare_float64, limit
from .inputs import InputSet
from .proof import Proof
from .runtimes import Outcome, Values
from .sides import Side, torch_side
from .weights import Weights, misread

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The runs by name, and the library's own network with other traits, if it was tried.

    ``pictures`` are what ran, one array (N, 3, H, W) for each batch; ``notices`` are on them.
    """

    runs: dict[str, Outcome]
    check: Side | None
    check_failure: str
    pictures: tuple[Array, ...]
    notices: tuple[str, ...] = ()


def judge(
    source: Opened,
    target: Opened,
    weights: Weights,
    evidence: Evidence,
    *,
    networks: tuple[str, str],
    inputs: InputSet,
    seconds: float,
) -> Proof:
    """The proof: weights, the outputs at every size, and what a wrong trait or a misread file explains."""
    runs = evidence.runs
    float64 = _float64(source, target, weights, runs)
    comparisons = []
    rounding = 0.0
    for index, label in enumerate(inputs.labels):
        batch = {name: outcome.outputs[index] for name, outcome in runs.items() if name != "oracle"}
        for name in batch["reference"]:
            moved, found = _compared(label, name, batch, rounded=bool(weights.rounded))
            rounding = max(rounding, moved)
            comparisons += found
    verdict = worst([weights.verdict, float64.verdict, *(item.verdict for item in comparisons)])
    reason = _reason(verdict, weights, float64, comparisons)
    notices = list(_misread(source, target, runs))
    if notices:
        verdict, reason = Verdict.FAIL, notices[0]
    notices += evidence.notices
    if verdict is not Verdict.PASS and source.traits != target.traits:
        notices.append(_trait_cause(source, target))
    difference = None
    if evidence.check is not None and "library" in runs:
        own, exact = (runs[name].outputs[0] for name in ("library", "reference"))
        difference = max(float(relative_l2(own[name], exact[name]).max()) for name in exact)
        # Where the target is wrong anyway, or no picture shows a difference, the traits explain nothing.
        if verdict.good and difference > SANE_ERROR:
            notices.append(_library_notice(target, evidence.check, difference, inputs.labels[0]))
    elif evidence.check_failure:
        notices.append(evidence.check_failure)
    reference_said = f"{torch_side(source).label}, torch on CPU, float64"
    return Proof(
        verdict, reason, weights, tuple(comparisons), *networks, reference_said, inputs, float64=float64,
        exhibits=Exhibits(evidence.pictures, {name: outcome.outputs for name, outcome in runs.items()}),
        runs={name: _run_facts(outcome) for name, outcome in runs.items()}, rounding=rounding,
        library_difference=difference, notices=tuple(notices), seconds=seconds,
    )  # fmt: skip


def _float64(source: Opened, target: Opened, weights: Weights, runs: Mapping[str, Outcome]) -> Float64:
    """The target's weights in NumPy against the source in torch; rounded ones against themselves in torch."""
    exact = runs["target reference" if weights.rounded else "reference"]
    return compare_float64(exact.outputs, runs["oracle"].outputs, *limit(source, target))


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


def _reason(verdict: Verdict, weights: Weights, float64: Float64, comparisons: Sequence[Comparison]) -> str:
    """What decides: what comes first of the verdicts, and of the comparisons the worst."""
    for earlier in (weights, float64):
        if earlier.verdict is verdict and not verdict.good:
            return earlier.reason
    deciding = max((item for item in comparisons if item.verdict is verdict), key=_excess, default=None)
    return deciding.reason if deciding is not None else weights.reason


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


def _misread(source: Opened, target: Opened, runs: Mapping[str, Outcome]) -> list[str]:
    """Files that a framework's own loader reads differently from us."""
    found = []
    for opened, name in ((source, "source"), (target, "target")):
        names = misread(opened, runs[name].hashes)
        if names:
            found.append(
                f"{runs[name].loader} reads other bytes than we do for {listed(collapse(names)[:6])} of the {name}"
            )
    return found


def _trait_cause(source: Opened, target: Opened) -> str:
    parts = [
        f"{name} is {ours} in the source and {theirs} in the target"
        for name, (ours, theirs) in source.traits.differences(target.traits).items()
    ]
    if target.recovered is not None:
        return listed(parts)
    options = " ".join(f"--trait {name}={ours}" for name, (ours, _) in source.traits.differences(target.traits).items())
    return (
        f"{listed(parts)} (target: {target.traits_from}); if the target was converted from this source, say {options}"
    )


def _library_notice(target: Opened, side: Side, difference: float, label: str) -> str:
    traits = listed([
        f"{name}={theirs} where the weights need {ours}"
        for name, (ours, theirs) in target.traits.differences(target.found.dialect.traits).items()
    ])  # fmt: skip
    loader = "load_mindspore" if side.runtime == "mindspore" else "load_torch"
    return (
        f"{side.label} loads the file strictly, but its output differs by {difference:.1e}"
        f" (relative L2 at {label}): it has {traits}"
        f" → use mshub_convert.{loader}, which builds the network with the weights' traits"
    )


def _excess(comparison: Comparison) -> float:
    """By how much the target is worse than the source there; what cannot be told goes first."""
    return comparison.ratio if comparison.ratio == comparison.ratio else float("inf")


def _run_facts(outcome: Outcome) -> dict[str, Any]:
    """How a run was made, without what it gave."""
    return {
        "versions": dict(outcome.versions), "device": outcome.device, "settings": dict(outcome.settings),
        "loader": outcome.loader,
        "seconds": dict(outcome.seconds), "unused": list(outcome.unused),
    }  # fmt: skip
