"""The pictures to prepare: a folder of the user's, or files made here, of several kinds and proportions."""

from pathlib import Path

import numpy as np

from ...mappings.names import counted
from ..inputs.photographs import pictures_in, pillow, usable
from ..inputs.procedural import scene

# Height and width: wide, high and square, with odd margins, one hardly larger than a crop and one much larger.
_MADE = ((375, 500), (500, 333), (427, 640), (300, 300), (232, 350), (900, 1203))
_MOST = 32


def made(folder: Path, seed: int = 0) -> tuple[Path, ...]:
    """Drawn pictures as .jpg and .png files, uint8 RGB, in a folder."""
    image = pillow("comparing preprocessing")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, (height, width) in enumerate(_MADE):
        kind = "png" if index % 2 else "jpg"
        paths.append(folder / f"drawn-{height}x{width}.{kind}")
        pixels = np.round(255 * scene(index, height, width, seed)).astype(np.uint8).transpose(1, 2, 0)
        image.fromarray(np.ascontiguousarray(pixels)).save(paths[-1], quality=92)
    return tuple(paths)


def given(folder: Path) -> tuple[tuple[Path, ...], str, list[str]]:
    """Up to 32 pictures of a folder, evenly spaced in the order of names, which these are, and what was left out."""
    image = pillow(f"--images {folder}")
    found, _ = pictures_in(folder, image)
    chosen, _, left_out = usable(folder, found, _MOST, image)
    many = f"{len(chosen)} of {len(found)} pictures" if len(found) > len(chosen) else counted(len(chosen), "picture")
    return tuple(path.absolute() for path in chosen), f"{many} of {folder}", left_out
