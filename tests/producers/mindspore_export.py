"""MindSpore's exporter, on our networks (mindcv's own cannot be exported: MindSpore lacks InplaceAddExt in ONNX)."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.traits import Traits

from .registry import Producer, square
from .sample import Sample


def export(sample: Sample, path: Path, *, naming: str = "mindcv") -> None:
    """``mindspore.export(..., file_format="ONNX")``: fixed batch and size, opset 11."""
    # As our own runtimes set them, before the first import.
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    os.environ.setdefault("GLOG_v", "3")
    import mindspore

    from mshub_convert.verify.networks import mindspore as networks

    grounding = dialect(naming).ground(sample.network)
    exportable = replace(sample.traits, stem_pool="same")
    network = networks.build(sample.network.graph(exportable), grounding)
    networks.load(network, sample.named(naming))
    if sample.traits.stem_pool == "symmetric":
        (chain,) = network.chains
        chain.steps = tuple(_padded(step) for step in chain.steps)
    picture = mindspore.Tensor(np.zeros((1, 3, *square(sample, 7)), np.float32))
    mindspore.export(network, picture, file_name=str(path), file_format="ONNX")


def _padded(step: Any) -> Any:
    """The max-pool with zeros around, in words that the exporter has: padded max-pools of MindSpore it has none for."""
    from mindspore import nn

    if not isinstance(step, nn.MaxPool2d):
        return step
    return nn.SequentialCell(nn.Pad(((0, 0), (0, 0), (1, 1), (1, 1))), nn.MaxPool2d(3, 2))


_NEEDS = ("mindspore",)

PRODUCERS = {
    "mindspore": Producer("MindSpore's exporter", export, needs=_NEEDS, batch=1, final=7),
    "mindspore-same": Producer(
        "MindSpore's exporter, `same` pool", export, needs=_NEEDS, traits=Traits(stem_pool="same"), batch=1, final=7
    ),
    "mindspore-split": Producer(
        "MindSpore's exporter, a convolution a group",
        partial(export, naming="modelzoo"),
        needs=_NEEDS,
        batch=1,
        final=7,
    ),
}  # fmt: skip
