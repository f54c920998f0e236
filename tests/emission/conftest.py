"""Small networks, each with a dialect and traits, that between them have everything a module can be written with."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import mshub_convert as mc
from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures import Architecture
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.architectures.resnet_v2 import ResNetV2
from mshub_convert.mappings.dialects import preferred_dialect

# Before any test imports MindSpore, as the runtimes do it.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
os.environ.setdefault("GLOG_v", "3")

GROUPED = ResNet((1, 2, 1), cardinality=4, base_width=8, classes=10)
DEEP = replace(GROUPED, stem=(32, 32, 64), shortcut="avg")
SQUEEZED = replace(GROUPED, squeeze=(16, 8, 24))
BASIC = ResNet((1, 2, 1), classes=10, block="basic")
SAME = {"stem_pool": "same", "padding": "same"}

# Names of the user's own: blocks and stages by other words, everything under one cell, squeeze-and-excitation of
# convolutions, and a shortcut without a cell of its own.
OWN = """
name = "own"
title = "our own"
framework = "mindspore"
library = "ours"
models = []
[traits]
stem_pool = "symmetric"
padding = "symmetric"
norm_eps = 1e-5
[modules]
"stem.conv" = "net.stem.conv"
"stem.norm" = "net.stem.norm"
"stages.{s}.{b}.conv{k}" = "net.part{s+1}.block_{b+1}.body.c{k}"
"stages.{s}.{b}.norm{k}" = "net.part{s+1}.block_{b+1}.body.n{k}"
"stages.{s}.{b}.squeeze{k}" = "net.part{s+1}.block_{b+1}.gate.c{k}"
"stages.{s}.{b}.shortcut.conv" = "net.part{s+1}.block_{b+1}.side_conv"
"stages.{s}.{b}.shortcut.norm" = "net.part{s+1}.block_{b+1}.side_norm"
"head" = "net.class"
[leaves.conv]
kernel = "weight"
[leaves.linear]
kernel = "weight"
bias = "bias"
[leaves.squeeze]
kernel = "weight"
bias = "bias"
[leaves.norm]
mean = "moving_mean"
var = "moving_variance"
scale = "gamma"
shift = "beta"
"""


@dataclass(frozen=True)
class Case:
    """A network, whose names its parameters take, and its traits."""

    network: Architecture
    dialect: str
    traits: dict[str, str] = field(default_factory=dict)
    dtype: str | None = None


CASES = {
    "grouped": Case(GROUPED, "mindcv"),
    "same-pool": Case(GROUPED, "mindcv", {"stem_pool": "same"}),
    "split": Case(GROUPED, "modelzoo", {"stem_pool": "same"}),
    "split-one-group": Case(BASIC, "modelzoo"),
    "one-kernel": Case(GROUPED, "modelzoo-gpu", {"norm_eps": "1e-3"}),
    "all-same": Case(GROUPED, "modelzoo-resnet", {**SAME, "norm_eps": "1e-4"}),
    "early-stride": Case(replace(GROUPED, classes=1001), "mindcv", {"bottleneck_stride": "1x1"}),
    "deep-stem": Case(DEEP, "mindcv"),
    "deep-stem-same": Case(replace(DEEP, squeeze=(8, 8, 8)), "mindcv-senet", SAME),
    "wide-deep-stem": Case(replace(BASIC, stem=(64, 64, 128)), "mindcv"),
    "average-nowhere": Case(ResNet((2,), classes=3, stem=(8, 8, 16), shortcut="avg"), "mindcv"),
    "squeezed": Case(SQUEEZED, "mindcv-senet"),
    "squeezed-split": Case(SQUEEZED, "modelzoo", {"stem_pool": "same"}),
    "squeezed-basic": Case(replace(BASIC, squeeze=(4, 8, 4)), "mindcv-senet"),
    "no-shortcut": Case(ResNet((2,), classes=4, block="basic"), "mindcv"),
    "second": Case(ResNetV2((1, 2, 1, 1), classes=5), "gluon-ms"),
    "second-basic": Case(ResNetV2((1, 2, 1, 1), "basic", 5), "gluon-ms", {**SAME, "norm_eps": "2e-5"}),
    "second-early-stride": Case(ResNetV2((1, 1, 2, 1), classes=5), "gluon-ms", {"bottleneck_stride": "1x1"}),
    "own-names": Case(SQUEEZED, "own.toml"),
    "half": Case(GROUPED, "mindcv", dtype="float16"),
    "brain": Case(GROUPED, "mindcv", dtype="bfloat16"),
}


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Converts a case: a folder with ``weights.ckpt`` and ``network.py``."""

    def make(name: str) -> Path:
        case, folder = CASES[name], tmp_path_factory.mktemp(name)
        own = folder / "own.toml"
        own.write_text(OWN)
        source = folder / "source.safetensors"
        calibrated.write(case.network, preferred_dialect(case.network, "torch").name, 0, source)
        dialect = str(own) if case.dialect == own.name else case.dialect
        mc.convert(
            source, to=f"ckpt:{dialect}", out=folder / "weights.ckpt", traits=case.traits, dtype=case.dtype,
            emit_network=folder / "network.py",
        )  # fmt: skip
        return folder

    return make
