"""Repositories on the command line: converted, looked into, listed and written."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mshub_convert as mc

from .conftest import config

pytestmark = pytest.mark.slow


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mshub_convert", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def published(weights_file: Callable[..., Path], tmp_path: Path) -> Path:
    return Path(mc.convert(weights_file(), to="modelhub", out=tmp_path / "repository").path)


def test_a_repository_is_written_and_its_folder_printed(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    result = run(str(weights_file()), "--to", "modelhub", "-o", "made", "--model-url", "https://x.org/m.onnx", cwd=tmp_path)  # fmt: skip  # noqa: E501
    assert result.returncode == 0, result.stderr
    assert result.stdout == "made\n"
    assert "states no preprocessing" in result.stderr
    init = json.loads((tmp_path / "made/init/init.json").read_text())
    assert init["external_contrib_files"][0]["src_url"] == "https://x.org/m.onnx"


def test_a_dry_run_writes_nothing_and_refuses_what_the_run_would(published: Path, tmp_path: Path) -> None:
    result = run("repository", "--to", "modelhub", "-o", "new", "--dry-run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "new/contrib_src/model/model.onnx" in result.stdout
    assert not (tmp_path / "new").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").touch()
    result = run("repository", "--to", "modelhub", "-o", "full", "--dry-run", cwd=tmp_path)
    assert result.returncode == 2
    assert "--overwrite" in result.stderr


def test_a_repository_is_converted(published: Path, tmp_path: Path) -> None:
    result = run("repository", "--to", "ckpt", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "small.ckpt\n"


def test_a_repository_is_looked_into(published: Path, tmp_path: Path) -> None:
    result = run("inspect", "repository", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for text in ("Image classification, 10 classes", "probabilities: label_list", "10 names, 0 to 9", "unstated",
                 "resnext_1-1_4x2d", "resize_size 256"):  # fmt: skip
        assert text in result.stdout, text


def test_a_repository_is_looked_into_by_scripts(published: Path, tmp_path: Path) -> None:
    result = run("inspect", "repository", "--json", cwd=tmp_path)
    found = json.loads(result.stdout)
    assert found["config"]["meta"]["name"] == "small"
    assert found["license"] == "unstated"
    assert found["file"]["network"]["classes"] == 10
    assert found["preprocessing"]["crop_size"] == 224


def test_what_is_wrong_with_a_repository_is_told(clone: Callable[..., Path], tmp_path: Path) -> None:
    other = config()
    other["meta"]["task"] = "Segmentation"
    folder = clone(config=other, labels={"0": "tench"}, readme="## meta data\n| task | Classification |\n")
    result = run("inspect", str(folder), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "README.md says task 'Classification', config.json 'Segmentation'" in result.stdout
    assert "lacks model.provenance, model.format" in result.stdout
    assert "viewer" in result.stdout


def test_claims_are_held_against_the_file(published: Path, tmp_path: Path) -> None:
    (published / "contrib_src/model/labels.json").write_text('{"0": "a"}')
    said = json.loads((published / "contrib_src/model/config.json").read_text())
    said["meta"]["name"] = "resnet-50"
    (published / "contrib_src/model/config.json").write_text(json.dumps(said))
    result = run("inspect", "repository", cwd=tmp_path)
    assert "config.json says resnet50, but the file holds resnext_1-1_4x2d" in result.stdout
    assert "labels.json names 1 classes, but the file has 10" in result.stdout
    result = run("repository", "--to", "ckpt", cwd=tmp_path)
    assert result.returncode == 3
    assert "is resnet50 or resnet50_v2, the file model.onnx holds resnext_1-1_4x2d" in result.stderr


def test_a_broken_repository_names_file_and_place(clone: Callable[..., Path], tmp_path: Path) -> None:
    other = config()
    other["meta"]["task"] = 7
    clone(config=other)
    for command in (("inspect", "resnet-50"), ("resnet-50", "--to", "ckpt")):
        result = run(*command, cwd=tmp_path)
        assert result.returncode == 3
        assert "resnet-50/contrib_src/model/config.json: $.meta.task is a number (7)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("inspect", "empty"), 5, "is no repository of modelhub.ai"),
        (("empty", "--to", "ckpt"), 5, "is no repository of modelhub.ai"),
        (("entry", "--to", "ckpt"), 5, "an entry of MindSpore Hub: give the .ckpt in it"),
        (("inspect", "empty", "--select", "ema"), 2, "--select"),
        (("empty", "--to", "ckpt", "--model-url", "https://x.org/y"), 2, "for publications"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "entry").mkdir()
    (tmp_path / "entry/mindspore_hub_conf.py").touch()
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == code, result.stderr
    assert said in result.stderr


def test_models_and_publications_are_listed(tmp_path: Path) -> None:
    assert run("list", "modelhub:", cwd=tmp_path).stdout == "modelhub:resnet-50\n"
    listed = json.loads(run("list", "--json", cwd=tmp_path).stdout)
    assert {"name": "modelhub", "title": "a repository of modelhub.ai", "container": "onnx",
            "weights": "contrib_src/model/model.onnx"} in listed["publications"]  # fmt: skip
    assert "modelhub:NAME" in listed["sources"]
