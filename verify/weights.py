"""The first verdict: are the target's weights the source's, bit for bit, and do the frameworks read what we read?"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..converters.opened import CALIBRATED, Opened
from ..converters.plan import Finding, Plan, make_plan
from ..converters.readback import compare_tensors
from ..converters.tensors import FLOATS, TensorRef
from ..mappings.architectures import Architecture, spoken
from ..mappings.folding import folded, folded_grounding, folds
from ..mappings.names import counted, listed
from .compare import Verdict
from .runtimes.weights import sha256


@dataclass(frozen=True, slots=True)
class Weights:
    """The verdict on the weights; ``rounded`` is the dtype they were rounded to on the way, empty if none.

    ``how`` tells how many of the target's tensors came about how (``copy``, ``split``, ``join``, ``reshape``, ``cut``,
    ``fold``, ``restore``, ``synthesise``), ``dropped`` how many the target has no place for; ``sha256`` are the digests
    of the target's tensors by name.
    """

    verdict: Verdict
    reason: str
    tensors: int
    differing: tuple[str, ...] = ()
    rounded: str = ""
    how: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0
    sha256: Mapping[str, str] = field(default_factory=dict, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the digests."""
        return {
            "verdict": self.verdict.value, "reason": self.reason, "tensors": self.tensors,
            "differing": list(self.differing), "rounded": self.rounded, "how": dict(self.how), "dropped": self.dropped,
        }  # fmt: skip


def compare_weights(source: Opened, target: Opened) -> Weights:
    """Compare every tensor of the target with what converting the source gives.

    Raises MalformedFileError for a file whose own checksums do not fit it.
    """
    for side in (source, target):
        side.checkpoint.check_sums()
    expected, actual = source.network, target.found.architecture
    if expected != actual:
        ours, theirs = map(_told, (expected, actual))
        return Weights(Verdict.FAIL, f"the source is {ours}, the target {theirs}{_less(expected, actual)}", 0)
    rounded = _rounded(source, target)
    plan, held = _planned(source, target, rounded or None)
    for said, problems in (("source", plan.problems), ("target", _own_problems(target))):
        if problems:
            return Weights(
                Verdict.FAIL, f"the {said} has problems: {listed([finding.line for finding in problems])}", 0
            )
    differing, non_finite = compare_tensors(plan, held)
    counters = {step.target.spec.name for step in plan.steps if step.key.endswith(".count")} & set(differing)
    if set(differing) - counters:
        verb = "differs" if len(differing) == 1 else "differ"
        found = Finding("differing", f"{counted(len(differing), 'tensor')} {verb} from the source", differing)
        return Weights(Verdict.FAIL, found.line + _otherwise_asked(source, target), len(plan.steps), differing)
    if non_finite:
        return Weights(Verdict.FAIL, Finding("", "NaN or Inf", non_finite).line, len(plan.steps), non_finite)
    how = f"equal to the source rounded to {rounded}" if rounded else "bit for bit those of the source"
    if target.folded and not source.folded:
        how = "bit for bit the source's with BatchNorm folded in float64, rounded once"
    told = Counter(step.how for step in plan.steps)
    said = f"{counted(len(plan.steps) - len(counters), 'tensor')}, {how}{_otherwise_held(told)}"
    if counters:
        verb = "differs" if len(counters) == 1 else "differ"
        said += f"; {counted(len(counters), 'BatchNorm counter')} of the target {verb}, on which no output depends"
    return Weights(
        Verdict.WARN if counters else Verdict.PASS, said, len(plan.steps), tuple(sorted(counters)), rounded,
        how=dict(told), dropped=len(plan.dropped),
        sha256={name: sha256(np.asarray(ref.read())) for name, ref in held.items()},
    )  # fmt: skip


def _told(network: Architecture) -> str:
    return f"{network.name} of {network.classes} classes" if network.classes else spoken(network.name, 0)


def _less(expected: Architecture, actual: Architecture) -> str:
    """What to say where the target may be meant to have less than the source."""
    if expected.backbone == actual:
        return "; if the target is the backbone alone, say --backbone"
    if expected == actual.backbone:
        return "; --backbone is for a target that is a backbone alone"
    cut = type(expected) is type(actual) and 0 < actual.classes < expected.classes
    if cut and expected.with_classes(actual.classes) == actual:
        return f"; if the target leaves out the last classes, say --classes {actual.classes}"
    return ""


# What is told of tensors that are not plain copies.
_TOLD = {
    "split": "parts of a split kernel", "join": "joined from parts", "reshape": "in another shape",
    "cut": "without the last classes", "restore": "restored from the record", "synthesise": "set to 0",
}  # fmt: skip


def _otherwise_held(how: Mapping[str, int]) -> str:
    parts = [f"{how[name]} {told}" for name, told in _TOLD.items() if how.get(name)]
    return f" ({', '.join(parts)})" if parts else ""


def _planned(source: Opened, target: Opened, dtype: str | None) -> tuple[Plan, dict[str, TensorRef]]:
    """What converting the source gives, and what the target holds, under equal names.

    A file with BatchNorm folded in is compared folded: what its tensors were before cannot be told.
    """
    if not target.folded:
        plan = make_plan(source.tensors, source.found, target.found.grounding, carried=source.carried, dtype=dtype)
        # A wrapper prefix is gone from the keys; it must go from the specs too, to be no difference.
        held = {name: target.tensors[full] for name, full in target.found.names.items()}
        return plan, {name: replace(ref, spec=replace(ref.spec, name=name)) for name, ref in held.items()}
    network = target.found.architecture
    own, theirs = network.graph(target.traits), source.network.graph(source.traits)
    names = folded_grounding(target.found.dialect.ground(network), folded(own))
    expected = make_plan(source.tensors, source.found, names, carried=source.carried, dtype=dtype, folds=folds(theirs))
    actual = make_plan(target.tensors, target.found, names, carried=target.carried, folds=folds(own))
    return expected, {step.target.spec.name: step.target for step in actual.steps}


def _otherwise_asked(source: Opened, target: Opened) -> str:
    """How the target was made from such a source, where its record knows and the source was not read so."""
    done = set(target.carried.texts("operations")) - {*source.operations, *source.carried.texts("operations")}
    return "; the target's record says: made with --bn calibrated" if CALIBRATED in done else ""


def _own_problems(target: Opened) -> tuple[Finding, ...]:
    return make_plan(target.tensors, target.found, target.found.grounding, carried=target.carried).problems


def _rounded(source: Opened, target: Opened) -> str:
    """The float dtype of the target's weights where it is another than the source's."""
    ours, theirs = (
        {o.tensors[full].spec.dtype for full in o.found.names.values()} & set(FLOATS) for o in (source, target)
    )
    return next(iter(theirs)) if len(theirs) == 1 and theirs != ours else ""


def misread(opened: Opened, hashes: Mapping[str, str]) -> tuple[str, ...]:
    """Names whose bytes, as a framework's own loader gave them, are not those we read from the same file."""
    # What was recovered from a graph has names of ours; the loader gives those of the file.
    held = opened.tensors if opened.recovered is None else opened.checkpoint.tensors
    return tuple(name for name, value in hashes.items() if name in held and sha256(held[name].read()) != value)
