"""Mistakes of conversion, put into files on purpose; their size as seen on three networks is in the comments.

The numbers tell how far the logits moved, in units of the float32 noise of a correct resnet50 and resnext101.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

from mshub_convert.converters.tensors import Array
from mshub_convert.mappings.traits import Traits

from . import edits
from .edits import Model
from .optimisers import optimise
from .registry import Mutation

_POOL = "stem.pool/MaxPool"


def epsilon(model: Model, *, value: float, only: str = "") -> None:
    """Another epsilon in every BatchNorm, or in one."""
    for norm in edits.nodes(model, "BatchNormalization"):
        if not only or norm.name == only:
            edits.set_attribute(norm, epsilon=value)


def strides(model: Model) -> None:
    """Strides in the first convolution of each block instead of the second."""
    for conv in edits.nodes(model, "Conv"):
        if conv.name.endswith(".conv2/Conv") and edits.attribute(conv, "strides") == [2, 2]:
            edits.set_attribute(conv, strides=[1, 1])
            edits.set_attribute(edits.named(model, conv.name.replace("conv2", "conv1")), strides=[2, 2])


def pool(model: Model, **attributes: Any) -> None:
    """Another stem pool."""
    edits.set_attribute(edits.named(model, _POOL), **attributes)


def weights(model: Model, *, name: str, at: int = 1, change: Callable[[Array], Array]) -> None:
    """Another value for one input of a node."""
    weight = edits.named(model, name).input[at]
    edits.put(model, weight, np.ascontiguousarray(change(edits.constants(model)[weight])))


def scale_for_shift(model: Model) -> None:
    """Scale and shift of one BatchNorm in each other's place."""
    norm = edits.named(model, "stages.0.0.norm2/BatchNormalization")
    norm.input[1], norm.input[2] = norm.input[2], norm.input[1]


def folded(model: Model, *, change: Callable[[Array], Array], at: int) -> None:
    """A change of a file that ONNX Runtime folded: no weight of it is the original's."""
    with TemporaryDirectory() as folder:
        optimise(model, Path(folder, "model.onnx"), "ENABLE_BASIC")
        model.CopyFrom(onnx.load(Path(folder, "model.onnx")))
    if edits.nodes(model, "BatchNormalization"):
        raise AssertionError("ONNX Runtime folded nothing")
    conv = next(conv for conv in edits.nodes(model, "Conv") if edits.attribute(conv, "group") > 1)
    edits.put(model, conv.input[at], np.ascontiguousarray(change(edits.constants(model)[conv.input[at]])))


def swapped(array: Array) -> Array:
    """The first two rows in each other's place: two channels of one group, or two classes."""
    return array[[1, 0, *range(2, len(array))]]


def groups_rolled(array: Array) -> Array:
    """Each group's rows in the next group's place."""
    return np.roll(array, array.shape[1], axis=0)


def one_zero(array: Array) -> Array:
    """One weight is zero: that of the largest magnitude."""
    changed = array.copy()
    changed.reshape(-1)[np.abs(array).argmax()] = 0
    return changed


_SAME_POOL = Traits(stem_pool="same")
_GROUPED, _NORM = "stages.0.0.conv2/Conv", "stages.1.0.norm2/BatchNormalization"

MUTATIONS = {
    # 1e5, 2.8e4, 3.2e5
    "epsilon": Mutation("epsilon 1e-3", partial(epsilon, value=1e-3), "trait", traits=Traits(norm_eps=1e-3)),
    # 854, 150, 1.6e3
    "epsilon-once": Mutation("epsilon 1e-4 in one layer", partial(epsilon, value=1e-4, only=_NORM), "structure", _NORM),
    # 7, 4.5, 9 with variances far below 1; drawn ones are near 1, so that float32 rounds it away
    "epsilon-near": Mutation(
        "epsilon 1.001e-5", partial(epsilon, value=1.001e-5), "trait", traits=Traits(norm_eps=1.001e-5), visible=False
    ),
    # 1e5, 2e4, 4e5 at least
    "scale-for-shift": Mutation("scale and shift mixed up in one layer", scale_for_shift, "weights"),
    # 2e3, 1.1e3, 4.6e3 at least
    "channels": Mutation("two channels of a group swapped", partial(weights, name=_GROUPED, change=swapped), "weights"),
    # 4e8, 1e10, 8e9
    "groups": Mutation("groups in another order", partial(weights, name=_GROUPED, change=groups_rolled), "weights"),
    # 6e4, 1.7e4, 6e4
    "stride": Mutation("stride in the first convolution", strides, "trait", traits=Traits(bottleneck_stride="1x1")),
    # 4e4, 1.2e4, 1.1e5 at least
    "pool-same": Mutation(
        "stem pool SAME_UPPER", partial(pool, pads=None, auto_pad="SAME_UPPER"), "trait", traits=_SAME_POOL
    ),
    "pool-same-fixed": Mutation(
        "stem pool padded below and on the right", partial(pool, pads=[0, 0, 1, 1]), "trait", traits=_SAME_POOL, final=8
    ),
    "pool-same-anywhere": Mutation(
        "the same at any size, where it is no SAME_UPPER", partial(pool, pads=[0, 0, 1, 1]), "structure", _POOL
    ),
    "pool-ceil": Mutation("stem pool with ceil_mode", partial(pool, ceil_mode=1), "structure", _POOL),
    "pool-bare": Mutation("stem pool without padding", partial(pool, pads=[0, 0, 0, 0]), "structure", _POOL),
    "pool-above": Mutation(
        "stem pool padded above and on the left", partial(pool, pads=[1, 1, 0, 0]), "structure", _POOL
    ),
    # 12, 3.4, 57 at least
    "zero": Mutation("one weight is zero", partial(weights, name=_GROUPED, change=one_zero), "weights"),
    "mirrored": Mutation(
        "a kernel mirrored", partial(weights, name=_GROUPED, change=lambda kernel: kernel[:, :, ::-1, ::-1]), "weights"
    ),
    "mean-sign": Mutation("the sign of a mean", partial(weights, name=_NORM, at=3, change=np.negative), "weights"),
    "classes": Mutation("two classes swapped", partial(weights, name="head/Gemm", change=swapped), "weights"),
    "bias": Mutation("a lost bias", partial(weights, name="head/Gemm", at=2, change=np.zeros_like), "weights"),
    "folded-channels": Mutation("two channels swapped, folded", partial(folded, change=swapped, at=1), "forward"),
    "folded-zero": Mutation("one weight is zero, folded", partial(folded, change=one_zero, at=1), "forward"),
    "folded-bias": Mutation("a lost bias, folded", partial(folded, change=np.zeros_like, at=2), "forward"),
}
