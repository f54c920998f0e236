"""The models of modelhub.ai that are known here, from ``models.toml``."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ...mappings.architectures import architecture
from ...mappings.architectures import known as architectures
from ...mappings.errors import UnknownNameError
from .preprocessing import Preprocessing, from_facts


@dataclass(frozen=True, slots=True)
class Release:
    """One published weight file; ``evidence`` is what the runner that belongs to it must say."""

    url: str
    licence: str
    preprocessing: Preprocessing
    evidence: tuple[str, ...]
    postprocessing: str = ""

    def fits(self, processing: str) -> bool:
        """Whether a ``processing.py`` says what this release's does."""
        text = _dense(processing)
        return all(_dense(piece) in text for piece in self.evidence)


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the hub; the first release is the current one."""

    name: str
    architecture: str
    id: str
    releases: tuple[Release, ...]


@cache
def models() -> Mapping[str, Model]:
    """All known models by name."""
    text = resources.files(__package__).joinpath("models.toml").read_text(encoding="utf-8")
    return {entry["name"]: _model(entry) for entry in tomllib.loads(text)["models"]}


def _model(entry: Mapping[str, Any]) -> Model:
    return Model(entry["name"], entry["architecture"], entry["id"], tuple(map(_release, entry["releases"])))


def _release(entry: Mapping[str, Any]) -> Release:
    preprocessing = from_facts(entry["preprocessing"], stated_by=entry["stated_by"])
    if preprocessing is None:
        raise ValueError(f"models.toml: the preprocessing of {entry['url']} is none")
    evidence, after = tuple(entry["evidence"]), entry.get("postprocessing", "")
    return Release(entry["url"], entry["licence"], preprocessing, evidence, after)


def release(name: str, processing: str | None, url: str) -> Release | None:
    """The release whose runner a repository has: by its ``processing.py``, or by the address where it has none."""
    releases = models()[name].releases if name in models() else ()
    if processing is not None:
        return next((one for one in releases if one.fits(processing)), None)
    return next((one for one in releases if one.url == url), None)


def architecture_of(name: str) -> str | None:
    """The architecture that a repository's name means: ``resnet-50``, ``resnext50-32x4d``; None for another network.

    >>> architecture_of("ResNet-50"), architecture_of("resnext50-32x4d"), architecture_of("squeezenet")
    ('resnet50', 'resnext50_32x4d', None)
    """
    plain = name.lower()
    if plain in models():
        return models()[plain].architecture
    spellings = (plain, plain.replace("-", "_"), plain.replace("-", ""))
    published = next((spelling for spelling in spellings if spelling in architectures()), None)
    if published is not None:
        return published
    try:
        return architecture(plain).name
    except UnknownNameError:
        return None


def _dense(text: str) -> str:
    return "".join(text.split()).replace("'", '"')
