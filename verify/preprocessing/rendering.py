"""A preprocessing of our own, by Pillow and NumPy, to try hypotheses with: never one of the two sides compared."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converters.preprocessing import Preprocessing

Array = npt.NDArray[np.float32]
_KEPT = 64


class Album:
    """Pictures kept decoded, as they are and turned as their EXIF says."""

    def __init__(self, paths: list[Path]) -> None:
        from PIL import Image, ImageOps

        self._image = Image
        self._pictures: list[tuple[Any, Any]] = []
        for path in paths:
            with Image.open(path) as opened:
                plain = opened.convert("RGB")
                self._pictures.append((plain, ImageOps.exif_transpose(opened).convert("RGB")))
        self._kept: dict[tuple[Any, ...], list[Any]] = {}

    @property
    def turned(self) -> bool:
        """Whether EXIF turns one of the pictures."""
        return any(plain.size != other.size or plain.tobytes() != other.tobytes() for plain, other in self._pictures)

    def levels(self, how: Preprocessing) -> list[Array]:
        """RGB levels 0..255 of each picture, resized and cropped, not normalised: float32 (3, crop, crop)."""
        # Where a crop starts is tried after all else is done: so much is kept.
        key = (how.resize, how.interpolation, how.edges, how.antialias, how.oriented)
        if key not in self._kept:
            if len(self._kept) == _KEPT:
                self._kept.clear()
            self._kept[key] = [self._resized(pair[how.oriented], how) for pair in self._pictures]
        return [_cropped(picture, how) for picture in self._kept[key]]

    def _resized(self, picture: Any, how: Preprocessing) -> Any:
        width, height = picture.size
        if how.edges == "both":
            size = (how.resize, how.resize)
        elif width <= height:
            size = (how.resize, int(how.resize * height / width))
        else:
            size = (int(how.resize * width / height), how.resize)
        kind = self._image.Resampling[how.interpolation.upper()]
        if how.antialias or how.interpolation == "lanczos":
            return picture.resize(size, kind)
        # As OpenCV and MindSpore do: each new pixel is looked up at its centre.
        return picture.transform(size, self._image.Transform.EXTENT, (0, 0, width, height), kind)


def _cropped(picture: Any, how: Preprocessing) -> Array:
    left, top = (_start(side - how.crop, how.margin) for side in picture.size)
    cropped = picture.crop((left, top, left + how.crop, top + how.crop))
    return np.asarray(cropped, np.float32).transpose(2, 0, 1)


def _start(spare: int, margin: str) -> int:
    return spare // 2 if margin == "down" else round(spare / 2)
