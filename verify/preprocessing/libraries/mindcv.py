"""mindcv: ``create_transforms`` for evaluation, of MindSpore's own picture operators."""

import inspect
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ....converters.preprocessing import Preprocessing
from ...errors import RuntimeRefusedError
from . import Prepare
from .settings import refuse_bgr, share

_OWN = ("nearest", "bilinear", "bicubic")


def usual(architecture: str) -> Preprocessing:
    """The defaults of ``create_transforms()``."""
    from mindcv.data.transforms_factory import transforms_imagenet_eval

    said = {name: item.default for name, item in inspect.signature(transforms_imagenet_eval).parameters.items()}
    mean, std = (tuple(round(value / 255, 9) for value in said[name]) for name in ("mean", "std"))
    crop = said["image_resize"]
    return Preprocessing(
        math.floor(crop / said["crop_pct"]), crop, mean, std, said["interpolation"], antialias=False, margin="down",
        stated_by="mindcv's create_transforms()",
    )  # fmt: skip


def prepare(wanted: Preprocessing) -> tuple[Prepare, Preprocessing]:
    """``create_transforms``; where both edges are resized, MindSpore's ``Resize`` to a square in the place of its own.

    MindSpore's only filter that looks at all pixels is PILCUBIC, which is Pillow's bicubic to the bit.
    """
    from mindcv.data import create_transforms
    from mindspore.dataset import vision

    refuse_bgr(wanted, "mindcv")
    if wanted.interpolation not in _OWN:
        raise RuntimeRefusedError(
            f"mindcv has no {wanted.interpolation} interpolation", remedy=f"Say one of {', '.join(_OWN)}."
        )
    steps: list[Any] = create_transforms(
        image_resize=wanted.crop, crop_pct=share(wanted), interpolation=_name(wanted),
        mean=[255 * value for value in wanted.mean], std=[255 * value for value in wanted.std],
    )  # fmt: skip
    if wanted.edges == "both":
        both = (wanted.resize, wanted.resize)
        steps[1] = vision.Resize(both, interpolation=getattr(vision.Inter, _name(wanted).upper()))

    def one(path: Path) -> Any:
        value: Any = np.fromfile(path, np.uint8)
        for step in steps:
            value = step(value)
        return np.asarray(value, np.float32)

    return one, replace(wanted, antialias=_name(wanted) == "pilcubic", margin="down", oriented=False)


def advice(wanted: Preprocessing) -> str:
    """``create_transforms`` with these settings."""
    if wanted.edges == "both" or wanted.channels != "RGB" or wanted.interpolation not in _OWN:
        return ""
    values = [[round(255 * value, 3) for value in numbers] for numbers in (wanted.mean, wanted.std)]
    usual_ones = [[123.675, 116.28, 103.53], [58.395, 57.12, 57.375]]
    colours = "" if values == usual_ones else f", mean={values[0]}, std={values[1]}"
    return (
        f'create_transforms(image_resize={wanted.crop}, crop_pct={share(wanted):g}, interpolation="{_name(wanted)}"'
        f"{colours})"
    )


def versions() -> dict[str, str]:
    """Versions of mindcv and of MindSpore, which does it all."""
    import mindcv
    import mindspore

    return {"mindcv": mindcv.__version__, "mindspore": mindspore.__version__}


def _name(wanted: Preprocessing) -> str:
    return "pilcubic" if wanted.interpolation == "bicubic" and wanted.antialias else wanted.interpolation
