"""timm's names, tags, old names and licences; its hub's files; and what is left to do without timm or a network."""

import hashlib
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from mshub_convert.converters.errors import EnvironmentError_, UsageError
from mshub_convert.converters.sources import Request, calibrated, download, resolve
from mshub_convert.converters.sources import timm as source
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.errors import UnknownNameError


@pytest.fixture
def timm():
    return pytest.importorskip("timm", reason="the torch extra is not installed")


@pytest.fixture
def given(tmp_path):
    """A request with a user's file; what is in it does not matter before it is opened."""
    file = tmp_path / "mine.safetensors"
    file.touch()
    return Request(tmp_path, weights=file)


@pytest.fixture
def hub_nowhere(nowhere, tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants", reason="the torch extra is not installed")
    monkeypatch.setattr(constants, "ENDPOINT", nowhere)
    path = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nowhere + "".join(path[1:]))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    return nowhere


@pytest.mark.slow
def test_facts_of_a_tag(timm, given):
    found = resolve("timm:resnext50_32x4d.ra_in1k", given)
    assert found.address == "timm:resnext50_32x4d.ra_in1k"
    assert (found.model, found.architecture, found.dialect) == ("resnext50_32x4d", "resnext50_32x4d", "timm")
    assert (found.library, found.library_model) == ("timm", "resnext50_32x4d")
    assert found.origin.kind == "stated"
    assert found.origin.pretrained is None
    assert found.file == given.weights
    assert json.loads(json.dumps(found.facts)) == {
        "library": "timm",
        "library_version": timm.__version__,
        "tag": "ra_in1k",
        "hub": "timm/resnext50_32x4d.ra_in1k",
        "url": "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-weights/"
        "resnext50_32x4d_ra-d733960d.pth",
        "license": "apache-2.0",
        "publisher": "https://github.com/huggingface/pytorch-image-models",
        "preprocessing": {
            "input_size": [3, 224, 224],
            "test_input_size": [3, 288, 288],
            "interpolation": "bicubic",
            "crop_pct": 0.875,
            "test_crop_pct": 0.95,
            "crop_mode": "center",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
    }
    (notice,) = found.notices
    assert "mine.safetensors" in notice
    assert "not compared" in notice
    assert str(given.weights) not in notice, "records hold no paths"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tag"),
    [("resnext50_32x4d", "a1h_in1k"), ("resnext50d_32x4d", "bt_in1k"), ("resnext101_32x8d", "tv_in1k")],
)
def test_default_tag_is_timms_and_said(timm, given, name, tag):
    found = resolve(f"timm:{name}", given)
    expected = timm.models.get_pretrained_cfg(name).tag
    assert found.facts["tag"] == expected
    assert f"{name}.{expected}" in found.notices[0]
    assert "default" in found.notices[0]
    assert f"{name}.{tag}" in source.RESOLVER.names()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "tag"),
    [
        ("resnext50_32x4d_ra-d733960d.pth", "ra_in1k"),
        ("resnext50_32x4d-7cdf4587.pth", "tv_in1k"),
        ("resnext50_32x4d.a2_in1k.safetensors", "a2_in1k"),
    ],
)
def test_tag_by_the_name_of_the_file(timm, tmp_path, file, tag):
    (tmp_path / file).touch()
    found = resolve("timm:resnext50_32x4d", Request(tmp_path, weights=tmp_path / file))
    assert found.facts["tag"] == tag
    assert tag in found.notices[0]


@pytest.mark.slow
def test_old_names_are_resolved_and_said(timm, given):
    found = resolve("timm:tv_resnext50_32x4d", given)
    assert found.model == "resnext50_32x4d"
    assert found.facts["tag"] == "tv_in1k"
    assert "tv_resnext50_32x4d is timm's old name of resnext50_32x4d.tv_in1k" in found.notices
    with pytest.raises(UsageError, match="takes no tag"):
        resolve("timm:tv_resnext50_32x4d.ra_in1k", given)


@pytest.mark.slow
def test_old_names_with_another_size_are_refused(timm, given):
    """timm builds a 32x8d for ig_resnext101_32x16d; of all its old names, exactly the wrong ones are refused."""
    with pytest.raises(UsageError, match=r"timm .* builds a resnext101_32x8d") as caught:
        resolve("timm:ig_resnext101_32x16d", given)
    assert caught.value.remedy == "Give timm:resnext101_32x16d.fb_wsl_ig1b_ft_in1k."
    refused = set()
    for name, current in timm.models.get_deprecated_models().items():
        if current and source._described(current.partition(".")[0]):
            try:
                tag = resolve(f"timm:{name}", given).facts["tag"]
                assert tag == (current.partition(".")[2] or tag)
            except UsageError:
                refused.add(name)
    assert refused == {"ig_resnext101_32x16d", "ig_resnext101_32x32d", "ig_resnext101_32x48d"}


@pytest.mark.slow
def test_non_commercial_licence_is_said(timm, given):
    found = resolve("timm:resnext101_32x16d.fb_swsl_ig1b_ft_in1k", given)
    assert found.facts["license"] == "cc-by-nc-4.0"
    assert any("cc-by-nc-4.0" in notice and "commercial" in notice for notice in found.notices)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rest", "message", "remedy"),
    [
        ("resnext50_32x4", "no model 'resnext50_32x4'", "resnext50_32x4d"),
        ("resnext50_32x4d.ra_in", r"no weights resnext50_32x4d\.ra_in", "ra_in1k"),
        ("resnext50_32x4d.zzz", "no weights", "a1h_in1k, a1_in1k"),
        ("skresnext50_32x4d", "selective kernels", "mshub-convert list"),
        ("resnetaa50d", "anti-aliased", "mshub-convert list"),
        ("seresnextaa101d_32x8d", "seresnextaa101d_32x8d", "mshub-convert list"),
        ("vit_base_patch16_224", "by its name no ResNet", "mshub-convert list"),
        ("", "no model ''", "such as resnet101, resnet101c"),
    ],
)
def test_unknown_names(timm, given, rest, message, remedy):
    with pytest.raises(UnknownNameError, match=message) as caught:
        resolve(f"timm:{rest}", given)
    assert caught.value.exit_code == 2
    assert remedy in caught.value.remedy


@pytest.mark.slow
def test_weights_that_are_no_network_of_ours(timm, given, tmp_path):
    with pytest.raises(UsageError, match="no classifier"):
        resolve("timm:resnet50.bamboo", given)
    with pytest.raises(UsageError, match="no weights of resnet200"):
        resolve("timm:resnet200", Request(tmp_path))
    assert resolve("timm:resnet200", given).facts == {"library": "timm", "library_version": timm.__version__}


@pytest.mark.slow
def test_drawn_weights_claim_nothing(timm, tmp_path):
    found = resolve("timm:resnext50_32x4d.ra_in1k", Request(tmp_path, init="calibrated:3"))
    assert found.origin.kind == "calibrated:3"
    assert found.facts == {"library": "timm", "library_version": timm.__version__}
    assert found.origin.pretrained is False
    assert any("ra_in1k" in notice for notice in found.notices)
    assert found.file.is_file()


@pytest.mark.slow
def test_every_listed_model_has_the_tensors_we_describe(timm):
    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    names = source.RESOLVER.names()
    assert len(names) == len(set(names)) > 70
    assert "resnet50.bamboo" not in names
    for name in dict.fromkeys(name.partition(".")[0] for name in names):
        with torch.device("meta"):
            state = timm.create_model(name).state_dict()
        described = dialect("timm").ground(architecture(name)).specs
        assert {key: tuple(tensor.shape) for key, tensor in state.items()} == described, name


@pytest.mark.slow
def test_no_network_fails_soon_with_the_remedy(timm, tmp_path, hub_nowhere, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", hub_nowhere)  # so that the release file on another host is out of reach too
    start = time.monotonic()
    with pytest.raises(EnvironmentError_) as caught:
        resolve("timm:resnext50_32x4d", Request(tmp_path))
    assert time.monotonic() - start < 5
    assert caught.value.exit_code == 5
    for fact in (f"{hub_nowhere}/timm/resnext50_32x4d.a1h_in1k", "resnext50_32x4d_a1h-0146ab0a.pth", "refused"):
        assert fact in caught.value.message
    for way in (
        "--weights",
        "model.safetensors of huggingface.co/timm/resnext50_32x4d.a1h_in1k",
        "--init calibrated:0",
    ):
        assert way in caught.value.remedy


@pytest.mark.slow
def test_download_from_a_hub_then_offline(timm, web, nowhere, tmp_path, small):
    """The whole way with HF_ENDPOINT and HF_HOME, in processes of their own: they are read on import."""
    calibrated.write(small, "timm", 0, tmp_path / "served.safetensors")
    web.add_to_hub("timm/resnext50_32x4d.ra_in1k", "model.safetensors", (tmp_path / "served.safetensors").read_bytes())
    code = (
        "import hashlib, json, pathlib, sys\n"
        "from mshub_convert.converters.sources import Request, resolve\n"
        "found = resolve('timm:resnext50_32x4d.ra_in1k', Request(pathlib.Path(sys.argv[1])))\n"
        "digest = hashlib.sha256(found.file.read_bytes()).hexdigest()\n"
        "print(json.dumps([found.origin.kind, digest, dict(found.facts)]))\n"
    )
    base = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    for more in ({"HF_ENDPOINT": web.url}, {"HF_ENDPOINT": nowhere}, {"HF_HUB_OFFLINE": "1"}):
        run = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], env=base | {"HF_HOME": str(tmp_path / "home")} | more,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        kind, digest, facts = json.loads(run.stdout)
        assert kind == "pretrained"
        assert digest == hashlib.sha256((tmp_path / "served.safetensors").read_bytes()).hexdigest()
        assert facts["license"] == "apache-2.0"
        assert facts["fetched_from"].endswith(
            "/timm/resnext50_32x4d.ra_in1k/resolve/0123456789abcdef0123456789abcdef01234567/model.safetensors"
        )
    downloads = [step for step in web.seen if step.startswith("GET") and step.endswith("model.safetensors")]
    assert len(downloads) == 1


def _cfg(url):
    return SimpleNamespace(hf_hub_id="timm/net.a1", hf_hub_filename=None, url=url)


def test_release_file_when_the_hub_is_away(web, hub_nowhere, tmp_path, monkeypatch):
    data = b"weights" * 1000
    name = f"/net-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    web.files[name] = data
    file, address = source._download("net.a1", _cfg(web.url + name), Request(tmp_path))
    assert file.read_bytes() == data
    assert address == web.url + name
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert source._download("net.a1", _cfg((web.url + name, "net.pth")), Request(tmp_path))[0] == file
    with pytest.raises(EnvironmentError_, match="HF_HUB_OFFLINE"):
        source._download("net.a1", _cfg(f"{web.url}/other.pth"), Request(tmp_path))
    assert web.seen == [f"GET {name}"]


def test_release_file_with_another_sha256(web, hub_nowhere, tmp_path):
    web.files["/net-00000000.pth"] = b"weights"
    with pytest.raises(EnvironmentError_, match=r"00000000.*mismatch") as caught:
        source._download("net.a1", _cfg(f"{web.url}/net-00000000.pth"), Request(tmp_path))
    assert "refused" in caught.value.message, "what was wrong with the hub is said too"


@pytest.fixture
def without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)


def test_without_timm_files_and_drawn_weights_still_go(without_timm, given, tmp_path):
    found = resolve("timm:resnext50_32x4d.ra_in1k", given)
    assert found.facts == {"library": "timm"}
    assert (found.model, found.library_model, found.dialect) == ("resnext50_32x4d", "resnext50_32x4d", "timm")
    assert "timm is not installed" in found.notices[0]
    drawn = resolve("timm:resnet26", Request(tmp_path, init="calibrated:0"))
    assert drawn.origin.kind == "calibrated:0"
    assert drawn.file.is_file()


def test_without_timm_names_are_ours(without_timm, given):
    with pytest.raises(UnknownNameError, match="resnext50_32x4"):
        resolve("timm:resnext50_32x4", given)
    with pytest.raises(UnknownNameError, match="timm has no model resnext101_32x48d"):
        resolve("timm:resnext101_32x48d", given)


def test_without_timm_there_is_no_download(without_timm, tmp_path):
    for ask in (lambda: resolve("timm:resnext50_32x4d", Request(tmp_path)), source.RESOLVER.names):
        with pytest.raises(EnvironmentError_, match="timm") as caught:
            ask()
        assert caught.value.exit_code == 5
        assert "pip install 'mshub-convert[torch]'" in caught.value.remedy
