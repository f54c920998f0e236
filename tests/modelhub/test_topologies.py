"""A repository with each of the files that modelhub's resnet-50 may have: Caffe2's, Gluon's v1, Gluon's v2."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mshub_convert import convert, inspect, verify
from mshub_convert.converters.codecs import open_checkpoint
from mshub_convert.mappings.architectures import architecture

from ..producers import caffe2, gluon
from ..producers.test_gluon_caffe2 import drawn, weights_v1, weights_v2
from .conftest import README, config, init

pytestmark = pytest.mark.slow

Arrays = dict[str, np.ndarray]
CAFFE2 = {"docker_id": "modelhub/caffe2-modelhub:1.0.0", "external_contrib_files": [
    {"src_url": init()["external_contrib_files"][0]["src_url"].replace("v1.1", "v1.0"),
     "dest_file_path": "/contrib_src/model/model.onnx"},
]}  # fmt: skip


def arrays(path: Path) -> Arrays:
    with open_checkpoint(path) as checkpoint:
        return {name: ref.read().copy() for name, ref in checkpoint.tensors.items()}


@pytest.fixture
def repository(clone: Callable[..., Path]) -> Callable[..., Path]:
    """Makes a clone of resnet-50 with a file that ``build`` writes into it."""

    def make(build: Callable[[Arrays, Path], None], weights: Arrays, **changed: object) -> Path:
        root = clone(**changed)
        build(weights, root / "contrib_src/model/model.onnx")
        return root

    return make


def test_gluon_v1(repository: Callable[..., Path], tmp_path: Path) -> None:
    weights = weights_v1(architecture("resnet50"))
    root = repository(gluon.build_v1, weights)
    result = convert(root, to="ckpt", out=tmp_path / "made")
    assert result.path.name == "resnet-50.ckpt"
    assert result.record.architecture["name"] == "resnet50"
    assert result.record.traits["bottleneck_stride"] == "1x1"
    assert result.record.facts["publication"]["authors"].startswith("Kaiming He")
    assert result.record.facts["preprocessing"]["resize_edges"] == "both"
    assert result.record.facts["license"] == "Apache-2.0"
    held = arrays(convert(root, to="safetensors", out=tmp_path).path)
    assert np.array_equal(held["layer3.2.conv2.weight"], weights["layer3.2.conv2.weight"])
    # The biases before BatchNorm are in its mean.
    shifted = weights["layer1.0.bn1.running_mean"].astype(np.float64) - weights["layer1.0.conv1.bias"]
    assert np.array_equal(held["layer1.0.bn1.running_mean"], shifted.astype(np.float32))
    assert verify(str(root), result.path, sizes=[(97, 64)], count=4)


def test_gluon_v2_is_never_called_a_resnet50(repository: Callable[..., Path], tmp_path: Path) -> None:
    weights = weights_v2(architecture("resnet50_v2"))
    root = repository(gluon.build_v2, weights)
    result = convert(root, to="ckpt", out=tmp_path / "made")
    assert result.path.name == "resnet50_v2.ckpt"
    assert result.record.architecture["name"] == "resnet50_v2"
    assert any("says resnet50, but model.onnx holds resnet50_v2 (pre-activation" in text for text in result.notices)
    held = arrays(convert(root, to="safetensors", out=tmp_path).path)
    assert np.array_equal(held["features.7.3.conv2.weight"], weights["features.7.3.conv2.weight"])
    assert verify(str(root), result.path, sizes=[(97, 64)], count=4)


def test_caffe2(repository: Callable[..., Path], tmp_path: Path) -> None:
    weights = drawn(architecture("resnet50"), "timm")
    root = repository(caffe2.build, weights, init=CAFFE2, processing=None, license="MIT License")
    result = convert(root, to="ckpt", out=tmp_path / "made")
    assert result.record.facts["license"] == "MIT"
    assert result.record.facts["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    held = arrays(convert(root, to="safetensors", out=tmp_path).path)
    assert all(np.array_equal(held[name], array) for name, array in weights.items())


def test_a_file_of_another_network_is_refused(repository: Callable[..., Path], tmp_path: Path) -> None:
    claims = config()
    claims["meta"]["name"] = "resnet-101"
    root = repository(caffe2.build, drawn(architecture("resnet50"), "timm"), config=claims, readme=README)
    with pytest.raises(Exception, match=r"is resnet101( or resnet101_v2)?, the file model\.onnx holds resnet50"):
        convert(root, to="ckpt", out=tmp_path)


def test_labels_that_do_not_fit_are_not_recorded(repository: Callable[..., Path], tmp_path: Path) -> None:
    root = repository(caffe2.build, drawn(architecture("resnet50"), "timm"), labels={"0": "tench", "1": "goldfish"})
    result = convert(root, to="ckpt", out=tmp_path)
    assert any("names 2 classes, model.onnx has 1000" in text for text in result.notices)
    assert "labels" not in result.record.facts


def test_the_file_inside_can_be_looked_into(repository: Callable[..., Path]) -> None:
    root = repository(caffe2.build, drawn(architecture("resnet50"), "timm"))
    found = inspect(root / "contrib_src/model/model.onnx")
    assert found.network["name"] == "resnet50"
