"""The first verdict: are the target's weights the source's, bit for bit, and do the frameworks read what we read?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..converters.opened import Opened
from ..converters.plan import Finding, make_plan
from ..converters.readback import compare_tensors
from ..converters.tensors import FLOATS
from ..mappings.names import counted, listed
from .compare import Verdict
from .runtimes.weights import sha256


@dataclass(frozen=True, slots=True)
class Weights:
    """The verdict on the weights; ``rounded`` is the dtype they were rounded to on the way, empty if none."""

    verdict: Verdict
    reason: str
    tensors: int
    differing: tuple[str, ...] = ()
    rounded: str = ""


def compare_weights(source: Opened, target: Opened) -> Weights:
    """Compare every tensor of the target with what converting the source gives.

    Raises MalformedFileError for a file whose own checksums do not fit it.
    """
    for side in (source, target):
        side.checkpoint.check_sums()
    if source.found.architecture != target.found.architecture:
        ours, theirs = (
            f"{o.found.architecture.name} of {o.found.architecture.classes} classes" for o in (source, target)
        )
        return Weights(Verdict.FAIL, f"the source is {ours}, the target {theirs}", 0)
    rounded = _rounded(source, target)
    plan = make_plan(
        source.tensors, source.found, target.found.grounding, carried=source.carried, dtype=rounded or None
    )
    held = {name: target.tensors[full] for name, full in target.found.names.items()}
    for said, problems in (("source", plan.problems), ("target", _own_problems(target))):
        if problems:
            return Weights(
                Verdict.FAIL, f"the {said} has problems: {listed([finding.line for finding in problems])}", 0
            )
    # A wrapper prefix is gone from the keys; it must go from the specs too, to be no difference.
    differing, non_finite = compare_tensors(
        plan, {n: replace(r, spec=replace(r.spec, name=n)) for n, r in held.items()}
    )
    if differing:
        verb = "differs" if len(differing) == 1 else "differ"
        found = Finding("differing", f"{counted(len(differing), 'tensor')} {verb} from the source", differing)
        return Weights(Verdict.FAIL, found.line, len(plan.steps), differing)
    if non_finite:
        return Weights(Verdict.FAIL, Finding("", "NaN or Inf", non_finite).line, len(plan.steps), non_finite)
    how = f"equal to the source rounded to {rounded}" if rounded else "bit for bit those of the source"
    return Weights(Verdict.PASS, f"{counted(len(plan.steps), 'tensor')}, {how}", len(plan.steps), rounded=rounded)


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
    return tuple(
        name
        for name, value in hashes.items()
        if name in opened.tensors and sha256(opened.tensors[name].read()) != value
    )
