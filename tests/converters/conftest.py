"""Fixtures of the converter tests: convert a file in one call, and read what a file holds."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mshub_convert.converters.codecs import open_checkpoint
from mshub_convert.converters.opened import Opened, open_source
from mshub_convert.converters.pipeline import Options, Prepared, prepare, write
from mshub_convert.converters.sources import Origin, Source
from mshub_convert.converters.target import Form, output_path, parse_target
from mshub_convert.converters.tensors import TensorRef, TensorSpec

Arrays = dict[str, np.ndarray]


def file_source(path: Path, **more: Any) -> Source:
    return Source(str(path), path, path.name.partition(".")[0], Origin("file"), **more)


@pytest.fixture
def opened() -> Iterator[Callable[..., Opened]]:
    """Opens a path or a source until the test ends: ``opened(path, traits=…, select=…, dialect=…)``."""
    with ExitStack() as stack:

        def make(source: Path | Source, **options: Any) -> Opened:
            found = open_source(file_source(source) if isinstance(source, Path) else source, **options)
            stack.callback(found.close)
            return found

        yield make


@pytest.fixture
def prepared(opened: Callable[..., Opened]) -> Callable[..., Prepared]:
    """Plans a conversion: ``prepared(source, "ckpt:modelzoo", out, dtype=…, overwrite=…, check=…, strict=…)``."""

    def make(source: Any, to: str, out: Path, *, dtype: str | None = None, **options: Any) -> Prepared:
        target = parse_target(to, Form(dtype))
        held = source if isinstance(source, Opened) else opened(source)
        return prepare(held, target, output_path(str(out), target, held.source.model), Options(**options))

    return make


@pytest.fixture
def convert(prepared: Callable[..., Prepared]) -> Callable[..., Path]:
    """Converts: arguments as of ``prepared``; returns the output's path."""

    def make(source: Any, to: str, out: Path, **options: Any) -> Path:
        with write(prepared(source, to, out, **options)) as staged:
            return staged.commit()

    return make


@pytest.fixture
def arrays() -> Callable[[Path], Arrays]:
    """All tensors of a file, copied."""

    def read(path: Path) -> Arrays:
        with open_checkpoint(path) as checkpoint:
            return {name: ref.read().copy() for name, ref in checkpoint.tensors.items()}

    return read


@pytest.fixture
def reference() -> Callable[[str, np.ndarray], TensorRef]:
    """A tensor reference to an array in memory."""
    return lambda name, array: TensorRef(TensorSpec(name, array.shape, str(array.dtype)), compute=lambda: array)
