"""Before and after the network: a picture to numbers, as preprocessing.json says, and numbers to labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

_MODEL = Path(__file__).resolve().parent / "model"
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class ImageProcessor:
    """Pictures in, arrays out; logits in, labels out."""

    def __init__(self, model: Path = _MODEL) -> None:
        self._said = json.loads((model / "preprocessing.json").read_text(encoding="utf-8"))
        self._labels = json.loads((model / "labels.json").read_text(encoding="utf-8"))

    def load_and_preprocess(self, file: str) -> Any:
        """The float32 array of a picture's file: (1, 3, height, width), scaled to 0..1 and normalised."""
        with Image.open(file) as picture:
            turned = ImageOps.exif_transpose(picture) if self._said.get("oriented") else picture
            cropped = self._crop(self._resize(turned.convert("RGB")))
        array = np.asarray(cropped, np.float32) / np.float32(255)
        if self._said.get("channels") == "BGR":
            array = array[..., ::-1]
        array = (array - np.float32(self._said["mean"])) / np.float32(self._said["std"])
        return np.ascontiguousarray(array.transpose(2, 0, 1)[None])

    def compute_output(self, logits: Any) -> list[dict[str, Any]]:
        """Every class with its probability, in the order of the network's output."""
        values = np.asarray(logits, np.float64).reshape(-1)
        powers = np.exp(values - values.max())
        shares = powers / powers.sum()
        return [{"label": self._labels[str(i)], "probability": float(share)} for i, share in enumerate(shares)]

    def _resize(self, picture: Image.Image) -> Image.Image:
        size, (width, height) = self._said["resize_size"], picture.size
        if self._said["resize_edges"] == "both":
            new = (size, size)
        elif width <= height:
            new = (size, int(size * height / width))
        else:
            new = (int(size * width / height), size)
        kind = _FILTERS[self._said["interpolation"]]
        if self._said["antialias"] or kind == Image.Resampling.LANCZOS:
            return picture.resize(new, kind)
        # As OpenCV does: each new pixel is looked up at its centre, whatever lies between.
        return picture.transform(new, Image.Transform.EXTENT, (0, 0, width, height), kind)

    def _crop(self, picture: Image.Image) -> Image.Image:
        """The centre; a picture that is too small is filled up with black."""
        size = self._said["crop_size"]
        left, top = round((picture.width - size) / 2), round((picture.height - size) / 2)
        return picture.crop((left, top, left + size, top + size))
