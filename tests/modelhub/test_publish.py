"""``--to modelhub``: a repository that is valid, complete, reads back the same, and is there whole or not at all."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

import mshub_convert as mc
from mshub_convert import conversion
from mshub_convert.converters.codecs import open_checkpoint
from mshub_convert.converters.errors import EnvironmentError_, PlanError, UsageError
from mshub_convert.converters.modelhub import config, init, labels, publish
from mshub_convert.converters.modelhub.repository import read_repository
from mshub_convert.converters.publications import Published
from mshub_convert.converters.record import Record
from mshub_convert.verify.proof import ProofFailedError

from .conftest import URL, single

WEIGHTS = "contrib_src/model/model.onnx"
# From modelhub-ai/modelhub's config_schema.json: what each object must have and may have.
SCHEMA: dict[str, tuple[set[str], set[str]]] = {
    "": ({"id", "meta", "model", "modelhub"}, {"publication"}),
    "meta": ({"name", "application_area", "task", "task_extended", "data_type"}, {"data_source"}),
    "publication": (
        {"title", "source", "year", "authors", "abstract", "url", "google_scholar", "bibtex"}, {"email"},
    ),
    "model": ({"description", "provenance", "architecture", "learning_type", "format", "io"}, set()),
    "model.io": ({"input", "output"}, set()),
    "model.io.input.single": ({"format", "dim_limits"}, {"description"}),
}  # fmt: skip
FACTS: dict[str, Any] = {
    "library": "modelhub.ai", "id": "8abbcaef", "name": "resnet-50", "task": "Classification",
    "task_extended": "ImageNet classification", "application_area": "ImageNet", "data_type": "Image/Photo",
    "data_source": "http://www.image-net.org/", "publication": single()["publication"], "url": URL,
    "model": {"description": "ResNet-50 is a 50 layer network.", "architecture": "CNN", "learning_type": "Supervised"},
    "license": "MIT", "license_text": "MIT License\n\nCopyright (c) someone\n",
    "preprocessing": {"input_size": [3, 224, 224], "resize_size": 256, "resize_edges": "both", "crop_size": 224,
                      "interpolation": "bilinear", "antialias": False, "mean": [0.485, 0.456, 0.406],
                      "std": [0.229, 0.224, 0.225], "stated_by": "its processing.py"},
    "postprocessing": "softmax", "labels": [f"class {index} | \"é\"" for index in range(10)],
}  # fmt: skip


def record(facts: dict[str, Any], name: str, origin: str) -> Record:
    return Record(
        tool="mshub-convert 1", architecture={"name": name, "classes": 10}, dialect="timm", container="onnx",
        traits={}, origin=origin, pretrained=None, address="modelhub:resnet-50", facts=facts,
    )  # fmt: skip


def written(
    folder: Path, facts: dict[str, Any], *, name: str = "resnet50", origin: str = "file", **more: Any
) -> tuple[Any, tuple[str, ...]]:
    """What reads back of a repository of these facts, and the codes of the findings."""
    findings = publish.PUBLICATION.write(folder, Published(record(facts, name, origin), "my_net", "ab", 1, **more))
    return read(folder), tuple(finding.code for finding in findings)


def read(folder: Path) -> Any:
    return read_repository(lambda path: (folder / path).read_bytes() if (folder / path).is_file() else None, "clone")


def check_schema(value: dict[str, Any]) -> None:
    for path, (needed, allowed) in SCHEMA.items():
        found: Any = value
        for key in filter(None, path.split(".")):
            found = found.get(key, {})
        if path == "publication" and not found:
            continue
        assert needed <= set(found), path
        assert set(found) <= needed | allowed, path
    assert value["meta"]["name"] == value["meta"]["name"].lower()
    assert value["model"]["io"]["output"][0]["type"] == "label_list"


def test_what_was_stated_reads_back(tmp_path: Path) -> None:
    found, codes = written(tmp_path, FACTS)
    assert codes == ()
    assert found.notices == ()
    assert found.config.lacks == ()
    for key in ("task", "task_extended", "application_area", "data_type", "data_source", "publication", "license",
                "license_text", "preprocessing", "postprocessing", "labels"):  # fmt: skip
        assert found.facts()[key] == FACTS[key], key
    assert found.config.about.provenance == URL
    assert found.config.about.description == "ResNet-50 is a 50 layer network."
    assert found.init == init.Init()
    check_schema(json.loads((tmp_path / config.PATH).read_text()))


def test_what_was_not_stated_is_said(tmp_path: Path) -> None:
    found, codes = written(tmp_path, {})
    assert codes == ("preprocessing", "labels", "licence", "config")
    assert found.licence == "unstated"
    assert "unstated" in (tmp_path / "contrib_src/license/model").read_text()
    assert labels.indices(found.labels)
    assert "labels" not in found.facts()
    assert "assumption" in (tmp_path / "README.md").read_text()
    assert found.preprocessing.stated_by.startswith("nobody")
    assert found.config.publication.title == "Deep Residual Learning for Image Recognition"
    check_schema(json.loads((tmp_path / config.PATH).read_text()))


@pytest.mark.parametrize(
    ("name", "paper"),
    [("resnext50_32x4d", "Aggregated"), ("resnet50_v2", "Identity Mappings"), ("seresnext50_32x4d", None)],
)
def test_the_paper_of_the_architecture(tmp_path: Path, name: str, paper: str | None) -> None:
    found, _ = written(tmp_path, {}, name=name)
    assert (found.config.publication.title.startswith(paper)) if paper else (found.config.publication is None)


def test_a_licence_of_which_only_the_name_is_known(tmp_path: Path) -> None:
    found, codes = written(tmp_path, {"license": "cc-by-nc-4.0"})
    assert found.licence == "cc-by-nc-4.0"
    assert "licence" not in codes


@pytest.mark.parametrize("names", [["a"] * 9, ["a"] * 9 + [1], "abcdefghij", None])
def test_labels_that_are_not_the_classes_are_not_written(tmp_path: Path, names: object) -> None:
    found, codes = written(tmp_path, FACTS | {"labels": names})
    assert "labels" in codes
    assert found.labels == tuple(map(str, range(10)))


def test_the_address_of_the_weight_file(tmp_path: Path) -> None:
    found, _ = written(tmp_path, FACTS, url="https://example.org/v1/model.onnx")
    assert found.init.files == (init.External("https://example.org/v1/model.onnx", WEIGHTS),)
    assert "downloaded from https://example.org/v1/model.onnx" in (tmp_path / "README.md").read_text()


def test_a_fixed_input_that_the_pictures_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="crops pictures to 224x224, the input is fixed to 256") as caught:
        written(tmp_path, FACTS, input_shape=(1, 3, 256, 256))
    assert "1,3,224,224" in caught.value.remedy
    with pytest.raises(PlanError, match="crops squares"):
        written(tmp_path, {}, input_shape=(1, 3, 224, 256))
    found, _ = written(tmp_path, {}, input_shape=(1, 3, 320, 320))
    assert (found.preprocessing.crop, found.preprocessing.resize) == (320, 366)


def test_drawn_weights_are_called_so(tmp_path: Path) -> None:
    written(tmp_path, {}, origin="calibrated:0")
    assert "**not pretrained**" in (tmp_path / "README.md").read_text()


def test_equal_weights_give_equal_repositories(tmp_path: Path) -> None:
    for name in ("a", "b"):
        written(tmp_path / name, FACTS)
    files = [file.relative_to(tmp_path / "a") for file in (tmp_path / "a").rglob("*") if file.is_file()]
    assert len(files) == 11
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


# The whole way, with a small network


@pytest.fixture
def source(weights_file: Callable[..., Path]) -> Path:
    return weights_file()


@pytest.fixture
def published(source: Path, tmp_path: Path) -> Callable[..., Any]:
    def run(out: str = "made/repository", **options: Any) -> Any:
        return mc.convert(source, to="modelhub", out=tmp_path / out, **options)

    return run


def test_a_conversion_becomes_a_repository(published: Callable[..., Any], tmp_path: Path) -> None:
    result = published()
    assert result.path == tmp_path / "made/repository"
    assert (result.path / WEIGHTS).is_file()
    assert (result.path / f"{WEIGHTS}.mshub.json").is_file()
    assert sorted(path.name for path in result.path.iterdir()) == ["README.md", "contrib_src", "dockerfiles", "init"]
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["repository"]
    assert any("states no preprocessing" in text for text in result.notices)


@pytest.mark.parametrize(("to", "suffix"), [("safetensors", "safetensors"), ("ckpt", "ckpt")])
def test_there_and_back_is_bit_identical(
    published: Callable[..., Any], source: Path, tmp_path: Path, to: str, suffix: str
) -> None:
    folder = published().path
    there = mc.convert(folder, to=to, out=tmp_path / f"x.{suffix}")
    back = mc.convert(there.path, to="safetensors", out=tmp_path / "back.safetensors").path
    with open_checkpoint(source) as first, open_checkpoint(back) as last:
        assert first.shapes == last.shapes
        assert all(first.tensors[n].read().tobytes() == last.tensors[n].read().tobytes() for n in first.tensors)
    assert there.record.origin == "calibrated:0"


def test_a_dialect_may_be_said(source: Path, tmp_path: Path) -> None:
    result = mc.convert(source, to="modelhub:mindcv", out=tmp_path / "r")
    assert result.record.dialect == "mindcv"


def test_the_default_folder_is_called_after_the_model(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert mc.convert(source, to="modelhub").path == Path("small")


def test_a_folder_that_holds_something_is_left_alone(published: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        published("made")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["notes.txt"]


def test_overwriting_replaces_its_own_files_only(published: Callable[..., Any], tmp_path: Path) -> None:
    folder = published().path
    (folder / ".git").mkdir()
    (folder / ".git/HEAD").write_text("ref")
    (folder / "README.md").write_text("old")
    published(overwrite=True)
    assert (folder / ".git/HEAD").read_text() == "ref"
    assert (folder / "README.md").read_text().startswith("# small")
    assert not [path for path in folder.iterdir() if path.name.startswith(".mshub-convert")]


def test_an_empty_folder_is_filled(published: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert (published("empty").path / WEIGHTS).is_file()


def test_a_file_in_the_place_of_the_folder(published: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    for out in ("taken", "taken/inside"):
        with pytest.raises(UsageError, match=r"taken is a file, (not a folder|and a publication is a folder)"):
            published(out)
    assert (tmp_path / "taken").read_text() == "x"


def test_a_repository_is_not_published_over_itself(published: Callable[..., Any]) -> None:
    folder = published().path
    before = (folder / WEIGHTS).read_bytes()
    with pytest.raises(UsageError, match="is the source itself"):
        mc.convert(folder, to="modelhub", out=folder, overwrite=True)
    assert (folder / WEIGHTS).read_bytes() == before


@pytest.mark.parametrize("where", ["new/deep", "there"])
def test_a_failure_leaves_nothing(
    published: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    (tmp_path / "there").mkdir()
    before = sorted(tmp_path.rglob("*"))

    def fails(*_: object) -> None:
        raise EnvironmentError_("the disk is full")

    monkeypatch.setattr(publish.ModelhubRepository, "write", fails)
    with pytest.raises(EnvironmentError_, match="the disk is full"):
        published(where)
    assert sorted(tmp_path.rglob("*")) == before


def test_strict_refuses_gaps(published: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        published(strict=True)
    assert caught.value.exit_code == 3
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("url", ["example.org/model.onnx", "file:///model.onnx", "https://"])
def test_an_address_that_is_no_download(published: Callable[..., Any], url: str) -> None:
    with pytest.raises(UsageError, match=re.escape(url)):
        published(model_url=url)


def test_an_address_without_a_publication(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--model-url is for publications") as caught:
        mc.convert(source, to="ckpt", out=tmp_path, model_url="https://example.org/x")
    assert "--to modelhub" in caught.value.remedy


def test_options_of_the_graph_reach_the_file(published: Callable[..., Any]) -> None:
    folder = published(input_shape=(1, 3, 224, 224), opset=17).path
    onnx = pytest.importorskip("onnx", reason="the onnx extra is not installed")
    model = onnx.load(folder / WEIGHTS)
    assert model.opset_import[0].version == 17
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 224, 224]


class _Failure:
    """A verification that did not pass."""

    library_difference = None

    def as_dict(self) -> dict[str, Any]:
        return {"verdict": "fail"}

    def __bool__(self) -> bool:
        return False

    def failed(self, *, kept: Path) -> ProofFailedError:
        return ProofFailedError(f"fail; the file is kept as {kept}", proof=cast(Any, self))


def test_a_verification_that_fails_keeps_the_file_aside(
    published: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "_proof", lambda *_, **__: _Failure())
    with pytest.raises(ProofFailedError) as caught:
        published(verify=True)
    kept = tmp_path / "made/repository.failed" / f"{WEIGHTS}.failed"
    assert str(kept) in caught.value.message
    assert kept.is_file()
    assert not (tmp_path / "made/repository").exists()
