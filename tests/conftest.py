"""Shared fixtures: small networks whose files take milliseconds, and files made from them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures.resnet import ResNet

# Two stages of one block: every kind of module, 1.5 MB.
SMALL = ResNet((1, 1), cardinality=4, base_width=2, classes=10)
SMALL_D = ResNet((1, 1), cardinality=4, base_width=2, classes=10, stem=(32, 32, 64), shortcut="avg")


@pytest.fixture
def small() -> ResNet:
    """A ResNeXt of two blocks and ten classes."""
    return SMALL


@pytest.fixture
def weights_file(tmp_path: Path) -> Callable[..., Path]:
    """Makes a safetensors file of drawn weights: ``weights_file(network, dialect, seed)``."""

    def make(network: ResNet = SMALL, dialect: str = "timm", seed: int = 0, name: str = "small.safetensors") -> Path:
        path = tmp_path / name
        calibrated.write(network, dialect, seed, path)
        return path

    return make


@pytest.fixture
def backbone_file(weights_file: Callable[..., Path], tmp_path: Path) -> Path:
    """The small network without its classifier, in a file that does not say so."""
    from safetensors.numpy import load_file, save_file

    held = load_file(weights_file())
    path = tmp_path / "body.safetensors"
    save_file({name: array for name, array in held.items() if not name.startswith("fc.")}, path)
    return path
