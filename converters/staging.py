"""Where an output is made: its folder, a temporary name beside it, and the step to its final name."""

import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
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


def temporary_path(destination: Path, suffix: str) -> Path:
    """A name in the output's folder that nothing has yet."""
    return destination.with_name(f".mshub-convert-{os.urandom(8).hex()}{suffix}")


@dataclass(slots=True)
class Staged:
    """A file written and checked under a temporary name, waiting for its final one.

    ``findings`` are what showed while the bytes went by. ``sha256`` is empty and ``non_finite`` unknown (empty) where
    checks were left out. Leaving the ``with`` block without ``commit`` or ``fail`` removes the file.
    """

    file: Path
    destination: Path
    overwrite: bool
    record: Record
    sha256: str
    nbytes: int
    non_finite: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    _done: bool = field(default=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._done:
            self.file.unlink(missing_ok=True)

    def commit(self, extra: Mapping[str, Any] | None = None) -> Path:
        """Give the file its final name and write the sidecar, with ``extra`` (such as a verification) in it."""
        return self._settle(self.destination, self.overwrite, extra or {})

    def fail(self, extra: Mapping[str, Any] | None = None) -> Path:
        """Keep the file as ``<name>.failed``, leaving an old file of the final name as it is."""
        return self._settle(self.destination.with_name(self.destination.name + ".failed"), True, extra or {})

    def _settle(self, destination: Path, overwrite: bool, extra: Mapping[str, Any]) -> Path:
        output = {"name": destination.name, "bytes": self.nbytes, "sha256": self.sha256}
        sidecar = self.file.with_name(self.file.name + ".json")
        try:
            sidecar.write_bytes(self.record.sidecar(output, extra))
            if overwrite:
                self.file.replace(destination)
            else:
                _take_new_name(self.file, destination)
            self._done = True
            # Last: a stop in between leaves a sidecar whose sha256 says that it is not this file's.
            sidecar.replace(sidecar_path(destination))
            _sync_folder(destination.parent)
        except FileExistsError:
            raise _exists(destination) from None
        except OSError as error:
            raise write_error(destination, error) from error
        finally:
            sidecar.unlink(missing_ok=True)
        return destination


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
