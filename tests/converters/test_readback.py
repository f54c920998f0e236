"""Comparing bytes in steps, whatever ranges they come from, and looking for NaN and Inf in raw bits."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshub_convert.converters import readback
from mshub_convert.converters.background import Task
from mshub_convert.converters.readback import is_finite
from mshub_convert.converters.tensors import DTYPES, FLOATS, Extent, MappedFile, TensorRef, TensorSpec

DATA = np.random.default_rng(0).integers(0, 256, 1000).astype(np.uint8)
SPEC = TensorSpec("a", (len(DATA),), "uint8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> MappedFile:
    path = tmp_path_factory.mktemp("data") / "data"
    path.write_bytes(DATA.tobytes())
    return MappedFile(path)


def cut(file: MappedFile, places: list[int]) -> TensorRef:
    ends = [0, *sorted(places), len(DATA)]
    return TensorRef(SPEC, tuple(Extent(file, a, b - a) for a, b in pairwise(ends)))


@given(st.lists(st.integers(0, len(DATA)), max_size=8), st.integers(1, 1200))
@settings(deadline=None)
def test_steps_are_equal_however_the_bytes_are_cut(data: MappedFile, places: list[int], step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readback, "_STEP", step)
        expected = [DATA[at : at + step].tobytes() for at in range(0, len(DATA), step)]
        for ref in (cut(data, places), TensorRef(SPEC, compute=lambda: DATA)):
            assert [chunk.tobytes() for chunk in readback._chunks(ref)] == expected
    assert np.array_equal(cut(data, places).read(), DATA)


def test_nothing_has_no_steps(data: MappedFile) -> None:
    spec = TensorSpec("none", (0, 3), "float32")
    for extents in ((), (Extent(data, 5, 0),)):
        ref = TensorRef(spec, extents)
        assert list(readback._chunks(ref)) == []
        assert ref.read().shape == (0, 3)


@given(st.sampled_from(FLOATS), st.binary(min_size=8, max_size=64), st.integers(0, 3))
def test_finite_as_numpy_has_it(dtype: str, raw: bytes, offset: int) -> None:
    size = DTYPES[dtype].itemsize
    unaligned = np.frombuffer(b"." * offset + raw, np.uint8)[offset:]
    unaligned = unaligned[: len(unaligned) // size * size]
    with np.errstate(invalid="ignore"):
        values = np.frombuffer(unaligned.tobytes(), DTYPES[dtype]).astype(np.float64)
    assert is_finite(unaligned, dtype) == bool(np.isfinite(values).all())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_finite_for_every_half(dtype: str) -> None:
    every = np.arange(1 << 16, dtype=np.uint16)
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(every.view(DTYPES[dtype]).astype(np.float32))
    assert is_finite(every[finite].view(np.uint8), dtype)
    assert not any(is_finite(every[at : at + 1].view(np.uint8), dtype) for at in np.flatnonzero(~finite)[::97])


def test_a_task_gives_its_result_or_its_failure_each_time() -> None:
    def fail() -> Any:
        raise ZeroDivisionError("in the task")

    done, failed = Task(lambda: 7, name="seven"), Task(fail, name="failure")
    for _ in range(2):
        assert done.result() == 7
        with pytest.raises(ZeroDivisionError, match="in the task"):
            failed.result()


def test_a_file_can_be_closed_twice(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with MappedFile(tmp_path / "a") as file:
        assert bytes(file.view) == b"x"
    file.close()
    assert file.fd == -1
