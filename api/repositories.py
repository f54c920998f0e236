"""Look into a repository of modelhub.ai: what it says of its model, and the weight file if that is in place."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mshub_convert.converters.errors import PlanError
from mshub_convert.converters.modelhub.repository import Repository
from mshub_convert.converters.sources import Progress, Request, modelhub
from mshub_convert.inspection import Inspection, inspect


@dataclass(frozen=True, slots=True)
class RepositoryInspection:
    """A repository and its weight file; ``file`` is None where that would have to be downloaded.

    ``notices`` are what its files say against each other, leave out, or claim wrongly of the weights.
    """

    repository: Repository
    file: Inspection | None
    notices: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **self.repository.as_dict(),
            "notices": list(self.notices),
            "file": self.file.as_dict() if self.file else None,
        }


def inspect_repository(address: str | Path, *, progress: Progress | None = None) -> RepositoryInspection:
    """Inspect ``modelhub:NAME`` or a folder; the weight file is looked into where it is in place, never downloaded.

    Raises :class:`~mshub_convert.MshubConvertError` for what is no repository or cannot be had.
    """
    text = str(address).removeprefix("modelhub:")
    with tempfile.TemporaryDirectory(prefix="mshub-convert-") as scratch:
        found = modelhub.find(text, Request(Path(scratch), progress=progress))
    notices = [*found.notices, *_lacking(found)]
    file = None
    try:
        place = Path(text) / modelhub.weights(found).path
    except PlanError as error:
        notices.append(str(error))
    else:
        if modelhub.is_path(text) or Path(address).is_dir():
            file = inspect(place) if place.is_file() else None
    if file is not None:
        notices += _contradictions(found, file.network)
    return RepositoryInspection(found, file, tuple(notices))


def _lacking(found: Repository) -> tuple[str, ...]:
    lacks = found.config.lacks
    return (f"config.json lacks {', '.join(lacks)}, which modelhub's schema requires",) if lacks else ()


def _contradictions(found: Repository, network: dict[str, Any]) -> list[str]:
    """What the repository says of its file that is not so."""
    said, notices = found.architecture, []
    if network and said is not None and said != network["name"]:
        notices.append(f"config.json says {said}, but the file holds {network['name']}")
    if network and found.labels and len(found.labels) != network["classes"]:
        notices.append(f"labels.json names {len(found.labels)} classes, but the file has {network['classes']}")
    return notices
