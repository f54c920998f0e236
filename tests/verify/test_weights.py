"""The verdict on the weights, of files alone: no framework runs."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.request import SourceRequest
from mshub_convert.verify.compare import Verdict
from mshub_convert.verify.weights import Weights, compare_weights

NETWORK = ResNet((1, 1), classes=10)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "source.safetensors"
    calibrated.write(NETWORK, "timm", 0, file)
    return file


def changed(source: Path, name: str, value: object) -> Weights:
    """The verdict on a copy whose tensor of this name is otherwise."""
    arrays = load_file(source)
    arrays[name] = np.full_like(arrays[name], value)
    copy = source.with_name("copy.safetensors")
    save_file(arrays, copy)
    with SourceRequest(source).open() as ours, SourceRequest(copy).open() as theirs:
        return compare_weights(ours, theirs)


def test_a_counter_that_counts_otherwise_is_a_warning(source: Path) -> None:
    found = changed(source, "bn1.num_batches_tracked", 12345)
    assert found.verdict is Verdict.WARN
    assert found.differing == ("bn1.num_batches_tracked",)
    norms = sum(name.endswith("num_batches_tracked") for name in load_file(source))
    rest = len(load_file(source)) - 1
    assert norms == 9
    assert found.reason == (
        f"{rest} tensors, bit for bit those of the source; 1 BatchNorm counter of the target differs, on"
        " which no output depends"
    )


@pytest.mark.parametrize("name", ["bn1.running_mean", "fc.bias", "layer1.0.conv1.weight"])
def test_any_other_tensor_that_differs_is_a_failure(source: Path, name: str) -> None:
    found = changed(source, name, 0.25)
    assert (found.verdict, found.differing) == (Verdict.FAIL, (name,))


def test_a_counter_excuses_no_other_tensor(source: Path) -> None:
    arrays = load_file(source)
    arrays["bn1.num_batches_tracked"] += 1
    arrays["fc.bias"] += 1
    save_file(arrays, source.with_name("base.safetensors"))
    with SourceRequest(source).open() as ours, SourceRequest(source.with_name("base.safetensors")).open() as theirs:
        found = compare_weights(ours, theirs)
    assert found.verdict is Verdict.FAIL
    assert set(found.differing) == {"bn1.num_batches_tracked", "fc.bias"}
