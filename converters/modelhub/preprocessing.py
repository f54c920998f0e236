"""What happens to a picture before the network: recorded beside the weights, never part of their parity."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import MalformedFileError
from .fields import read_json

PATH = "contrib_src/model/preprocessing.json"
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Resize, crop the centre, scale to 0..1, subtract ``mean`` and divide by ``std`` (RGB).

    ``resize`` pixels are those of the shorter edge, the other in proportion, or of ``both`` edges, whatever the
    proportion; ``antialias`` tells Pillow's filter, which looks at all pixels, from OpenCV's, which does not.
    ``stated_by`` names who says so.
    """

    resize: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    edges: str = "shorter"
    antialias: bool = True
    stated_by: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The fact ``preprocessing`` of a record, in torchvision's words as far as they go."""
        return {
            "input_size": [3, self.crop, self.crop], "resize_size": self.resize, "resize_edges": self.edges,
            "crop_size": self.crop, "interpolation": self.interpolation, "antialias": self.antialias,
            "mean": list(self.mean), "std": list(self.std), "stated_by": self.stated_by,
        }  # fmt: skip


# What most ImageNet networks of PyTorch and Gluon want; an assumption wherever it is used, and said to be one.
USUAL = Preprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def from_facts(facts: object, *, stated_by: str = "") -> Preprocessing | None:
    """What a record states, in torchvision's or in timm's words; None where it states too little, or something else."""
    if not isinstance(facts, Mapping):
        return None
    mean, std = _colours(facts.get("mean")), _colours(facts.get("std"))
    crop: Any = _side(facts.get("input_size"))
    interpolation = facts.get("interpolation")
    if crop is None or mean is None or std is None or interpolation not in INTERPOLATIONS or 0 in std:
        return None
    edges = facts.get("resize_edges", "shorter")
    said = facts.get("stated_by", stated_by)
    if "resize_size" in facts:
        resize, crop = facts["resize_size"], facts.get("crop_size")
    elif facts.get("crop_mode", "center") in ("center", "squash"):  # timm: the crop's share of the resized picture
        share = facts.get("crop_pct")
        resize = math.floor(crop / share) if isinstance(share, (int, float)) and 0 < share <= 1 else None
        edges = "both" if facts.get("crop_mode") == "squash" else "shorter"
    else:
        return None
    antialias = facts.get("antialias", True)
    if not (_is_size(resize) and _is_size(crop)) or edges not in ("shorter", "both"):
        return None
    if type(antialias) is not bool or not isinstance(said, str):
        return None
    return Preprocessing(resize, crop, mean, std, interpolation, edges, antialias, said)


def read_preprocessing(data: bytes, file: str = PATH) -> Preprocessing:
    """The file beside a model that this package writes; modelhub itself has none."""
    top = read_json(data, file)
    found = from_facts(top.values)
    if found is None:
        needed = "input_size, resize_size, crop_size, interpolation, mean and std are needed"
        raise MalformedFileError(
            f"{file} does not describe a preprocessing: {needed}", remedy="Correct the file, or remove it."
        )
    return found


def _is_size(value: object) -> bool:
    return type(value) is int and 0 < value <= 1 << 14


def _side(size: Any) -> int | None:
    """The side of a square input of three colours; None for any other."""
    if not isinstance(size, Sequence) or len(size) != 3 or size[0] != 3 or size[1] != size[2]:
        return None
    return size[1] if _is_size(size[1]) else None


def _colours(values: Any) -> tuple[float, ...] | None:
    """Three finite numbers, or None."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != 3:
        return None
    numbers = tuple(float(value) for value in values if type(value) in (int, float) and math.isfinite(value))
    return numbers if len(numbers) == 3 else None
