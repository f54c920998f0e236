"""Prove that a target file is its source: compare the weights, run both, and compare both with float64."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..converters.opened import Opened
from ..mappings.errors import MshubConvertError
from ..mappings.names import collapse, listed
from .compare import Comparison, Verdict, compare, relative_l2, worst
from .errors import LoadError, VerificationError
from .inputs import pictures
from .runtimes import GraphNetwork, Job, Outcome, run
from .sides import Side, library_check_side, own_side, torch_side
from .weights import Weights, compare_weights, misread

Progress = Callable[[str, int, int | None], None]

# Odd and non-square sizes exercise padding and ceil; at some of them a wrong pool cannot be told, hence 224 as well.
SIZES = ((224, 224), (225, 231))
COUNT = 8
SEED = 0
TIMEOUT = 900.0


class ProofFailedError(VerificationError):
    """A conversion that did not pass; ``proof`` tells why."""

    def __init__(self, message: str, *, proof: "Proof", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.proof = proof


@dataclass(frozen=True, slots=True)
class Proof:
    """A verification: the verdict, and the evidence for it. True when the target may be used."""

    verdict: Verdict
    reason: str
    weights: Weights
    comparisons: tuple[Comparison, ...]
    source_network: str
    target_network: str
    reference: str
    runs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rounding: float = 0.0
    library_difference: float | None = None
    notices: tuple[str, ...] = ()
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return self.verdict.good and bool(self.comparisons) and all(self.comparisons)

    def failed(self, *, kept: Path) -> "ProofFailedError":
        """The error for a conversion whose output did not pass and was kept under another name."""
        return ProofFailedError(f"{self.verdict.value}: {self.reason}; the file is kept as {kept}", proof=self)

    def facts(self) -> list[tuple[str, str]]:
        """What was compared, in words, for a person to read."""
        sizes = " and ".join(f"{height}x{width}" for height, width in SIZES)
        rows = [
            ("weights", self.weights.reason),
            ("source", self.source_network),
            ("target", self.target_network),
            ("reference", self.reference),
        ]
        if self.comparisons:
            rows.append(
                (
                    "inputs",
                    f"{COUNT} pictures at {sizes}; errors are relative L2 to float64; pass up to 2, fail above 4",
                )
            )
        if self.rounding:
            rows.append(
                (
                    "rounding",
                    f"moves the float64 logits by {self.rounding:.1e} (relative L2), as asked; not part of the ratio",
                )
            )
        rows.append(("took", f"{self.seconds:.0f} s"))
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "verdict": self.verdict.value, "reason": self.reason,
            "weights": {"verdict": self.weights.verdict.value, "reason": self.weights.reason,
                        "tensors": self.weights.tensors, "differing": list(self.weights.differing)},
            "forward": [_comparison(item) for item in self.comparisons],
            "source_network": self.source_network, "target_network": self.target_network, "reference": self.reference,
            "inputs": {"count": COUNT, "sizes": [list(size) for size in SIZES], "seed": SEED},
            "rounding": self.rounding, "library_difference": self.library_difference,
            "runs": {name: dict(item) for name, item in self.runs.items()},
            "notices": list(self.notices), "seconds": round(self.seconds, 1),
        }  # fmt: skip


def _comparison(item: Comparison) -> dict[str, Any]:
    return {
        "inputs": item.label, "verdict": item.verdict.value, "reason": item.reason, "source_error": item.source_error,
        "target_error": item.target_error, "ratio": item.ratio, "max_abs": item.max_abs,
        "largest_logit": item.largest_logit, "top1_agree": item.top1[0], "top1_of": item.top1[1],
    }  # fmt: skip


def prove(source: Opened, target: Opened, *, progress: Progress | None = None, timeout: float = TIMEOUT) -> Proof:
    """Compare a target with its source: weights, then outputs at two sizes, each runtime in a process of its own."""
    return Prover(source, progress=progress, timeout=timeout).prove(target)


class Prover:
    """The source side of proofs; its runs are kept, so that several targets can be compared with one source."""

    def __init__(self, opened: Opened, *, progress: Progress | None = None, timeout: float = TIMEOUT) -> None:
        self.opened = opened
        self.timeout = timeout
        self._progress = progress or (lambda *_: None)
        self._side = own_side(opened)
        self._runs: dict[str, Outcome] = {}

    def prove(self, target: Opened, *, library_check: bool = True) -> Proof:
        """Compare one target with this source.

        ``library_check`` also measures what a library's own network with other traits makes of the target.
        """
        started = time.monotonic()
        side = own_side(target)
        weights = compare_weights(self.opened, target)
        networks = (_said(self._side, "; no library here has it, so the source was rebuilt by us"), _said(side))
        if not weights.tensors:
            return Proof(
                Verdict.FAIL, weights.reason, weights, (), *networks, "not run", seconds=time.monotonic() - started
            )
        with tempfile.TemporaryDirectory(prefix="mshub-verify-") as folder:
            inputs = _inputs(Path(folder))
            try:
                evidence = self._evidence(target, side, weights, inputs, Path(folder), library_check)
            except VerificationError as error:
                # Weights that do not load are wrong; a runtime that crashed or timed out tells nothing of them.
                verdict = Verdict.FAIL if isinstance(error, LoadError) else Verdict.INCONCLUSIVE
                reason, *rest = error.message.splitlines()
                seconds = time.monotonic() - started
                return Proof(verdict, reason, weights, (), *networks, "not run", notices=tuple(rest), seconds=seconds)
        return _judge(self.opened, target, weights, evidence, networks, time.monotonic() - started)

    def _evidence(
        self, target: Opened, side: Side, weights: Weights, inputs: list[Path], folder: Path, library_check: bool
    ) -> "_Evidence":
        if not self._runs:
            self._runs["source"] = self._run("source", self._side, "float32", inputs, folder)
            self._runs["reference"] = self._run("reference", torch_side(self.opened), "float64", inputs, folder)
        runs = dict(self._runs)
        runs["target"] = self._run("target", side, "float32", inputs, folder)
        if weights.rounded:
            runs["rounded reference"] = self._run("rounded reference", torch_side(target), "float64", inputs, folder)
        check = library_check_side(target) if library_check else None
        failure = ""
        if check is not None:
            try:
                runs["library"] = self._run("library", check, "float32", inputs, folder)
            except MshubConvertError as error:
                failure = f"{check.label} could not run the file: {error.message}"
        return _Evidence(runs, check, failure)

    def _run(
        self, name: str, side: Side, precision: Literal["float32", "float64"], inputs: list[Path], folder: Path
    ) -> Outcome:
        self._progress(f"running {name} ({side.framework}, {precision})", 0, None)
        output = folder / name.replace(" ", "-")
        job = Job(side.framework, side.network, side.weights, tuple(inputs), output, precision)
        return run(job, timeout=self.timeout)


@dataclass(frozen=True, slots=True)
class _Evidence:
    runs: dict[str, Outcome]
    check: Side | None
    check_failure: str


def _run_facts(outcome: Outcome) -> dict[str, Any]:
    """How a run was made, without what it gave."""
    return {
        "versions": dict(outcome.versions), "device": outcome.device, "loader": outcome.loader,
        "seconds": dict(outcome.seconds), "unused": list(outcome.unused),
    }  # fmt: skip


def _said(side: Side, if_rebuilt: str = "") -> str:
    rebuilt = if_rebuilt if isinstance(side.network, GraphNetwork) else ""
    return f"{side.label}, {side.framework} on CPU, float32{rebuilt}"


def _inputs(folder: Path) -> list[Path]:
    paths = []
    for height, width in SIZES:
        path = folder / f"pictures-{height}x{width}.npy"
        np.save(path, pictures(COUNT, height, width, seed=SEED))
        paths.append(path)
    return paths


def _judge(
    source: Opened, target: Opened, weights: Weights, evidence: _Evidence, networks: tuple[str, str], seconds: float
) -> Proof:
    runs = evidence.runs
    comparisons = []
    rounding = 0.0
    for index, (height, width) in enumerate(SIZES):
        reference = runs["reference"].logits[index]
        rounded = runs["rounded reference"].logits[index] if "rounded reference" in runs else None
        if rounded is not None:
            rounding = max(rounding, float(relative_l2(rounded, reference).max()))
        comparisons.append(compare(
            f"{height}x{width}", runs["source"].logits[index], runs["target"].logits[index], reference,
            target_reference=rounded,
        ))  # fmt: skip
    verdict = worst([weights.verdict, *(item.verdict for item in comparisons)])
    deciding = next((item.reason for item in comparisons if item.verdict is verdict), weights.reason)
    reason = weights.reason if weights.verdict is Verdict.FAIL else deciding
    notices = list(_misread(source, target, runs))
    if notices:
        verdict, reason = Verdict.FAIL, notices[0]
    if verdict is not Verdict.PASS and source.traits != target.traits:
        notices.append(_trait_cause(source, target))
    difference = None
    if evidence.check is not None and "library" in runs:
        difference = float(relative_l2(runs["library"].logits[0], runs["reference"].logits[0]).max())
        notices.append(_library_notice(target, evidence.check, difference))
    elif evidence.check_failure:
        notices.append(evidence.check_failure)
    reference_said = f"{torch_side(source).label}, torch on CPU, float64"
    return Proof(
        verdict, reason, weights, tuple(comparisons), *networks, reference_said,
        runs={name: _run_facts(outcome) for name, outcome in runs.items()}, rounding=rounding,
        library_difference=difference, notices=tuple(notices), seconds=seconds,
    )  # fmt: skip


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
    options = " ".join(f"--trait {name}={ours}" for name, (ours, _) in source.traits.differences(target.traits).items())
    return (
        f"{listed(parts)} (target: {target.traits_from}); if the target was converted from this source, say {options}"
    )


def _library_notice(target: Opened, side: Side, difference: float) -> str:
    traits = listed([
        f"{name}={theirs} where the weights need {ours}"
        for name, (ours, theirs) in target.traits.differences(side.naming.traits).items()
    ])  # fmt: skip
    loader = "load_mindspore" if side.framework == "mindspore" else "load_torch"
    height, width = SIZES[0]
    return (
        f"{side.label} loads the file strictly, but its output differs by {difference:.1e}"
        f" (relative L2 at {height}x{width}): it has {traits}"
        f" → use mshub_convert.{loader}, which builds the network with the weights' traits"
    )
