"""Write a bundle around converted files and their proofs: pictures, references, stages, limits, environment."""

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...converters.opened import Opened
from ..compare import RULE, relative_l2
from ..exhibits import Exhibits
from ..float64 import limit
from ..proof import Proof
from ..running import first_pictures, job_of
from ..runtimes import Values, run
from ..runtimes.job import EMULATED
from ..sides import Side, own_side, rebuilt_side
from ..subject import subject
from .manifest import NAME, Manifest, Target, described


@dataclass(frozen=True, slots=True)
class Proven:
    """A converted file in the folder of the bundle, opened, and its proof."""

    file: str
    opened: Opened
    proof: Proof


def write_bundle(
    folder: Path,
    source: Opened,
    targets: Iterable[Proven],
    *,
    tool: str,
    scratch: Path,
    timeout: float,
    progress: Callable[[str, int, int | None], None],
) -> Manifest:
    """Write everything but the converted files, which are in ``folder`` already.

    All targets were proven on the same inputs. ``scratch`` is a folder for what the runs leave. Raises what a run does.
    """
    proven = list(targets)
    exhibits = proven[0].proof.exhibits
    if exhibits is None or any(item.proof.exhibits is None for item in proven):
        raise ValueError("a target without exhibits was not run, and proves nothing")
    inputs = proven[0].proof.inputs
    batches = zip(inputs.labels, exhibits.pictures, strict=True)
    pictures = _save(folder, "inputs", {label: {"": array} for label, array in batches})
    outputs = {name: _outputs(folder, name, inputs.labels, exhibits) for name in ("source", "reference")}
    files = tuple(folder / of_label[""] for of_label in pictures.values())
    few = first_pictures(files, 1, scratch)
    progress("running the stages (reference, float64)", 0, None)
    stages = _stages(folder, inputs.labels, rebuilt_side(source, "reference"), few, scratch, timeout)
    budgets: dict[str, dict[str, float]] = {}
    for precision in EMULATED:
        progress(f"emulating {precision}", 0, None)
        side = rebuilt_side(source, "torch")
        outcome = run(job_of(side, precision, files, scratch / precision), timeout=timeout)
        budgets[precision] = {
            label: max(float(relative_l2(found[name], exact[name]).max()) for name in exact)
            for label, found, exact in zip(inputs.labels, outcome.outputs, exhibits.outputs["reference"], strict=True)
        }
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    manifest = Manifest(
        tool=tool,
        source=_source(source, proven[0]),
        architecture=source.network.as_dict(),
        traits=source.traits.as_dict(),
        targets=tuple(_target(source, item) for item in proven),
        inputs={
            "labels": list(inputs.labels), "sizes": [list(size) for size in inputs.sizes], "count": inputs.count,
            "told": inputs.told, "notices": list(inputs.notices), "facts": inputs.as_dict(),
            "files": [of_label[""] for of_label in pictures.values()],
        },
        outputs=outputs,
        stages=stages,
        rule=RULE,
        budgets=budgets,
        environment=_environment(proven),
        files=described(folder, names),
    )  # fmt: skip
    (folder / NAME).write_bytes(manifest.as_bytes())
    return manifest


def _outputs(folder: Path, name: str, labels: tuple[str, ...], exhibits: Exhibits) -> Mapping[str, Mapping[str, str]]:
    return _save(folder, name, dict(zip(labels, exhibits.outputs[name], strict=True)))


def _save(folder: Path, name: str, arrays: Mapping[str, Values]) -> dict[str, dict[str, str]]:
    """Arrays by label and name, in files of a folder called so; where they are."""
    (folder / name).mkdir()
    made: dict[str, dict[str, str]] = {}
    for label, values in arrays.items():
        for key, array in values.items():
            file = f"{name}/{'-'.join(filter(None, (label, key)))}.npy"
            np.save(folder / file, array, allow_pickle=False)
            made.setdefault(label, {})[key] = file
    return made


def _stages(
    folder: Path, labels: tuple[str, ...], side: Side, inputs: tuple[Path, ...], scratch: Path, timeout: float
) -> Mapping[str, Mapping[str, str]]:
    """What the reference has at the end of each stage, rounded to float32 for its size."""
    outcome = run(job_of(side, "float64", inputs, scratch / "stages", watch="stages"), timeout=timeout)
    rounded = [{name: array.astype(np.float32) for name, array in seen.items()} for seen in outcome.watched]
    return _save(folder, "stages", dict(zip(labels, rounded, strict=True)))


def _source(source: Opened, item: Proven) -> dict[str, Any]:
    said = subject(source)
    return {
        "address": said.address, "origin": said.origin, "pretrained": source.source.origin.pretrained,
        "dialect": said.dialect, "traits_from": said.traits_from, "preprocessing": dict(said.preprocessing),
        "network": item.proof.source_network, "reference": item.proof.reference,
        "license": source.source.facts.get("license"),
        "files": [asdict(file) for file in item.opened.carried.sources],
    }  # fmt: skip


def _target(source: Opened, item: Proven) -> Target:
    allowed, why = limit(source, item.opened)
    return Target(
        item.file, item.opened.checkpoint.container, item.opened.found.dialect.name, own_side(item.opened).runtime,
        allowed, why, item.proof.verdict.value, item.proof.weights.sha256,
    )  # fmt: skip


def _environment(proven: list[Proven]) -> dict[str, Any]:
    """Machine and versions of the runs that are recorded."""
    return {
        "python": platform.python_version(), "system": platform.platform(terse=True), "machine": platform.machine(),
        "numpy": np.__version__, "runs": {
            name: dict(facts) for name, facts in proven[0].proof.runs.items() if name in ("source", "reference")
        },
    }  # fmt: skip
