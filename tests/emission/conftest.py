"""Small networks, each with a dialect and traits, that between them have everything a module can be written with."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures import Architecture
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.architectures.resnet_v2 import ResNetV2
from mshub_convert.mappings.architectures.ssd_resnet50 import SsdResNet50
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

# The same for a detector: no wrapper, other words, named layers, and all that a list or a group can hold at the top.
OWN_DETECTOR = """
name = "own-detector"
title = "our own detector"
framework = "mindspore"
library = "ours"
models = []
[traits]
stem_pool = "same"
padding = "same"
norm_eps = 1e-3
[modules]
"stem.conv" = "trunk.stem.conv"
"stem.norm" = "trunk.stem.norm"
"stages.{s}.{b}.conv{k}" = "trunk.part{s+1}.block_{b+1}.body.c{k}"
"stages.{s}.{b}.norm{k}" = "trunk.part{s+1}.block_{b+1}.body.n{k}"
"stages.{s}.{b}.shortcut.conv" = "trunk.part{s+1}.block_{b+1}.side_conv"
"stages.{s}.{b}.shortcut.norm" = "trunk.part{s+1}.block_{b+1}.side_norm"
"extras.{b}.conv" = "more.{b}.conv"
"extras.{b}.norm" = "more.{b}.norm"
"heads.{k}.boxes.depthwise" = "boxes.{k}.deep.conv"
"heads.{k}.boxes.norm" = "boxes.{k}.deep.norm"
"heads.{k}.boxes.conv" = "boxes.{k}.out"
"heads.{k}.classes.depthwise" = "classes.{k}.deep.conv"
"heads.{k}.classes.norm" = "classes.{k}.deep.norm"
"heads.{k}.classes.conv" = "classes.{k}.out"
[leaves.conv]
kernel = "weight"
[leaves.predictor]
kernel = "weight"
bias = "bias"
[leaves.norm]
mean = "moving_mean"
var = "moving_variance"
scale = "gamma"
shift = "beta"
"""
OWN_FILES = {"own.toml": OWN, "own-detector.toml": OWN_DETECTOR}


@dataclass(frozen=True)
class Case:
    """A network, whose names its parameters take, and its traits."""

    network: Architecture
    dialect: str
    traits: dict[str, str] = field(default_factory=dict)
    dtype: str | None = None


CLASSIFIERS = {
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
DETECTORS = {
    "detector": Case(SsdResNet50(3), "modelzoo-ssd", SAME | {"norm_eps": "1e-3"}),
    "detector-even": Case(
        SsdResNet50(3), "modelzoo-ssd",
        {"stem_pool": "symmetric", "padding": "symmetric", "norm_eps": "1e-4", "bottleneck_stride": "1x1"},
    ),
    "detector-own-names": Case(SsdResNet50(3), "own-detector.toml", SAME | {"norm_eps": "1e-3"}),
}  # fmt: skip
CASES = CLASSIFIERS | DETECTORS

# The second size is odd, where paddings differ.
SIZES = ((64, 64), (65, 47))
RUNNER = Path(__file__).with_name("runner.py")


def run(mode: str, pictures: Path, folders: Sequence[Path]) -> None:
    """Run the modules of folders in a process of their own; the outputs lie beside them."""
    command = [sys.executable, str(RUNNER), mode, str(pictures), *map(str, folders)]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "GLOG_v": "3"}
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=environment, cwd=pictures.parent
    )
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with two pictures of each size."""
    draw = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    np.savez(path, *(draw.normal(size=(2, 3, *size)).astype(np.float32) for size in SIZES))
    return path


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Converts a case: a folder with ``weights.ckpt`` and ``network.py``."""

    def make(name: str) -> Path:
        case, folder = CASES[name], tmp_path_factory.mktemp(name)
        for file, text in OWN_FILES.items():
            (folder / file).write_text(text)
        source = folder / "source.safetensors"
        calibrated.write(case.network, preferred_dialect(case.network, "torch").name, 0, source)
        dialect = str(folder / case.dialect) if case.dialect in OWN_FILES else case.dialect
        mc.convert(
            source, to=f"ckpt:{dialect}", out=folder / "weights.ckpt", traits=case.traits, dtype=case.dtype,
            emit_network=folder / "network.py",
        )  # fmt: skip
        return folder

    return make
