"""The examples run as they are."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_convert_file(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    assert "extend mindcv" in run("convert_file.py", str(weights_file()), str(tmp_path / "out"))
    assert (tmp_path / "out" / "small.ckpt").is_file()


@pytest.mark.slow
def test_live_module(tmp_path: Path) -> None:
    said = run("live_module.py", str(tmp_path))
    assert "267 arrays" in said
    assert "10 classes" in said


@pytest.mark.slow
def test_finetuned_checkpoint(tmp_path: Path) -> None:
    said = run("finetuned_checkpoint.py", str(tmp_path / "new"))
    assert "37 classes" in said
    assert "optimizer" in said
    assert "module." in said
    assert (tmp_path / "new" / "finetuned.ckpt").is_file()


@pytest.mark.slow
def test_proof(tmp_path: Path) -> None:
    said = run("proof.py", str(tmp_path))
    assert "pass:" in said
    assert "fail:" in said


@pytest.mark.slow
def test_foreign_onnx(tmp_path: Path) -> None:
    said = run("foreign_onnx.py", str(tmp_path))
    assert "exported.onnx: resnet18, 1000 classes" in said
    assert "20 BatchNorms were folded into convolutions" in said
    assert "statistics of 16 drawn pictures" in said
    assert "the target is as near to float64 as the source" in said
    assert (tmp_path / "training.pth").is_file()


@pytest.mark.slow
def test_ssd_detections(tmp_path: Path) -> None:
    said = run("ssd_detections.py", str(tmp_path))
    assert "not trained" in said
    found = re.search(r"(\d+) detections in MindSpore, (\d+) in torch, (\d+) are the same", said)
    assert found
    in_mindspore, in_torch, same = map(int, found.groups())
    assert in_mindspore > 10
    # One pair of boxes at the very threshold may fall either way.
    assert same >= max(in_mindspore, in_torch) - 2
    assert (tmp_path / "detections.png").stat().st_size > 1000


@pytest.mark.slow
def test_demo() -> None:
    said = run("demo.py")
    assert "PASS" in said
    assert "not pretrained" in said
    assert "largest" in said
