"""Running sides: the job of one, the first pictures of batches, and how a run is told."""

from pathlib import Path

import numpy as np

from .runtimes import FileNetwork, GraphNetwork, Job, Precision, Watch
from .sides import Side


def job_of(
    side: Side,
    precision: Precision,
    inputs: tuple[Path, ...],
    output: Path,
    *,
    batch: int | None = None,
    watch: Watch = "outputs",
) -> Job:
    """A side on batches of pictures, where it was asked to run."""
    return Job(
        side.runtime, side.network, side.weights, inputs, output, precision, side.device, watch, batch, side.index
    )  # fmt: skip


def first_pictures(inputs: tuple[Path, ...], count: int, folder: Path) -> tuple[Path, ...]:
    """The first pictures of each batch, in files of their own."""
    made = tuple(folder / f"first-{count}-{path.name}" for path in inputs)
    for path, few in zip(inputs, made, strict=True):
        np.save(few, np.load(path)[:count])
    return made


def told(side: Side, if_rebuilt: str = "") -> str:
    """A side in words: whose network, where, in which precision; ``if_rebuilt`` is added to one of ours."""
    precision = "float16" if side.half else side.precision
    if isinstance(side.network, FileNetwork):
        return f"{side.label} on {side.where.title}, {precision}"
    rebuilt = if_rebuilt if isinstance(side.network, GraphNetwork) else ""
    return f"{side.label}, {side.runtime} on {side.where.title}, {precision}{rebuilt}"
