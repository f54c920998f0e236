"""Write a file from pieces: literal bytes, ranges of other files, computed bytes, and bytes known only at the end.

Ranges move inside the kernel (``copy_file_range``); a second thread follows behind to take checksums of what was
written, so that they cost no time on a second core and no private memory.
"""

import contextlib
import errno
import mmap
import os
import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from .background import Task
from .errors import EnvironmentError_
from .tensors import Extent, MappedFile

Watch = Callable[[memoryview], None]


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes."""

    data: bytes

    @property
    def length(self) -> int:
        """Bytes in the output."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Moved:
    """Ranges of source files, moved as they are. ``watch`` sees each range as written."""

    extents: tuple[Extent, ...]
    watch: tuple[Watch, ...] = ()

    @property
    def length(self) -> int:
        """Bytes in the output."""
        return sum(extent.length for extent in self.extents)


@dataclass(frozen=True, slots=True)
class Computed:
    """Bytes made when their turn comes, such as a cast tensor."""

    length: int
    produce: Callable[[], memoryview] = field(repr=False)
    watch: tuple[Watch, ...] = ()


@dataclass(frozen=True, slots=True)
class Deferred:
    """Bytes of a length known before and a value known after all others are written, such as a checksum."""

    length: int
    resolve: Callable[[], bytes] = field(repr=False)


Piece = Literal | Moved | Computed | Deferred
Progress = Callable[[int], None]

_STEP = 32 << 20
# Half of the time that a sync costs is saved by starting it early, in ranges of about this size.
_WRITE_BACK = 8 << 20
# What copy_file_range says between file systems, or on one that cannot (sshfs, CIFS, under a strict seccomp filter).
_NOT_IN_KERNEL = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EIO)


def splice(
    path: Path,
    pieces: Sequence[Piece],
    *,
    sync: bool = True,
    progress: Progress | None = None,
    in_order: Watch | None = None,
) -> int:
    """Write the pieces to a new file and return its size; on any failure the file is left for the caller to remove.

    A ``Deferred`` piece is resolved when all before it is written and watched. ``progress`` is called with the number
    of bytes just moved; ``in_order``, on another thread, with each range of the file once it is final, first to last.
    """
    total = sum(piece.length for piece in pieces)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            _write(fd, pieces, total, progress or (lambda _: None), in_order)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise write_error(path, error) from error
    return total


def write_error(path: Path, error: OSError) -> EnvironmentError_:
    """What an operating system error while writing means for the user."""
    folder = path.parent
    if error.errno == errno.EFBIG:
        return EnvironmentError_(
            f"{folder} takes no file of this size: {error.strerror}", remedy="Give another -o, or raise `ulimit -f`."
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EnvironmentError_(
            f"no room to write in {folder}: {error.strerror}", remedy="Free space there, or give another -o."
        )
    return EnvironmentError_(
        f"cannot write in {folder}: {error.strerror}", remedy="Give a folder you can write to with -o."
    )


def _write(fd: int, pieces: Sequence[Piece], total: int, progress: Progress, in_order: Watch | None) -> None:
    if total == 0:
        return
    _allocate(fd, total)
    position = sent = 0
    output = memoryview(mmap.mmap(fd, total, prot=mmap.PROT_READ))
    with _Follower(fd, output, (in_order,) if in_order else ()) as follower:
        for piece in pieces:
            match piece:
                case Literal():
                    _pwrite(fd, piece.data, position)
                    follower.follow(position, piece.length, ())
                case Moved():
                    at = position
                    for extent in piece.extents:
                        _move(extent, fd, at, progress)
                        follower.follow(at, extent.length, piece.watch)
                        at += extent.length
                case Computed():
                    _pwrite(fd, _of_length(piece.produce(), piece.length), position)
                    follower.follow(position, piece.length, piece.watch)
                    progress(piece.length)
                case Deferred():
                    follower.resolve(position, piece)
            position += piece.length
            if position - sent >= _WRITE_BACK:
                _start_write_back(fd, sent, position - sent)
                sent = position


def _allocate(fd: int, total: int) -> None:
    """Take the space now, so that a full disk is found before anything is moved."""
    try:
        os.posix_fallocate(fd, 0, total)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        os.ftruncate(fd, total)


def _start_write_back(fd: int, offset: int, length: int) -> None:
    """Have the kernel start writing a range to the disk, so that the sync at the end finds little left to do."""
    with contextlib.suppress(OSError):
        # Of dirty pages the kernel drops none on this advice: it starts to write them.
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)


def _of_length(data: memoryview, length: int) -> memoryview:
    if data.nbytes != length:
        raise AssertionError(f"{data.nbytes} bytes made where {length} were planned")
    return data


def _pwrite(fd: int, data: bytes | memoryview, offset: int) -> None:
    view = memoryview(data).cast("B")
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _move(extent: Extent, fd: int, position: int, progress: Progress) -> None:
    source, left = extent.offset, extent.length
    while left:
        moved = _move_some(extent.file, source, fd, position, min(left, _STEP))
        source, position, left = source + moved, position + moved, left - moved
        progress(moved)


def _move_some(file: MappedFile, offset: int, fd: int, position: int, length: int) -> int:
    """Move at most ``length`` bytes and return how many; never none."""
    try:
        moved = os.copy_file_range(file.fd, fd, length, offset, position)
        if moved:
            return moved
    except OSError as error:
        if error.errno not in _NOT_IN_KERNEL:
            raise
    if os.fstat(file.fd).st_size < offset + length:
        raise EnvironmentError_(
            f"{file.path} became shorter while it was read", remedy="Convert it again when it is complete."
        )
    try:
        return os.pwrite(fd, file.view[offset : offset + length], position)
    except OSError as error:
        if error.errno == errno.EFAULT:  # the mapped page cannot be read
            raise EnvironmentError_(f"cannot read {file.path} at byte {offset}", remedy="Check the disk.") from error
        raise


class _Follower:
    """A thread behind the writer: shows written ranges to their watchers and resolves what was deferred, in order."""

    def __init__(self, fd: int, output: memoryview, always: tuple[Watch, ...]) -> None:
        self._fd = fd
        self._output = output
        self._always = always
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._abandoned = False
        self._task = Task(self._run, name="splice-follower")

    def follow(self, position: int, length: int, watch: tuple[Watch, ...]) -> None:
        """Show a written range to its watchers, when all before it was."""
        if length and (watch or self._always):
            self._queue.put(lambda: self._show(position, length, watch))

    def resolve(self, position: int, piece: Deferred) -> None:
        """Write a deferred piece, when all before it was watched."""

        def write() -> None:
            _pwrite(self._fd, _of_length(memoryview(piece.resolve()), piece.length), position)
            self._show(position, piece.length, ())

        self._queue.put(write)

    def _show(self, position: int, length: int, watch: tuple[Watch, ...]) -> None:
        for each in (*watch, *self._always):
            if length and not self._abandoned:
                each(self._output[position : position + length])

    def _run(self) -> None:
        while (step := self._queue.get()) is not None and not self._abandoned:
            step()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._abandoned = exception[0] is not None
        self._queue.put(None)
        if not self._abandoned:
            self._task.result()


def views(extents: Iterable[Extent]) -> Iterator[memoryview]:
    """The bytes of ranges, in order, in steps that keep few pages busy."""
    for extent in extents:
        view = extent.view
        for start in range(0, len(view), _STEP):
            yield view[start : start + _STEP]
