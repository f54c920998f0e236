"""Publications: a converted weight file in the repository or card that a model hub wants around it."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..findings import Finding
from ..record import Record


@dataclass(frozen=True, slots=True)
class Published:
    """A finished weight file to write the rest around.

    ``model`` is what outputs are called after, ``url`` where the file will be downloaded from (empty if it is part of
    the publication), ``input_shape`` what is fixed of a graph's input, ``module`` the text of a module of the network
    for a publication that has one, and ``weights`` the file's place in the folder.
    """

    record: Record
    model: str
    sha256: str
    nbytes: int
    url: str = ""
    input_shape: tuple[int, ...] | None = None
    module: str = ""
    weights: str = ""


class Publication(Protocol):
    """One kind of publication, asked for as ``--to NAME[:DIALECT] -o FOLDER``.

    ``weights`` tells people where its weight file is, ``has_module`` that it has a module of the network too.
    """

    name: str
    title: str
    container: str
    weights: str
    has_module: bool

    def path(self, network: str, facts: Mapping[str, Any]) -> str:
        """Where the weight file goes in the folder, for a network and what is known of its weights."""

    def write(self, folder: Path, published: Published) -> tuple[Finding, ...]:
        """Write everything but the weight file, which is there already; returns what there is to say."""


_MODULES: Mapping[str, str] = {"modelhub": "modelhub.publish", "mshub": "cards.publish"}
PUBLICATIONS = tuple(_MODULES)


def publication(name: str) -> Publication:
    """The kind of this name, one of ``PUBLICATIONS``."""
    found: Publication = importlib.import_module(f"..{_MODULES[name]}", __package__).PUBLICATION
    return found
