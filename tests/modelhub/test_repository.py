"""A whole repository: what of it goes into the record, and what is known without running its code."""

from pathlib import Path

import pytest

from mshub_convert.converters.errors import MalformedFileError, PlanError
from mshub_convert.converters.modelhub import known
from mshub_convert.converters.modelhub.init import External
from mshub_convert.converters.modelhub.preprocessing import Preprocessing, from_facts, read_preprocessing
from mshub_convert.converters.modelhub.repository import LICENCE_LIMIT, read_repository

from .conftest import PROCESSING, URL, as_bytes, config, init, repository_files

GLUON = Preprocessing(
    256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear", "both", False,
    "contrib_src/processing.py of modelhub-ai/resnet-50 at 6e5f2722",
)  # fmt: skip
SUFFIXES = (".onnx", ".pth", ".ckpt")


def read(**changed):
    files = repository_files(**changed)
    return read_repository(lambda path: as_bytes(files[path]) if path in files else None, "clone")


def test_the_facts_of_a_repository():
    facts = read(labels={"0": "tench", "1": "goldfish"}).facts()
    assert facts["library"] == "modelhub.ai"
    assert facts["id"] == "8abbcaef-6bcf-4f1f-9159-85c17c38bd00"
    assert facts["task"] == "Classification"
    assert facts["publication"]["year"] == 2016
    assert facts["license"] == "Apache-2.0"
    assert "Apache License" in facts["license_text"]
    assert facts["labels"] == ["tench", "goldfish"]
    assert facts["preprocessing"] == GLUON.as_dict()
    assert facts["postprocessing"] == "softmax"
    assert facts["docker_id"] == "modelhub/mxnet-modelhub:1.0.0"
    assert facts["model"]["format"] == ".onnx"


def test_preprocessing_is_known_by_the_code_and_not_run(tmp_path):
    """The code would leave a trace if it ran."""
    trace = tmp_path / "ran"
    found = read(processing=f"open({str(trace)!r}, 'w')\n{PROCESSING}")
    assert found.preprocessing == GLUON
    assert not trace.exists()


def test_other_code_is_not_guessed_at():
    found = read(processing=PROCESSING.replace("256", "232"))
    assert found.preprocessing is None
    assert found.postprocessing == ""
    assert "preprocessing" not in found.facts()
    assert any("not recorded: contrib_src/processing.py is code, which is not run" in text for text in found.notices)


def test_without_code_the_release_tells():
    found = read(processing=None)
    assert found.preprocessing == GLUON
    other = init()
    other["external_contrib_files"][0]["src_url"] = "https://example.org/model.onnx"
    assert read(processing=None, init=other).preprocessing is None
    older = init()
    older["external_contrib_files"][0]["src_url"] = URL.replace("v1.1", "v1.0")
    before = read(processing=None, init=older).preprocessing
    assert (before.resize, before.interpolation, before.mean) == (224, "lanczos", (0.5, 0.5, 0.5))


def test_no_licence_is_unstated_and_said():
    found = read(license=None)
    assert found.licence == "unstated"
    assert found.facts()["license"] == "unstated"
    assert any("states no licence" in text for text in found.notices)


def test_a_long_licence_is_cut_and_said():
    found = read(license="Apache License, Version 2.0 " + "x" * LICENCE_LIMIT)
    assert len(found.licence_text) == LICENCE_LIMIT
    assert any("only its start" in text for text in found.notices)


def test_contradictions_become_notices():
    wrong = config()
    wrong["meta"]["task"] = "Segmentation"
    assert any("README.md says task" in text for text in read(config=wrong).notices)


@pytest.mark.parametrize("file", ["readme", "license", "processing"])
def test_texts_must_be_utf8(file):
    with pytest.raises(MalformedFileError, match=r"^clone/.* is not UTF-8 \(byte 0\)"):
        read(**{file: b"\xff\xfe"})


def test_config_is_needed():
    with pytest.raises(MalformedFileError, match=r"clone has no contrib_src/model/config\.json"):
        read(config=None)


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("resnet-50", "resnet50"),
        ("ResNet-50", "resnet50"),
        ("resnext50-32x4d", "resnext50_32x4d"),
        ("resnet101", "resnet101"),
        ("squeezenet", None),
        ("", None),
    ],
)
def test_names_mean_architectures(name, architecture):
    assert known.architecture_of(name) == architecture


def _files(*paths):
    entries = [{"src_url": f"https://example.org/{path}", "dest_file_path": f"/{path}"} for path in paths]
    return {"docker_id": "", "external_contrib_files": entries}


@pytest.mark.parametrize(
    ("paths", "taken"),
    [
        (["m/model.onnx"], "m/model.onnx"),
        (["m/labels.json", "m/model.onnx"], "m/model.onnx"),
        (["m/model.pth", "m/model.onnx"], "m/model.onnx"),
        (["m/model.pth"], "m/model.pth"),
    ],
)
def test_the_weight_file_among_the_external_ones(paths, taken):
    assert read(init=_files(*paths)).weights(SUFFIXES).path == taken


def test_a_weight_file_kept_in_the_repository():
    """As in modelhub-ai/squeeze-net, whose external_contrib_files are empty."""
    assert read(init=_files()).weights(SUFFIXES) == External("", "contrib_src/model/model.onnx")


def test_a_model_of_a_format_that_is_not_read():
    """As in modelhub-ai/densenet."""
    with pytest.raises(PlanError, match=r"clone: the model is model\.h5, which is not read") as caught:
        read(init=_files("contrib_src/model/model.h5")).weights(SUFFIXES)
    assert ".onnx" in caught.value.remedy
    other = config()
    other["model"]["format"] = ".h5"
    with pytest.raises(PlanError, match=r"a \.h5 file"):
        read(config=other, init=_files(), readme=None).weights(SUFFIXES)


def test_models_that_are_known():
    (model,) = known.models().values()
    assert (model.name, model.architecture) == ("resnet-50", "resnet50")
    assert [release.url for release in model.releases] == [URL, URL.replace("v1.1", "v1.0")]
    assert not model.releases[1].fits(PROCESSING)


TIMM = {"input_size": [3, 224, 224], "crop_pct": 0.95, "interpolation": "bicubic", "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}  # fmt: skip
TORCHVISION = {"input_size": [3, 224, 224], "resize_size": 232, "crop_size": 224, "interpolation": "bilinear",
               "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}  # fmt: skip


def test_preprocessing_in_the_words_of_the_libraries():
    found = from_facts(TIMM, stated_by="timm:resnext50_32x4d.ra_in1k")
    assert (found.resize, found.crop, found.interpolation, found.edges) == (235, 224, "bicubic", "shorter")
    assert found.stated_by == "timm:resnext50_32x4d.ra_in1k"
    assert (from_facts(TIMM | {"crop_mode": "squash"}).edges, from_facts(TORCHVISION).resize) == ("both", 232)


@pytest.mark.parametrize(
    "facts",
    [
        None, {}, "224", {**TIMM, "crop_mode": "border"}, {**TIMM, "crop_pct": 0}, {**TIMM, "crop_pct": "0.9"},
        {**TIMM, "mean": [0.5]}, {**TIMM, "mean": "abc"}, {**TIMM, "std": [0.2, 0, 0.2]}, {**TIMM, "input_size": 224},
        {**TIMM, "input_size": [3, 224, 288]}, {**TIMM, "input_size": [1, 28, 28]}, {**TIMM, "interpolation": "random"},
        {**TIMM, "mean": [float("nan")] * 3}, {**TORCHVISION, "crop_size": None}, {**TORCHVISION, "resize_size": -1},
        {**TORCHVISION, "resize_edges": "longer"}, {**TORCHVISION, "antialias": 1},
    ],
)  # fmt: skip
def test_preprocessing_that_says_too_little_is_none(facts):
    assert from_facts(facts) is None


def test_the_file_of_a_preprocessing():
    assert read_preprocessing(as_bytes(GLUON.as_dict())) == GLUON
    with pytest.raises(MalformedFileError, match=r"x\.json does not describe a preprocessing"):
        read_preprocessing(b"{}", "x.json")
    found = read(preprocessing=GLUON.as_dict() | {"resize_size": 300})
    assert found.preprocessing.resize == 300


def test_the_runner_has_nothing_of_this_package():
    folder = Path(known.__file__).parent / "runner"
    texts = [file.read_text(encoding="utf-8") for file in folder.glob("*.py")]
    assert len(texts) == 3
    assert not any("mshub" in text for text in texts)
