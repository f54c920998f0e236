"""Come to a verdict from the evidence of all runs, and say what explains it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..converters.opened import Opened
from ..mappings.names import collapse, listed
from .compare import SANE_ERROR, Comparison, Logits, Verdict, compare, relative_l2, worst
from .inputs import InputSet
from .proof import Proof
from .runtimes import Outcome
from .sides import Side, torch_side
from .weights import Weights, misread


@dataclass(frozen=True, slots=True)
class Evidence:
    """The runs by name, and the library's own network with other traits, if it was tried; ``notices`` are on inputs."""

    runs: dict[str, Outcome]
    check: Side | None
    check_failure: str
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
    comparisons = []
    rounding = 0.0
    for index, label in enumerate(inputs.labels):
        logits = {name: outcome.logits[index] for name, outcome in runs.items()}
        reference, own = logits["reference"], logits.get("target reference")
        rounded = own if weights.rounded else None
        if rounded is not None:
            rounding = max(rounding, float(relative_l2(rounded, reference).max()))
        yardstick = logits.get("yardstick", logits["source"])
        comparisons.append(compare(
            label, yardstick, logits["target"], reference,
            target_reference=rounded, emulated_error=_emulated("target", logits, reference if own is None else own),
        ))  # fmt: skip
        if "emulated source" in logits:
            comparisons.append(_source_itself(label, yardstick, logits))
    verdict = worst([weights.verdict, *(item.verdict for item in comparisons)])
    deciding = max((item for item in comparisons if item.verdict is verdict), key=_excess, default=None)
    told = deciding.reason if deciding is not None else weights.reason
    reason = weights.reason if weights.verdict is Verdict.FAIL else told
    notices = list(_misread(source, target, runs))
    if notices:
        verdict, reason = Verdict.FAIL, notices[0]
    notices += evidence.notices
    if verdict is not Verdict.PASS and source.traits != target.traits:
        notices.append(_trait_cause(source, target))
    difference = None
    if evidence.check is not None and "library" in runs:
        difference = float(relative_l2(runs["library"].logits[0], runs["reference"].logits[0]).max())
        # Where the target is wrong anyway, or no picture shows a difference, the traits explain nothing.
        if verdict.good and difference > SANE_ERROR:
            notices.append(_library_notice(target, evidence.check, difference, inputs.labels[0]))
    elif evidence.check_failure:
        notices.append(evidence.check_failure)
    reference_said = f"{torch_side(source).label}, torch on CPU, float64"
    return Proof(
        verdict, reason, weights, tuple(comparisons), *networks, reference_said, inputs,
        runs={name: _run_facts(outcome) for name, outcome in runs.items()}, rounding=rounding,
        library_difference=difference, notices=tuple(notices), seconds=seconds,
    )  # fmt: skip


def _source_itself(label: str, yardstick: Logits, logits: Mapping[str, Logits]) -> Comparison:
    """A source that computes in float16: where it is not the reference's function, nothing can be proven by it."""
    exact = logits["reference"]
    half = _emulated("source", logits, exact)
    found = compare(f"{label}, source", yardstick, logits["source"], exact, emulated_error=half)
    if found.verdict is not Verdict.FAIL:
        return found
    return replace(found, verdict=Verdict.INCONCLUSIVE, reason=found.reason.replace("the target", "the source"))


def _emulated(name: str, logits: Mapping[str, Logits], exact: Logits) -> float | None:
    """What float16 costs a side that computes in it: its emulation's error; ``exact`` is float64 on its weights."""
    emulated = logits.get(f"emulated {name}")
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
        "versions": dict(outcome.versions), "device": outcome.device, "loader": outcome.loader,
        "seconds": dict(outcome.seconds), "unused": list(outcome.unused),
    }  # fmt: skip
