"""What a detector finds on both sides: what rounding explains is told, what it does not explain fails."""

from dataclasses import replace

import numpy as np
import pytest

from mshub_convert.converters.detection import keep
from mshub_convert.mappings.architectures.ssd_anchors import anchors
from mshub_convert.verify.compare import Verdict
from mshub_convert.verify.detections import detection_parity, with_boxes
from mshub_convert.verify.inputs import Inputs
from mshub_convert.verify.judge import Evidence, judge
from mshub_convert.verify.proof import Proof
from mshub_convert.verify.runtimes import Outcome
from mshub_convert.verify.weights import Weights

SIDE = 64
ANCHORS = len(anchors(SIDE, SIDE))
CLASSES = 4
NOISE = 1e-7


def outputs(pictures=2, classes=CLASSES):
    """What a detector could say in float64: a few sure anchors, boxes that overlap."""
    random = np.random.default_rng(0)
    return {
        "loc": random.standard_normal((pictures, ANCHORS, 4)),
        "scores": 1 / (1 + np.exp(4 - 2 * random.standard_normal((pictures, ANCHORS, classes)))),
    }


def rounded(exact, seed):
    random = np.random.default_rng(seed)
    return {
        name: (array * (1 + NOISE * random.standard_normal(array.shape))).astype(np.float32)
        for name, array in exact.items()
    }


@pytest.fixture
def runs():
    exact = outputs()
    return {"source": rounded(exact, 1), "target": rounded(exact, 2), "reference": exact}


def parity(runs):
    return detection_parity("64x64", with_boxes(runs, SIDE, SIDE))


def told(change):
    """The parity after ``change(loc, scores)`` of the target, in place."""
    exact = outputs()
    runs = {"source": rounded(exact, 1), "target": rounded(exact, 2), "reference": exact}
    change(runs["target"]["loc"], runs["target"]["scores"])
    return parity(runs)


def test_rounding_changes_nothing(runs):
    found = parity(runs)
    assert (found.verdict, found.reason) == (Verdict.PASS, "source and target find the same")
    assert found.source == found.target == found.same > 50
    assert (found.explained, found.unexplained) == (0, 0)
    assert 0.99999 < found.least_iou < 1
    assert 0 < found.score_difference < 1e-6
    assert f"{found.same} the same" in found.told


def test_every_picture_counts():
    exact = outputs(pictures=5)
    runs = {"source": rounded(exact, 1), "target": rounded(exact, 2), "reference": exact}
    assert parity(runs).pictures == 5
    runs["target"]["scores"][4, :, 1] = 0.0
    found = parity(runs)
    assert (found.verdict, found.pictures) == (Verdict.FAIL, 5)


def surest(runs, at=0):
    """Anchor and class of a detection of the source on the first picture."""
    boxed = with_boxes(runs, SIDE, SIDE)["source"]
    return keep(boxed["boxes"][0], boxed["scores"][0].astype(np.float64))[at]


@pytest.mark.parametrize(("score", "verdict"), [(0.1 - 3e-8, Verdict.PASS), (0.099, Verdict.FAIL)])
def test_a_score_at_the_threshold_may_fall_the_other_way_and_one_that_is_off_may_not(runs, score, verdict):
    place, index = surest(runs)
    for name, value in (("source", 0.1 + 3e-8), ("reference", 0.1), ("target", score)):
        # Alone in its class, so that nothing else changes.
        runs[name]["scores"][0, :, index] = 0.0
        runs[name]["scores"][0, place, index] = value
    found = parity(runs)
    assert found.verdict is verdict
    assert (found.explained, found.unexplained) == ((1, 0) if verdict is Verdict.PASS else (0, 1))
    assert ("rounding makes fall" if verdict is Verdict.PASS else "1 detection of one side only") in found.reason


def chain(exact, iou):
    """Three boxes of one class: the surest overlaps the second by ``iou``, the second hides the third."""
    moved = {name: array.copy() for name, array in exact.items()}
    moved["scores"][...] = 0.0
    boxes = np.array([[8, 8, 39, 39], [8, 8, 39, 39], [8, 8, 39, 39]], float)
    boxes[1] += [0, shift(iou), 0, shift(iou)]
    boxes[2] += [0, 2 * shift(iou) - 2, 0, 2 * shift(iou) - 2]
    told = np.array(anchors(SIDE, SIDE))
    for place, box in zip((10, 20, 30), boxes, strict=True):
        centre, size = (box[:2] + box[2:]) / 2 / SIDE, (box[2:] - box[:2]) / SIDE
        moved["loc"][0, place, :2] = (centre - told[place, :2]) / told[place, 2:] / 0.1
        moved["loc"][0, place, 2:] = np.log(size / told[place, 2:]) / 0.2
        moved["scores"][0, place, 1] = 0.9 - place / 100
    return moved


def shift(iou):
    """How far to move a box 32 pixels wide so that it overlaps its former self so much."""
    return 32 * (1 - iou) / (1 + iou)


def test_one_overlap_at_the_threshold_explains_what_follows_from_it():
    exact = chain(outputs(), 0.6)
    # Sides are told with more noise elsewhere than these overlaps differ by.
    runs = {"source": chain(rounded(exact, 1), 0.6 + 1e-6), "target": chain(rounded(exact, 2), 0.6 - 1e-6)}
    found = parity({**runs, "reference": exact})
    assert (found.source, found.target, found.same) == (2, 2, 1)
    assert (found.explained, found.unexplained) == (2, 0)
    assert found.verdict is Verdict.PASS


def test_an_overlap_away_from_the_threshold_explains_nothing():
    exact = chain(outputs(), 0.62)
    runs = {"source": chain(rounded(exact, 1), 0.62), "target": chain(rounded(exact, 2), 0.58)}
    found = parity({**runs, "reference": exact})
    assert found.unexplained
    assert found.verdict is Verdict.FAIL


def test_a_class_that_is_full_lets_the_next_sure_one_in():
    exact = outputs()
    exact["loc"][...] = 0.0
    exact["scores"][...] = 0.0
    told = np.array(anchors(256, 256))
    assert len(told) > 1000
    exact = {"loc": np.zeros((1, len(told), 4)), "scores": np.zeros((1, len(told), 2))}
    # The first anchor of each cell of the finest level: 32 pixels apart every fourth, they overlap little.
    places = [6 * (32 * row + column) for row in range(2, 30, 3) for column in range(2, 30, 3)][:100]
    places = [*places, 6 * (32 * 5 + 31)]
    exact["scores"][0, places, 1] = [*np.linspace(0.9, 0.5, 99), 0.3, 0.3]
    sides = {}
    for name, last in (("source", places[99]), ("target", places[100])):
        sides[name] = rounded(exact, 3)
        sides[name]["scores"][0, last, 1] = 0.3 + 1e-7
    found = detection_parity("256x256", with_boxes({**sides, "reference": exact}, 256, 256))
    assert (found.source, found.target) == (100, 100)
    assert (found.same, found.explained, found.unexplained) == (99, 2, 0)


def swapped_axes(loc, _scores):
    loc[...] = loc[..., [1, 0, 3, 2]].copy()


def shuffled_anchors(loc, scores):
    order = np.arange(ANCHORS).reshape(-1, 3, 2).transpose(0, 2, 1).ravel()
    loc[...], scores[...] = loc[:, order].copy(), scores[:, order].copy()


def swapped_levels(loc, scores):
    """The last two levels in each other's place."""
    cells = 6 * (SIDE // 64) ** 2
    for array in (loc, scores):
        array[:, -2 * cells :] = np.concatenate([array[:, -cells:], array[:, -2 * cells : -cells]], axis=1)


def reversed_classes(_loc, scores):
    scores[...] = scores[..., ::-1].copy()


def sizes_as_logs_of_ten(loc, _scores):
    loc[..., 2:] *= np.float32(np.log(10))


@pytest.mark.parametrize(
    "mutation", [swapped_axes, shuffled_anchors, swapped_levels, reversed_classes, sizes_as_logs_of_ten]
)
def test_a_mutation_is_caught_by_what_is_found(mutation):
    found = told(mutation)
    assert found.verdict is Verdict.FAIL
    assert found.unexplained


def test_nothing_found_is_no_verdict_and_says_what_to_do(runs):
    for values in runs.values():
        values["scores"] *= np.float32(1e-3)
    found = parity(runs)
    assert found.verdict is None
    assert "neither side finds anything that scores above 0.1" in found.reason
    assert "--images" in found.reason
    assert np.isnan(found.least_iou)
    assert found.as_dict()["least_iou"] is None


def test_outputs_that_are_wrong_as_they_are_have_no_boxes(runs):
    broken = {**runs, "target": {**runs["target"], "loc": runs["target"]["loc"][:, :-1]}}
    assert with_boxes(broken, SIDE, SIDE) is broken
    runs["target"]["loc"][0, 0, 0] = np.nan
    assert with_boxes(runs, SIDE, SIDE) is runs
    classifier = {"reference": {"head": np.zeros((1, 3))}}
    assert with_boxes(classifier, SIDE, SIDE) is classifier


def proof(runs) -> Proof:
    first = {name: array[:1] for name, array in runs["reference"].items()}
    outcomes = {
        name: Outcome((values,), (), True, {}, {}, "", (), (), {}, "cpu", {}, {})
        for name, values in {**runs, "oracle": first}.items()
    }
    pictures = (np.zeros((2, 3, SIDE, SIDE), np.float32),)
    inputs = Inputs(2, ((SIDE, SIDE),))
    evidence = Evidence(outcomes, inputs, pictures, ("source", "target"), "float64", (1e-12, "the same"))
    return judge(Weights(Verdict.PASS, "equal", 1), evidence, seconds=0.0)


def test_a_proof_has_boxes_and_detections(runs):
    found = proof(runs)
    assert found
    assert [item.label for item in found.comparisons] == ["64x64 loc", "64x64 scores", "64x64 boxes"]
    assert found.comparisons[2].largest == SIDE
    assert 0 < found.comparisons[2].max_abs < 1e-4
    assert [item.verdict for item in found.detections] == [Verdict.PASS]
    assert dict(found.facts())["found at 64x64"] == found.detections[0].told
    assert found.as_dict()["detections"] == [found.detections[0].as_dict()]


def test_a_detection_of_one_side_only_fails_a_proof_whose_outputs_pass():
    exact = outputs(classes=60)
    runs = {"source": rounded(exact, 1), "target": rounded(exact, 2), "reference": exact}
    place, index = surest(runs)
    # One score of many is off by what the norm of all of them does not show.
    for name, value in (("source", 0.1 + 1e-6), ("reference", 0.1 + 1e-6), ("target", 0.1 - 5e-6)):
        runs[name]["scores"][0, :, index] = 0.0
        runs[name]["scores"][0, place, index] = value
    found = proof(runs)
    assert all(found.comparisons)
    assert found.verdict is Verdict.FAIL
    assert found.reason == found.detections[0].reason
    assert "1 detection of one side only" in found.reason


def test_a_size_where_nothing_is_found_is_told(runs):
    for values in runs.values():
        values["scores"] *= np.float32(1e-3)
    found = proof(runs)
    assert found
    assert any("suppression was not put to the test" in notice for notice in found.notices)
    assert replace(found, detections=()).as_dict()["detections"] == []
