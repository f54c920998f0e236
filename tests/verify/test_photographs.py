"""Photographs of a folder: which are taken, how they are turned and cropped, and what is told of the others."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mshub_convert.converters.errors import EnvironmentError_
from mshub_convert.verify.errors import MissingPackageError
from mshub_convert.verify.inputs import MEAN, STD, Photographs, pictures
from mshub_convert.verify.preprocessing.album import given

SIZES = ((64, 64), (65, 71))


def drawn(index: int, height: int = 90, width: int = 120) -> Image.Image:
    """One drawn picture as Pillow has them."""
    batch = pictures(index + 1, height, width)[index].transpose(1, 2, 0)
    return Image.fromarray(np.uint8(np.round(255 * (batch * STD + MEAN))))


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Ten pictures, as .jpg and .png."""
    folder = tmp_path / "album"
    folder.mkdir()
    for index in range(10):
        drawn(index).save(folder / f"p{index}.{'png' if index % 2 else 'jpg'}")
    return folder


def names(found: Photographs) -> list[str]:
    return [path.stem for path in found.files]


def test_the_choice_is_spread_over_the_names_and_told(album: Path) -> None:
    found = Photographs.choose(album, count=8, sizes=SIZES)
    assert names(found) == ["p0", "p1", "p2", "p3", "p5", "p6", "p7", "p8"]
    assert found == Photographs.choose(album, count=8, sizes=SIZES)
    assert found.told == (
        f"8 of 10 pictures of {album} at 64x64 and 65x71: "
        "p0.jpg, p1.png, p2.jpg, p3.png, p5.png, p6.jpg, p7.png, p8.jpg"
    )
    assert found.notices == ()
    assert (found.count, found.labels) == (8, ("64x64", "65x71"))
    assert len(found.as_dict()["files"][0]["sha256"]) == 64


def test_batches_are_normalised_float32_of_each_size(album: Path, tmp_path: Path) -> None:
    found = Photographs.choose(album, count=8, sizes=SIZES)
    first, second = (np.load(path) for path in found.save(tmp_path))
    assert (first.shape, second.shape) == ((8, 3, 64, 64), (8, 3, 65, 71))
    assert first.dtype == second.dtype == np.float32
    (alone,) = (np.load(path) for path in found.narrowed(((65, 71),)).save(tmp_path))
    assert np.array_equal(alone, second)
    unit = first * np.reshape(STD, (1, 3, 1, 1)) + np.reshape(MEAN, (1, 3, 1, 1))
    assert unit.min() > -1e-5
    assert unit.max() < 1 + 1e-5


def test_it_is_the_centre_of_the_picture_resized_by_its_shorter_side(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(160, dtype=np.uint8)[None, :, None], (80, 160, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "ramp.png")
    found = Photographs.choose(tmp_path, count=1, sizes=((56, 56),))
    (batch,) = (np.load(path) for path in found.save(tmp_path))
    levels = 255 * (batch[0, 0] * STD[0] + MEAN[0])
    # 80 to 64 of which the middle 56: 70 of 160 columns, around column 79.5.
    assert levels[28, 0] == pytest.approx(79.5 - 35 + 0.6, abs=1.0)
    assert levels[28, -1] == pytest.approx(79.5 + 35 - 0.6, abs=1.0)


def test_a_picture_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    upright, turned = tmp_path / "upright", tmp_path / "turned"
    for folder in (upright, turned):
        folder.mkdir()
    picture = drawn(0)
    picture.save(upright / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    picture.transpose(Image.Transpose.ROTATE_90).save(turned / "a.png", exif=exif)
    one, other = (Photographs.choose(folder, count=1, sizes=((64, 64),)) for folder in (upright, turned))
    assert np.array_equal(np.load(one.save(tmp_path)[0]), np.load(other.save(tmp_path)[0]))


def test_what_cannot_be_used_is_left_out_by_name_and_the_next_one_taken(album: Path) -> None:
    (album / "p0.jpg").write_bytes((album / "p0.jpg").read_bytes()[:900])
    Image.new("RGB", (80, 80), (10, 20, 30)).save(album / "p1.png")
    Image.fromarray(np.zeros((80, 80), np.uint16)).save(album / "p2.png")
    (album / "p2.jpg").unlink()
    (album / "notes.txt").write_text("no picture")
    found = Photographs.choose(album, count=8, sizes=SIZES)
    assert names(found) == ["p3", "p4", "p5", "p6", "p7", "p8", "p9"]
    told = "\n".join(found.notices)
    assert "p0.jpg is left out: it cannot be read (" in told
    assert "p1.png is left out: it is nearly constant" in told
    assert "p2.png is left out: it holds values of mode I;16, not 8 bits a channel" in told
    assert "1 other file in" in told
    assert "7 pictures a size: fewer than 8 diverse ones may miss small mistakes" in told


def test_copies_and_grey_pictures_are_told(tmp_path: Path) -> None:
    grey = drawn(1).convert("L").convert("RGB")
    grey.save(tmp_path / "a.png")
    grey.save(tmp_path / "b.png")
    found = Photographs.choose(tmp_path, count=8, sizes=SIZES)
    assert "a.png/b.png are nearly the same picture, and count as one" in found.notices
    assert "every picture is grey: red and blue mixed up can hardly be seen" in found.notices
    assert "one picture a size: fewer than 8 diverse ones may miss small mistakes" in found.notices


def test_no_folder_an_empty_one_and_one_of_other_files(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentError_, match="nowhere is not there; a folder of pictures is needed"):
        Photographs.choose(tmp_path / "nowhere", count=8, sizes=SIZES)
    with pytest.raises(EnvironmentError_, match="there is nothing"):
        Photographs.choose(tmp_path, count=8, sizes=SIZES)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(EnvironmentError_, match="only 1 file of other kinds"):
        Photographs.choose(tmp_path, count=8, sizes=SIZES)
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(EnvironmentError_, match=r"a\.jpg is left out: it cannot be read") as caught:
        Photographs.choose(tmp_path, count=8, sizes=SIZES)
    assert "at least 8 photographs" in caught.value.remedy


def test_without_pillow_the_extra_is_named(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(MissingPackageError, match="needs Pillow, which is not installed") as caught:
        Photographs.choose(album, count=8, sizes=SIZES)
    assert caught.value.remedy == "pip install 'mshub-convert[images]'"
    assert caught.value.exit_code == 5


def test_preprocessing_leaves_out_what_cannot_be_read(album: Path) -> None:
    (album / "p3.png").write_text("no picture")
    paths, told, left_out = given(album)
    assert [path.stem for path in paths] == ["p0", "p1", "p2", "p4", "p5", "p6", "p7", "p8", "p9"]
    assert all(path.is_absolute() for path in paths)
    assert told == f"9 of 10 pictures of {album}"
    assert left_out == ["p3.png is left out: it cannot be read (cannot identify image file 'p3.png')"]
