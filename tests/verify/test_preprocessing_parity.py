"""The libraries' own code on the same pictures: which agree, and what is named where they do not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

import mshub_convert as mc
from mshub_convert.cli import cli
from mshub_convert.converters.errors import EnvironmentError_, UsageError
from mshub_convert.verify.preprocessing import Parity, album

slow = pytest.mark.slow
SOURCE = "torchvision:resnet50.IMAGENET1K_V1"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    album.made(folder)
    return folder


def names(found: Parity) -> set[str]:
    return {cause.name for cause in found.causes}


@slow
@pytest.mark.parametrize(
    ("to", "settings"),
    [
        ("modelhub", {}), ("mmpretrain", {"antialias": "true"}),
        ("timm", {"resize": "256", "interpolation": "bilinear"}),
    ],
)  # fmt: skip
def test_libraries_that_resize_with_pillow_agree_to_the_bit(to: str, settings: dict[str, str], pictures: Path) -> None:
    found = mc.preprocessing_parity(SOURCE, to=to, images=pictures, settings=settings)
    assert found, found.reason
    assert max(picture.mean for picture in found.pictures) < 1e-4
    assert not found.causes


@slow
@pytest.mark.parametrize(
    ("to", "settings", "expected"),
    [
        ("torchvision", {"edges": "both", "mean": "0.5,0.5,0.5", "std": "0.5,0.5,0.5"}, {"edges", "mean and std"}),
        ("mmpretrain", {"antialias": "true", "channels": "BGR"}, {"channels"}),
        ("timm", {}, {"resize", "interpolation"}),
    ],
)
def test_what_a_library_does_otherwise_is_named(
    to: str, settings: dict[str, str], expected: set[str], pictures: Path
) -> None:
    found = mc.preprocessing_parity(SOURCE, to=to, images=pictures, settings=settings)
    assert not found
    assert names(found) == expected
    assert found.advice or settings.get("edges") == "both"
    if to != "mmpretrain":
        assert found.advised is not None
        assert found.advised < 1e-4


@slow
def test_mindcv_samples_without_antialias_and_its_bicubic_of_pillow_is_pillows(pictures: Path) -> None:
    found = mc.preprocessing_parity(SOURCE, images=pictures)
    assert names(found) == {"antialias", "margin"}
    even = pictures.parent / "even"
    even.mkdir(exist_ok=True)
    for name in ("drawn-300x300.png", "drawn-375x500.jpg", "drawn-232x350.jpg"):
        Image.open(pictures / name).crop((0, 0, 300, 230)).save(even / name.replace("jpg", "png"))
    source = "timm:resnext50_32x4d.ra_in1k"
    settings = {"interpolation": "bicubic", "antialias": "true"}
    (even / "drawn-300x300.png").unlink()
    Image.open(pictures / "drawn-300x300.png").save(even / "square.png")
    alike = mc.preprocessing_parity(source, images=even, settings=settings)
    assert max(picture.mean for picture in alike.pictures if picture.name == "square.png") < 1e-4


@slow
def test_a_function_of_the_users_and_a_converted_file_with_its_weights(
    weights_file: Callable[..., Path], pictures: Path, tmp_path: Path
) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "import numpy as np\nfrom PIL import Image\n\n\ndef load(path):\n"
        "    array = np.asarray(Image.open(path).convert('RGB').resize((224, 224)), np.float32) / 255\n"
        "    return (array[None, :, :, ::-1].transpose(0, 3, 1, 2) - 0.5) / 0.5\n"
    )
    found = mc.preprocessing_parity(SOURCE, to=f"{code}:load", images=pictures)
    assert {"edges", "channels", "interpolation", "mean and std", "resize"} == names(found)
    assert found.target_how is None

    command = ["preprocessing", SOURCE, "--to", "torchvision", "--set", "resize=235", "--init", "calibrated:0",
               "--images", str(pictures), "--json", "-q"]  # fmt: skip
    run = CliRunner().invoke(cli, command)
    assert run.exit_code == 4
    said = json.loads(run.stdout)
    assert [cause["cause"] for cause in said["causes"]] == ["resize"]
    assert said["effect"]["top1_of"] == 6
    assert 0 < said["effect"]["mean"] <= said["effect"]["worst"]


def test_requests_that_cannot_be_carried_out(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no library 'mindvc' whose preprocessing is known") as caught:
        mc.preprocessing_parity(SOURCE, to="mindvc")
    assert "mindcv" in caught.value.remedy
    with pytest.raises(EnvironmentError_, match=r"no file nothing\.py"):
        mc.preprocessing_parity(SOURCE, to="nothing.py:load")
    with pytest.raises(EnvironmentError_, match=r"no file nothing\.pth"):
        mc.preprocessing_parity("nothing.pth")
    with pytest.raises(EnvironmentError_, match="states no preprocessing, so there is nothing to compare with"):
        mc.preprocessing_parity(weights_file())
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(UsageError, match="is a function, which takes no settings"):
        mc.preprocessing_parity(SOURCE, to=f"{tmp_path / 'mine.py'}:load", settings={"resize": "3"})
