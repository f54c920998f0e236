"""The networks we know, by name; each family builds one graph. Of a new family, this file and one beside it know."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Protocol

from ..errors import MappingError, UnknownNameError
from ..graph import Graph, Lookup
from ..names import closest, did_you_mean, listed
from ..traits import Traits
from . import (
    resnet,
    resnet_inference,
    resnet_names,
    resnet_relatives,
    resnet_v2,
    resnet_v2_inference,
    ssd_inference,
    ssd_resnet50,
)
from .relatives import Relative


class Architecture(Protocol):
    """A network up to its traits: what fixes names and shapes of all parameters."""

    @property
    def name(self) -> str:
        """The field's name for it, such as ``resnext50_32x4d``."""

    @property
    def classes(self) -> int:
        """Rows of the classifier; 0 for a backbone, which has none."""

    @property
    def side(self) -> int:
        """Pixels of a side of the pictures that it is made for; it runs on others too."""

    def graph(self, traits: Traits | None = None) -> Graph:
        """Build the graph (with default traits when only names and shapes matter)."""

    def with_classes(self, classes: int) -> "Architecture":
        """The same network with another classifier."""

    @property
    def backbone(self) -> "Architecture | None":
        """The network without its classifier or heads, which gives its last stage; None where that is none of ours."""

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""


@dataclass(frozen=True, slots=True)
class _Family:
    """Networks of one kind.

    ``names`` are those that libraries publish, ``samples`` networks that between them have every module of the
    family, ``shallow`` ones that have every pattern of a module. ``parse`` reads a name, ``read`` is the inverse of
    ``Architecture.as_dict``, ``infer`` recognises a file by its shapes; ``why_not`` and ``why_not_file`` say why a
    relative of the family is none of it.
    """

    names: tuple[str, ...]
    samples: tuple[Architecture, ...]
    shallow: tuple[Architecture, ...]
    parse: Callable[[str], Architecture | None]
    read: Callable[[Mapping[str, Any]], Architecture]
    infer: Callable[[Lookup], Architecture | None]
    why_not: Callable[[str], str]
    why_not_file: Callable[[Lookup], str]


# By what ``Architecture.as_dict`` says under "family"; the first one says nothing.
_FAMILIES: Mapping[str, _Family] = {
    "resnet": _Family(
        resnet_names.NAMES, resnet.SAMPLES, resnet.SHALLOW, resnet.parse, resnet.from_dict, resnet_inference.infer,
        resnet_relatives.why_not, resnet_inference.why_not_file,
    ),
    resnet_v2.FAMILY: _Family(
        resnet_v2.NAMES, resnet_v2.SAMPLES, (resnet_v2.ResNetV2((1, 1, 1, 1)),), resnet_v2.parse, resnet_v2.from_dict,
        resnet_v2_inference.infer, resnet_v2.why_not, resnet_v2_inference.why_not_file,
    ),
    ssd_resnet50.FAMILY: _Family(
        ssd_resnet50.NAMES, ssd_resnet50.SAMPLES, ssd_resnet50.SAMPLES, ssd_resnet50.parse, ssd_resnet50.from_dict,
        ssd_inference.infer, ssd_resnet50.why_not, ssd_inference.why_not_file,
    ),
}  # fmt: skip
_LIST = "See `mshub-convert list` for the networks that are converted."
# A later family is an earlier one with something more, by which it knows itself.
_FROM_THE_LAST = tuple(_FAMILIES.values())[::-1]


def architecture(name: str, *, classes: int | None = None) -> Architecture:
    """The architecture of this name, with its published number of classes if none is given.

    An unknown name raises with the nearest known ones.

    >>> architecture("resnext50_32x4d").graph().macs()
    4230479872
    """
    found = next((network for family in _FAMILIES.values() if (network := family.parse(name))), None)
    if found is None:
        reason = next((text for family in _FROM_THE_LAST if (text := family.why_not(name))), "")
        if reason:
            raise UnknownNameError(f"{name} is not supported: {reason}", remedy=_LIST)
        fact, near = f"unknown architecture {name!r}", closest(name, known())
        if near:
            raise UnknownNameError(fact, remedy=f"Did you mean {listed(near, 'or')}?")
        raise UnknownNameError(f"{fact}: by its name no ResNet, ResNeXt or SSD-ResNet50", remedy=_LIST)
    return found if classes is None else found.with_classes(classes)


def named_like(name: str, network: Architecture) -> Architecture:
    """The architecture of this name with as many classes as ``network``: its backbone, if that is one."""
    found = architecture(name)
    return found.with_classes(network.classes) if network.classes else found.backbone or found


def spoken(name: str, classes: int) -> str:
    """A network in words, by its name and number of classes.

    >>> spoken("resnet50", 1000), spoken("resnet50", 0)
    ('resnet50, 1000 classes', 'resnet50 without a classifier')
    """
    return f"{name}, {classes} classes" if classes else f"{name} without a classifier"


def from_dict(data: Mapping[str, Any]) -> Architecture:
    """The inverse of ``Architecture.as_dict``."""
    name = data.get("family", "resnet")
    if name not in _FAMILIES:
        raise MappingError(f"unknown family of networks {name!r}", remedy=did_you_mean(str(name), _FAMILIES))
    return _FAMILIES[name].read(data)


def known() -> tuple[str, ...]:
    """Names of the architectures that libraries publish (others of the same grammar work too)."""
    return tuple(name for family in _FAMILIES.values() for name in family.names)


def samples() -> tuple[Architecture, ...]:
    """Networks that between them have every module of every known architecture."""
    return tuple(network for family in _FAMILIES.values() for network in family.samples)


@cache
def kinds() -> Mapping[str, str]:
    """What each module pattern of any architecture is: ``stages.{s}.{b}.norm{k}`` is a ``norm``."""
    shallow = (network for family in _FAMILIES.values() for network in family.shallow)
    return MappingProxyType({module.pattern: module.kind for net in shallow for module in net.graph().modules})


def infer(lookup: Lookup) -> Architecture | None:
    """Derive the architecture from the shapes that a file has."""
    return next((network for family in _FROM_THE_LAST if (network := family.infer(lookup))), None)


def why_not_file(lookup: Lookup) -> str:
    """What a file holds that is a relative of our architectures but none of them; empty if it is no relative."""
    return next((reason for family in _FROM_THE_LAST if (reason := family.why_not_file(lookup))), "")


def why_not_tensors(names: Iterable[str]) -> Relative | None:
    """Which relative of our architectures has tensors of these names, which ours do not have."""
    held = tuple(names)
    return ssd_inference.why_not_tensors(held) or resnet_relatives.why_not_tensors(held)
