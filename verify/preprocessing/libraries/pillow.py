"""What the libraries have in common that open, resize and crop with Pillow and torchvision."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ....converters.preprocessing import Preprocessing
from . import Prepare


def from_pillow(steps: Any) -> Prepare:
    """A function of files out of steps on Pillow's pictures, which torchvision's and timm's data sets open so."""

    def one(path: Path) -> Any:
        from PIL import Image

        with Image.open(path) as picture:
            return np.asarray(steps(picture.convert("RGB")), np.float32)

    return one


def as_pillow(wanted: Preprocessing) -> Preprocessing:
    """What comes of settings where Pillow resizes and torchvision crops."""
    return replace(wanted, antialias=True, margin="even", oriented=False)
