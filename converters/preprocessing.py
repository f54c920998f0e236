"""What happens to a picture before the network: recorded beside the weights, never part of their parity."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Resize, crop the centre, scale to 0..1, subtract ``mean`` and divide by ``std``; all sides in pixels.

    ``resize`` pixels are those of the ``shorter`` of the ``edges``, the other in proportion, or of ``both``, whatever
    the proportion; ``antialias`` tells Pillow's filter, which looks at all pixels, from OpenCV's, which does not.
    ``channels`` are RGB or BGR, with ``mean`` and ``std`` in that order; ``margin`` says how half a pixel beside the
    crop is rounded, to ``even`` or ``down``; ``oriented`` whether a picture is turned as its EXIF says. ``stated_by``
    names who says so.
    """

    resize: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    edges: str = "shorter"
    antialias: bool = True
    stated_by: str = ""
    channels: str = "RGB"
    margin: str = "even"
    oriented: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The fact ``preprocessing`` of a record, in torchvision's words as far as they go."""
        unusual = {
            "channels": self.channels if self.channels != "RGB" else None,
            "crop_margin": self.margin if self.margin != "even" else None, "oriented": self.oriented or None,
        }  # fmt: skip
        return {
            "input_size": [3, self.crop, self.crop], "resize_size": self.resize, "resize_edges": self.edges,
            "crop_size": self.crop, "interpolation": self.interpolation, "antialias": self.antialias,
            "mean": list(self.mean), "std": list(self.std), "stated_by": self.stated_by,
            **{key: value for key, value in unusual.items() if value is not None},
        }  # fmt: skip


def from_facts(facts: object, *, stated_by: str = "") -> Preprocessing | None:
    """What a record states, in the words of torchvision, timm or mmpretrain; None where it states too little."""
    if not isinstance(facts, Mapping):
        return None
    facts = _from_mmpretrain(facts)
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
    channels, margin = facts.get("channels", "RGB"), facts.get("crop_margin", "even")
    oriented = facts.get("oriented", False)
    if channels not in ("RGB", "BGR") or margin not in ("even", "down"):
        return None
    if type(antialias) is not bool or type(oriented) is not bool or not isinstance(said, str):
        return None
    return Preprocessing(resize, crop, mean, std, interpolation, edges, antialias, said, channels, margin, oriented)


def _from_mmpretrain(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Facts of an mmpretrain configuration in the words of this module; others as they are."""
    if facts.get("value_range") != [0, 255] or "resize_backend" not in facts:
        return facts
    told: dict[str, Any] = dict(facts)
    for name in ("mean", "std"):
        values = _colours(facts.get(name))
        told[name] = values and [value / 255 for value in values]
    told["resize_edges"] = "both" if facts.get("resize") == "each edge" else "shorter"
    told["antialias"] = facts["resize_backend"] == "pillow"
    told["channels"] = "RGB" if facts.get("to_rgb") else "BGR"
    # OpenCV decodes, and turns pictures as their EXIF says.
    told["oriented"] = True
    return told


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
