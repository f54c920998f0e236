"""Graph traits: what a network computes beyond its weights.

No checkpoint stores them, and two networks with equal weights but other traits are other functions, so traits
travel beside the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from .errors import UnknownNameError
from .names import did_you_mean

CHOICES: Mapping[str, tuple[str, ...]] = {
    "stem_pool": ("symmetric", "same"),
    "padding": ("symmetric", "same"),
    "bottleneck_stride": ("3x3", "1x1"),
}


@dataclass(frozen=True, slots=True)
class Traits:
    """The traits of one network.

    ``stem_pool`` and ``padding`` (of the convolutions) are ``symmetric`` (k // 2 on every side) or ``same``
    (ONNX ``SAME_UPPER``: the output is ceil(input / stride), the odd row goes below and to the right).
    ``norm_eps`` is the epsilon of every BatchNorm but those whose architecture fixes it (the extra layers of
    ssd_resnet50: 1e-5). ``bottleneck_stride`` tells which convolution of a
    down-sampling bottleneck has the stride.
    """

    stem_pool: str = "symmetric"
    padding: str = "symmetric"
    norm_eps: float = 1e-5
    bottleneck_stride: str = "3x3"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise UnknownNameError(f"trait {name} cannot be {value!r}", remedy=f"Use {' or '.join(choices)}.")
        if not isinstance(self.norm_eps, float) or not 0.0 < self.norm_eps < 1.0:
            raise UnknownNameError(
                f"trait norm_eps cannot be {self.norm_eps!r}", remedy="Use a number between 0 and 1, such as 1e-5."
            )

    def with_values(self, values: Mapping[str, object]) -> "Traits":
        """These traits with some replaced; ``norm_eps`` may come as text. Unknown names are errors."""
        known = [field.name for field in fields(self)]
        changes: dict[str, object] = {}
        for name, value in values.items():
            if name not in known:
                raise UnknownNameError(f"unknown trait {name!r}", remedy=did_you_mean(name, known))
            changes[name] = _as_float(value) if name == "norm_eps" else value
        return replace(self, **changes)  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, str | float]:
        """Plain values for JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def differences(self, other: "Traits") -> dict[str, tuple[str | float, str | float]]:
        """Traits that differ, as ``name: (here, there)``."""
        there = other.as_dict()
        return {name: (value, there[name]) for name, value in self.as_dict().items() if value != there[name]}


def _as_float(value: object) -> object:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value
