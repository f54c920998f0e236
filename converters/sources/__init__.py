"""Sources: from an address such as ``timm:resnext50_32x4d`` to a local weight file and what is known of it."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ...mappings.names import did_you_mean
from ..errors import UsageError

# Progress of a download: what, bytes done, bytes in all (None when unknown).
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the weights come from.

    ``kind`` is ``pretrained`` (fetched from the library's own hub), ``stated`` (a file said to be this model, and
    compared with nothing), ``file`` (a user's file), ``memory`` (a live module or state dict) or ``calibrated:SEED``
    (drawn by us, not pretrained).
    """

    kind: str

    @property
    def pretrained(self) -> bool | None:
        """True for weights from the hub, False for drawn ones, None when only the user knows."""
        return True if self.kind == "pretrained" else False if self.kind.startswith("calibrated") else None


@dataclass(frozen=True, slots=True)
class Source:
    """A local weight file and what its address says of it.

    ``model`` names outputs; ``architecture`` (a name) and ``dialect`` are what the address promises, checked
    against the file; ``claims`` is an architecture that its documents name, which the file may contradict with a
    notice; ``library`` and ``library_model`` tell which real network the weights belong to (``timm``,
    ``resnext50_32x4d``); ``facts`` go into the record (tag, licence, preprocessing, accuracy, url); ``classes`` is how
    many the published weights have. Where an address does not say it exactly, ``promises`` are the names that the
    architecture may have, and ``likely_classes`` the numbers of classes.
    """

    address: str
    file: Path
    model: str
    origin: Origin
    architecture: str | None = None
    dialect: str | None = None
    library: str | None = None
    library_model: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    classes: int | None = None
    notices: tuple[str, ...] = ()
    promises: tuple[str, ...] = ()
    likely_classes: tuple[int, ...] = ()
    claims: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked of a source.

    ``weights`` is a file to use instead of the download, ``init`` is ``calibrated[:SEED]``, ``scratch`` a folder
    for files that only this run needs (removed by its owner), ``progress`` is told of downloads.
    """

    scratch: Path
    weights: Path | None = None
    init: str | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Stated:
    """What an address says of a model without its weights: ``name`` is the network's, ``facts`` are as in a Source."""

    name: str
    library: str
    facts: Mapping[str, object]
    notices: tuple[str, ...] = ()


class Resolver(Protocol):
    """One kind of address."""

    def resolve(self, rest: str, request: Request) -> Source:
        """The source behind ``scheme:rest``."""

    def stated(self, rest: str, request: Request) -> Stated:
        """What is said of the model behind ``scheme:rest``; its weights are not fetched."""

    def names(self) -> tuple[str, ...]:
        """Addresses' rests that can be asked for, for ``mshub-convert list scheme:``."""


SCHEMES = ("timm", "torchvision", "mmcls", "modelhub", "mshub")


def resolver(scheme: str) -> Resolver:
    """The resolver of a scheme."""
    if scheme not in SCHEMES:
        raise UsageError(f"unknown source {scheme!r}", remedy=did_you_mean(scheme, SCHEMES))
    found: Resolver = importlib.import_module(f"{__package__}.{scheme}").RESOLVER
    return found


def resolve(address: str, request: Request) -> Source:
    """Find the local weight file behind an address: ``SCHEME:NAME``, the address of a card, or a path."""
    scheme, colon, rest = address.partition(":")
    if scheme in ("http", "https"):
        return resolver("mshub").resolve(address, request)
    if colon and not Path(address).exists() and scheme.isidentifier() and len(scheme) > 1:
        return resolver(scheme).resolve(rest, request)
    from . import local

    return local.resolve(address, request)
