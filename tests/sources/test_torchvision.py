"""torchvision's names, weights and what it states of them; its files; and what is left to do without it."""

import json
import sys
import time

import pytest

from mshub_convert.converters.errors import EnvironmentError_
from mshub_convert.converters.sources import Request, download, resolve
from mshub_convert.converters.sources import torchvision as source
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.errors import UnknownNameError


@pytest.fixture
def torchvision():
    return pytest.importorskip("torchvision", reason="the torch extra is not installed")


@pytest.fixture
def given(tmp_path):
    """A request with a user's file; what is in it does not matter before it is opened."""
    file = tmp_path / "mine.pth"
    file.touch()
    return Request(tmp_path, weights=file)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["IMAGENET1K_V2", "imagenet1k_v2", "V2", "v2", "DEFAULT", "default"])
def test_facts(torchvision, given, weights):
    found = resolve(f"torchvision:resnext50_32x4d.{weights}", given)
    assert (found.model, found.architecture, found.dialect) == ("resnext50_32x4d", "resnext50_32x4d", "torchvision")
    assert (found.library, found.library_model) == ("torchvision", "resnext50_32x4d")
    assert found.origin.kind == "stated"
    facts = json.loads(json.dumps(found.facts))
    assert facts["recipe"].startswith("https://github.com/pytorch/vision/")
    assert {key: facts[key] for key in facts if key != "recipe"} == {
        "library": "torchvision",
        "library_version": torchvision.__version__,
        "tag": "IMAGENET1K_V2",
        "url": "https://download.pytorch.org/models/resnext50_32x4d-1a0047aa.pth",
        "license": "unstated",
        "preprocessing": {
            "input_size": [3, 224, 224],
            "resize_size": 232,
            "crop_size": 224,
            "interpolation": "bilinear",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
        "accuracy": {"dataset": "ImageNet-1K", "acc@1": 81.198, "acc@5": 95.34},
        "num_params": 25028904,
    }
    taken, licence = found.notices
    assert "mine.pth" in taken
    assert "not compared" in taken
    assert str(given.weights) not in taken, "records hold no paths"
    assert "states no licence" in licence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("resnext50_32x4d", "IMAGENET1K_V2"),
        ("resnext101_32x8d", "IMAGENET1K_V2"),
        ("resnext101_64x4d", "IMAGENET1K_V1"),
    ],
)
def test_default_weights_are_said(torchvision, given, name, weights):
    found = resolve(f"torchvision:{name}", given)
    assert found.facts["tag"] == weights
    assert f"{name}.{weights}" in found.notices[0]
    assert "default" in found.notices[0]


@pytest.mark.slow
def test_weights_by_the_name_of_the_file(torchvision, tmp_path):
    file = tmp_path / "resnext50_32x4d-7cdf4587.pth"
    file.touch()
    found = resolve("torchvision:resnext50_32x4d", Request(tmp_path, weights=file))
    assert found.facts["tag"] == "IMAGENET1K_V1"
    assert found.facts["preprocessing"]["resize_size"] == 256
    assert "IMAGENET1K_V1" in found.notices[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rest", "message", "remedy"),
    [
        ("resnext101_64x4", "no model 'resnext101_64x4'", "resnext101_64x4d"),
        ("resnext50d_32x4d", "no model", "resnext50_32x4d"),
        ("resnext50_32x4d.V3", r"no weights resnext50_32x4d\.V3", "IMAGENET1K_V1"),
        ("vit_b_16", "by its name no ResNet", "mshub-convert list"),
    ],
)
def test_unknown_names(torchvision, given, rest, message, remedy):
    with pytest.raises(UnknownNameError, match=message) as caught:
        resolve(f"torchvision:{rest}", given)
    assert caught.value.exit_code == 2
    assert remedy in caught.value.remedy


@pytest.mark.slow
def test_drawn_weights_claim_nothing(torchvision, tmp_path):
    found = resolve("torchvision:resnet50.V1", Request(tmp_path, init="calibrated:3"))
    assert found.origin.kind == "calibrated:3"
    assert found.facts == {"library": "torchvision", "library_version": torchvision.__version__}
    assert found.origin.pretrained is False


@pytest.mark.slow
def test_every_listed_model_has_the_tensors_we_describe(torchvision):
    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    names = source.RESOLVER.names()
    assert {"resnext50_32x4d.IMAGENET1K_V1", "resnext101_64x4d.IMAGENET1K_V1"} < set(names)
    for name in dict.fromkeys(name.partition(".")[0] for name in names):
        with torch.device("meta"):
            state = torchvision.models.get_model(name).state_dict()
        described = dialect("torchvision").ground(architecture(name)).specs
        assert {key: tuple(tensor.shape) for key, tensor in state.items()} == described, name


@pytest.mark.slow
def test_no_network_fails_soon_with_the_remedy(torchvision, tmp_path, nowhere, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HTTPS_PROXY", nowhere)
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    start = time.monotonic()
    with pytest.raises(EnvironmentError_, match=r"pytorch\.org/models/resnext50_32x4d-1a0047aa\.pth") as caught:
        resolve("torchvision:resnext50_32x4d", Request(tmp_path))
    assert time.monotonic() - start < 5
    assert caught.value.exit_code == 5
    assert "--weights" in caught.value.remedy
    assert "--init calibrated:0" in caught.value.remedy


@pytest.mark.slow
def test_torchs_own_cache_is_used_when_its_file_is_right(torchvision, web, tmp_path, monkeypatch):
    import hashlib

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    data = b"weights" * 1000
    name = f"net-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    web.files[f"/models/{name}"] = data
    theirs = tmp_path / "torch" / "hub" / "checkpoints" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(data)
    url = f"{web.url}/models/{name}"
    assert source._download("net.V1", url, Request(tmp_path)) == theirs
    assert web.seen == []
    theirs.write_bytes(data[:100])
    ours = source._download("net.V1", url, Request(tmp_path))
    assert ours.read_bytes() == data
    assert ours.is_relative_to(tmp_path / "cache")
    assert theirs.read_bytes() == data[:100], "another program's cache is left alone"


@pytest.fixture
def without_torchvision(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)


def test_without_torchvision_files_and_drawn_weights_still_go(without_torchvision, given, tmp_path):
    found = resolve("torchvision:resnext50_32x4d.V1", given)
    assert found.facts == {"library": "torchvision"}
    assert "torchvision is not installed" in found.notices[0]
    drawn = resolve("torchvision:resnet50", Request(tmp_path, init="calibrated"))
    assert drawn.origin.kind == "calibrated:0"
    with pytest.raises(UnknownNameError, match="torchvision has no model resnet26"):
        resolve("torchvision:resnet26", given)


def test_without_torchvision_there_is_no_download(without_torchvision, tmp_path):
    for ask in (lambda: resolve("torchvision:resnet50", Request(tmp_path)), source.RESOLVER.names):
        with pytest.raises(EnvironmentError_, match="torchvision") as caught:
            ask()
        assert "pip install 'mshub-convert[torch]'" in caught.value.remedy
