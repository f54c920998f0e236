"""The algebra of folding a BatchNorm into its convolution, and of telling folded tensors as a BatchNorm again.

All in float64, rounded once, so that a folded network deviates by one rounding of each weight and no more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from ..mappings.folding import Fold
from .rounding import round_to
from .tensors import Array, TensorRef, TensorSpec

_Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FoldedParts:
    """The tensors of one folded convolution by leaf: ``kernel``, ``scale``, ``shift``, ``mean``, ``var``."""

    fold: Fold
    refs: Mapping[str, TensorRef]

    def kernel(self, dtype: str) -> Array:
        """The kernel times scale ÷ √(variance + epsilon), a factor for each output channel."""
        kernel = self.refs["kernel"].read()
        factor = self._factor().reshape(-1, *[1] * (kernel.ndim - 1))
        return round_to(kernel.astype(np.float64) * factor, dtype)

    def bias(self, dtype: str) -> Array:
        """What the BatchNorm adds to each channel: shift − mean × the factor."""
        shift, mean = (self.refs[leaf].read().astype(np.float64) for leaf in ("shift", "mean"))
        return round_to(shift - mean * self._factor(), dtype)

    def _factor(self) -> _Float64:
        scale, var = (self.refs[leaf].read().astype(np.float64) for leaf in ("scale", "var"))
        factor = np.asarray(scale / np.sqrt(var + self.fold.epsilon), np.float64)
        # What was unfolded as the identity folds back to the very same bytes.
        factor[(scale == 1) & (var == identity_variance(self.fold.epsilon))] = 1.0
        return factor


def identity_norm(bias: TensorRef | None, channels: int, epsilon: float, dtype: str) -> dict[str, TensorRef]:
    """BatchNorm tensors that add ``bias`` and change nothing else, bit for bit, in float32 arithmetic.

    The variance is float32(1 − epsilon), so that the root of variance + epsilon is exactly 1 (a variance of 1 would
    change nearly every element by a rounding). Right for inference only: the statistics say nothing of the data.
    """

    def full(value: float) -> TensorRef:
        spec = TensorSpec("", (channels,), dtype)
        return TensorRef(spec, None, partial(_full, channels, value, dtype))

    var = full(identity_variance(epsilon))
    return {"scale": full(1.0), "shift": bias or full(0.0), "mean": full(0.0), "var": var}


def identity_variance(epsilon: float) -> float:
    """The variance of a BatchNorm that changes nothing: its sum with epsilon is 1 in float32."""
    return float(np.float32(1 - epsilon))


def _full(channels: int, value: float, dtype: str) -> Array:
    return round_to(np.full(channels, value, np.float64), dtype)


def mean_under_bias(mean: TensorRef, bias: TensorRef) -> TensorRef:
    """The running mean of a BatchNorm behind a convolution with a bias, for the convolution without it."""

    def compute() -> Array:
        return round_to(mean.read().astype(np.float64) - bias.read().astype(np.float64), mean.spec.dtype)

    return TensorRef(mean.spec, None, compute)
