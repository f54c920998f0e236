"""What the outputs of a detector come to: boxes, and what source and target find after suppression."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..converters.detection import IOU_THRESHOLD, MOST_PER_CLASS, SCORE_THRESHOLD, decode, keep, overlaps
from ..mappings.names import counted
from .compare import FAIL_ABOVE, HALF_FAIL_ABOVE, Verdict, as_json
from .runtimes import Values

Array = npt.NDArray[Any]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class DetectionParity:
    """What source and target find on the pictures of one size.

    ``source`` and ``target`` count detections, ``same`` those of one anchor and class on both sides; of these
    ``least_iou`` is the smallest overlap, ``score_difference`` the largest difference of scores. Of the others
    ``explained`` fall the other way by rounding, ``unexplained`` do not. No verdict where neither side finds anything.
    """

    label: str
    verdict: Verdict | None
    reason: str
    pictures: int
    source: int
    target: int
    same: int
    least_iou: float
    score_difference: float
    explained: int
    unexplained: int

    @property
    def told(self) -> str:
        """The numbers in words."""
        if not self.source + self.target:
            return f"nothing scores above {SCORE_THRESHOLD:g} on either side"
        return (
            f"{self.source} and {self.target} detections on {counted(self.pictures, 'picture')}, {self.same} the same"
            f" (least IoU {self.least_iou:.6f}, scores to {self.score_difference:.1e}), {self.explained} otherwise by"
            f" rounding, {self.unexplained} by more"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "inputs": self.label, "verdict": self.verdict.value if self.verdict else None, "reason": self.reason,
            "pictures": self.pictures, "source": self.source, "target": self.target, "same": self.same,
            "least_iou": as_json(self.least_iou), "score_difference": as_json(self.score_difference),
            "explained": self.explained, "unexplained": self.unexplained,
        }  # fmt: skip


def with_boxes(runs: Mapping[str, Values], height: int, width: int) -> Mapping[str, Values]:
    """Outputs by run; those of a detector with ``boxes`` (N, anchors, 4) in pixels, decoded in float64.

    Outputs that are not numbers, or of other shapes than the reference's, are left alone: they are wrong as they are.
    """
    exact = runs["reference"]
    if set(exact) != {"loc", "scores"}:
        return runs
    for values in runs.values():
        if any(values[name].shape != exact[name].shape or not np.isfinite(values[name]).all() for name in exact):
            return runs
    pixels = np.array([height, width, height, width], np.float64)
    with np.errstate(over="ignore"):  # a wrong loc can be of any size; boxes end at the picture's edge
        return {
            name: {**values, "boxes": decode(values["loc"].astype(np.float64), height, width) * pixels}
            for name, values in runs.items()
        }


def detection_parity(label: str, runs: Mapping[str, Values]) -> DetectionParity:
    """Compare what is left of source and target after suppression, by anchor and class, picture by picture.

    ``runs`` are by name, with the ``boxes`` of :func:`with_boxes`.
    """
    source, target = runs["source"], runs["target"]
    far = {name: _rounding(name, runs) for name in ("boxes", "scores")}
    counts = np.zeros(5, int)
    ious, differences = [np.empty(0)], [np.empty(0)]
    pictures = len(source["boxes"])
    for index in range(pictures):
        ours, theirs = (_Picture.of(side, index) for side in (source, target))
        same = _both(ours.kept, theirs.kept)
        ious.append(overlaps(ours.boxes[same[:, 0]], theirs.boxes[same[:, 0]]))
        differences.append(np.abs(ours.scores[tuple(same.T)] - theirs.scores[tuple(same.T)]))
        odd = _unexplained(ours.kept, theirs, float(far["boxes"][index]), float(far["scores"][index]))
        apart = len(ours.kept) + len(theirs.kept) - 2 * len(same)
        counts += (len(ours.kept), len(theirs.kept), len(same), apart - odd, odd)
    of_source, of_target, matched, explained, unexplained = counts.tolist()
    verdict, reason = _decide(label, of_source, of_target, explained, unexplained)
    return DetectionParity(
        label, verdict, reason, pictures, of_source, of_target, matched,
        float(min(np.concatenate(ious), default=np.nan)), float(max(np.concatenate(differences), default=np.nan)),
        explained, unexplained,
    )  # fmt: skip


def _decide(label: str, source: int, target: int, explained: int, unexplained: int) -> tuple[Verdict | None, str]:
    if unexplained:
        return Verdict.FAIL, (
            f"at {label} {counted(unexplained, 'detection')} of one side only, by more than rounding explains"
            f" (the source finds {source}, the target {target})"
        )
    if not source + target:
        return None, (
            f"at {label} neither side finds anything that scores above {SCORE_THRESHOLD:g}: suppression was not put to"
            " the test → verify on photographs (--images DIR)"
        )
    otherwise = f", but for {explained} that rounding makes fall the other way" if explained else ""
    return Verdict.PASS, f"source and target find the same{otherwise}"


@dataclass(frozen=True, slots=True)
class _Picture:
    """One side of one picture: all boxes in pixels, all scores in float64, and anchor and class of what is kept."""

    boxes: Array
    scores: Array
    kept: Places

    @classmethod
    def of(cls, values: Values, index: int) -> "_Picture":
        boxes, scores = values["boxes"][index], values["scores"][index].astype(np.float64)
        return cls(boxes, scores, keep(boxes, scores))


def _rounding(name: str, runs: Mapping[str, Values]) -> Array:
    """By how much rounding may move two values of an output against each other, for each picture, shape (N,)."""

    def apart(one: Array, other: Array) -> Array:
        return np.asarray(np.abs(one.astype(np.float64) - other).reshape(len(one), -1).max(1))

    exact, yardstick = runs["reference"][name], runs.get("yardstick", runs["source"])[name]
    own = runs["target reference"][name] if "target reference" in runs else exact
    moved = FAIL_ABOVE * apart(yardstick, exact) + apart(own, exact)
    for side, base in (("source", exact), ("target", own)):
        if f"emulated {side}" in runs:
            moved += HALF_FAIL_ABOVE * apart(runs[f"emulated {side}"][name], base)
    return 2 * moved


def _both(ours: Places, theirs: Places) -> Places:
    return np.array(sorted(set(map(tuple, ours.tolist())) & set(map(tuple, theirs.tolist()))), np.intp).reshape(-1, 2)


def _unexplained(kept: Places, target: _Picture, moved: float, score: float) -> int:
    """How many detections of one side only are not explained by boxes moved by so many pixels and scores by so much.

    Suppression is greedy: one box that falls the other way lets others in and out. So what is asked is whether the
    boxes that the source kept could be those that suppression leaves of the target's outputs.
    """
    odd = 0
    for index in np.unique(np.concatenate([kept[:, 1], target.kept[:, 1]])):
        ours, theirs = (side[side[:, 1] == index, 0] for side in (kept, target.kept))
        scores, boxes = target.scores[:, index], target.boxes
        for place in np.setdiff1d(ours, theirs):  # sure enough, and no other of them overlaps it too much
            others = boxes[ours[ours != place]]
            near = scores[place] > SCORE_THRESHOLD - score
            odd += not (near and (overlaps(boxes[place], others, moved=-moved) <= IOU_THRESHOLD).all())
        for place in np.setdiff1d(theirs, ours):
            # Not sure enough, or one that is as sure overlaps it, or the class is full.
            surer = ours[scores[ours] >= scores[place] - score]
            hidden = (overlaps(boxes[place], boxes[surer], moved=moved) > IOU_THRESHOLD).any()
            odd += not (scores[place] <= SCORE_THRESHOLD + score or hidden or len(surer) >= MOST_PER_CLASS)
    return odd
