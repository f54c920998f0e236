"""How far apart two libraries' tensors of one picture are, in levels of 255, and how far they may be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Budget:
    """What passes for the same on a picture: mean difference in levels, share of values more than a level apart.

    Measured on photographs: the same settings in torchvision, timm and mmpretrain (with Pillow) give the same bits;
    of what differs, the least is a filter, which moves values by 0.4 levels on smooth pictures and 1 to 2 on others.
    """

    mean: float = 0.25
    share: float = 0.01


@dataclass(frozen=True, slots=True)
class PictureDifference:
    """One picture: mean and largest absolute difference in levels, and the share of values more than 1 apart."""

    name: str
    mean: float
    largest: float
    share: float

    def within(self, budget: Budget) -> bool:
        """Whether the two are the same for all that matters."""
        return self.mean <= budget.mean and self.share <= budget.share

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"picture": self.name, "mean": self.mean, "largest": self.largest, "share_over_1": self.share}


def differences(
    names: Sequence[str], ours: Sequence[Array], theirs: Sequence[Array], std: Sequence[float]
) -> tuple[PictureDifference, ...]:
    """Each picture's difference; arrays are float32 (3, height, width), ``std`` of 0..1 turns them into levels.

    Empty where the sizes differ: then there is nothing to subtract.
    """
    found = []
    scale = 255 * np.reshape(std, (3, 1, 1))
    for name, one, other in zip(names, ours, theirs, strict=True):
        if one.shape != other.shape:
            return ()
        levels = abs(one.astype(np.float64) - other) * scale
        # What is exactly one level apart comes out a little above or below it.
        found.append(PictureDifference(name, float(levels.mean()), float(levels.max()), float((levels > 1.01).mean())))
    return tuple(found)
