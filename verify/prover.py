"""Run source, target and reference, each in a process of its own, and have the evidence judged."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ..converters.opened import Opened
from ..mappings.errors import MshubConvertError
from .compare import Verdict
from .errors import LoadError, VerificationError
from .inputs import Inputs
from .judge import Evidence, judge
from .proof import DEFAULT_INPUTS, Proof
from .runtimes import GraphNetwork, Job, Outcome, run
from .sides import Side, library_check_side, own_side, torch_side
from .weights import Weights, compare_weights

Progress = Callable[[str, int, int | None], None]

# Seconds for one runtime to load and run everything.
TIMEOUT = 900.0


def prove(source: Opened, target: Opened, *, progress: Progress | None = None, timeout: float = TIMEOUT) -> Proof:
    """Compare a target with its source: weights, then outputs at two sizes, each runtime in a process of its own."""
    return Prover(source, progress=progress, timeout=timeout).prove(target)


class Prover:
    """The source side of proofs; its runs are kept, so that several targets can be compared with one source."""

    def __init__(
        self,
        opened: Opened,
        *,
        inputs: Inputs = DEFAULT_INPUTS,
        progress: Progress | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self.opened = opened
        self.inputs = inputs
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
        networks = (
            _said(self._side, "; no library here has it with these traits: the source was rebuilt by us"),
            _said(side),
        )
        if not weights.tensors:
            return Proof(
                Verdict.FAIL, weights.reason, weights, (), *networks, "not run", seconds=time.monotonic() - started
            )
        with tempfile.TemporaryDirectory(prefix="mshub-verify-") as folder:
            inputs = self.inputs.save(Path(folder))
            try:
                evidence = self._evidence(target, side, weights, inputs, Path(folder), library_check)
            except VerificationError as error:
                # Weights that do not load are wrong; a runtime that crashed or timed out tells nothing of them.
                verdict = Verdict.FAIL if isinstance(error, LoadError) else Verdict.INCONCLUSIVE
                reason, *rest = error.message.splitlines()
                seconds = time.monotonic() - started
                return Proof(verdict, reason, weights, (), *networks, "not run", notices=tuple(rest), seconds=seconds)
        return judge(
            self.opened, target, weights, evidence,
            networks=networks, inputs=self.inputs, seconds=time.monotonic() - started,
        )  # fmt: skip

    def _evidence(
        self, target: Opened, side: Side, weights: Weights, inputs: tuple[Path, ...], folder: Path, library_check: bool
    ) -> Evidence:
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
        return Evidence(runs, check, failure)

    def _run(
        self, name: str, side: Side, precision: Literal["float32", "float64"], inputs: tuple[Path, ...], folder: Path
    ) -> Outcome:
        self._progress(f"running {name} ({side.framework}, {precision})", 0, None)
        output = folder / name.replace(" ", "-")
        job = Job(side.framework, side.network, side.weights, inputs, output, precision)
        return run(job, timeout=self.timeout)


def _said(side: Side, if_rebuilt: str = "") -> str:
    rebuilt = if_rebuilt if isinstance(side.network, GraphNetwork) else ""
    return f"{side.label}, {side.framework} on CPU, float32{rebuilt}"
