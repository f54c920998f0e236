"""What optimisers and quantisers make of an ONNX file."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from mshub_convert.verify.inputs import pictures

from . import plain
from .registry import Make, Producer, Refused
from .sample import Sample


def optimise(model: onnx.ModelProto, path: Path, level: str) -> None:
    """Let ONNX Runtime save what its graph optimisations of a level make of a model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3  # it warns that the file suits this machine only
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def ort(level: str) -> Make:
    """The plain model after ONNX Runtime's optimisations."""

    def make(sample: Sample, path: Path) -> None:
        optimise(plain.model(sample), path, level)

    return make


def onnxsim(sample: Sample, path: Path) -> None:
    """onnx-simplifier."""
    from onnxsim import simplify

    simplified, agrees = simplify(plain.model(sample))
    if not agrees:
        raise AssertionError("onnxsim's own check failed")
    onnx.save(simplified, path)


def onnxslim(sample: Sample, path: Path) -> None:
    """OnnxSlim."""
    from onnxslim import slim

    onnx.save(slim(plain.model(sample)), path)


def quantised(style: str) -> Make:
    """The model in int8, by onnxruntime's static quantisation in the style ``QDQ`` or ``QOperator``."""

    def make(sample: Sample, path: Path) -> None:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

        class Pictures(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.batches = iter([{"input": pictures(2, 64, 64)}])

            def get_next(self) -> Any:
                return next(self.batches, None)

        with TemporaryDirectory() as folder:
            plain.write(sample, Path(folder, "plain.onnx"))
            quantize_static(Path(folder, "plain.onnx"), path, Pictures(), quant_format=getattr(QuantFormat, style))

    return make


def dynamically_quantised(sample: Sample, path: Path) -> None:
    """The model with weights in int8, by onnxruntime's dynamic quantisation."""
    from onnxruntime.quantization import quantize_dynamic

    with TemporaryDirectory() as folder:
        plain.write(sample, Path(folder, "plain.onnx"))
        quantize_dynamic(Path(folder, "plain.onnx"), path)


_ORT = ("onnxruntime",)

PRODUCERS = {
    "ort-disabled": Producer("ONNX Runtime, saved without optimisation", ort("DISABLE_ALL"), needs=_ORT),
    "ort-basic": Producer("ONNX Runtime, basic", ort("ENABLE_BASIC"), exact=False, folded=True, needs=_ORT),
    "onnxsim": Producer("onnxsim", onnxsim, exact=False, folded=True, needs=("onnxsim",)),
    "onnxslim": Producer("onnxslim", onnxslim, exact=False, folded=True, needs=("onnxslim",)),
}

REFUSED = {
    "ort-extended": Refused(
        "ONNX Runtime, extended",
        ort("ENABLE_EXTENDED"),
        node="FusedConv",
        reason="ONNX Runtime",
        needs=_ORT,
        computes="same",
    ),
    "ort-all": Refused(
        "ONNX Runtime, all: NCHWc", ort("ENABLE_ALL"), node="nchwc", reason="ONNX Runtime", needs=_ORT, computes="same"
    ),
    "qdq": Refused("quantised, QDQ", quantised("QDQ"), node="uantizeLinear", reason="quantised", needs=_ORT),
    "qoperator": Refused(
        "quantised, QLinearConv", quantised("QOperator"), node="QLinear|QuantizeLinear", reason="quantised", needs=_ORT
    ),
    "quantised-dynamically": Refused(
        "quantised, ConvInteger",
        dynamically_quantised,
        node="ConvInteger|QuantizeLinear",
        reason="quantised",
        needs=_ORT,
    ),
}
