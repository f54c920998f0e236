"""What was done to pictures, found from what came out: each mistake is named, and no other."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mshub_convert.converters.errors import UsageError
from mshub_convert.converters.preprocessing import Preprocessing, from_facts
from mshub_convert.verify.preprocessing import album, causes
from mshub_convert.verify.preprocessing.budget import Budget, differences
from mshub_convert.verify.preprocessing.libraries import modelhub
from mshub_convert.verify.preprocessing.libraries.settings import share
from mshub_convert.verify.preprocessing.rendering import Album
from mshub_convert.verify.preprocessing.settings import parse_settings

pytestmark = pytest.mark.slow

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SOURCE = Preprocessing(256, 224, MEAN, STD)
BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return list(album.made(tmp_path_factory.mktemp("pictures")))[:3]


def cropped(picture: Image.Image, size: int = 256, kind: Any = BILINEAR, *, squash: bool = False) -> np.ndarray:
    """Levels (224, 224, 3) as torchvision gives them, in Pillow's terms alone."""
    width, height = picture.size
    short = min(width, height)
    new = (size, size) if squash else (int(size * width / short), int(size * height / short))
    left, top = (round((side - 224) / 2) for side in new)
    return np.asarray(picture.resize(new, kind).crop((left, top, left + 224, top + 224)), np.float64)


def normal(levels: np.ndarray, mean: Any = MEAN, std: Any = STD) -> np.ndarray:
    return ((levels / 255 - mean) / std).transpose(2, 0, 1).astype(np.float32)


MISTAKES: dict[str, tuple[Callable[[Image.Image], np.ndarray], dict[str, str]]] = {
    "none": (lambda p: normal(cropped(p)), {}),
    "crop percentage": (lambda p: normal(cropped(p, 235)), {"resize": "crop percentage: the crop is 0.953"}),
    "odd resize": (lambda p: normal(cropped(p, 301)), {"resize": "crop percentage: the crop is 0.744"}),
    "squash": (lambda p: normal(cropped(p, 256, squash=True)), {"edges": "both edges are resized (squashed) to 256"}),
    "squash to the crop": (
        lambda p: normal(cropped(p, 224, squash=True)), {"edges": "squashed", "resize": "the crop is 1.000"},
    ),
    "bicubic": (lambda p: normal(cropped(p, kind=BICUBIC)), {"interpolation": "bicubic, where the source's"}),
    "BGR": (lambda p: normal(cropped(p)[..., ::-1]), {"channels": "channels are BGR, where the source's are RGB"}),
    "BGR with its mean": (
        lambda p: normal(cropped(p)[..., ::-1], MEAN[::-1], STD[::-1]), {"channels": "channels are BGR"},
    ),
    "not over 255": (
        lambda p: normal(255 * cropped(p)), {"mean and std": "values are not divided by 255 before mean and deviation"},
    ),
    "no mean": (lambda p: normal(cropped(p), (0, 0, 0), (1, 1, 1)), {"mean and std": "values are 0..1"}),
    "raw": (lambda p: cropped(p).transpose(2, 0, 1), {"mean and std": "values are levels 0..255"}),
    "mean of blue first": (
        lambda p: normal(cropped(p), MEAN[::-1], STD[::-1]), {"mean and std": "in the order of the other channels"},
    ),
    "another mean": (
        lambda p: normal(cropped(p), (0.5,) * 3, (0.5,) * 3), {"mean and std": "mean (0.5, 0.5, 0.5) and"},
    ),
    "several": (
        lambda p: normal(cropped(p, 235, BICUBIC)[..., ::-1], (0.5,) * 3, (0.5,) * 3),
        {"resize": "0.953", "interpolation": "bicubic", "channels": "BGR", "mean and std": "0.5"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_named_and_no_other(paths: list[Path], mistake: str) -> None:
    make, expected = MISTAKES[mistake]
    pictures = Album(paths)
    found = causes.find(pictures, [make(Image.open(path).convert("RGB")) for path in paths], SOURCE)
    told = {cause.name: cause.told for cause in causes.causes(pictures, SOURCE, found)}
    assert told.keys() == expected.keys(), told
    for name, words in expected.items():
        assert words in told[name]
    assert found.unexplained < 0.01
    assert all(cause.levels > 0.25 for cause in causes.causes(pictures, SOURCE, found))


def test_sampling_without_antialias_and_a_margin_rounded_down_are_named(paths: list[Path]) -> None:
    def sampled(picture: Image.Image) -> np.ndarray:
        width, height = picture.size
        short = min(width, height)
        new = (int(256 * width / short), int(256 * height / short))
        small = picture.transform(new, Image.Transform.EXTENT, (0, 0, width, height), BILINEAR)
        left, top = ((side - 224) // 2 for side in new)
        return normal(np.asarray(small.crop((left, top, left + 224, top + 224)), np.float64))

    pictures = Album(paths)
    found = causes.find(pictures, [sampled(Image.open(path).convert("RGB")) for path in paths], SOURCE)
    assert {cause.name for cause in causes.causes(pictures, SOURCE, found)} == {"antialias", "margin"}


def test_turning_as_exif_says_is_named(tmp_path: Path, paths: list[Path]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = []
    for path in paths:
        turned.append(tmp_path / path.name)
        Image.open(path).save(turned[-1], exif=exif)
    pictures = Album(turned)
    arrays = [normal(cropped(Image.open(path).convert("RGB").transpose(Image.Transpose.ROTATE_270))) for path in turned]
    found = causes.find(pictures, arrays, SOURCE)
    (cause,) = causes.causes(pictures, SOURCE, found)
    assert cause.told == "pictures are turned as their EXIF says, which the source does not do"


def test_a_crop_of_another_size_is_named(paths: list[Path]) -> None:
    pictures = Album(paths)
    smaller = replace(SOURCE, crop=192, resize=219)
    arrays = [normal(levels.transpose(1, 2, 0)) for levels in pictures.levels(smaller)]
    found = causes.find(pictures, arrays, SOURCE)
    (cause,) = causes.causes(pictures, SOURCE, found)
    assert cause.told == "the crop is 192 pixels of 219, in the source 224 of 256"


def test_what_is_no_preprocessing_of_ours_is_not_explained(paths: list[Path]) -> None:
    noise = [np.random.default_rng(0).standard_normal((3, 224, 224)) for _ in paths]
    assert causes.find(Album(paths), noise, SOURCE).unexplained > 20


def test_differences_are_in_levels_and_the_budget_holds_each_picture() -> None:
    one = np.zeros((3, 4, 4), np.float32)
    other = one.copy()
    other[0] += 10 / 255 / STD[0]
    (found,) = differences(["a"], [one], [other], STD)
    assert (found.mean, found.largest, found.share) == (pytest.approx(10 / 3), pytest.approx(10), pytest.approx(1 / 3))
    assert not found.within(Budget())
    (same,) = differences(["a"], [one], [one], STD)
    assert same.within(Budget())
    assert differences(["a"], [one], [np.zeros((3, 5, 5))], STD) == ()


def test_the_runner_of_a_repository_turns_and_orders_channels_where_that_is_stated(
    tmp_path: Path, paths: list[Path]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.open(paths[1])
    picture.save(tmp_path / "turned.png", exif=exif)
    upright = picture.convert("RGB").transpose(Image.Transpose.ROTATE_270)
    mean, std = MEAN[::-1], STD[::-1]
    prepare, made = modelhub.prepare(replace(SOURCE, channels="BGR", oriented=True, mean=mean, std=std))
    assert (made.channels, made.oriented) == ("BGR", True)
    assert np.allclose(prepare(tmp_path / "turned.png"), normal(cropped(upright)[..., ::-1], mean, std), atol=1e-5)
    plain, _ = modelhub.prepare(SOURCE)
    assert np.allclose(plain(tmp_path / "turned.png"), normal(cropped(picture.convert("RGB"))), atol=1e-5)


def test_what_mmpretrain_states_is_read_in_the_same_units() -> None:
    facts = {
        "input_size": [3, 224, 224], "resize": "short edge", "resize_size": 256, "crop_size": 224,
        "interpolation": "bicubic", "resize_backend": "cv2", "decoded_as": "BGR", "to_rgb": True,
        "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "value_range": [0, 255],
    }  # fmt: skip
    found = from_facts(facts)
    assert found is not None
    assert (found.interpolation, found.antialias, found.channels, found.oriented) == ("bicubic", False, "RGB", True)
    assert found.mean == pytest.approx(MEAN)
    assert found.std == pytest.approx(STD)
    assert from_facts(found.as_dict()) == found
    each = from_facts(facts | {"resize": "each edge", "resize_backend": "pillow", "to_rgb": False})
    assert each is not None
    assert (each.edges, each.antialias, each.channels) == ("both", True, "BGR")


@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (235, 224), (232, 224), (320, 288), (342, 299), (224, 224)])
def test_a_crop_percentage_gives_the_resize_it_is_for(resize: int, crop: int) -> None:
    assert int(crop / share(replace(SOURCE, resize=resize, crop=crop))) == resize


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"resise": "3"}, "no setting 'resise'"),
        ({"resize": "x"}, "resize=x cannot be meant"),
        ({"mean": "1,2"}, "mean=1,2 cannot be meant"),
        ({"interpolation": "cubic"}, "interpolation=cubic cannot be meant"),
        ({"antialias": "yes"}, "antialias=yes cannot be meant"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parse_settings(settings)
    assert caught.value.remedy
