"""Give BatchNorms that were folded away statistics again (``--bn calibrated``), so that training can go on."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mshub_convert.converters.errors import UsageError
from mshub_convert.converters.findings import Finding
from mshub_convert.converters.opened import CALIBRATED, Opened
from mshub_convert.converters.rounding import round_to
from mshub_convert.converters.tensors import Array, TensorRef
from mshub_convert.loading import built_from
from mshub_convert.mappings.folding import Fold, folds
from mshub_convert.verify.inputs import pictures

if TYPE_CHECKING:
    from mshub_convert.verify.networks.statistics import Statistics

PICTURES = 16
_SIDE = 224


def with_statistics(opened: Opened) -> Opened:
    """The source with statistics in place of the identities of its folded BatchNorms; computes the same.

    Behind a convolution whose output has mean m and variance v, scale = √(v + eps) and shift = bias + m undo what
    mean and variance do. Needs torch, which runs the pictures. Raises UsageError for a file that has its BatchNorms.
    """
    if not opened.folded:
        raise UsageError(
            f"--bn calibrated is for files with BatchNorm folded away; {opened.source.file.name} has its own",
            remedy="Leave it out.",
        )
    from mshub_convert.verify.networks.statistics import norm_statistics

    height, width = (opened.recovered.size if opened.recovered else None) or (_SIDE, _SIDE)
    measured = norm_statistics(built_from("torch", opened), pictures(PICTURES, height, width))
    tensors = dict(opened.tensors)
    for fold in folds(opened.found.architecture.graph(opened.traits)):
        if _is_identity(opened, fold):
            tensors |= _calibrated(opened, fold, measured[fold.norm])
    notices = tuple(finding for finding in opened.notices if finding.code != "folded")
    said = Finding(
        "calibrated-bn",
        f"BatchNorms that were folded away got statistics of {PICTURES} drawn pictures of {height}x{width}: exact up to"
        " rounding in the forward",
        (), "Let some batches of your own data go through the network in training mode first.",
    )  # fmt: skip
    return replace(opened, tensors=tensors, notices=(*notices, said), operations=(CALIBRATED,))


def _named(opened: Opened, fold: Fold, leaf: str) -> TensorRef:
    slot = opened.found.grounding.slots[f"{fold.norm}.{leaf}"]
    return opened.tensors[slot.names[0]]


def _is_identity(opened: Opened, fold: Fold) -> bool:
    """Whether a BatchNorm was made up when the file was read."""
    assert opened.recovered is not None  # noqa: S101 - only graphs have folded BatchNorms
    return not opened.recovered.names[f"{fold.norm}.scale"]


def _calibrated(opened: Opened, fold: Fold, measured: "Statistics") -> dict[str, TensorRef]:
    mean, var = measured
    bias = _named(opened, fold, "shift").read().astype(np.float64)
    dtype = _named(opened, fold, "shift").spec.dtype
    # What is stored is what the others make up for.
    mean, var = (round_to(values, dtype).astype(np.float64) for values in (mean, var))
    values = {"scale": np.sqrt(var + fold.epsilon), "shift": bias + mean, "mean": mean, "var": var}
    made = {}
    for leaf, array in values.items():
        ref = _named(opened, fold, leaf)
        made[ref.spec.name] = TensorRef(ref.spec, None, partial(_same, round_to(array, dtype)))
    return made


def _same(array: Any) -> Array:
    held: Array = array
    return held
