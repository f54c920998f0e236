"""mmpretrain's names, old and new, and what its model index states; its files; and what is left without it."""

import hashlib
import importlib.util
import json
import sys
import time
from dataclasses import replace

import pytest

from mshub_convert.converters.errors import EnvironmentError_
from mshub_convert.converters.sources import Request, download, mmcls_index, resolve
from mshub_convert.converters.sources import mmcls as source
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.errors import UnknownNameError

MODEL = "resnext50-32x4d_8xb32_in1k"
URL = "https://download.openmmlab.com/mmclassification/v0/resnext/resnext50_32x4d_b32x8_imagenet_20210429-56066e27.pth"
PREPROCESSING = {
    "input_size": [3, 224, 224], "resize": "short edge", "resize_size": 256, "crop_size": 224,
    "interpolation": "bilinear", "resize_backend": "pillow", "decoded_as": "BGR", "to_rgb": True,
    "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "value_range": [0, 255],
}  # fmt: skip

with_mmpretrain = pytest.mark.skipif(
    importlib.util.find_spec("mmpretrain") is None, reason="the mmpretrain extra is not installed"
)


@pytest.fixture
def without_mmpretrain(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmpretrain", None)


@pytest.fixture(params=[pytest.param(True, marks=with_mmpretrain), False], ids=["installed", "not installed"])
def either(request, monkeypatch):
    """The tests of the four ResNeXts hold with mmpretrain and without."""
    if not request.param:
        monkeypatch.setitem(sys.modules, "mmpretrain", None)


@pytest.fixture
def given(tmp_path):
    """A request with a user's file; what is in it does not matter before it is opened."""
    file = tmp_path / "mine.pth"
    file.touch()
    return Request(tmp_path, weights=file)


def test_facts(either, given):
    found = resolve(f"mmcls:{MODEL}", given)
    assert (found.model, found.architecture, found.dialect) == ("resnext50_32x4d", "resnext50_32x4d", "mmcls")
    assert (found.library, found.library_model) == ("mmpretrain", "resnext50_32x4d")
    assert (found.origin.kind, found.classes) == ("stated", 1000)
    facts = json.loads(json.dumps(found.facts))
    assert facts.pop("library_version", "") == mmcls_index.installed_version()
    assert facts == {
        "library": "mmpretrain", "tag": MODEL, "url": URL, "license": "Apache-2.0", "preprocessing": PREPROCESSING,
        "accuracy": {"dataset": "ImageNet-1k", "acc@1": 77.9, "acc@5": 93.66},
        "num_params": 25_030_000, "flops": 4_270_000_000,
    }  # fmt: skip
    taken, licence = found.notices
    assert "mine.pth" in taken
    assert "not compared" in taken
    assert str(given.weights) not in taken, "records hold no paths"
    assert "Apache-2.0" in licence


@pytest.mark.parametrize(
    ("name", "network", "published", "file"),
    [
        ("resnext50-32x4d_8xb32_in1k", "resnext50_32x4d", (25.03, 4.27), "20210429-56066e27"),
        ("resnext101-32x4d_8xb32_in1k", "resnext101_32x4d", (44.18, 8.03), "20210506-e0fa3dd5"),
        ("resnext101-32x8d_8xb32_in1k", "resnext101_32x8d", (88.79, 16.5), "20210506-23a247d5"),
        ("resnext152-32x4d_8xb32_in1k", "resnext152_32x4d", (59.95, 11.8), "20210524-927787be"),
    ],
)
def test_the_four_resnexts_of_the_index(either, given, name, network, published, file):
    found = resolve(f"mmcls:{name}", given)
    assert found.architecture == network
    assert found.facts["url"].endswith(f"/resnext/{network}_b32x8_imagenet_{file}.pth")
    parameters, gigaflops = published
    graph = architecture(network).graph()
    trainable = sum(parameter.size for parameter in graph.parameters if parameter.trainable)
    assert found.facts["num_params"] / 1e6 == parameters == round(trainable / 1e6, 2)
    assert found.facts["flops"] / 1e9 == gigaflops == pytest.approx(graph.flops_mmcv() / 1e9, rel=1e-3)
    assert dialect("mmcls").builds(architecture(network))


@pytest.mark.parametrize(
    "alias",
    [
        "resnext50_32x4d_8xb32_in1k", "ResNeXt50-32x4d_8xb32_in1k", "ResNeXt-32x4d-50", "resnext-32x4d-50",
        "resnext50_32x4d_b32x8_imagenet", "resnext50_32x4d_b32x8_imagenet_20210429-56066e27",
    ],
)  # fmt: skip
def test_other_names_are_said(either, given, alias):
    found = resolve(f"mmcls:{alias}", given)
    assert found.facts["tag"] == MODEL
    assert found.notices[0] == f"{alias} is another name of {MODEL}"
    assert resolve(f"mmcls:{MODEL}", given).notices == found.notices[1:]


def test_an_architecture_is_read_as_its_model(either, given):
    found = resolve("mmcls:resnext101_32x8d", given)
    assert found.notices[0] == "resnext101_32x8d is read as resnext101-32x8d_8xb32_in1k"


@with_mmpretrain
def test_of_several_models_the_first_is_taken_or_that_of_the_file(given, tmp_path):
    found = resolve("mmcls:resnet50", given)
    assert found.facts["tag"] == "resnet50_8xb32_in1k"
    assert "mmpretrain also has resnet50_8xb32-fp16_in1k, resnet50_8xb256-rsb-a1-600e_in1k" in found.notices[0]
    file = tmp_path / "resnet50_8xb256-rsb-a1-600e_in1k_20211228-20e21305.pth"
    file.touch()
    found = resolve("mmcls:resnet50", Request(tmp_path, weights=file))
    assert found.facts["tag"] == "resnet50_8xb256-rsb-a1-600e_in1k"
    assert (found.facts["preprocessing"]["resize_size"], found.facts["preprocessing"]["interpolation"]) == (
        236, "bicubic",
    )  # fmt: skip


@with_mmpretrain
@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("resnet18_b32x8_imagenet", "resnet18_8xb32_in1k"),
        ("resnetv1d50_b32x8_imagenet", "resnetv1d50_8xb32_in1k"),
        ("seresnet50_b32x8_imagenet", "seresnet50_8xb32_in1k"),
        ("resnet50_b32x8_fp16_imagenet", "resnet50_8xb32-fp16_in1k"),
    ],
)
def test_configurations_of_mmclassification_are_other_names(given, old, name):
    found = resolve(f"mmcls:{old}", given)
    assert (found.facts["tag"], found.notices[0]) == (name, f"{old} is another name of {name}")


@with_mmpretrain
def test_other_models_of_the_index(given):
    found = resolve("mmcls:resnet50_8xb8_cub", given)
    assert found.classes == 200
    assert found.facts["accuracy"] == {"dataset": "CUB-200-2011", "acc@1": 88.45}
    assert (found.facts["preprocessing"]["resize"], found.facts["preprocessing"]["resize_size"]) == ("each edge", 600)
    found = resolve("mmcls:wide-resnet50_3rdparty_8xb32_in1k", given)
    assert found.architecture == "wide_resnet50_2"
    assert found.facts["license"] == "unstated"
    assert found.facts["converted_from"].endswith("/wide_resnet50_2-95faca4d.pth")
    assert "converted these weights from https://download.pytorch.org/" in found.notices[-1]
    assert resolve("mmcls:resnetv1d101_8xb32_in1k", given).architecture == "resnet101d"


@with_mmpretrain
def test_the_shipped_table_is_what_the_package_says():
    ours = {model.name: model for model in mmcls_index.SHIPPED}
    theirs = mmcls_index.index()
    assert {name: replace(theirs[name], config=None) for name in ours} == ours
    assert all(mmcls_index.settings(theirs[name]) == mmcls_index.settings(ours[name]) for name in ours)


@with_mmpretrain
def test_names_are_those_of_networks_that_we_describe():
    names = source.RESOLVER.names()
    assert {model.name for model in mmcls_index.SHIPPED} < set(names)
    assert {"resnet50_8xb32_in1k", "resnetv1d152_8xb32_in1k", "wide-resnet101_3rdparty_8xb32_in1k"} < set(names)
    assert not [name for name in names if "cifar" in name]
    for name in names:
        network = mmcls_index.index()[name].network
        assert architecture(network).name == network


@with_mmpretrain
@pytest.mark.parametrize(
    ("name", "message", "remedy"),
    [
        ("resnext50-32x4_8xb32_in1k", "has no ResNet 'resnext50-32x4_8xb32_in1k'", MODEL),
        ("resnet18_8xb16_cifar10", "a 3x3 stem without a pool", "list mmcls:"),
        ("vit-base-p16_32xb128-mae_in1k", "has no ResNet", "Known"),
        ("", "has no ResNet ''", "Known"),
    ],
)
def test_unknown_names(given, name, message, remedy):
    with pytest.raises(UnknownNameError, match=message) as caught:
        resolve(f"mmcls:{name}", given)
    assert caught.value.exit_code == 2
    assert remedy in caught.value.remedy


def test_drawn_weights_claim_nothing(either, tmp_path):
    found = resolve(f"mmcls:{MODEL}", Request(tmp_path, init="calibrated:3"))
    assert found.origin.kind == "calibrated:3"
    assert found.origin.pretrained is False
    assert set(found.facts) <= {"library", "library_version"}
    assert found.notices == ()


def test_without_mmpretrain_other_models_need_it(without_mmpretrain, given):
    assert source.RESOLVER.names() == tuple(model.name for model in mmcls_index.SHIPPED)
    with pytest.raises(EnvironmentError_, match="not installed; without it known are resnext50-32x4d_8xb32") as caught:
        resolve("mmcls:resnet50_8xb32_in1k", given)
    assert "pip install 'mshub-convert[mmpretrain]'" in caught.value.remedy


def test_mmpretrain_without_mmengine_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmengine", None)
    assert mmcls_index.installed_version() == ""
    assert len(mmcls_index.index()) == 4


@pytest.fixture
def served(web, tmp_path, monkeypatch, without_mmpretrain):
    """The first model's file on a server of ours, its sha256 in its name as theirs."""
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    data = b"weights" * 1000
    name = f"resnext50_32x4d_b32x8_imagenet_20210429-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    web.files[f"/resnext/{name}"] = data
    model = replace(mmcls_index.SHIPPED[0], url=f"{web.url}/resnext/{name}")
    monkeypatch.setattr(mmcls_index, "SHIPPED", (model, *mmcls_index.SHIPPED[1:]))
    return model, data


def test_the_published_file_is_fetched_once(web, served, tmp_path):
    model, data = served
    for _ in range(2):
        found = resolve(f"mmcls:{MODEL}", Request(tmp_path))
        assert found.file.read_bytes() == data
    assert (found.origin.kind, found.facts["fetched_from"]) == ("pretrained", model.url)
    assert sum(line.startswith("GET") for line in web.seen) == 1


def test_a_changed_file_is_refused_by_the_sha256_in_its_name(web, served, tmp_path):
    model, data = served
    web.files[model.url.removeprefix(web.url)] = data[:-1] + b"!"
    with pytest.raises(EnvironmentError_, match="should have a sha256 that starts with") as caught:
        resolve(f"mmcls:{MODEL}", Request(tmp_path))
    assert caught.value.exit_code == 5
    assert f"the weights of {MODEL} cannot be had" in caught.value.message


def test_torchs_own_cache_is_used_when_its_file_is_right(web, served, tmp_path):
    model, data = served
    theirs = tmp_path / "torch" / "hub" / "checkpoints" / model.url.rpartition("/")[2]
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(data)
    assert resolve(f"mmcls:{MODEL}", Request(tmp_path)).file == theirs
    assert web.seen == []
    theirs.write_bytes(data[:100])
    assert resolve(f"mmcls:{MODEL}", Request(tmp_path)).file.is_relative_to(tmp_path / "cache")


def test_no_network_fails_soon_with_the_remedy(tmp_path, nowhere, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HTTPS_PROXY", nowhere)
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    start = time.monotonic()
    with pytest.raises(EnvironmentError_, match=r"openmmlab\.com/.*-56066e27\.pth") as caught:
        resolve(f"mmcls:{MODEL}", Request(tmp_path))
    assert time.monotonic() - start < 5
    assert "--weights" in caught.value.remedy
    assert "--init calibrated:0" in caught.value.remedy
