"""Settings in the words of several libraries."""

import math

from ....converters.preprocessing import Preprocessing
from ...errors import RuntimeRefusedError


def colours(wanted: Preprocessing) -> str:
    """Mean and deviation as arguments, where they are not ImageNet's."""
    if wanted.mean == (0.485, 0.456, 0.406) and wanted.std == (0.229, 0.224, 0.225):
        return ""
    return f", mean={tuple(wanted.mean)}, std={tuple(wanted.std)}"


def refuse_bgr(wanted: Preprocessing, library: str) -> None:
    """Raise RuntimeRefusedError for a library whose pictures are always RGB."""
    if wanted.channels != "RGB":
        raise RuntimeRefusedError(
            f"{library}'s pictures are RGB, and {wanted.channels} was asked for",
            remedy="Let mmpretrain run it, or leave the channels as they are.",
        )


def share(wanted: Preprocessing) -> float:
    """The crop's share of the resized picture, as short a number as gives that resize when it is rounded down."""
    for digits in range(2, 7):
        value = round(wanted.crop / wanted.resize, digits)
        if math.floor(wanted.crop / value) == wanted.resize:
            return value
    return wanted.crop / (wanted.resize + 0.5)
