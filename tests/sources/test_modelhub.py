"""``modelhub:NAME`` from a web server on this machine, and folders: the weight file found, fetched or refused."""

import hashlib
import json

import pytest

import mshub_convert as mc
from mshub_convert.converters.codecs import open_checkpoint
from mshub_convert.converters.errors import EnvironmentError_, MalformedFileError, PlanError, UsageError
from mshub_convert.converters.sources import Request, download, modelhub, resolve
from mshub_convert.mappings.errors import UnknownNameError

CONFIG = {
    "id": "0", "meta": {"name": "resnet-50", "task": "Classification"},
    "model": {"format": ".onnx", "io": {"input": {}, "output": []}},
}  # fmt: skip
WEIGHTS = b"\x08\x07" + bytes(1000)


@pytest.fixture
def hub(web, monkeypatch, tmp_path):
    """A server with one repository, whose weight file is a release of it; ``hub(path=value)`` changes files."""
    monkeypatch.setenv(modelhub.ENDPOINT_VARIABLE, f"{web.url}/modelhub-ai/")
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    url = f"{web.url}/releases/v1.1/model.onnx"
    files = {
        "contrib_src/model/config.json": CONFIG,
        "init/init.json": {
            "docker_id": "x",
            "external_contrib_files": [{"src_url": url, "dest_file_path": "/contrib_src/model/model.onnx"}],
        },
        "contrib_src/license/model": "MIT License",
    }

    def put(name="resnet-50", **changed):
        for path, value in {**files, **changed}.items():
            place = f"/modelhub-ai/{name}/master/{path}"
            web.files.pop(place, None)
            if value is not None:
                text = value if isinstance(value, (str, bytes)) else json.dumps(value)
                web.files[place] = text if isinstance(text, bytes) else text.encode()

    put()
    web.files["/releases/v1.1/model.onnx"] = WEIGHTS
    web.put = put
    return web


@pytest.fixture
def given(tmp_path):
    file = tmp_path / "mine.onnx"
    file.write_bytes(WEIGHTS)
    return Request(tmp_path, weights=file)


def test_a_model_of_the_hub(hub, tmp_path):
    found = resolve("modelhub:resnet-50", Request(tmp_path))
    assert found.file.read_bytes() == WEIGHTS
    assert (found.address, found.model, found.origin.kind) == ("modelhub:resnet-50", "resnet-50", "pretrained")
    assert (found.claims, found.promises[0]) == ("resnet50", "resnet50")
    assert found.facts["url"] == f"{hub.url}/releases/v1.1/model.onnx"
    assert found.facts["repository"] == "https://github.com/modelhub-ai/resnet-50"
    assert found.facts["license"] == "MIT"
    assert any("publishes no sha256 of" in text for text in found.notices)


def test_descriptions_are_asked_for_each_time_and_weights_once(hub, tmp_path):
    first = resolve("modelhub:resnet-50", Request(tmp_path / "a"))
    hub.put(**{"contrib_src/license/model": "Apache License, Version 2.0"})
    second = resolve("modelhub:resnet-50", Request(tmp_path / "b"))
    assert (first.facts["license"], second.facts["license"]) == ("MIT", "Apache-2.0")
    assert sum("model.onnx" in line for line in hub.seen) == 1


def test_without_network_the_last_descriptions_serve(hub, tmp_path, monkeypatch):
    first = resolve("modelhub:resnet-50", Request(tmp_path / "a"))
    asked = []
    whole = download.fetch

    def fetch(url, **more):
        if "master" not in url:
            return whole(url, **more)
        asked.append(url)
        raise EnvironmentError_(f"{url} cannot be reached")

    monkeypatch.setattr(download, "fetch", fetch)
    second = resolve("modelhub:resnet-50", Request(tmp_path / "b"))
    assert (second.file, second.facts) == (first.file, first.facts)
    assert any("config.json, init.json and model are those of the last time" in text for text in second.notices)
    assert len(asked) == 1, "one attempt is enough to know that the server is away"


@pytest.fixture
def published(hub, weights_file, tmp_path):
    """Puts a repository of a small network on the server, as ``--to modelhub`` writes it; returns its arrays."""

    def put(*, recorded):
        with open_checkpoint(weights_file()) as checkpoint:
            arrays = {name: ref.read().copy() for name, ref in checkpoint.tensors.items()}
        source = checkpoint.path if recorded else arrays
        url = f"{hub.url}/releases/tiny/model.onnx"
        folder = mc.convert(source, to="modelhub", out=tmp_path / "tiny", model_url=url).path
        weights = "contrib_src/model/model.onnx"
        hub.files["/releases/tiny/model.onnx"] = (folder / weights).read_bytes()
        files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        hub.put("tiny", **{**files, weights: None})
        return arrays

    return put


def test_a_model_of_the_hub_is_converted(hub, published, tmp_path):
    arrays = published(recorded=False)
    result = mc.convert("modelhub:tiny", to="safetensors", out=tmp_path / "out")
    with open_checkpoint(result.path) as checkpoint:
        assert checkpoint.tensors.keys() == arrays.keys()
        assert all(ref.read().tobytes() == arrays[name].tobytes() for name, ref in checkpoint.tensors.items())
    assert (result.record.address, result.record.origin) == ("modelhub:tiny", "pretrained")
    assert result.record.facts["task"] == "Classification"
    assert result.record.facts["url"] == f"{hub.url}/releases/tiny/model.onnx"
    assert result.record.sources[-1].sha256 == hashlib.sha256(hub.files["/releases/tiny/model.onnx"]).hexdigest()


def test_drawn_weights_are_no_model_of_the_hub(published, tmp_path):
    published(recorded=True)
    with pytest.raises(PlanError, match=r"the record in it says drawn weights \(calibrated:0\)"):
        mc.convert("modelhub:tiny", to="safetensors", out=tmp_path / "out")


def test_an_unknown_model(hub, tmp_path):
    with pytest.raises(UnknownNameError, match=r"no model resnet-5: .*HTTP 404") as caught:
        resolve("modelhub:resnet-5", Request(tmp_path))
    assert "resnet-50" in caught.value.remedy
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "x" * 200])
def test_what_is_no_name(hub, tmp_path, name):
    with pytest.raises((UsageError, EnvironmentError_)):
        resolve(f"modelhub:{name}", Request(tmp_path))


def test_a_weight_file_in_the_repository_itself(hub, tmp_path):
    hub.put("resnet-101", **{
        "contrib_src/model/config.json": CONFIG | {"meta": {"name": "resnet-101"}},
        "init/init.json": {"docker_id": "x", "external_contrib_files": []},
        "contrib_src/model/model.onnx": WEIGHTS,
    })  # fmt: skip
    found = resolve("modelhub:resnet-101", Request(tmp_path))
    assert found.file.read_bytes() == WEIGHTS
    assert found.claims == "resnet101"


def test_a_hostile_init_is_refused_before_any_download(hub, tmp_path):
    entry = {"src_url": f"{hub.url}/releases/v1.1/model.onnx", "dest_file_path": "/../../.ssh/model.onnx"}
    hub.put(**{"init/init.json": {"docker_id": "x", "external_contrib_files": [entry]}})
    with pytest.raises(MalformedFileError, match=r"modelhub:resnet-50/init/init\.json: .*dest_file_path"):
        resolve("modelhub:resnet-50", Request(tmp_path))
    assert not any("model.onnx" in line for line in hub.seen)


def test_a_release_that_is_gone(hub, tmp_path):
    del hub.files["/releases/v1.1/model.onnx"]
    with pytest.raises(EnvironmentError_, match=r"releases/v1\.1/model\.onnx answered HTTP 404") as caught:
        resolve("modelhub:resnet-50", Request(tmp_path))
    assert "--weights" in caught.value.remedy


def test_a_description_that_is_too_large(hub, tmp_path):
    hub.put(**{"README.md": b"x" * ((4 << 20) + 1)})
    with pytest.raises(EnvironmentError_, match="larger than"):
        resolve("modelhub:resnet-50", Request(tmp_path))


def test_weights_of_the_users_own(hub, given):
    found = resolve("modelhub:resnet-50", given)
    assert (found.file, found.origin.kind) == (given.weights, "stated")
    assert found.facts["license"] == "MIT"
    assert any("at your word" in text for text in found.notices)
    assert not any("model.onnx" in line for line in hub.seen)


def test_weights_of_the_users_own_without_network(nowhere, monkeypatch, given, tmp_path):
    monkeypatch.setenv(modelhub.ENDPOINT_VARIABLE, nowhere)
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    found = resolve("modelhub:resnet-50", given)
    assert (found.file, found.claims) == (given.weights, "resnet50")
    assert found.facts["id"] == "8abbcaef-6bcf-4f1f-9159-85c17c38bd00"
    assert any("cannot be had" in text for text in found.notices)
    with pytest.raises(EnvironmentError_):
        resolve("modelhub:resnet-50", Request(tmp_path))


def test_drawn_weights(hub, tmp_path):
    hub.put("tiny", **{"contrib_src/model/config.json": CONFIG | {"meta": {"name": "resnext_1-1_4x2d"}}})
    found = resolve("modelhub:tiny", Request(tmp_path, init="calibrated:3"))
    assert found.origin.kind == "calibrated:3"
    assert found.architecture == "resnext_1-1_4x2d"
    assert found.facts == {"library": "modelhub.ai"}
    hub.put("squeeze-net", **{"contrib_src/model/config.json": CONFIG | {"meta": {"name": "squeezenet"}}})
    with pytest.raises(PlanError, match="names no network of ours"):
        resolve("modelhub:squeeze-net", Request(tmp_path, init="calibrated"))


def _folder(root, init=None, weights=WEIGHTS, **config):
    (root / "contrib_src/model").mkdir(parents=True)
    (root / "contrib_src/model/config.json").write_text(json.dumps(CONFIG | config))
    if init is not None:
        (root / "init").mkdir()
        (root / "init/init.json").write_text(json.dumps(init))
    if weights is not None:
        (root / "contrib_src/model/model.onnx").write_bytes(weights)
    return root


@pytest.mark.parametrize("form", ["{}", "modelhub:{}"])
def test_a_folder(tmp_path, form):
    folder = _folder(tmp_path / "clone")
    found = resolve(form.format(folder), Request(tmp_path))
    assert found.file == folder / "contrib_src/model/model.onnx"
    assert (found.model, found.origin.kind, found.claims) == ("resnet-50", "file", "resnet50")


def test_a_folder_is_called_after_itself_where_its_name_is_no_file_name(tmp_path):
    folder = _folder(tmp_path / "clone", meta={"name": "My Net/2"})
    assert resolve(str(folder), Request(tmp_path)).model == "clone"


def test_a_file_in_place_is_not_downloaded(web, tmp_path, monkeypatch):
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    web.files["/model.onnx"] = WEIGHTS + b"x"
    entry = {"src_url": f"{web.url}/model.onnx", "dest_file_path": "contrib_src/model/model.onnx"}
    init = {"docker_id": "x", "external_contrib_files": [entry]}
    there, absent = _folder(tmp_path / "a", init), _folder(tmp_path / "b", init, weights=None)
    assert resolve(str(there), Request(tmp_path)).file.read_bytes() == WEIGHTS
    assert web.seen == []
    found = resolve(str(absent), Request(tmp_path))
    assert found.file.read_bytes() == WEIGHTS + b"x"
    assert found.origin.kind == "file"
    assert not (absent / "contrib_src/model/model.onnx").exists(), "a clone is not written into"


def test_a_folder_without_its_weight_file(tmp_path):
    folder = _folder(tmp_path / "clone", weights=None)
    with pytest.raises(EnvironmentError_, match=r"has no contrib_src/model/model\.onnx") as caught:
        resolve(str(folder), Request(tmp_path))
    assert "--weights" in caught.value.remedy


def test_a_folder_with_weights_of_the_users_own(tmp_path, given):
    folder = _folder(tmp_path / "clone", weights=None)
    assert resolve(str(folder), given).file == given.weights


@pytest.mark.parametrize("path", ["{}", "modelhub:{}", "modelhub:{}/nothing"])
def test_a_folder_that_is_no_repository(tmp_path, path):
    with pytest.raises(EnvironmentError_, match=r"is no (folder|repository of modelhub\.ai)"):
        resolve(path.format(tmp_path), Request(tmp_path))


def test_models_are_listed():
    assert modelhub.RESOLVER.names() == ("resnet-50",)
