"""The pictures: reproducible, varied in light and colour, never flat."""

import numpy as np
import pytest

from mshub_convert.verify.inputs import MEAN, STD, pictures


def _unit(batch):
    return batch * np.reshape(STD, (1, 3, 1, 1)) + np.reshape(MEAN, (1, 3, 1, 1))


@pytest.mark.parametrize("size", [(64, 64), (225, 231), (33, 97)])
def test_shape_range_and_reproducibility(size):
    batch = pictures(8, *size, seed=3)
    assert batch.shape == (8, 3, *size)
    assert batch.dtype == np.float32
    assert np.array_equal(batch, pictures(8, *size, seed=3))
    assert np.array_equal(batch[:2], pictures(2, *size, seed=3))
    assert not np.array_equal(batch, pictures(8, *size, seed=4))
    unit = _unit(batch)
    assert unit.min() > -1e-5
    assert unit.max() < 1 + 1e-5


@pytest.mark.parametrize("seed", range(20))
def test_every_picture_has_structure_and_colour(seed):
    unit = _unit(pictures(12, 64, 64, seed=seed))
    assert unit.std(axis=(2, 3)).min() > 0.01, "a flat channel"
    # Red and blue differ in every picture, or swapped channels would go unseen.
    assert np.abs(unit[:, 0] - unit[:, 2]).mean(axis=(1, 2)).min() > 0.02
    brightness = unit.mean(axis=(1, 2, 3))
    assert brightness.min() < 0.35
    assert brightness.max() > 0.5


def test_neighbouring_pixels_agree_more_than_distant_ones():
    unit = _unit(pictures(6, 128, 128))
    near = np.abs(np.diff(unit, axis=3)).mean()
    far = np.abs(unit[..., :64] - unit[..., 64:]).mean()
    assert near < 0.5 * far


@pytest.mark.parametrize("bad", [(0, 8, 8), (1, 0, 8), (1, 8, -1)])
def test_impossible_sizes_are_refused(bad):
    with pytest.raises(ValueError, match="no pictures"):
        pictures(*bad)


def test_tiny_pictures_are_drawn():
    assert np.isfinite(pictures(6, 1, 1)).all()
