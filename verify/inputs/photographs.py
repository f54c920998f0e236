"""The user's own photographs, from a folder: read by Pillow, resized, cropped and normalised."""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...converters.digest import file_sha256
from ...converters.errors import EnvironmentError_, shown
from ...mappings.names import counted, listed
from ..errors import MissingPackageError
from .flaws import diverse, is_nearly_constant, monotony
from .protocol import MEAN, STD, Size, blind_spots, label

# What the cropped square is of the resized shorter side, as is usual for ImageNet.
_CROP_SHARE = 0.875
_LOOK = (64, 64)
Picture = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Photographs:
    """Files of one folder, ``of`` how many that hold pictures; ``notices`` say what they lack and what was left out."""

    folder: Path
    files: tuple[Path, ...]
    of: int
    sizes: tuple[Size, ...]
    notices: tuple[str, ...] = ()
    asked: bool = field(default=False, compare=False)

    @classmethod
    def choose(cls, folder: Path, *, count: int, sizes: tuple[Size, ...], asked: bool = False) -> "Photographs":
        """Up to ``count`` pictures of a folder (not of folders in it), evenly spaced in the order of names.

        Those of which nothing can be learned are left out, as :func:`usable` says. Raises EnvironmentError_ where
        nothing is left, MissingPackageError without Pillow.
        """
        image = pillow(f"--images {folder}")
        candidates, others = pictures_in(folder, image)
        files, looks, left_out = usable(folder, candidates, count, image)
        found = [*left_out, *monotony(looks, [path.name for path in files])]
        if others:
            found.append(f"{counted(others, 'other file')} in {folder} left alone: not named as pictures are")
        spots = blind_spots(sizes, diverse(looks))
        return cls(folder, tuple(files), len(candidates), sizes, (*spots, *found), asked)

    @property
    def count(self) -> int:
        """How many pictures there are of each size."""
        return len(self.files)

    @property
    def labels(self) -> tuple[str, ...]:
        """The sizes in words."""
        return tuple(map(label, self.sizes))

    @property
    def titles(self) -> tuple[str, ...]:
        """The names of the files."""
        return tuple(path.name for path in self.files)

    @property
    def told(self) -> str:
        """Which pictures these are, in words."""
        many = f"{self.count} of {self.of} pictures" if self.of > self.count else counted(self.count, "picture")
        names = [shown(name) for name in self.titles]
        more = f" and {self.count - 8} more" if self.count > 8 else ""
        return f"{many} of {self.folder} at {listed(self.labels)}: {', '.join(names[:8])}{more}"

    def narrowed(self, sizes: tuple[Size, ...]) -> Self:
        """The same photographs at these sizes only."""
        return replace(self, sizes=sizes)

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write one .npy a size: float32, (count, 3, height, width)."""
        image, paths = pillow("--images"), []
        for size in self.sizes:
            paths.append(folder / f"pictures-{label(size)}.npy")
            np.save(paths[-1], np.stack([read_photograph(path, size, image) for path in self.files]))
        return tuple(paths)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with each file's sha256."""
        return {
            "kind": "photographs", "count": self.count, "sizes": [list(size) for size in self.sizes],
            "folder": str(self.folder), "of": self.of,
            "files": [{"name": path.name, "sha256": file_sha256(path)} for path in self.files],
        }  # fmt: skip


class PhotographError(Exception):
    """A file that is no photograph that can be used."""


def pillow(what: str) -> ModuleType:
    """Pillow's module of images; MissingPackageError, saying what needs it, where it is not installed."""
    try:
        from PIL import Image, ImageOps  # noqa: F401 - ImageOps is used where a picture is read
    except ImportError as error:
        raise MissingPackageError(
            f"{what} needs Pillow, which is not installed ({error})", remedy="pip install 'mshub-convert[images]'"
        ) from None
    return Image


def pictures_in(folder: Path, image: ModuleType) -> tuple[list[Path], int]:
    """The files of a folder whose names are those of pictures, by name, and how many others there are."""
    if not folder.is_dir():
        what = "is a file" if folder.is_file() else "is not there"
        raise EnvironmentError_(f"{folder} {what}; a folder of pictures is needed", remedy="Check the path.")
    known = {suffix for suffix, kind in image.registered_extensions().items() if kind in image.OPEN}
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    found = [path for path in files if path.suffix.lower() in known]
    if not found:
        held = f"only {counted(len(files), 'file')} of other kinds" if files else "nothing"
        raise EnvironmentError_(
            f"no pictures in {folder}: there is {held} (folders in it are not looked into)",
            remedy="Give a folder of at least 8 photographs, such as .jpg or .png files.",
        )
    return found, len(files) - len(found)


def usable(
    folder: Path, paths: list[Path], count: int, image: ModuleType
) -> tuple[list[Path], list[Picture], list[str]]:
    """Up to ``count`` of a folder's pictures, evenly spaced, by name, each at 64x64, and what was left out, in words.

    A file that cannot be read, or is nearly constant, is left out, and the next one taken. Raises EnvironmentError_
    where nothing is left.
    """
    files: list[Path] = []
    looks: list[Picture] = []
    left_out: list[str] = []
    for path in _evenly_spaced(paths, count):
        if len(files) == count:
            break
        try:
            look = read_photograph(path, _LOOK, image)
        except PhotographError as error:
            left_out.append(f"{path.name} is left out: {error}")
            continue
        if is_nearly_constant(look):
            left_out.append(f"{path.name} is left out: it is nearly constant, and hides what it runs through")
            continue
        files.append(path)
        looks.append(look)
    if not files:
        raise EnvironmentError_(
            f"no picture in {folder} can be used:\n  " + "\n  ".join(left_out[:8]),
            remedy="Give a folder of at least 8 photographs.",
        )
    by_name = sorted(zip(files, looks, strict=True), key=lambda pair: pair[0])
    return [path for path, _ in by_name], [look for _, look in by_name], left_out


def read_photograph(path: Path, size: Size, image: ModuleType) -> Picture:
    """A normalised RGB picture, float32 of shape (3, height, width): turned as its EXIF says, the centre of it.

    Raises PhotographError with the reason in words.
    """
    from PIL import ImageOps

    height, width = size
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", image.DecompressionBombWarning)
            with image.open(path) as opened:
                if opened.mode.startswith(("I", "F")):
                    raise PhotographError(f"it holds values of mode {opened.mode}, not 8 bits a channel")
                picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (image.DecompressionBombWarning, image.DecompressionBombError):
        raise PhotographError("it has too many pixels to be read safely") from None
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        said = shown(str(error).replace(str(path), path.name))
        raise PhotographError(f"it cannot be read ({said or type(error).__name__})") from None
    # The smallest resize whose centre, of that share, is the crop.
    scale = max(math.floor(height / _CROP_SHARE) / picture.height, math.floor(width / _CROP_SHARE) / picture.width)
    wide, high = max(width, round(picture.width * scale)), max(height, round(picture.height * scale))
    resized = picture.resize((wide, high), image.Resampling.BILINEAR)
    left, top = (wide - width) // 2, (high - height) // 2
    pixels = np.asarray(resized.crop((left, top, left + width, top + height)), np.float64) / 255
    return np.asarray(((pixels - MEAN) / STD).transpose(2, 0, 1), np.float32)


def _evenly_spaced(paths: list[Path], count: int) -> Iterable[Path]:
    """So many paths spread over all, then the others, which stand in for what cannot be used."""
    first = dict.fromkeys(paths[index * len(paths) // count] for index in range(count)) if count < len(paths) else {}
    return [*first, *(path for path in paths if path not in first)]
