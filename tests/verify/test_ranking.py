"""First classes: the same on both sides, but for orders that float64 itself cannot tell."""

import numpy as np
import pytest

from mshub_convert.verify.compare import Verdict, compare
from mshub_convert.verify.ranking import Ranking, ranking

EXACT = np.array([[9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 0.0]])


def swapped(first: int, second: int) -> np.ndarray:
    values = EXACT.copy()
    values[:, [first, second]] = values[:, [second, first]]
    return values


@pytest.mark.parametrize(
    ("target", "margin", "expected"),
    [
        (EXACT, 0.0, Ranking(1, 1, 1, 0)),
        (swapped(0, 1), 0.5, Ranking(0, 1, 1, 0)),
        (swapped(0, 1), 1.0, Ranking(1, 1, 1, 1)),
        (swapped(4, 5), 0.5, Ranking(1, 0, 1, 0)),
        (swapped(4, 5), 1.5, Ranking(1, 1, 1, 1)),
        (swapped(1, 2), 0.0, Ranking(1, 1, 1, 0)),  # within the first five, their order does not count
    ],
)
def test_only_orders_beyond_the_margin_count(target: np.ndarray, margin: float, expected: Ranking) -> None:
    found = ranking(EXACT, target, EXACT, np.array([margin]))
    assert found == expected
    assert found.good is (found.top1 == found.top5 == 1)


def test_fewer_classes_than_five() -> None:
    assert ranking(EXACT[:, :3], EXACT[:, :3], EXACT[:, :3], np.zeros(1)) == Ranking(1, 1, 1, 0)


def test_nothing_compared_is_not_good() -> None:
    assert not ranking(EXACT[:0], EXACT[:0], EXACT[:0], np.zeros(0)).good


def test_a_reordering_within_the_ratio_fails() -> None:
    """One logit of very many, all the error in it: small in L2, yet another class is picked."""
    rng = np.random.default_rng(0)
    exact = rng.standard_normal((1, 4000))
    exact[0, :2] = 8.0, 8.0 - 1e-4
    source = exact + 1e-6 * rng.standard_normal(exact.shape)
    target = exact.copy()
    target[0, 1] += 1.1e-4
    found = compare("x", source, target, exact, ranked=True)
    assert found.ratio < 2
    assert found.verdict is Verdict.FAIL
    assert "rank the classes differently" in found.reason
    assert compare("x", source, target, exact).verdict is Verdict.PASS
