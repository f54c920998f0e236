"""The folder of a publication: made under another name, and moved into place when it is whole."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from ..errors import UsageError
from ..splice import write_error
from ..staging import refuse_taken, temporary_folder


@dataclass(slots=True)
class PublicationFolder:
    """A folder in the making at ``path``, meant for ``destination``.

    Leaving the ``with`` block without ``commit`` or ``fail`` removes what was made, and nothing else.
    """

    destination: Path
    path: Path = field(init=False)
    _made: list[Path] = field(init=False, default_factory=list)

    def __enter__(self) -> Self:
        # Inside a folder that exists, which may be all that we may write in; beside one that does not.
        inside = self.destination.is_dir()
        near = self.destination / "any" if inside else self.destination.absolute()
        try:
            for folder in reversed([near.parent, *near.parent.parents]):
                if not folder.exists():
                    folder.mkdir()
                    self._made.append(folder)
        except OSError as error:
            raise write_error(self.destination, error) from error
        self.path = temporary_folder(near)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if kind is not None:
            for folder in reversed(self._made):
                try:
                    folder.rmdir()
                except OSError:  # something is in it by now
                    return

    def commit(self) -> Path:
        """Move everything into place; files of an older publication are replaced, others stay."""
        return self._settle(self.destination)

    def fail(self) -> Path:
        """Keep what there is in ``<destination>.failed``."""
        whole = self.destination.absolute()
        return self._settle(whole.with_name(f"{whole.name}.failed"))

    def _settle(self, folder: Path) -> Path:
        try:
            if not folder.exists():
                self.path.rename(folder)
                return folder
            for file in sorted(file for file in self.path.rglob("*") if file.is_file()):
                place = folder / file.relative_to(self.path)
                place.parent.mkdir(parents=True, exist_ok=True)
                file.replace(place)
        except OSError as error:
            raise write_error(folder, error) from error
        return folder


def refuse_taken_folder(folder: Path, weights: str, *, source: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something, or a weight file in it that is the source itself."""
    refuse_taken(folder / weights, source=source, overwrite=True)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, and a publication is a folder", remedy="Give another -o.")
    if folder.is_dir() and not overwrite and any(folder.iterdir()):
        raise UsageError(
            f"{folder} is not empty",
            remedy="Give another -o, or use --overwrite: it replaces the publication's files and leaves all others.",
        )
