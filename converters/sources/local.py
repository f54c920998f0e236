"""A path as source."""

from pathlib import Path

from ...mappings.architectures import known
from ..codecs import codecs
from ..errors import EnvironmentError_, UsageError
from . import Origin, Request, Source


def resolve(address: str, request: Request) -> Source:
    """A file of the user's; it says itself what it holds."""
    if request.weights or request.init:
        raise UsageError(
            f"{address} is a file and has its own weights",
            remedy="Leave out --weights and --init, or give a model such as timm:resnext50_32x4d.",
        )
    path = Path(address)
    if not path.exists():
        remedy = "Check the path; models are written timm:NAME or torchvision:NAME."
        if address in known():
            remedy = f"Did you mean timm:{address} or torchvision:{address}?"
        raise EnvironmentError_(f"no file {address}", remedy=remedy)
    return Source(address, path, _stem(path), Origin("file"))


def _stem(path: Path) -> str:
    """The file's name without its container's suffix, which may have two parts (``.pth.tar``)."""
    suffixes = sorted((suffix for codec in codecs().values() for suffix in codec.suffixes), key=len, reverse=True)
    return next((path.name.removesuffix(end) for end in suffixes if path.name.endswith(end)), path.stem) or path.stem
