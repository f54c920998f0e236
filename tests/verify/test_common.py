"""What two sides can both run, where files fix the size or the number of their pictures."""

from types import SimpleNamespace
from typing import Any

import pytest

from mshub_convert.verify.common import Common, common
from mshub_convert.verify.errors import RuntimeRefusedError
from mshub_convert.verify.inputs import Inputs

INPUTS = Inputs()


def side(batch: int | None = None, size: tuple[int, int] | None = None) -> Any:
    return SimpleNamespace(batch=batch, size=size)


def test_what_takes_anything_runs_everything() -> None:
    assert common(INPUTS, side(), side()) == Common(INPUTS)


@pytest.mark.parametrize(
    ("source", "target", "batches"),
    [(1, None, (1, 1)), (None, 4, (4, 4)), (1, 4, (1, 4)), (None, None, (None, None))],
)
def test_a_side_of_any_batch_runs_in_the_others(
    source: int | None, target: int | None, batches: tuple[int | None, ...]
) -> None:
    found = common(INPUTS, side(source), side(target))
    assert (found.source_batch, found.target_batch) == batches
    assert found.inputs == INPUTS
    assert not found.notices


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ((96, 64), None, "the source takes pictures of 96x64 only: no other size"),
        (None, (224, 224), "the target takes pictures of 224x224 only: no other size"),
        ((64, 64), (64, 64), "the source and target take pictures of 64x64 only: no other size"),
    ],
)
def test_a_fixed_size_is_the_only_one_and_that_is_said(
    source: tuple[int, int] | None, target: tuple[int, int] | None, said: str
) -> None:
    found = common(INPUTS, side(size=source), side(size=target))
    assert found.inputs.sizes == (source or target,)
    assert found.inputs.count == INPUTS.count
    assert found.notices[0].startswith(said)


def test_nothing_is_said_where_that_size_is_all_that_was_asked_for() -> None:
    asked = Inputs(sizes=((64, 64),))
    assert common(asked, side(), side(size=(64, 64))) == Common(asked, notices=asked.notices)


def test_sizes_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(RuntimeRefusedError, match="the source takes 64x64 and the target takes 96x96 only") as caught:
        common(INPUTS, side(size=(64, 64)), side(size=(96, 96)))
    assert "Export one of them" in caught.value.remedy
