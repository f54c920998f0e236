"""This package's own writer."""

from functools import partial
from pathlib import Path
from typing import Any

import mshub_convert as mc
from mshub_convert.mappings.traits import Traits

from .registry import Producer
from .sample import Sample


def write(sample: Sample, path: Path, **options: Any) -> None:
    """The sample by the front door."""
    traits = {name: str(value) for name, value in sample.traits.as_dict().items()}
    mc.convert(sample.named("timm"), out=path, traits=traits, **{"to": "onnx", **options})


_OTHER = Traits(stem_pool="same", padding="same", norm_eps=1e-4, bottleneck_stride="1x1")

PRODUCERS = {
    "own": Producer("mshub-convert", write),
    "own-folded": Producer("mshub-convert, folded", partial(write, fold_bn=True), exact=False, folded=True),
    "own-split": Producer("mshub-convert, a kernel a group (model_zoo)", partial(write, to="onnx:modelzoo")),
    "own-traits": Producer("mshub-convert, traits of model_zoo and caffe", write, traits=_OTHER),
    "own-21": Producer("mshub-convert, opset 21", partial(write, opset=21)),
}
