"""Run source, target and reference, each in a process of its own, and have the evidence judged."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..converters.opened import Opened
from ..mappings.errors import MshubConvertError
from .common import Common, common
from .compare import Verdict
from .device import DevicePrecision, OnDevice
from .diagnosis.diagnose import diagnose
from .diagnosis.result import Diagnosis, Layers
from .errors import LoadError, VerificationError
from .explain import library_check, misread_files, said_against_the_file, trait_cause
from .float64 import PICTURES, limit
from .inputs import InputSet, fitted
from .judge import Evidence, LibraryCheck, judge
from .proof import DEFAULT_INPUTS, Proof
from .running import first_pictures, job_of, told
from .runtimes import Outcome, Precision, UserNetwork, run
from .runtimes.where import Where
from .selftest.detection import self_test
from .sides import (
    HOLDS_NETWORK,
    Side,
    asked_side,
    check_installed,
    library_check_side,
    rebuilt_side,
    torch_side,
    user_side,
)
from .subject import Subject, subject
from .weights import Weights, compare_weights

Progress = Callable[[str, int, int | None], None]

# When both sides are looked into layer by layer.
# Seconds for one runtime to load and run everything.
TIMEOUT = 900.0


def prove(
    source: Opened,
    target: Opened,
    *,
    runtime: str | Where | None = None,
    source_runtime: str | Where | None = None,
    source_network: str | None = None,
    inputs: InputSet = DEFAULT_INPUTS,
    layers: Layers = "on failure",
    progress: Progress | None = None,
    timeout: float = TIMEOUT,
    device_precision: DevicePrecision | None = None,
) -> Proof:
    """Compare a target with its source: weights, then outputs on all inputs, each runtime in a process of its own.

    ``runtime`` and ``source_runtime`` ask for others than the files' own. ``source_network`` (``FILE.py:FACTORY``) is
    the user's own network for the source, whose code is run. ``layers`` says when to look into every layer, even where
    nothing failed. ``device_precision`` says what a device computes in, where that is not what its runtime is told to.
    """
    prover = Prover(
        source, runtime=source_runtime, network=source_network, inputs=inputs, progress=progress, timeout=timeout
    )
    return prover.prove(target, runtime=runtime, layers=layers, device_precision=device_precision)


def measured(proof: Proof, target: Opened, count: int, progress: Progress | None, timeout: float = TIMEOUT) -> Proof:
    """A proof with what the outputs would have caught of ``count`` mistakes in the target.

    ``timeout`` is for the network as it is, and again for every 16 mistakes.
    """
    if not proof.verdict.good:
        said = "what mistakes would be caught was not measured: that is for a target that passes"
        return replace(proof, notices=(*proof.notices, said))
    found = self_test(
        target, proof.inputs, count=count, timeout=timeout * (1 + count / 16), progress=progress or (lambda *_: None)
    )
    return replace(proof, detection=found)


class Prover:
    """The source side of proofs; its runs are kept, so that several targets can be compared with one source."""

    def __init__(
        self,
        opened: Opened,
        *,
        runtime: str | Where | None = None,
        network: str | None = None,
        inputs: InputSet = DEFAULT_INPUTS,
        progress: Progress | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self.opened = opened
        self.inputs = fitted(inputs, opened.found.architecture.side)
        self.timeout = timeout
        self._progress = progress or (lambda *_: None)
        self._side = asked_side(opened, runtime) if network is None else user_side(opened, network, runtime)
        self._asked = runtime is not None
        self._runs: dict[tuple[InputSet, int | None, OnDevice | None], dict[str, Outcome]] = {}
        self._subject: Subject | None = None

    def prove(
        self,
        target: Opened,
        *,
        runtime: str | Where | None = None,
        library_check: bool = True,
        layers: Layers = "on failure",
        device_precision: DevicePrecision | None = None,
    ) -> Proof:
        """Compare one target with this source, the target in another ``runtime`` than its own if asked.

        ``library_check`` also measures what a library's own network with other traits makes of the target,
        ``layers`` looks into both layer by layer even where nothing failed. On a device the same graph runs too, beside
        the CPU, expected to compute in ``device_precision``.
        """
        started = time.monotonic()
        side = asked_side(target, runtime)
        check_installed((self._side.on_host.runtime, side.on_host.runtime, "torch"))
        devices = self._devices(side, device_precision)
        proof = self._proven(target, side, devices, library_check, layers, started)
        self._subject = self._subject or subject(self.opened)
        return replace(proof, source=self._subject, target=subject(target))

    def _proven(
        self,
        target: Opened,
        side: Side,
        devices: Mapping[str, OnDevice],
        library_check: bool,
        layers: Layers,
        started: float,
    ) -> Proof:
        weights = compare_weights(self.opened, target)
        # Of a file that holds its network nobody looks for another.
        own = self._asked or self.opened.checkpoint.container in HOLDS_NETWORK
        reason = "" if own else "no library here has it with these traits: "
        networks = told(self._side.on_host, f"; {reason}the source was rebuilt by us"), told(side.on_host)
        if not weights.tensors:
            return Proof(
                Verdict.FAIL, weights.reason, weights, (), *networks, "not run", seconds=time.monotonic() - started
            )
        try:
            both = common(self.inputs, self._side, side)
            with tempfile.TemporaryDirectory(prefix="mshub-verify-") as folder:
                evidence = self._evidence(target, side, weights, both, Path(folder), networks, devices, library_check)
                proof = judge(weights, evidence, seconds=time.monotonic() - started)
                # What fails on a device only is no fault of a layer.
                if proof.calls_for(layers):
                    found = self._diagnosis(target, side.on_host, both, Path(folder))
                    proof = replace(proof, diagnosis=found, seconds=time.monotonic() - started)
        except VerificationError as error:
            # Weights that do not load are wrong; a runtime that crashed or timed out tells nothing of them.
            verdict = Verdict.FAIL if isinstance(error, LoadError) else Verdict.INCONCLUSIVE
            said, *rest = error.message.splitlines()
            seconds = time.monotonic() - started
            return Proof(verdict, said, weights, (), *networks, "not run", notices=tuple(rest), seconds=seconds)
        return proof

    def _diagnosis(self, target: Opened, side: Side, both: Common, folder: Path) -> Diagnosis:
        """What each layer of both sides gives, and why a target failed."""
        return diagnose(self.opened, target, side, both.inputs, folder, timeout=self.timeout, progress=self._progress)

    def _evidence(
        self,
        target: Opened,
        side: Side,
        weights: Weights,
        both: Common,
        folder: Path,
        networks: tuple[str, str],
        devices: Mapping[str, OnDevice],
        check_library: bool,
    ) -> Evidence:
        inputs = both.inputs.save(folder)
        # A device first: what is wrong there need not wait for the references.
        on_device = self._device_runs(devices.get("target"), side, inputs, folder, both.target_batch)
        of_source = self._source_runs(both, inputs, folder, devices.get("source"))
        runs = {name: _first_classes(outcome, self.opened.classes) for name, outcome in of_source.items()} | on_device
        runs["target"] = self._run("target", side.on_host, side.precision, inputs, folder, both.target_batch)
        oracle = rebuilt_side(target, "reference")
        runs["oracle"] = self._run("oracle", oracle, "float64", first_pictures(inputs, PICTURES, folder), folder)
        if weights.rounded or (side.half and not weights.verdict.good):
            # The target's weights are not the source's: what float64 makes of them tells what rounding costs.
            runs["target reference"] = self._run("target reference", torch_side(target), "float64", inputs, folder)
        if side.half:
            runs["emulated target"] = self._emulated("emulated target", target, inputs, folder)
        return Evidence(
            runs, both.inputs, tuple(map(np.load, inputs)), networks,
            f"{self._exact().label}, torch on CPU, float64", limit(self.opened, target),
            misread_files(self.opened, target, runs), trait_cause(self.opened, target),
            self._library(target, runs, inputs, folder) if check_library else None,
            (*both.notices, *said_against_the_file(self.opened, target)),
            tuple(devices.values()),
        )  # fmt: skip

    def _devices(self, side: Side, asked: DevicePrecision | None) -> dict[str, OnDevice]:
        """The sides that were asked for on a device."""
        sides = {"source": self._side, "target": side}
        return {
            name: OnDevice(name, str(one.where), asked or one.device_precision)
            for name, one in sides.items()
            if one.where.on_device
        }

    def _device_runs(
        self, device: OnDevice | None, side: Side, inputs: tuple[Path, ...], folder: Path, batch: int | None
    ) -> dict[str, Outcome]:
        """A side on its device, and what an emulation of the device's precision makes of it."""
        if device is None:
            return {}
        runs = {device.run: self._run(device.run, side, side.precision, inputs, folder, batch)}
        if device.precision != "float32":
            runs[device.emulated] = self._emulated(device.emulated, side.opened, inputs, folder, device.precision)
        return runs

    def _library(
        self, target: Opened, runs: dict[str, Outcome], inputs: tuple[Path, ...], folder: Path
    ) -> LibraryCheck | None:
        """Run the library's own network on the target where it has other traits than the weights."""
        side = library_check_side(target)
        if side is None:
            return None
        failure = ""
        try:
            runs["library"] = self._run("library", side, "float32", inputs, folder)
        except MshubConvertError as error:
            failure = f"{side.label} could not run the file: {error.message}"
        return library_check(target, side, failure)

    def _exact(self) -> Side:
        """What runs in float64: the user's own network where it is torch's, else what torch has for the weights."""
        if isinstance(self._side.network, UserNetwork) and self._side.runtime == "torch":
            return self._side.on_host
        return torch_side(self.opened)

    def _source_runs(
        self, both: Common, inputs: tuple[Path, ...], folder: Path, device: OnDevice | None
    ) -> dict[str, Outcome]:
        key = both.inputs, both.source_batch, device
        if key in self._runs:
            return self._runs[key]
        exact = self._exact()
        runs = {
            **self._device_runs(device, self._side, inputs, folder, both.source_batch),
            "source": self._run("source", self._side.on_host, self._side.precision, inputs, folder, both.source_batch),
            "reference": self._run("reference", exact, "float64", inputs, folder),
        }
        if self._side.half or self._side.precision != "float32":
            # A source of half precision is no yardstick for a target of more, nor one in float64 for any.
            runs["yardstick"] = self._run("yardstick", exact, "float32", inputs, folder)
        if self._side.half:
            runs["emulated source"] = self._emulated("emulated source", self.opened, inputs, folder)
        self._runs[key] = runs
        return runs

    def _emulated(
        self, name: str, opened: Opened, inputs: tuple[Path, ...], folder: Path, precision: Precision = "float16"
    ) -> Outcome:
        """What the arithmetic of a lower precision may make of these weights and pictures."""
        return self._run(name, rebuilt_side(opened, "torch"), precision, inputs, folder)

    def _run(
        self,
        name: str,
        side: Side,
        precision: Precision,
        inputs: tuple[Path, ...],
        folder: Path,
        batch: int | None = None,
    ) -> Outcome:
        self._progress(f"running {name} ({side.runtime}, {precision})", 0, None)
        output = folder / name.replace(" ", "-")
        job = job_of(side, precision, inputs, output, batch=batch)
        return run(job, timeout=self.timeout)


def _first_classes(outcome: Outcome, classes: int) -> Outcome:
    """A run with the logits of the first classes, where the target leaves out the others."""
    cut = ({name: a[:, :classes] if name == "head" else a for name, a in batch.items()} for batch in outcome.outputs)
    return replace(outcome, outputs=tuple(cut))
