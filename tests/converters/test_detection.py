"""Boxes, suppression and matching, against cases worked out by hand."""

import math

import numpy as np
import pytest

from mshub_convert.converters.detection import Detections, agreement, decode, detect, overlaps, suppress
from mshub_convert.mappings.architectures.ssd_anchors import anchors


def test_nothing_said_is_the_anchor_itself():
    count = len(anchors(640, 640))
    boxes = decode(np.zeros((1, count, 4), np.float32), 640, 640)
    assert boxes.dtype == np.float32
    # The first anchor reaches out of the picture and is cut.
    assert boxes[0, 0] == pytest.approx([0, 0, 0.03125, 0.03125])
    place = 6 * (40 * 80 + 40)
    centre = 40 * 8 + 4
    assert boxes[0, place] * 640 == pytest.approx([centre - 16, centre - 16, centre + 16, centre + 16], abs=1e-3)


def test_loc_moves_and_grows_in_y_before_x():
    count = len(anchors(640, 640))
    loc = np.zeros((1, count, 4))
    place = 6 * (40 * 80 + 40)
    loc[0, place] = [5.0, 0.0, math.log(2) / 0.2, 0.0]
    box = decode(loc, 640, 640)[0, place] * 640
    centre = 40 * 8 + 4
    # Half of the anchor's 32 pixels down, twice as tall.
    assert box == pytest.approx([centre + 16 - 32, centre - 16, centre + 16 + 32, centre + 16])


def test_loc_of_another_size_is_refused():
    with pytest.raises(ValueError, match="have 51150 anchors"):
        decode(np.zeros((1, 10, 4)), 640, 640)


def test_areas_count_the_pixels_of_both_ends():
    # 10 of 30 pixels wide in common: 10x10 of 20x10 each, counted with both ends; without, 9x9 / (2*19*9-9*9).
    boxes = np.array([[0, 0, 9, 19], [0, 10, 9, 29]], float)
    scores = np.array([0.5, 0.9])
    assert list(suppress(boxes, scores, 1 / 3 + 1e-9, 100)) == [1, 0]
    assert list(suppress(boxes, scores, 1 / 3 - 1e-9, 100)) == [1]
    touching = np.array([[0, 0, 9, 9], [0, 9, 9, 18]], float)
    assert list(suppress(touching, scores, 0.0, 100)) == [1]
    apart = np.array([[0, 0, 9, 9], [0, 10, 9, 19]], float)
    assert list(suppress(apart, scores, 0.0, 100)) == [1, 0]


@pytest.mark.parametrize("most", [7, 1000])
def test_suppression_is_greedy(most):
    random = np.random.default_rng(0)
    middles, sides = random.uniform(0, 100, (200, 2)), random.uniform(1, 60, (200, 2))
    boxes, scores = np.concatenate([middles - sides, middles + sides], 1), random.uniform(0, 1, 200).round(2)
    expected: list[int] = []
    for place in sorted(range(200), key=lambda place: -scores[place]):
        if all(overlaps(boxes[place], boxes[other]) <= 0.4 for other in expected):
            expected.append(place)
    assert len(expected) > 20
    assert list(suppress(boxes, scores, 0.4, most)) == expected[:most]


def test_at_most_so_many_of_a_class_and_none_of_the_background():
    boxes = np.array([[0, 0, 0.1, 0.1], [0.5, 0.5, 0.6, 0.6], [0.8, 0.8, 0.9, 0.9]])
    scores = np.array([[1.0, 0.2, 0.1], [1.0, 0.3, 0.1], [1.0, 0.4, 0.11]])
    found = detect(boxes, scores, 200, 400, most=2)
    # A score of exactly the threshold is not enough.
    assert list(found.classes) == [1, 1, 2]
    assert list(found.scores) == [0.4, 0.3, 0.11]
    assert found.boxes[0] == pytest.approx([160, 320, 180, 360])
    assert len(detect(boxes, scores, 200, 400, score_threshold=0.9)) == 0


def made(boxes, scores, classes):
    return Detections(np.array(boxes, float).reshape(-1, 4), np.array(scores, float), np.array(classes))


def test_detections_are_matched_class_by_class():
    first = made([[0, 0, 9, 9], [20, 20, 29, 29], [50, 50, 59, 59]], [0.9, 0.8, 0.7], [1, 2, 1])
    second = made([[20, 20, 29, 29], [0, 0, 9, 8], [80, 80, 89, 89]], [0.8, 0.85, 0.2], [2, 1, 1])
    found = agreement(first, second)
    assert (found.matched, found.alone) == (2, (1, 1))
    assert found.least_iou == pytest.approx(0.9)
    assert found.largest_difference == pytest.approx(0.05)
    nothing = agreement(first, made([], [], []))
    assert (nothing.matched, nothing.alone) == (0, (3, 0))
    assert math.isnan(nothing.least_iou)
