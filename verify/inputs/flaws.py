"""What makes arrays poor inputs: constants, copies, grey, noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...mappings.names import listed

Array = npt.NDArray[Any]

# In units of normalised pictures, whose own deviation is about 1: two or three of 255 levels.
_FLAT = 0.05
_ALIKE = 0.02
_NOISE = 0.3


def is_constant(picture: Array) -> bool:
    """Whether no channel of a picture (3, H, W) changes from pixel to pixel."""
    return bool((np.ptp(picture, axis=(1, 2)) == 0).all())


def is_nearly_constant(picture: Array) -> bool:
    """Whether a picture (3, H, W) has next to no structure in any channel."""
    deviation = picture.std(axis=(1, 2), dtype=np.float64).max()
    return bool(deviation < max(_FLAT, 0.01 * abs(float(picture.mean()))))


def monotony(pictures: Sequence[Array], names: Sequence[str]) -> tuple[str, ...]:
    """What all pictures (3, H, W) of one size together lack, in sentences."""
    found = []
    copies = _copies(pictures, names)
    if copies:
        found.append(f"{listed(copies[:4])} are nearly the same picture, and count as one")
    if all(_is_grey(picture) for picture in pictures):
        found.append("every picture is grey: red and blue mixed up can hardly be seen")
    if all(_is_noise(picture) for picture in pictures):
        found.append("every picture is noise, without the edges and colours of what the network is for")
    return tuple(found)


def diverse(pictures: Sequence[Array]) -> int:
    """How many of the pictures are none of an earlier one's copies."""
    return len(pictures) - len(_copies(pictures, [str(index) for index in range(len(pictures))]))


def _copies(pictures: Sequence[Array], names: Sequence[str]) -> list[str]:
    """``first/copy`` for each picture that an earlier one is nearly the same as."""
    found = []
    for later, picture in enumerate(pictures):
        for earlier in range(later):
            other = pictures[earlier]
            if other.shape == picture.shape and abs(other - picture).mean() < _ALIKE:
                found.append(f"{names[earlier]}/{names[later]}")
                break
    return found


def _is_grey(picture: Array) -> bool:
    """Whether red and blue are one channel, but for the mean and deviation that normalising gives each."""
    red, blue = (channel - channel.mean(dtype=np.float64) for channel in (picture[0], picture[2]))
    return bool((red * blue).sum() >= 0.9999 * np.sqrt((red**2).sum() * (blue**2).sum()))


def _is_noise(picture: Array) -> bool:
    """Whether neighbours of a picture (3, H, W) have little to do with each other; in photographs they nearly agree."""
    if min(picture.shape[1:]) < 8:
        return False
    centred = picture - picture.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    together = (centred[..., 1:] * centred[..., :-1]).mean(axis=(1, 2))
    return bool((together < _NOISE * centred.var(axis=(1, 2))).all())
