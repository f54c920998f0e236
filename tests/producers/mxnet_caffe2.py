"""The ONNX model zoo's ResNets: MXNet Gluon's and Caffe2's own graphs, with weights of ours."""

import re
from functools import partial
from pathlib import Path

import numpy as np

from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.architectures.resnet_v2 import ResNetV2
from mshub_convert.mappings.traits import Traits

from . import caffe2, gluon
from .registry import Producer, square
from .sample import Sample


def gluon_v1(sample: Sample, path: Path, *, opset: int) -> None:
    """Gluon's v1: a bias in the 1x1 convolutions of the blocks, which the running means hold, too."""
    random, weights = np.random.default_rng(0), sample.named("torchvision")
    for name in [name for name in weights if re.fullmatch(r"layer.*\.conv[13]\.weight", name)]:
        place, _, layer = name.removesuffix(".weight").rpartition(".")
        mean = f"{place}.bn{layer[-1]}.running_mean"
        bias = random.normal(0, 0.3, weights[mean].size).astype(np.float32)
        weights |= {f"{place}.{layer}.bias": bias, mean: weights[mean] + bias}
    gluon.build_v1(weights, path, opset=opset, size=square(sample, 7))


def gluon_v2(sample: Sample, path: Path) -> None:
    """Gluon's v2, which activates before its convolutions."""
    gluon.build_v2(sample.named("gluon"), path, size=square(sample, 7))


def first_norm_fixed(sample: Sample) -> Sample:
    """The norm of the picture neither scales nor shifts: Gluon fixes that."""
    fills = {"input.norm.scale": 1.0, "input.norm.shift": 0.0}
    return sample.with_tensors(lambda key, array: np.full_like(array, fills[key]) if key in fills else array)


def caffe2_resnet50(sample: Sample, path: Path) -> None:
    """Caffe2's resnet50."""
    caffe2.build(sample.named("torchvision"), path)


_STRIDE_FIRST = Traits(bottleneck_stride="1x1")
# Gluon's have no groups.
_SMALL = ResNet((1, 2), classes=10)

PRODUCERS = {
    "gluon-v1": Producer(
        "MXNet Gluon v1, opset 7", partial(gluon_v1, opset=7), exact=False, traits=_STRIDE_FIRST, network=_SMALL,
        published="resnet50", batch=1, final=7,
    ),
    "gluon-v1-12": Producer(
        "MXNet Gluon v1, opset 12", partial(gluon_v1, opset=12), exact=False, traits=_STRIDE_FIRST, network=_SMALL,
        published="resnet50", batch=1, final=7,
    ),
    "gluon-v2": Producer(
        "MXNet Gluon v2 (a ResNet-v2)", gluon_v2, prepare=first_norm_fixed, network=ResNetV2((1, 2, 1, 1), classes=10),
        published="resnet50_v2", batch=1, final=7,
    ),
    "caffe2": Producer(
        "Caffe2 resnet50", caffe2_resnet50, network=architecture("resnet50"), published="resnet50",
        batch=1, final=7, ends="softmax",
    ),
}  # fmt: skip
