"""What the runs of a proof took and gave, kept for whoever wants to show it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from .runtimes import Values


@dataclass(frozen=True, slots=True)
class Exhibits:
    """Arrays of a proof.

    ``pictures`` has one array (N, 3, H, W) for each batch. ``outputs`` has for each run (``source``, ``target``,
    ``reference``, ``oracle`` and others, where there were any) one mapping of outputs for each batch; the oracle ran
    the first pictures of each only.
    """

    pictures: tuple[npt.NDArray[Any], ...]
    outputs: Mapping[str, tuple[Values, ...]]
