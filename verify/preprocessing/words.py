"""Differences between two preprocessings in words."""

from collections.abc import Iterator, Sequence

from ...converters.preprocessing import Preprocessing

ORIENTATION = {
    True: "pictures are turned as their EXIF says, which the source does not do",
    False: "pictures are not turned as their EXIF says, which the source does",
}
# Relative: what is fitted to rounded values is not exact, and no two usual values are as near.
_CLOSE = 0.02


def geometry(source: Preprocessing, other: Preprocessing) -> Iterator[tuple[tuple[str, ...], str]]:
    """The fields of each difference in resizing and cropping, and what to say of it."""
    if source.edges != other.edges:
        words = {
            "both": "both edges are resized (squashed) to {0} pixels, where the source keeps the proportion",
            "shorter": "the shorter edge is resized to {0} pixels and the proportion kept, where the source squashes",
        }
        yield ("edges",), words[other.edges].format(other.resize)
    if source.crop != other.crop:
        yield (
            ("crop", "resize"),
            f"the crop is {other.crop} pixels of {other.resize}, in the source {source.crop} of {source.resize}",
        )
    elif source.resize != other.resize:
        shares = f"{other.crop / other.resize:.3f} of the resized picture, where the source's is"
        yield (
            ("resize",),
            f"crop percentage: the crop is {shares} {source.crop / source.resize:.3f} (resize to {other.resize}, not "
            f"{source.resize})",
        )
    if source.interpolation != other.interpolation:
        yield (
            ("interpolation",),
            f"interpolation: {other.interpolation}, where the source's is {source.interpolation}",
        )
    if source.antialias != other.antialias and "lanczos" not in (source.interpolation, other.interpolation):
        filters = {
            False: "no antialias: pixels between those looked up are left out, as OpenCV does; the source's filter "
            "looks at all",
            True: "antialias: the filter looks at all pixels, where the source leaves some out, as OpenCV does",
        }
        yield ("antialias",), filters[other.antialias]
    if source.margin != other.margin:
        told = {"down": "rounded down", "even": "rounded to the even pixel"}
        yield (
            ("margin",),
            f"centre crop: half a pixel of margin is {told[other.margin]}, in the source {told[source.margin]}, so "
            "some pictures are one pixel aside",
        )


def colours(source: Preprocessing, other: Preprocessing) -> Iterator[tuple[str, str]]:
    """The name of each difference in channels and values, and what to say of it."""
    if source.channels != other.channels:
        yield "channels", f"channels are {other.channels}, where the source's are {source.channels}"
    means, stds = [source.mean], [source.std]
    if source.channels != other.channels:
        means, stds = [*means, source.mean[::-1]], [*stds, source.std[::-1]]
    if any(near(other, mean, std) for mean, std in zip(means, stds, strict=True)):
        return
    if near(other, source.mean[::-1], source.std[::-1]):
        words = "mean and deviation are in the order of the other channels (blue first)"
    elif near(other, _over(source.mean, 255), _over(source.std, 255)):
        words = "values are not divided by 255 before mean and deviation are applied"
    elif near(other, (0.0,) * 3, (1.0,) * 3):
        words = "values are 0..1: mean and deviation are not applied"
    elif near(other, (0.0,) * 3, (1 / 255,) * 3):
        words = "values are levels 0..255: not divided by 255, and mean and deviation not applied"
    elif near(other, source.mean, (1.0,) * 3):
        words = "the deviation is not divided by"
    elif near(other, (0.0,) * 3, source.std):
        words = "the mean is not subtracted"
    elif near(other, _times(source.mean, 255), _times(source.std, 255)):
        words = "values are divided by 255 twice, or mean and deviation meant for 0..255 are applied to 0..1"
    else:
        words = (
            f"mean {_said(other.mean)} and deviation {_said(other.std)}, where the source's are {_said(source.mean)} "
            f"and {_said(source.std)}"
        )
    yield "mean and std", words


def near(other: Preprocessing, mean: Sequence[float], std: Sequence[float]) -> bool:
    """Whether mean and deviation are these, for values between 0 and 1."""
    return all(abs(found - wanted) <= _CLOSE * wanted for found, wanted in zip(other.std, std, strict=True)) and all(
        abs(found - wanted) <= _CLOSE * max(abs(wanted), deviation)
        for found, wanted, deviation in zip(other.mean, mean, std, strict=True)
    )


def _over(values: Sequence[float], by: float) -> tuple[float, ...]:
    return tuple(value / by for value in values)


def _times(values: Sequence[float], by: float) -> tuple[float, ...]:
    return tuple(value * by for value in values)


def _said(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in values) + ")"
