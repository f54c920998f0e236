"""The verdict in float64: twelve digits, or the reason why fewer."""

from types import SimpleNamespace

import numpy as np
import pytest

from mshub_convert.verify.compare import Verdict
from mshub_convert.verify.float64 import FOLDED, LIMIT, THROUGH_GRAPHS, compare_float64, limit

REFERENCE = np.random.default_rng(0).standard_normal((4, 10))


def off(by: float) -> np.ndarray:
    return REFERENCE[:2] * (1 + by)


def verdict(by: float, allowed: float = LIMIT) -> object:
    return compare_float64([{"head": REFERENCE}], [{"head": off(by)}], allowed, "the same weights")


@pytest.mark.parametrize(("by", "good"), [(0.0, True), (5e-13, True), (2e-12, False), (1e-3, False)])
def test_twelve_digits_decide(by: float, good: bool) -> None:
    found = verdict(by)
    assert (found.verdict is Verdict.PASS) is good
    assert found.error == pytest.approx(by, abs=1e-15, rel=1e-3)
    assert found.pictures == 2
    assert ("is allowed (the same weights)" in found.reason) is True


def test_the_worst_output_of_the_worst_size_decides() -> None:
    good, bad = {"loc": REFERENCE, "scores": REFERENCE}, {"loc": off(0), "scores": off(1e-6)}
    found = compare_float64([good, good], [{"loc": off(0), "scores": off(0)}, bad], LIMIT, "")
    assert found.verdict is Verdict.FAIL
    assert found.error == pytest.approx(1e-6, rel=1e-3)
    assert found.pictures == 4


def test_what_cannot_be_compared_fails() -> None:
    for values in (REFERENCE[:2, :5], off(0) * np.nan):
        assert compare_float64([{"head": REFERENCE}], [{"head": values}], LIMIT, "").verdict is Verdict.FAIL
    nothing = compare_float64([{"head": REFERENCE}], [{"head": REFERENCE[:0]}], LIMIT, "")
    assert nothing.verdict is not Verdict.PASS
    assert compare_float64([], [], LIMIT, "").verdict is Verdict.INCONCLUSIVE


def side(*, container: str = "ckpt", graph: object = None, folded: bool = False, operations: tuple[str, ...] = ()):
    return SimpleNamespace(
        checkpoint=SimpleNamespace(container=container, graph=graph), folded=folded, operations=operations
    )


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (side(), side(), LIMIT),
        (side(), side(container="mindir"), THROUGH_GRAPHS),
        (side(container="onnx", graph=object()), side(), THROUGH_GRAPHS),
        (side(), side(container="onnx", graph=object(), folded=True), FOLDED),
        (side(operations=("statistics",)), side(), FOLDED),
    ],
)
def test_the_limit_follows_what_was_done(source: object, target: object, expected: float) -> None:
    allowed, why = limit(source, target)
    assert allowed == expected
    assert why
