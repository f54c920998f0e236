"""Settings that users give, as texts: ``interpolation=bicubic``."""

from collections.abc import Callable, Mapping
from typing import Any

from ...converters.errors import UsageError
from ...converters.preprocessing import INTERPOLATIONS
from ...mappings.names import did_you_mean


def _pixels(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1 << 14):
        raise ValueError("a number of pixels")
    return int(text)


def _three(text: str) -> list[float]:
    values = [float(part) for part in text.strip("()[] ").split(",")]
    if len(values) != 3:
        raise ValueError("three numbers for values between 0 and 1, such as 0.485,0.456,0.406")
    return values


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return read


def _switch(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"


# Setting → the word of a record, and how its text is read.
_SETTINGS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "resize": ("resize_size", _pixels), "crop": ("crop_size", _pixels),
    "mean": ("mean", _three), "std": ("std", _three),
    "interpolation": ("interpolation", _one_of(*INTERPOLATIONS)), "edges": ("resize_edges", _one_of("shorter", "both")),
    "antialias": ("antialias", _switch), "channels": ("channels", _one_of("RGB", "BGR")),
}  # fmt: skip


def parse_settings(settings: Mapping[str, str]) -> dict[str, Any]:
    """Settings in the words of a record; raises UsageError for one that is unknown or cannot be read.

    >>> parse_settings({"resize": "235", "interpolation": "bicubic"})
    {'resize_size': 235, 'interpolation': 'bicubic'}
    """
    found: dict[str, Any] = {}
    for name, text in settings.items():
        if name not in _SETTINGS:
            raise UsageError(f"no setting {name!r} of a preprocessing", remedy=did_you_mean(name, list(_SETTINGS)))
        word, read = _SETTINGS[name]
        try:
            found[word] = read(str(text))
        except ValueError as error:
            raise UsageError(f"{name}={text} cannot be meant", remedy=f"Say {error}.") from None
    if "crop_size" in found:
        found["input_size"] = [3, found["crop_size"], found["crop_size"]]
    return found
