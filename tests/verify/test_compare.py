"""The rule that decides: neither cries wolf nor lets a wrong graph pass."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshub_convert.verify.compare import Comparison, Verdict, compare, relative_l2, worst

RNG = np.random.default_rng(0)
REFERENCE = RNG.standard_normal((4, 10))


def shifted(size: float, seed: int = 1) -> np.ndarray:
    """Logits at this relative distance from the reference, row by row."""
    direction = np.random.default_rng(seed).standard_normal(REFERENCE.shape)
    direction *= np.linalg.norm(REFERENCE, axis=1, keepdims=True) / np.linalg.norm(direction, axis=1, keepdims=True)
    return REFERENCE + size * direction


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (1.0, Verdict.PASS),
        (1.9, Verdict.PASS),
        (2.1, Verdict.WARN),
        (3.9, Verdict.WARN),
        (4.1, Verdict.FAIL),
        (1e4, Verdict.FAIL),
    ],
)
def test_the_ratio_decides(ratio: float, verdict: Verdict) -> None:
    found = compare("x", shifted(1e-6), shifted(ratio * 1e-6, seed=2), REFERENCE)
    assert found.verdict is verdict
    assert found.ratio == pytest.approx(ratio, rel=1e-3)
    assert bool(found) is verdict.good


def test_a_wrong_reference_is_inconclusive() -> None:
    """Both sides equally far from float64: the reference is another function, and the ratio of 1 means nothing."""
    assert compare("x", shifted(1e-2), shifted(1e-2, seed=2), REFERENCE).verdict is Verdict.INCONCLUSIVE


def test_a_source_without_error_is_inconclusive() -> None:
    assert compare("x", REFERENCE, shifted(1e-6), REFERENCE).verdict is Verdict.INCONCLUSIVE


def test_one_bad_input_of_many_fails() -> None:
    target = shifted(1e-6, seed=2)
    target[3] = shifted(1e-4, seed=2)[3]
    assert compare("x", shifted(1e-6), target, REFERENCE).verdict is Verdict.FAIL


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_logits_fail(value: float) -> None:
    target = shifted(1e-6)
    target[0, 0] = value
    found = compare("x", shifted(1e-6), target, REFERENCE)
    assert found.verdict is Verdict.FAIL
    assert not found


def test_nothing_compared_is_never_true() -> None:
    empty = np.zeros((0, 10))
    assert not compare("x", empty, empty, empty)
    assert not compare("x", REFERENCE, REFERENCE[:, :5], REFERENCE)
    assert worst([]) is Verdict.INCONCLUSIVE
    assert not Comparison("x", Verdict.PASS, "", 1e-6, 1e-6, 1.0, 0.0, 1.0, 0)


def test_rounded_targets_have_their_own_reference() -> None:
    rounded = shifted(1e-3, seed=5)
    target = rounded + (shifted(1e-6, seed=3) - REFERENCE)
    assert compare("x", shifted(1e-6), target, REFERENCE).verdict is Verdict.FAIL
    assert compare("x", shifted(1e-6), target, REFERENCE, target_reference=rounded).verdict is Verdict.PASS


def test_the_worst_verdict_wins() -> None:
    assert worst([Verdict.PASS, Verdict.WARN, Verdict.INCONCLUSIVE]) is Verdict.INCONCLUSIVE
    assert worst([Verdict.FAIL, Verdict.INCONCLUSIVE]) is Verdict.FAIL


@given(st.floats(1e-12, 1e6), st.floats(0.0, 1.0))
def test_errors_do_not_depend_on_scale(scale: float, size: float) -> None:
    near = relative_l2(shifted(size) * scale, REFERENCE * scale)
    assert near == pytest.approx(np.full(4, size), rel=1e-6, abs=1e-12)
