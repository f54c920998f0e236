"""One file, one library: what its users do to a picture unless told otherwise, and doing it with its own code."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ....converters.preprocessing import Preprocessing

# Library, a module beside this one, → the extra of ours that installs it.
EXTRAS: Mapping[str, str] = {
    "mindcv": "mindspore", "torchvision": "torch", "timm": "torch", "mmpretrain": "mmpretrain", "modelhub": "images",
}  # fmt: skip
# A picture's file → float32, (3, height, width), as the network gets it.
Prepare = Callable[[Path], npt.NDArray[np.float32]]


class Library(Protocol):
    """What the module of a library has; the worker calls it."""

    def usual(self, architecture: str) -> Preprocessing:
        """What the library does to pictures for a network of that name unless its user says otherwise."""

    def prepare(self, wanted: Preprocessing) -> tuple[Prepare, Preprocessing]:
        """The library's own code for these settings, and what it does: with its own filter, margin, EXIF.

        Raises RuntimeRefusedError for a setting that the library has not.
        """

    def advice(self, wanted: Preprocessing) -> str:
        """What to type in the library to have these settings; empty where there is nothing short to type."""

    def versions(self) -> dict[str, str]:
        """Versions of the packages that do it."""


def library(name: str) -> Library:
    """The module of a library; imports nothing of the library itself."""
    found: Any = importlib.import_module(f"{__package__}.{name}")
    return found  # type: ignore[no-any-return]
