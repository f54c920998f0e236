"""Casts between float dtypes: one rounding, to nearest, ties to even."""

from collections.abc import Collection

import numpy as np

from .tensors import DTYPES, Array

# What every value of a float dtype also is.
_HELD_BY = {
    "float16": ("float16", "float32", "float64"),
    "bfloat16": ("bfloat16", "float32", "float64"),
    "float32": ("float32", "float64"),
    "float64": ("float64",),
}


def holds(wide: str, narrow: str) -> bool:
    """Whether every value of one float dtype is a value of another."""
    return wide in _HELD_BY[narrow]


def common_dtype(dtypes: Collection[str]) -> str:
    """The narrowest float dtype that holds all values of these.

    >>> common_dtype({"float16", "bfloat16"})
    'float32'
    """
    return next(wide for wide in _HELD_BY if all(holds(wide, narrow) for narrow in dtypes))


def round_to(array: Array, dtype: str) -> Array:
    """Cast floats to another float dtype; overflow becomes infinity, NaN stays NaN."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if dtype == "bfloat16" and array.dtype == np.float64:
            # ml_dtypes goes through float32, which would be a second rounding.
            array = _to_odd(array)
        return array.astype(DTYPES[dtype], copy=False)


def _to_odd(array: Array) -> Array:
    """Round float64 to float32 so that rounding once more, to fewer bits, gives what one rounding would.

    Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums": inexact results go to the neighbour whose
    last bit is odd.
    """
    single = array.astype(np.float32)
    back = single.astype(np.float64)
    inexact = np.isfinite(single) & (back != array)
    bits = single.view(np.uint32)
    bits -= inexact & (np.abs(back) > np.abs(array))  # towards zero
    bits |= inexact
    return single
