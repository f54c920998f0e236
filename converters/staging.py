"""Where an output is made: its folder, a temporary name beside it, and the step to its final name."""

import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from .errors import EnvironmentError_, UsageError
from .findings import Finding
from .record import Record, sidecar_path
from .splice import write_error

# What link() says on file systems without hard links (FAT, some network and FUSE ones).
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
# What fsync() says of a folder where only files can be synced.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP, errno.EACCES)


def make_folder(destination: Path, *, source: Path, nbytes: int, overwrite: bool) -> None:
    """Make the folder of an output; refuse an output that exists, is its own source, or has no room."""
    refuse_taken(destination, source=source, overwrite=overwrite)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(destination.parent).free
    except OSError as error:
        raise write_error(destination, error) from error
    if free < nbytes:
        raise EnvironmentError_(
            f"{destination.parent} has {free / 1e6:.0f} MB free, the output needs {nbytes / 1e6:.0f} MB",
            remedy="Free space there, or give another -o.",
        )


def refuse_taken(destination: Path, *, source: Path, overwrite: bool) -> None:
    """Refuse a name that exists, or is the source's own."""
    try:
        _refuse_taken(destination, source, overwrite)
    except OSError as error:
        raise write_error(destination, error) from error


def _refuse_taken(destination: Path, source: Path, overwrite: bool) -> None:
    for folder in destination.parents:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file, not a folder", remedy="Give another -o.")
    if destination.exists():
        if destination.samefile(source):
            raise UsageError(f"{destination} is the source itself", remedy="Give another -o.")
        if not destination.is_file():
            raise UsageError(f"{destination} is not a regular file", remedy="Give another -o.")
    if os.path.lexists(destination) and not overwrite:  # also a link to nowhere
        raise _exists(destination)
    sidecar = sidecar_path(destination)
    if sidecar.is_dir():
        raise UsageError(f"{sidecar} is a folder, and the record goes there", remedy="Give another -o.")


def _exists(destination: Path) -> UsageError:
    return UsageError(f"{destination} exists", remedy="Use --overwrite to replace it, or give another -o.")


def temporary_folder(destination: Path) -> Path:
    """A new folder beside an output, where its files can have their final names while they are checked."""
    folder = destination.with_name(f".mshub-convert-{os.urandom(8).hex()}")
    try:
        folder.mkdir()
    except OSError as error:
        raise write_error(destination, error) from error
    return folder


@dataclass(frozen=True, slots=True)
class Written:
    """A finished file in the temporary folder; ``sha256`` is empty where checks were left out."""

    path: Path
    nbytes: int
    sha256: str

    def as_dict(self, name: str) -> dict[str, Any]:
        """What the sidecar says of it."""
        return {"name": name, "bytes": self.nbytes, "sha256": self.sha256}


@dataclass(slots=True)
class Staged:
    """Files written and checked in a folder of their own, waiting for their final place.

    ``output`` is the file asked for, ``beside`` what it keeps tensors in, if anything. ``findings`` are what showed
    while the bytes went by; ``non_finite`` is unknown (empty) where checks were left out. Leaving the ``with`` block
    removes the folder and what is still in it.
    """

    output: Written
    beside: tuple[Written, ...]
    destination: Path
    overwrite: bool
    record: Record
    non_finite: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.file.parent, ignore_errors=True)

    @property
    def file(self) -> Path:
        """The output, where it is now."""
        return self.output.path

    @property
    def sha256(self) -> str:
        """The output's; empty where checks were left out."""
        return self.output.sha256

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(written.nbytes for written in (self.output, *self.beside))

    def commit(self, extra: Mapping[str, Any] | None = None) -> Path:
        """Give the files their final names and write the sidecar, with ``extra`` (such as a verification) in it."""
        return self._settle("", self.overwrite, extra or {})

    def fail(self, extra: Mapping[str, Any] | None = None) -> Path:
        """Keep the files as ``<name>.failed``, leaving old files of the final names as they are."""
        return self._settle(".failed", True, extra or {})

    def _settle(self, suffix: str, overwrite: bool, extra: Mapping[str, Any]) -> Path:
        folder = self.destination.parent
        destination = folder / f"{self.destination.name}{suffix}"
        sidecar = self.file.parent / "sidecar.json"
        output = self.output.as_dict(destination.name)
        if self.beside:
            output["beside"] = [written.as_dict(f"{written.path.name}{suffix}") for written in self.beside]
        try:
            sidecar.write_bytes(self.record.sidecar(output, extra))
            # The file asked for goes last: where it is, what it points to is too.
            for written in (*self.beside, self.output):
                take_name(written.path, folder / f"{written.path.name}{suffix}", overwrite=overwrite)
            # A stop in between leaves a sidecar whose sha256 says that it is not this file's.
            sidecar.replace(sidecar_path(destination))
            _sync_folder(folder)
        except FileExistsError as error:
            raise _exists(Path(error.filename2 or error.filename or destination)) from None
        except OSError as error:
            raise write_error(destination, error) from error
        return destination


def take_name(file: Path, destination: Path, *, overwrite: bool) -> None:
    """Rename; a FileExistsError where the name is taken and not to be overwritten."""
    if overwrite:
        file.replace(destination)
    else:
        _take_new_name(file, destination)


def _take_new_name(file: Path, destination: Path) -> None:
    """Rename, but never over an existing file, as a plain rename would."""
    try:
        os.link(file, destination)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Take the name with an empty file, which fails if it is taken, and put the real one in its place.
        os.close(os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        file.replace(destination)
    else:
        file.unlink()


def sync_file(path: Path) -> None:
    """Have the disk hold what was written."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(fd)
