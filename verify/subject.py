"""What a proof is about: the two files, by their hashes, and what is known of the weights in them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..converters.opened import Opened
from ..converters.record import SourceFile, sha256


@dataclass(frozen=True, slots=True)
class Subject:
    """One side of a proof.

    ``address`` is what was asked for, ``origin`` how the weights were had (``pretrained``, ``stated``, ``file``,
    ``memory``, ``calibrated:SEED``). ``class_names`` and ``preprocessing`` are what the source states, if it does.
    """

    address: str
    origin: str
    network: str
    classes: int
    dialect: str
    traits: Mapping[str, Any]
    traits_from: str
    files: tuple[SourceFile, ...]
    class_names: tuple[str, ...] = field(default=(), repr=False)
    preprocessing: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the names of the classes."""
        return {
            "address": self.address, "origin": self.origin, "network": self.network, "classes": self.classes,
            "dialect": self.dialect, "traits": dict(self.traits), "traits_from": self.traits_from,
            "files": [asdict(file) for file in self.files],
            "preprocessing": dict(self.preprocessing),
        }  # fmt: skip


def subject(opened: Opened) -> Subject:
    """What there is to say of an opened file; reads it once for its hash."""
    found, preprocessing = opened.found, opened.facts.get("preprocessing")
    return Subject(
        opened.source.address, opened.source.origin.kind, found.architecture.name, opened.classes, found.dialect.name,
        opened.traits.as_dict(), opened.traits_from,
        tuple(
            SourceFile(file.path.name, opened.checkpoint.container, file.size, sha256(file))
            for file in opened.checkpoint.files
        ),
        _class_names(opened), preprocessing if isinstance(preprocessing, Mapping) else {},
    )  # fmt: skip


def _class_names(opened: Opened) -> tuple[str, ...]:
    """A name for each class, or none at all."""
    training = opened.facts.get("training")
    stated = training.get("class_names") if isinstance(training, Mapping) else None
    for names in (opened.facts.get("labels"), stated):
        if isinstance(names, (list, tuple)) and len(names) >= opened.classes and all(type(n) is str for n in names):
            return tuple(names[: opened.classes])
    return ()
