"""Publications: a converted weight file in the repository or card that a model hub wants around it."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..findings import Finding
from ..record import Record


@dataclass(frozen=True, slots=True)
class Published:
    """A finished weight file to write the rest around.

    ``model`` is what outputs are called after, ``url`` where the file will be downloaded from (empty if it is part of
    the publication), ``input_shape`` what is fixed of a graph's input.
    """

    record: Record
    model: str
    sha256: str
    nbytes: int
    url: str = ""
    input_shape: tuple[int, ...] | None = None


class Publication(Protocol):
    """One kind of publication, asked for as ``--to NAME[:DIALECT] -o FOLDER``."""

    name: str
    title: str
    container: str
    weights: str

    def write(self, folder: Path, published: Published) -> tuple[Finding, ...]:
        """Write everything but the weight file, which is at ``weights`` already; returns what there is to say."""


_MODULES: Mapping[str, str] = {"modelhub": "modelhub.publish"}
PUBLICATIONS = tuple(_MODULES)


def publication(name: str) -> Publication:
    """The kind of this name, one of ``PUBLICATIONS``."""
    found: Publication = importlib.import_module(f"..{_MODULES[name]}", __package__).PUBLICATION
    return found
