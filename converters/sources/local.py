"""A path as source."""

from pathlib import Path

from ...mappings.architectures import known
from ..codecs import codecs
from ..errors import EnvironmentError_, UsageError
from . import Origin, Request, Source, resolver


def resolve(address: str, request: Request) -> Source:
    """A file of the user's, which says itself what it holds; a card or a repository, which tell where it is."""
    if address.endswith(".md") and Path(address).is_file():
        return resolver("mshub").resolve(address, request)
    path = Path(address)
    if path.is_dir():
        from . import modelhub  # only here: most sources are files, and start faster without it

        return modelhub.from_folder(path, request)
    if request.weights or request.init:
        raise UsageError(
            f"{address} is a file and has its own weights",
            remedy="Leave out --weights and --init, or give a model such as timm:resnext50_32x4d.",
        )
    if not path.exists():
        remedy = "Check the path; models are written timm:NAME, mshub:UID and so on: see `mshub-convert list`."
        if address in known():
            remedy = f"Did you mean timm:{address} or torchvision:{address}?"
        raise EnvironmentError_(f"no file {address}", remedy=remedy)
    return Source(address, path, _stem(path), Origin("file"))


def _stem(path: Path) -> str:
    """The file's name without its container's suffix, which may have two parts (``.pth.tar``)."""
    suffixes = sorted((suffix for codec in codecs().values() for suffix in codec.suffixes), key=len, reverse=True)
    return next((path.name.removesuffix(end) for end in suffixes if path.name.endswith(end)), path.stem) or path.stem
