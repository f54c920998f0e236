"""Look into a file: container, dialect, architecture, traits, record; no tensor is read, no framework loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mshub_convert.converters.codecs import open_checkpoint
from mshub_convert.converters.errors import PlanError
from mshub_convert.converters.opened import open_source
from mshub_convert.converters.plan import make_plan
from mshub_convert.converters.record import read_sidecar
from mshub_convert.converters.sources import Origin, Source
from mshub_convert.sizes import size_of


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a file holds; ``nbytes`` counts the files beside it that it keeps tensors in.

    ``network`` is empty for a file that is none of our networks; then ``reason`` says why.
    """

    path: Path
    container: str
    nbytes: int
    tensors: int
    dtypes: dict[str, int]
    network: dict[str, Any]
    reason: str
    problems: tuple[str, ...]
    notices: tuple[str, ...]
    record: dict[str, Any]
    metadata: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "path": str(self.path), "container": self.container, "bytes": self.nbytes, "tensors": self.tensors,
            "dtypes": self.dtypes, "network": self.network, "reason": self.reason, "problems": list(self.problems),
            "notices": list(self.notices), "record": self.record, "metadata": self.metadata,
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
        }  # fmt: skip


def inspect(file: str | Path, *, select: str | None = None) -> Inspection:
    """Inspect a file of any container; raises only when it cannot be read at all."""
    path = Path(file)
    with open_checkpoint(path) as checkpoint:
        dtypes: dict[str, int] = {}
        for ref in checkpoint.tensors.values():
            dtypes[ref.spec.dtype] = dtypes.get(ref.spec.dtype, 0) + 1
        record = checkpoint.record or read_sidecar(path)[0] or {}
        network, reason, problems, notices = _network(path, select)
        nbytes = sum(held.size for held in checkpoint.files)
        return Inspection(
            path, checkpoint.container, nbytes, len(checkpoint.tensors), dtypes, network, reason, problems,
            notices or checkpoint.notes, dict(record), dict(checkpoint.metadata), checkpoint.shapes,
        )  # fmt: skip


def _network(path: Path, select: str | None) -> tuple[dict[str, Any], str, tuple[str, ...], tuple[str, ...]]:
    try:
        opened = open_source(Source(str(path), path, path.stem, Origin("file")), select=select)
    except PlanError as error:
        return {}, str(error), (), ()
    try:
        found = opened.found
        plan = make_plan(opened.tensors, found, found.grounding, carried=opened.carried)
        network = {
            **found.architecture.as_dict(),
            "dialect": found.dialect.name, "same_names": list(found.also), "prefix": found.prefix,
            **size_of(found.architecture, opened.traits),
            "traits": opened.traits.as_dict(), "traits_from": opened.traits_from,
        }  # fmt: skip
        problems = (*opened.problems, *plan.problems)
        notices = (*opened.notices, *plan.notices)
        return network, "", tuple(f.told for f in problems), tuple(f.told for f in notices)
    finally:
        opened.close()
