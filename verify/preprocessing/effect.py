"""What a difference in preprocessing does to the network: its float64 logits on both sides' tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converters.opened import Opened
from ..compare import relative_l2
from ..running import job_of
from ..runtimes import run
from ..sides import torch_side

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Effect:
    """Relative L2 of the float64 logits (worst and mean picture), and on how many the likeliest class is the same."""

    network: str
    worst: float
    mean: float
    top1: tuple[int, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "network": self.network, "worst": self.worst, "mean": self.mean,
            "top1_agree": self.top1[0], "top1_of": self.top1[1],
        }  # fmt: skip


def measured(opened: Opened, ours: Sequence[Array], theirs: Sequence[Array], folder: Path, *, timeout: float) -> Effect:
    """Run one network, in float64 by torch, on the tensors (3, height, width) of both sides."""
    paths = []
    for name, arrays in (("ours", ours), ("theirs", theirs)):
        paths.append(folder / f"{name}.npy")
        np.save(paths[-1], np.stack(arrays))
    side = torch_side(opened)
    outcome = run(job_of(side, "float64", tuple(paths), folder / "network"), timeout=timeout)
    one, other = outcome.logits
    apart = relative_l2(other, one)
    agree = int((one.argmax(axis=1) == other.argmax(axis=1)).sum())
    return Effect(side.label, float(apart.max()), float(apart.mean()), (agree, len(one)))
