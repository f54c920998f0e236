"""Tensors as files have them: specs, byte extents in memory-mapped files, and references that read lazily."""

import math
import mmap
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import ml_dtypes
import numpy as np
import numpy.typing as npt

from ..mappings.graph import Shape
from .errors import EnvironmentError_, MalformedFileError, UsageError

if TYPE_CHECKING:
    from .graphs.foreign import ForeignGraph

Array = npt.NDArray[np.generic]

# Our name of a dtype (NumPy's, and ml_dtypes' bfloat16) → NumPy dtype, little-endian.
DTYPES: Mapping[str, np.dtype[np.generic]] = {
    name: np.dtype(name).newbyteorder("<")
    for name in ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
                 "float16", "float32", "float64", "complex64", "complex128")
} | {"bfloat16": np.dtype(ml_dtypes.bfloat16)}  # fmt: skip
FLOATS = ("float16", "bfloat16", "float32", "float64")
_DIMENSIONS_LIMIT = 32  # NumPy's
_SIZE_LIMIT = 1 << 48  # elements, zero-size dimensions not counted; far above any tensor, far below overflow


def is_possible_shape(shape: Sequence[int]) -> bool:
    """Whether an array can have this shape, which a hostile file may have made up."""
    if len(shape) > _DIMENSIONS_LIMIT or any(size < 0 for size in shape):
        return False
    return math.prod(size or 1 for size in shape) <= _SIZE_LIMIT


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape and dtype (a key of ``DTYPES``) of one tensor."""

    name: str
    shape: Shape
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return self.size * DTYPES[self.dtype].itemsize


class Closing:
    """Something to use in a ``with`` block, closed at its end."""

    __slots__ = ()

    def close(self) -> None:
        """Release what is held."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MappedFile(Closing):
    """A file opened for reading and mapped into memory; its pages are the page cache's, not ours."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = -1
        try:
            # Non-blocking, as a pipe nobody writes to would wait for ever; regular files do not care.
            self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            self.size = self._regular_size()
            self._map = mmap.mmap(self.fd, self.size, prot=mmap.PROT_READ)
        except FileNotFoundError:
            raise EnvironmentError_(f"no file {path}", remedy="Check the path.") from None
        except OSError as error:
            self.close()
            raise EnvironmentError_(f"cannot read {path}: {error.strerror}", remedy="Check the path.") from None
        except BaseException:
            self.close()
            raise
        self.view = memoryview(self._map)

    def _regular_size(self) -> int:
        found = os.fstat(self.fd)
        if stat.S_ISDIR(found.st_mode):
            raise UsageError(f"{self.path} is a folder", remedy="Give a file.")
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{self.path} is a pipe or device", remedy="Save it to a file first: it is read lazily.")
        if found.st_size == 0:
            raise MalformedFileError(f"{self.path} is empty", remedy="Download or save it again.")
        return found.st_size

    def close(self) -> None:
        """Release the descriptor; mapped pages go when the last array over them does."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class FilesBeside(Closing):
    """Files that another one keeps tensors in, by how it calls them."""

    def __init__(self) -> None:
        self.files: dict[str, MappedFile] = {}

    def close(self) -> None:
        """Close all of them."""
        for file in self.files.values():
            file.close()


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of bytes in a file."""

    file: MappedFile = field(repr=False)
    offset: int
    length: int

    @property
    def view(self) -> memoryview:
        """The bytes, unread until touched."""
        return self.file.view[self.offset : self.offset + self.length]

    def part(self, start: int, length: int) -> "Extent":
        """A range within this one."""
        return Extent(self.file, self.offset + start, length)


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor that has not been read.

    ``extents`` are the ranges of a file whose bytes, one after the other, are the tensor (little-endian, C order).
    Where a file does not hold it so (a transposed view, a cast), ``extents`` is None and ``compute`` makes it.
    """

    spec: TensorSpec
    extents: tuple[Extent, ...] | None = None
    compute: Callable[[], Array] | None = field(default=None, repr=False)

    def read(self) -> Array:
        """The array, C-contiguous, of the spec's shape and dtype; a view of the file where that is possible."""
        if self.compute is not None:
            return np.ascontiguousarray(self.compute()).reshape(self.spec.shape)
        views = [extent.view for extent in self.extents or ()]
        data = views[0] if len(views) == 1 else b"".join(views)
        return np.frombuffer(data, DTYPES[self.spec.dtype]).reshape(self.spec.shape)


@dataclass(slots=True)
class Checkpoint(Closing):
    """An opened file: its tensors by name, in file order, and what else it says.

    ``record`` is the embedded record of an earlier conversion, as parsed JSON; ``notes`` are things worth telling
    (skipped objects, byte order). ``sets`` are all sets of weights by their path in the file (``state_dict_ema``;
    ``.`` is the top level), the one in ``tensors`` among them; empty where a container holds one only. ``check``
    reads the whole file and raises ``MalformedFileError`` when stored checksums do not fit it. ``graph`` is the
    network, where the file is more than weights; ``beside`` holds open the files that it keeps tensors in; ``traits``
    are those that a graph which is not kept shows.
    """

    path: Path
    container: str
    tensors: Mapping[str, TensorRef]
    record: Mapping[str, object] | None = None
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, TensorRef]] = field(default_factory=dict)
    check: Callable[[], None] | None = field(default=None, repr=False)
    file: MappedFile | None = None
    graph: "ForeignGraph | None" = field(default=None, repr=False)
    beside: FilesBeside | None = field(default=None, repr=False)
    traits: Mapping[str, object] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shapes by name."""
        return {name: ref.spec.shape for name, ref in self.tensors.items()}

    @property
    def files(self) -> tuple[MappedFile, ...]:
        """All files that tensors are read from, the one that was opened last."""
        beside = tuple(self.beside.files.values()) if self.beside is not None else ()
        return beside if self.file is None else (*beside, self.file)

    def check_sums(self) -> None:
        """Read the whole file against the checksums it holds, if any; raises MalformedFileError when they differ."""
        if self.check is not None:
            self.check()

    def close(self) -> None:
        """Close the file; references must not be read any more."""
        for held in (self.file, self.beside):
            if held is not None:
                held.close()
