"""torch's two exporters, on timm's own networks."""

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from . import edits, storage, versions
from .registry import Producer, square
from .sample import Sample, torch_network

_TORCH = ("torch", "timm")


def legacy(sample: Sample, path: Path, *, keep_norms: bool = True, dynamic: bool = True, **options: Any) -> None:
    """``torch.onnx.export(..., dynamo=False)``; the exporter folds BatchNorm unless told otherwise."""
    import torch

    if keep_norms:
        options["training"] = torch.onnx.TrainingMode.PRESERVE
    if dynamic:
        options["dynamic_axes"] = {"input": {0: "batch", 2: "height", 3: "width"}, "output": {0: "batch"}}
    _export(sample, path, dynamo=False, input_names=["input"], output_names=["output"], **options)


def dynamo(sample: Sample, path: Path, *, dynamic: bool = False, **options: Any) -> None:
    """``torch.onnx.export(..., dynamo=True)``, torch's default."""
    import torch

    if dynamic:
        options["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
    _export(sample, path, dynamo=True, verbose=False, **options)


def _export(sample: Sample, path: Path, **options: Any) -> None:
    import torch

    # At 7 times 7 the picture is that of the training; batch 2, because dynamo takes batch 1 for a constant.
    picture = torch.zeros(2 if "dynamic_shapes" in options else 1, 3, *square(sample, 7))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(torch_network(sample), (picture,), str(path), **options)


def legacy_anonymised(sample: Sample, path: Path) -> None:
    """The folded file of the legacy exporter, its names lost."""
    legacy(sample, path, keep_norms=False)
    model = onnx.load(path)
    versions.reordered(model)
    versions.anonymised(model)
    onnx.save(model, path)


def legacy_shared(sample: Sample, path: Path) -> None:
    """BatchNorms that share their tensors, which the exporter stores once."""
    legacy(sample, path)
    if not edits.nodes(onnx.load(path), "Identity"):
        raise AssertionError("the exporter shared no tensor")


PRODUCERS = {
    "torch-legacy": Producer(
        "torch, dynamo=False", partial(legacy, keep_norms=False, dynamic=False), exact=False, folded=True, needs=_TORCH,
        batch=1, final=7,
    ),
    "torch-legacy-dynamic": Producer(
        "torch, dynamo=False, dynamic axes", partial(legacy, keep_norms=False), exact=False, folded=True, needs=_TORCH
    ),
    "torch-legacy-anonymised": Producer(
        "torch, dynamo=False, names lost", legacy_anonymised, exact=False, folded=True, needs=_TORCH
    ),
    "torch-legacy-unfolded": Producer(
        "torch, dynamo=False, do_constant_folding=False", partial(legacy, keep_norms=False, do_constant_folding=False),
        needs=_TORCH,
    ),
    "torch-legacy-kept": Producer("torch, dynamo=False, training=PRESERVE", legacy, needs=_TORCH),
    "torch-legacy-7": Producer("torch, dynamo=False, opset 7", partial(legacy, opset_version=7), needs=_TORCH),
    "torch-legacy-shared": Producer(
        "torch, dynamo=False, untrained BatchNorms stored once", legacy_shared, needs=_TORCH, prepare=storage.uniform
    ),
    "torch-dynamo": Producer(
        "torch, dynamo=True", dynamo, exact=False, folded=True, needs=(*_TORCH, "onnxscript"), batch=1, final=7
    ),
    "torch-dynamo-batch": Producer(
        "torch, dynamo=True, dynamic batch", partial(dynamo, dynamic=True), exact=False, folded=True,
        needs=(*_TORCH, "onnxscript"), final=7,
    ),
    "torch-dynamo-unoptimised": Producer(
        "torch, dynamo=True, optimize=False", partial(dynamo, optimize=False), needs=(*_TORCH, "onnxscript"),
        batch=1, final=7,
    ),
}  # fmt: skip
