"""Verify a bundle again, on a machine that has NumPy and one runtime: no source, no torch, nothing is downloaded."""

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...converters.digest import file_sha256
from ...converters.errors import UsageError
from ...converters.opened import Opened, open_source
from ...converters.record import SourceFile
from ...converters.sources import Origin, Source
from ...mappings.architectures import from_dict
from ...mappings.names import collapse, counted, listed
from ...mappings.traits import Traits
from ..common import common
from ..compare import RULE, Verdict
from ..device import DevicePrecision, OnDevice
from ..diagnosis.diagnose import diagnose
from ..diagnosis.result import Layers
from ..errors import LoadError, RuntimeRefusedError, VerificationError
from ..float64 import PICTURES
from ..inputs import InputSet
from ..judge import Evidence, judge
from ..proof import Proof
from ..running import first_pictures, job_of, told
from ..runtimes import Outcome, run
from ..runtimes.weights import sha256
from ..runtimes.where import Where
from ..sides import ONLY_RUNS, Side, asked_side, installed, rebuilt_side
from ..subject import Subject, subject
from ..weights import Weights, misread
from .manifest import NAME, Manifest, Target, read
from .recorded import Recorded, recorded_run

Progress = Callable[[str, int, int | None], None]

TIMEOUT = 900.0
# Runs of the source that are compared with.
_RECORDED = ("source", "reference")


def replay(
    folder: Path,
    *,
    runtime: Where | None = None,
    device_precision: DevicePrecision | None = None,
    layers: Layers = "on failure",
    progress: Progress | None = None,
    timeout: float = TIMEOUT,
) -> Proof:
    """Run the file of a bundle that a runtime takes, and compare it with what the source was recorded to give.

    Without ``runtime`` the first file runs whose runtime is installed. On a device it runs too, beside the CPU,
    expected to compute in ``device_precision`` and held to the budget that was predicted where the bundle was made.
    ``layers`` looks into it layer by layer even where nothing failed.
    Raises TamperedError or MalformedFileError for a bundle that is not what was made, UsageError where it has nothing
    for the runtime.
    """
    started = time.monotonic()
    progress = progress or (lambda *_: None)
    progress(f"checking {folder.name}", 0, None)
    manifest = read(folder)
    target = _chosen(manifest, runtime)
    file = folder / target.file
    digest = file_sha256(folder / NAME)
    opened = open_source(Source(target.file, file, file.stem, Origin("file")), dialect=target.dialect)
    with closing(opened):
        weights = _weights(opened, target, manifest)
        of_source, of_target = _source(manifest), subject(opened)
        side = asked_side(opened, runtime)
        recorded = str(manifest.source["network"])
        networks = f"{recorded} (recorded)", told(side.on_host)
        reference = f"{manifest.source['reference']} (recorded)"
        inputs = Recorded.of(folder, manifest)
        if not weights.verdict.good:
            return Proof(
                weights.verdict, weights.reason, weights, (), *networks, "not run", inputs, source=of_source,
                target=of_target, seconds=time.monotonic() - started, bundle=digest,
            )  # fmt: skip
        try:
            both = common(inputs, side, side)
            with tempfile.TemporaryDirectory(prefix="mshub-bundle-") as scratch:
                room = Path(scratch)
                device = _device(side, device_precision, manifest, both.inputs)
                runs = _runs(opened, side, device, both.inputs, both.target_batch, room, progress, timeout)
                evidence = Evidence(
                    runs | {name: recorded_run(folder, manifest, name, both.inputs.labels) for name in _RECORDED},
                    both.inputs, tuple(map(np.load, both.inputs.save(room))), networks, reference,
                    (target.allowed, target.why), _misread(opened, runs["target"]),
                    notices=(*both.notices, *_other_rule(manifest)), devices=() if device is None else (device,),
                )  # fmt: skip
                proof = judge(weights, evidence, seconds=time.monotonic() - started)
                proof = replace(proof, source=of_source, target=of_target, bundle=digest)
                if proof.calls_for(layers):
                    # The file is its own source here: its tensors are those that were proven.
                    on_host = side.on_host
                    found = diagnose(opened, opened, on_host, both.inputs, room, timeout=timeout, progress=progress)
                    proof = replace(proof, diagnosis=found, seconds=time.monotonic() - started)
        except VerificationError as error:
            verdict = Verdict.FAIL if isinstance(error, LoadError) else Verdict.INCONCLUSIVE
            first, *rest = error.message.splitlines()
            return Proof(
                verdict, first, weights, (), *networks, "not run", inputs, source=of_source, target=of_target,
                notices=tuple(rest), seconds=time.monotonic() - started, bundle=digest,
            )  # fmt: skip
        return proof


def _source(manifest: Manifest) -> Subject:
    """What is known of the source, which is not here."""
    said, network = manifest.source, from_dict(manifest.architecture)
    return Subject(
        said["address"], said["origin"], network.name, network.classes, said["dialect"], manifest.traits,
        said["traits_from"], tuple(SourceFile(**file) for file in said["files"]), preprocessing=said["preprocessing"],
    )  # fmt: skip


def _misread(opened: Opened, outcome: Outcome) -> tuple[str, ...]:
    names = misread(opened, outcome.hashes)
    return (f"{outcome.loader} reads other bytes than we do for {listed(collapse(names)[:6])}",) if names else ()


def _chosen(manifest: Manifest, runtime: Where | None) -> Target:
    """The file that a runtime takes; the reference takes any."""
    if runtime is None:
        able = [target for target in manifest.targets if installed(target.runtime)]
        if able:
            return able[0]
        held = listed([f"{target.file} (for {target.runtime})" for target in manifest.targets])
        raise UsageError(f"nothing installed here runs {held}", remedy="Install one of these runtimes.")
    for target in manifest.targets:
        wanted = target.container if runtime.runtime in ONLY_RUNS else target.runtime
        if runtime.runtime == "reference" or wanted == ONLY_RUNS.get(runtime.runtime, runtime.engine):
            return target
    held = listed([f"{target.file} for {target.runtime}" for target in manifest.targets])
    raise UsageError(f"the bundle has nothing for {runtime}, only {held}", remedy="Make it again with another --to.")


def _weights(opened: Opened, target: Target, manifest: Manifest) -> Weights:
    """Whether the file is the network of the bundle, and each tensor the one that was proven there."""
    network, traits = from_dict(manifest.architecture), Traits().with_values(manifest.traits)
    if (opened.found.architecture, opened.traits) != (network, traits):
        return Weights(Verdict.FAIL, f"{target.file} is not the {network.name} with the traits of the manifest", 0)
    held = {name: sha256(np.asarray(opened.tensors[full].read())) for name, full in opened.found.names.items()}
    differing = tuple(name for name in {**target.tensors, **held} if target.tensors.get(name) != held.get(name))
    if differing or not held:
        reason = f"{counted(len(differing), 'tensor')} of {target.file} are not those that the manifest has a sha256 of"
        return Weights(Verdict.FAIL, reason, len(held), differing)
    reason = f"{counted(len(held), 'tensor')}, each with the sha256 it had where the bundle was made"
    return Weights(Verdict.PASS, reason, len(held), sha256=held)


def _device(side: Side, asked: DevicePrecision | None, manifest: Manifest, inputs: InputSet) -> OnDevice | None:
    """The target on a device, with what the precision there may cost; None on the CPU."""
    if not side.where.on_device:
        return None
    precision = asked or side.device_precision
    if precision == "float32":
        return OnDevice("target", str(side.where), precision)
    known = manifest.budgets.get(precision, {})
    lacking = [label for label in inputs.labels if label not in known]
    if lacking:
        message = f"the bundle has no budget for {precision} at {listed(lacking)}"
        raise RuntimeRefusedError(message, remedy="Make it again with this version.")
    return OnDevice("target", str(side.where), precision, tuple(known[label] for label in inputs.labels))


def _runs(
    opened: Opened,
    side: Side,
    device: OnDevice | None,
    inputs: InputSet,
    batch: int | None,
    scratch: Path,
    progress: Progress,
    timeout: float,
) -> dict[str, Outcome]:
    """The target where it was asked for, on the CPU, and in float64 in NumPy."""
    files = inputs.save(scratch)
    few = first_pictures(files, PICTURES, scratch)
    target = job_of(side.on_host, side.precision, files, scratch / "target", batch=batch)
    oracle = job_of(rebuilt_side(opened, "reference"), "float64", few, scratch / "oracle")
    runs = {}
    jobs = {"target": target, "oracle": oracle}
    if device is not None:  # first: what is wrong there need not wait
        jobs = {device.run: job_of(side, side.precision, files, scratch / "device", batch=batch), **jobs}
    for name, job in jobs.items():
        progress(f"running {name} ({job.runtime}, {job.precision})", 0, None)
        runs[name] = run(job, timeout=timeout)
    return runs


def _other_rule(manifest: Manifest) -> tuple[str, ...]:
    """Limits that are not those of this version."""
    others = [f"{name} {value:g}" for name, value in manifest.rule.items() if RULE.get(name) != value]
    return (f"the bundle was made under another rule than this version's: {listed(others)}",) if others else ()
