"""Paths as sources: the output is named after the file, without its container's suffix."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mshub_convert.converters.errors import EnvironmentError_, UsageError
from mshub_convert.converters.sources import Request, resolve


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("weights.pth", "weights"),
        ("model_best.pth.tar", "model_best"),
        ("resnext50.v2.final.safetensors", "resnext50.v2.final"),
        ("no_suffix", "no_suffix"),
        ("odd.weights", "odd"),
    ],
)
def test_outputs_are_called_after_the_file(
    weights_file: Callable[..., Path], tmp_path: Path, name: str, stem: str
) -> None:
    assert resolve(str(weights_file(name=name)), Request(tmp_path)).model == stem


def test_a_file_has_its_own_weights(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="own weights"):
        resolve(str(weights_file()), Request(tmp_path, init="calibrated"))


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentError_, match="no file"):
        resolve(str(tmp_path / "none.pth"), Request(tmp_path))


def test_a_file_whose_name_has_a_colon_is_a_file(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    file = weights_file(name="timm:odd.safetensors")
    assert resolve(str(file), Request(tmp_path)).file == file
