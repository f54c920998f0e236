"""``--emit-network`` on the command line and in Python: what is written, kept and refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mshub_convert as mc

pytestmark = pytest.mark.slow


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mshub_convert", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def checkpoint(weights_file: Callable[..., Path]) -> Path:
    """A .ckpt of model_zoo's names, without a record."""
    source = weights_file()
    path = Path(mc.convert(source, to="ckpt:modelzoo", out=source.with_name("zoo.ckpt")).path)
    path.with_name("zoo.ckpt.mshub.json").unlink()
    return path


def test_weights_and_module_are_written(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    result = run(str(weights_file()), "--to", "ckpt", "--emit-network", "made/net.py", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "small.ckpt\n"
    assert "module   made/net.py" in result.stderr
    assert "load_mindspore, which builds the network, or in the network of net.py." in result.stderr
    assert "the network of small.ckpt" in " ".join((tmp_path / "made/net.py").read_text().split())
    assert list((tmp_path / "made").iterdir()) == [tmp_path / "made/net.py"]


def test_the_network_of_a_file_that_is_left_as_it_is(checkpoint: Path, tmp_path: Path) -> None:
    before = checkpoint.read_bytes()
    result = run("zoo.ckpt", "--to", "ckpt", "--emit-network", "net.py", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "net.py\n"
    assert "left as they are" in result.stderr
    assert checkpoint.read_bytes() == before
    assert not (tmp_path / "zoo.ckpt.mshub.json").exists()
    # Its own names, though mindcv's are the container's default.
    assert "SplitConv" in (tmp_path / "net.py").read_text()


def test_what_would_be_written_is_told(checkpoint: Path, tmp_path: Path) -> None:
    result = run("zoo.ckpt", "--to", "ckpt", "--emit-network", "net.py", "--dry-run", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["output"], told["network"], told["target_dialect"]) == (None, "net.py", "modelzoo")
    assert not (tmp_path / "net.py").exists()


def test_from_python(checkpoint: Path, tmp_path: Path) -> None:
    result = mc.convert(checkpoint, to="ckpt", out=tmp_path / "other.ckpt", emit_network=tmp_path / "net.py")
    assert result.network == tmp_path / "net.py"
    assert result.as_dict()["network"] == str(tmp_path / "net.py")
    assert "SplitConv" not in (tmp_path / "net.py").read_text()


def test_an_existing_module_is_kept(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("mine")
    words = (str(weights_file()), "--to", "ckpt", "--emit-network", "net.py")
    for more in ((), ("--dry-run",)):
        result = run(*words, *more, cwd=tmp_path)
        assert result.returncode == 2
        assert "net.py exists" in result.stderr
        assert "--overwrite" in result.stderr
    assert (tmp_path / "net.py").read_text() == "mine"
    assert not (tmp_path / "small.ckpt").exists()
    assert run(*words, "--overwrite", cwd=tmp_path).returncode == 0
    assert (tmp_path / "net.py").read_text() != "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "pth", "--emit-network", "net.py"), "--emit-network writes the network of a .ckpt, and --to pth was"),
        (("--to", "safetensors:mindcv", "--emit-network", "net.py"), "and --to safetensors was asked for"),
        (("--to", "modelhub", "--emit-network", "net.py"), "and --to modelhub was asked for"),
        (("--to", "ckpt", "--emit-network", "net"), "is no name of a Python module"),
        (("--to", "ckpt", "--emit-network", "folder.py"), "--emit-network folder.py is a folder"),
        (("--to", "ckpt:mindcv", "--emit-network", "net.py"), "zoo.ckpt is the source itself"),
        (("--to", "ckpt", "--dtype", "float16", "--emit-network", "net.py"), "zoo.ckpt is the source itself"),
        (
            ("--to", "ckpt", "--verify", "--emit-network", "net.py"),
            "--verify compares what was written with its source",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(checkpoint: Path, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "folder.py").mkdir()
    result = run("zoo.ckpt", *words, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert said in result.stderr
    assert not (tmp_path / "net.py").exists()


def test_a_training_checkpoint_is_cleaned_elsewhere(checkpoint: Path, tmp_path: Path) -> None:
    import mindspore
    import numpy as np

    weights = mindspore.load_checkpoint(str(checkpoint))
    weights["moments.head.fc.bias"] = mindspore.Parameter(mindspore.Tensor(np.zeros(10, np.float32)), name="moments")
    mindspore.save_checkpoint([{"name": name, "data": value} for name, value in weights.items()], str(checkpoint))
    words = ("zoo.ckpt", "--to", "ckpt", "--emit-network", "net.py")
    result = run(*words, cwd=tmp_path)
    assert result.returncode == 2
    assert "a network with the names of modelzoo would not load it as it is" in result.stderr
    assert run(*words, "-o", "clean/", cwd=tmp_path).returncode == 0
    assert (tmp_path / "clean/zoo.ckpt").exists()
