"""Verification on the user's photographs and tensors, from the command line to the report."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import mshub_convert as mc
from mshub_convert.cli import cli
from mshub_convert.converters.errors import UsageError
from mshub_convert.verify.inputs import MEAN, STD, pictures


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for index, picture in enumerate(pictures(8, 90, 120).transpose(0, 2, 3, 1)):
        Image.fromarray(np.uint8(np.round(255 * (picture * STD + MEAN)))).save(folder / f"p{index}.png")
    return folder


@pytest.mark.slow
def test_a_verification_on_photographs_and_one_on_tensors(
    weights_file: Callable[..., Path], album: Path, tmp_path: Path
) -> None:
    source = weights_file()
    result = mc.convert(
        source,
        to="pth:torchvision",
        out=tmp_path / "out",
        verify=True,
        images=album,
        sizes=[(64, 64), (65, 71)],
    )
    assert result.proof
    told = dict(result.proof.facts())["inputs"]
    assert told.startswith(f"8 pictures of {album} at 64x64 and 65x71: p0.png, p1.png, ")
    assert [item.label for item in result.proof.comparisons] == ["64x64", "65x71"]
    assert json.loads(Path(f"{result.path}.mshub.json").read_text())["proof"]["inputs"]["kind"] == "photographs"

    np.savez(tmp_path / "x.npz", square=pictures(3, 64, 64), odd=pictures(3, 65, 71))
    proof = mc.verify(result, inputs=tmp_path / "x.npz")
    assert proof
    assert "square of 3 x 3 x 64 x 64" in dict(proof.facts())["inputs"]
    assert "3 pictures a size: fewer than 8 diverse ones may miss small mistakes" in proof.notices

    run = CliRunner().invoke(cli, ["verify", str(source), str(result.path), "--sizes", "64x64", "--count", "2",
                                   "--seed", "7", "--json", "-q"])  # fmt: skip
    assert run.exit_code == 0
    said = json.loads(run.stdout)
    assert said["inputs"] == {"kind": "drawn", "count": 2, "sizes": [[64, 64]], "seed": 7}
    assert said["notices"][0].startswith("every picture is 64x64: mistakes of padding")


def test_inputs_without_verify_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--images says how to verify, and that was not asked for") as caught:
        mc.convert(tmp_path / "nothing.pth", images=tmp_path)
    assert caught.value.remedy == "Add --verify, or leave it out."
    run = CliRunner().invoke(cli, ["convert", "nothing.pth", "--to", "ckpt", "--count", "3"])
    assert isinstance(run.exception, UsageError)


def test_a_size_that_is_none_is_refused_by_the_command_line() -> None:
    run = CliRunner().invoke(cli, ["verify", "a.pth", "b.pth", "--sizes", "224"])
    assert isinstance(run.exception, UsageError)
    assert "'224' is no size" in str(run.exception)
