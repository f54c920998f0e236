"""Compilers: programs of a vendor that make of a converted file what only one kind of device runs."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Compiler(Protocol):
    """One kind of compiled file, asked for as ``--to NAME``; ``container`` is what it is made of.

    ``program`` is the vendor's, ``device`` what it compiles for unless told. What it makes takes pictures of one size.
    """

    name: str
    title: str
    container: str
    suffix: str
    program: str
    device: str
    remedy: str

    def command(self, file: Path, compiled: Path, *, device: str, input_shape: tuple[int, ...]) -> list[str]:
        """The command line that makes ``compiled`` of ``file``."""


_MODULES: Mapping[str, str] = {"om": "atc"}
COMPILERS = tuple(_MODULES)


def compiler(name: str) -> Compiler:
    """The compiler of this name, one of ``COMPILERS``."""
    found: Compiler = importlib.import_module(f"{__package__}.{_MODULES[name]}").COMPILER
    return found
