"""The networks we know, by name; each family builds one graph. Of a new family, this file and one beside it know."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Protocol

from ..errors import UnknownNameError
from ..graph import Graph, Lookup
from ..names import did_you_mean
from ..traits import Traits
from . import resnet, resnet_inference, resnet_names


class Architecture(Protocol):
    """A network up to its traits: what fixes names and shapes of all parameters."""

    @property
    def name(self) -> str:
        """The field's name for it, such as ``resnext50_32x4d``."""

    @property
    def classes(self) -> int:
        """Rows of the classifier."""

    def graph(self, traits: Traits | None = None) -> Graph:
        """Build the graph (with default traits when only names and shapes matter)."""

    def with_classes(self, classes: int) -> "Architecture":
        """The same network with another classifier."""

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""


def architecture(name: str, *, classes: int = 1000) -> Architecture:
    """The architecture of this name; an unknown name raises with the nearest known ones.

    >>> architecture("resnext50_32x4d").graph().macs()
    4230479872
    """
    found = resnet.parse(name)
    if found is None:
        reason = resnet_names.why_not(name)
        if reason:
            raise UnknownNameError(f"{name} is not supported: {reason}", remedy=f"Supported: {', '.join(known())}.")
        raise UnknownNameError(f"unknown architecture {name!r}", remedy=did_you_mean(name, known()))
    return found.with_classes(classes)


def from_dict(data: Mapping[str, Any]) -> Architecture:
    """The inverse of ``Architecture.as_dict``."""
    return resnet.from_dict(data)


def known() -> tuple[str, ...]:
    """Names of the architectures that libraries publish (others of the same grammar work too)."""
    return resnet_names.NAMES


def samples() -> tuple[Architecture, ...]:
    """Networks that between them have every module of every known architecture."""
    return resnet.SAMPLES


@cache
def kinds() -> Mapping[str, str]:
    """What each module pattern of any architecture is: ``stages.{s}.{b}.norm{k}`` is a ``norm``."""
    return MappingProxyType({module.pattern: module.kind for net in samples() for module in net.graph().modules})


def infer(lookup: Lookup) -> Architecture | None:
    """Derive the architecture from the shapes that a file has."""
    return resnet_inference.infer(lookup)


def why_not_file(lookup: Lookup) -> str:
    """What a file holds that is a relative of our architectures but none of them; empty if it is no relative."""
    return resnet_inference.why_not_file(lookup)
