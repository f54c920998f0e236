"""The end of the network, in the ways that producers write it: pool, flatten, classifier, softmax."""

from functools import partial
from typing import Any

import numpy as np

from . import edits
from .edits import Model, edited
from .registry import Producer


def _classifier(model: Model) -> tuple[Any, str, str]:
    """The Gemm and the names of its weight and bias."""
    gemm = edits.nodes(model, "Gemm")[0]
    return gemm, gemm.input[1], gemm.input[2]


def _transposed(model: Model, weight: str) -> str:
    """The classifier's weight as (channels, classes)."""
    return edits.put(model, weight, np.ascontiguousarray(edits.constants(model)[weight].T))


def matmul(model: Model, *, bias_first: bool = False) -> None:
    """MatMul with the transposed weight, then Add."""
    gemm, weight, bias = _classifier(model)
    terms = [bias, "head.product"] if bias_first else ["head.product", bias]
    edits.replace(model, gemm, [
        edits.node("MatMul", [gemm.input[0], _transposed(model, weight)], "head.product"),
        edits.node("Add", terms, gemm.output[0]),
    ])  # fmt: skip


def matmul_of_transpose(model: Model) -> None:
    """MatMul with a Transpose of the weight, then Add."""
    gemm, weight, bias = _classifier(model)
    edits.replace(model, gemm, [
        edits.node("Transpose", [weight], "head.transposed", perm=[1, 0]),
        edits.node("MatMul", [gemm.input[0], "head.transposed"], "head.product"),
        edits.node("Add", ["head.product", bias], gemm.output[0]),
    ])  # fmt: skip


def gemm_plain(model: Model) -> None:
    """Gemm with the transposed weight, and its factors of 1 written out."""
    gemm, weight, _ = _classifier(model)
    _transposed(model, weight)
    edits.set_attribute(gemm, transB=0, transA=0, alpha=1.0, beta=1.0)


def convolution(model: Model) -> None:
    """A 1x1 convolution on the pooled map, flattened after it."""
    gemm, weight, bias = _classifier(model)
    flatten = edits.nodes(model, "Flatten")[0]
    edits.put(model, weight, edits.constants(model)[weight][:, :, None, None])
    edits.replace(model, flatten, [])
    edits.replace(model, gemm, [
        edits.node("Conv", [flatten.input[0], weight, bias], "head.map", kernel_shape=[1, 1]),
        edits.node("Flatten", ["head.map"], gemm.output[0], axis=1),
    ])  # fmt: skip


def reshape(model: Model, *dims: int) -> None:
    """Reshape to constant dimensions; 0 is the channels where it stands second."""
    flatten = edits.nodes(model, "Flatten")[0]
    channels = edits.constants(model)[edits.nodes(model, "Gemm")[0].input[1]].shape[1]
    shape = [channels if dim == 0 and place == 1 else dim for place, dim in enumerate(dims)]
    target = edits.put(model, "head.shape", np.array(shape, np.int64))
    edits.replace(model, flatten, [edits.node("Reshape", [flatten.input[0], target], flatten.output[0])])


def reshape_computed(model: Model) -> None:
    """``x.view(x.size(0), -1)``: Shape, Gather, Unsqueeze, Concat, Reshape."""
    flatten = edits.nodes(model, "Flatten")[0]
    value = flatten.input[0]
    more, attributes = edits.axes(model, "head.axes", [0], since=13)
    edits.put(model, "head.zero", np.array(0, np.int64))
    edits.put(model, "head.rest", np.array([-1], np.int64))
    edits.replace(model, flatten, [
        edits.node("Shape", [value], "head.dims"),
        edits.node("Gather", ["head.dims", "head.zero"], "head.batch", axis=0),
        edits.node("Unsqueeze", ["head.batch", *more], "head.batches", **attributes),
        edits.node("Concat", ["head.batches", "head.rest"], "head.target", axis=0),
        edits.node("Reshape", [value, "head.target"], flatten.output[0]),
    ])  # fmt: skip


def squeeze(model: Model) -> None:
    """Squeeze of the two spatial axes, as attribute or input."""
    flatten = edits.nodes(model, "Flatten")[0]
    more, attributes = edits.axes(model, "head.axes", [2, 3], since=13)
    edits.replace(model, flatten, [edits.node("Squeeze", [flatten.input[0], *more], flatten.output[0], **attributes)])


def mean(model: Model, *axes: int, keepdims: int = 1) -> None:
    """ReduceMean for the global pool, its axes as attribute or input; without kept axes nothing is left to flatten."""
    pool, flatten = edits.nodes(model, "GlobalAveragePool", "Flatten")
    more, attributes = edits.axes(model, "head.axes", list(axes), since=18)
    output = pool.output[0] if keepdims else flatten.output[0]
    made = edits.node("ReduceMean", [pool.input[0], *more], output, keepdims=keepdims, **attributes)
    if not keepdims:
        edits.replace(model, flatten, [])
    edits.replace(model, pool, [made])


def average(model: Model, *, side: int) -> None:
    """AveragePool over the whole map."""
    pool = edits.nodes(model, "GlobalAveragePool")[0]
    window = {"kernel_shape": [side, side], "strides": [1, 1], "pads": [0, 0, 0, 0]}
    edits.replace(model, pool, [edits.node("AveragePool", list(pool.input), pool.output[0], **window)])


def ending(model: Model, *, op: str, **attributes: Any) -> None:
    """Softmax or its logarithm after the classifier."""
    gemm, _, _ = _classifier(model)
    logits = gemm.output[0]
    gemm.output[0] = "head.logits"
    model.graph.node.append(edits.node(op, ["head.logits"], logits, **attributes))


def _softmax(*, opset: int, **attributes: Any) -> Any:
    return edited(partial(ending, op="Softmax", **attributes), opset=opset)


PRODUCERS = {
    "head-matmul": Producer("MatMul and Add", edited(matmul)),
    "head-matmul-swapped": Producer("MatMul and Add, bias first", edited(partial(matmul, bias_first=True))),
    "head-matmul-transpose": Producer("MatMul with a Transpose", edited(matmul_of_transpose)),
    "head-gemm": Producer("Gemm with the weight transposed", edited(gemm_plain)),
    "head-convolution": Producer("1x1 convolution as classifier", edited(convolution)),
    "head-reshape-rest": Producer("Reshape to (0, -1)", edited(lambda model: reshape(model, 0, -1))),
    "head-reshape-channels": Producer("Reshape to (-1, channels)", edited(lambda model: reshape(model, -1, 0))),
    "head-reshape-fixed": Producer(
        "Reshape to (2, channels)", edited(lambda model: reshape(model, 2, 0), batch=2, final=7), batch=2, final=7
    ),
    "head-reshape-computed": Producer("Reshape to a computed shape", edited(reshape_computed)),
    "head-reshape-computed-11": Producer("the same at opset 11", edited(reshape_computed, opset=11)),
    "head-squeeze": Producer("Squeeze", edited(squeeze)),
    "head-squeeze-11": Producer("Squeeze at opset 11", edited(squeeze, opset=11)),
    "head-mean": Producer("ReduceMean, axes an attribute", edited(lambda model: mean(model, 2, 3))),
    "head-mean-18": Producer("ReduceMean, axes an input", edited(lambda model: mean(model, -1, -2), opset=18)),
    "head-mean-flat": Producer("ReduceMean without Flatten", edited(lambda model: mean(model, 2, 3, keepdims=0))),
    "head-average-7": Producer("AveragePool 7x7", edited(partial(average, side=7), final=7), final=7),
    "head-average-8": Producer("AveragePool 8x8", edited(partial(average, side=8), final=8), final=8),
    "head-softmax": Producer("Softmax at the end", _softmax(opset=13, axis=-1), ends="softmax"),
    "head-softmax-9": Producer("Softmax at the end, opset 9", _softmax(opset=9), ends="softmax"),
    "head-log-softmax": Producer(
        "LogSoftmax at the end", edited(partial(ending, op="LogSoftmax", axis=1)), ends="log_softmax"
    ),
}
