"""Run a producer's file, without our reader, and say what should have come out."""

from pathlib import Path

import numpy as np
import onnx

from mshub_convert.converters.tensors import Array

_PRECISIONS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def run(path: Path, batch: Array, *, fixed: int | None = None) -> list[Array]:
    """All outputs of ONNX Runtime without optimisation, float64; ``fixed`` is the batch that the file takes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (picture,) = session.get_inputs()
    given = batch.astype(_PRECISIONS[picture.type])
    parts = np.split(given, len(given) // fixed) if fixed else [given]
    results = [session.run(None, {picture.name: part}) for part in parts]
    return [np.concatenate(outputs).astype(np.float64) for outputs in zip(*results, strict=True)]


def run_reference(path: Path, batch: Array) -> Array:
    """The output of onnx's own evaluator, in float64; from opset 14 on, where its BatchNorm is that of inference."""
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(path)
    (output,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: batch.astype(np.float64)})
    return np.asarray(output, np.float64)


def ended(logits: Array, ends: str) -> Array:
    """What a file's output holds, given its logits in float64."""
    if ends == "logits":
        return logits
    centred = logits - logits.max(axis=1, keepdims=True)
    log_softmax = centred - np.log(np.exp(centred).sum(axis=1, keepdims=True))
    return np.exp(log_softmax) if ends == "softmax" else log_softmax
