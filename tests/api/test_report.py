"""``--report`` at the command line and in Python: refused before anything runs, written whatever the verdict."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mshub_convert as mc
from mshub_convert.converters.errors import UsageError


def run(*arguments: str, cwd: Path, code: str = "from mshub_convert.cli import main; main()") -> tuple[int, str, str]:
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    return result.returncode, result.stdout, result.stderr


# As if it were not installed.
WITHOUT_MATPLOTLIB = (
    "import importlib.util as u; find = u.find_spec\n"
    "u.find_spec = lambda name, *rest: None if name == 'matplotlib' else find(name, *rest)\n"
    "from mshub_convert.cli import main; main()"
)


def test_without_matplotlib_nothing_is_run(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    weights_file()
    for arguments in (
        ("small.safetensors", "--to", "ckpt", "--verify", "--report", "report.html"),
        ("verify", "small.safetensors", "small.safetensors", "--report", "report.html"),
    ):
        code, _, said = run(*arguments, cwd=tmp_path, code=WITHOUT_MATPLOTLIB)
        assert code == 5
        assert "matplotlib" in said
        assert "pip install 'mshub-convert[report]'" in said
    assert [path.name for path in tmp_path.iterdir()] == ["small.safetensors"]


def test_a_report_is_a_page(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    weights_file()
    arguments = ("verify", "small.safetensors", "small.safetensors", "--report", "small.safetensors")
    code, _, said = run(*arguments, cwd=tmp_path)
    assert code == 2
    assert "small.safetensors does not end in .html" in said


def test_a_report_needs_a_verification(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    weights_file()
    code, _, said = run("small.safetensors", "--to", "ckpt", "--report", "report.html", cwd=tmp_path)
    assert code == 2
    assert "--report" in said
    assert "--verify" in said


def test_a_report_is_no_part_of_a_publication(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no part of it"):
        mc.convert(
            weights_file(), to="modelhub", out=tmp_path / "made", verify=True, report=tmp_path / "made" / "r.html"
        )
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_a_conversion_and_its_failure_are_reported(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    """The second run has a target of other weights."""
    weights_file()
    given = ("--sizes", "32x32,33x39", "--count", "2", "--json")
    arguments = ("small.safetensors", "--to", "pth", "--verify", "--report", "pages/good.html", *given)
    code, said, talk = run(*arguments, cwd=tmp_path)
    assert code == 0, talk
    assert json.loads(said)["proof"]["report"] == "pages/good.html"
    assert "pages/good.html" in talk
    page = (tmp_path / "pages" / "good.html").read_text(encoding="utf-8")
    assert "mshub-convert small.safetensors --to pth --verify --report pages/good.html" in page
    assert json.loads(said)["sha256"] in page
    assert "Pass" in page

    other = weights_file(seed=1, name="other.safetensors")
    shutil.move(other, tmp_path / "target.safetensors")
    code, said, _ = run(
        "verify", "small.safetensors", "target.safetensors", "--report", "bad.html", *given, cwd=tmp_path
    )
    assert code == 4
    page = (tmp_path / "bad.html").read_text(encoding="utf-8")
    assert "Fail: the target is not the source" in page
    assert all(name in page for name in json.loads(said)["weights"]["differing"])
