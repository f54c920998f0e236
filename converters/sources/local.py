"""A path as source."""

from pathlib import Path

from ...mappings.architectures import Architecture, architecture, known
from ...mappings.dialects import dialect, dialects_for
from ...mappings.errors import UnknownNameError
from ...mappings.names import listed
from ..codecs import codecs
from ..errors import EnvironmentError_, UsageError
from . import Origin, Request, Source, calibrated, resolver

# Schemes whose addresses are names of their library's networks.
_LIBRARIES = ("timm", "torchvision")


def resolve(address: str, request: Request) -> Source:
    """A file of the user's, which says itself what it holds; a card or a repository, which tell where it is.

    The mere name of a network with ``init`` gives drawn weights, in the first dialect that has names for it.
    """
    if address.endswith(".md") and Path(address).is_file():
        return resolver("mshub").resolve(address, request)
    path = Path(address)
    if path.is_dir():
        from . import modelhub  # only here: most sources are files, and start faster without it

        return modelhub.from_folder(path, request)
    network = None if path.exists() else _network(address)
    if request.init and network is None and not path.exists() and path.name == address:
        architecture(address)  # raises, and says what is known
    if network is not None and request.init:
        naming = dialects_for(network)[0]
        file, origin = calibrated.stand_in(request, network, naming)
        return Source(address, file, network.name, origin, architecture=network.name, dialect=naming)
    if request.weights or request.init:
        raise UsageError(
            f"{address} is a file and has its own weights",
            remedy="Leave out --weights and --init, or give a model such as timm:resnext50_32x4d.",
        )
    if not path.exists():
        remedy = "Check the path; models are written timm:NAME, mshub:UID and so on: see `mshub-convert list`."
        if network is not None and address in known():
            meant = [f"{library}:{address}" for library in _LIBRARIES if dialect(library).builds(network)]
            drawn = f"{address} --init calibrated:0 for drawn weights"
            remedy = f"Did you mean {listed([*meant, drawn], 'or')}?"
        raise EnvironmentError_(f"no file {address}", remedy=remedy)
    return Source(address, path, _stem(path), Origin("file"))


def _network(name: str) -> Architecture | None:
    """The network of a name, if it is one."""
    try:
        return architecture(name)
    except UnknownNameError:
        return None


def _stem(path: Path) -> str:
    """The file's name without its container's suffix, which may have two parts (``.pth.tar``)."""
    suffixes = sorted((suffix for codec in codecs().values() for suffix in codec.suffixes), key=len, reverse=True)
    return next((path.name.removesuffix(end) for end in suffixes if path.name.endswith(end)), path.stem) or path.stem
