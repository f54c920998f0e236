"""Exact inputs from a .npz file: what is taken, what is refused and why; and the choice between all kinds of inputs."""

from pathlib import Path

import numpy as np
import pytest

from mshub_convert.converters.errors import EnvironmentError_, MalformedFileError, UsageError
from mshub_convert.verify.errors import RuntimeRefusedError
from mshub_convert.verify.inputs import Inputs, Tensors, chosen, parse_sizes, pictures
from mshub_convert.verify.inputs.protocol import blind_spots


@pytest.fixture
def batch() -> np.ndarray:
    return pictures(8, 64, 64)


def saved(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "inputs.npz"
    np.savez(path, **arrays)
    return path


def test_arrays_are_run_as_they_are(tmp_path: Path, batch: np.ndarray) -> None:
    odd = pictures(9, 65, 71, seed=1)
    found = Tensors.read(saved(tmp_path, square=batch, odd=odd))
    assert (found.count, found.sizes, found.labels) == (8, ((64, 64), (65, 71)), ("64x64", "65x71"))
    start = f"inputs.npz (sha256 {found.sha256[:16]}…): "
    assert found.told == f"{start}square of 8 x 3 x 64 x 64 and odd of 9 x 3 x 65 x 71"
    assert found.notices == ()
    for path, array in zip(found.save(tmp_path), (batch, odd), strict=True):
        assert np.array_equal(np.load(path), array)
    (path,) = found.narrowed(((65, 71),)).save(tmp_path)
    assert np.array_equal(np.load(path), odd)
    with pytest.raises(RuntimeRefusedError, match="has pictures of 64x64 and 65x71, none of 224x224"):
        found.narrowed(((224, 224),))
    assert found.as_dict()["arrays"] == {"square": [8, 3, 64, 64], "odd": [9, 3, 65, 71]}


def test_two_arrays_of_one_size_are_told_apart(tmp_path: Path, batch: np.ndarray) -> None:
    found = Tensors.read(saved(tmp_path, a=batch, b=batch[::-1]))
    assert found.labels == ("a 64x64", "b 64x64")
    assert found.notices == ("every picture is 64x64: mistakes of padding and rounding show at some sizes only",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: b.astype(np.float64), "x is float64, and networks take float32: .astype(numpy.float32)"),
        (lambda b: b.astype(np.uint8), "x is uint8, and networks take float32: scale to 0..1"),
        (lambda b: b.transpose(0, 2, 3, 1), r"x has shape (8, 64, 64, 3), channels last: .transpose(0, 3, 1, 2)"),
        (lambda b: b[0], "x has shape (3, 64, 64), one picture without a batch: index it with [None]"),
        (lambda b: b[:, :1], "x has shape (8, 1, 64, 64), not (N, 3, height, width)"),
        (lambda b: b[:0], "x has shape (0, 3, 64, 64): there is no picture in it"),
        (lambda b: np.where(np.arange(8)[:, None, None, None] == 3, np.nan, b), "x has NaN or Inf in 1 picture ([3])"),
        (lambda b: np.ones_like(b), "x is constant in 8 pictures ([0, 1, 2, 3] and 4 more): that hides red and blue"),
    ],
)
def test_what_is_no_input_is_refused_with_the_reason(tmp_path: Path, batch: np.ndarray, change, said: str) -> None:
    changed = change(batch)
    wanted = changed.dtype if changed.dtype in (np.uint8, np.float64) and "NaN" not in said else np.float32
    with pytest.raises(MalformedFileError) as caught:
        Tensors.read(saved(tmp_path, x=changed.astype(wanted), fine=batch))
    assert said in caught.value.message
    assert "fine" not in caught.value.message
    assert caught.value.exit_code == 3


def test_every_problem_is_told_at_once(tmp_path: Path, batch: np.ndarray) -> None:
    with pytest.raises(MalformedFileError) as caught:
        Tensors.read(saved(tmp_path, a=batch.astype(np.float64), b=batch[0]))
    assert "a is float64" in caught.value.message
    assert "b has shape" in caught.value.message


def test_poor_inputs_run_with_a_notice(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((8, 3, 224, 225)).astype(np.float32)
    noise[2] *= 0.001
    told = "\n".join(Tensors.read(saved(tmp_path, x=noise)).notices)
    assert "x[2] nearly constant" in told
    assert "x: every picture is noise" in told
    assert "every picture is 224x225" in told


def test_files_that_are_no_npz(tmp_path: Path, batch: np.ndarray) -> None:
    with pytest.raises(EnvironmentError_, match="no file"):
        Tensors.read(tmp_path / "nothing.npz")
    np.save(tmp_path / "one.npy", batch)
    with pytest.raises(MalformedFileError, match=r"is one \.npy array, not a \.npz file"):
        Tensors.read(tmp_path / "one.npy")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(MalformedFileError, match=r"text\.npz is no \.npz file: it begins with 'no arc', not as a zip"):
        Tensors.read(tmp_path / "text.npz")
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    with pytest.raises(MalformedFileError, match=r"is no \.npz file of plain arrays"):
        Tensors.read(tmp_path / "objects.npz")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(MalformedFileError, match="holds no arrays"):
        Tensors.read(tmp_path / "empty.npz")


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (((224, 224), (225, 231)), ()),
        (((224, 224),), ("every picture is 224x224",)),
        (((225, 225), (97, 97)), ("at 97x97 and 225x225 a stem pool padded `same` equals",)),
    ],
)
def test_what_sizes_cannot_show(sizes: tuple[tuple[int, int], ...], said: tuple[str, ...]) -> None:
    found = blind_spots(sizes, 8)
    assert len(found) == len(said)
    assert all(notice.startswith(start) for notice, start in zip(found, said, strict=True))


def test_inputs_are_drawn_unless_others_are_given(tmp_path: Path, batch: np.ndarray) -> None:
    assert chosen() == Inputs()
    assert chosen(sizes=[(64, 96)], count=3, seed=5) == Inputs(3, ((64, 96),), 5)
    assert chosen(seed=5).told == "8 drawn pictures (seed 5) at 224x224 and 225x231"
    file = saved(tmp_path, x=batch)
    assert chosen(inputs=file) == Tensors.read(file)
    own = Inputs(count=9)
    assert chosen(inputs=own) is own


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"inputs": "a.npz", "images": "photos"}, "--inputs says exactly what is run; --images says otherwise"),
        ({"inputs": "a.npz", "count": 3}, "--count says otherwise"),
        ({"images": "photos", "seed": 1}, "--seed is for drawn pictures"),
        ({"count": 0}, "0 pictures a size were asked for"),
        ({"seed": -1}, "the seed -1 is negative"),
        ({"sizes": [(16, 224)]}, "the size 16x224 is out of range"),
        ({"sizes": [(64, 64), (64, 64)]}, "the size 64x64 is given twice"),
        ({"sizes": []}, "no sizes were given"),
    ],
)
def test_requests_that_cannot_be_meant(asked: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        chosen(**asked)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["224", "224x", "x224", "224*224", "224x224,", "-1x3", "²x3"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        parse_sizes(text)
    assert parse_sizes("224x224, 225X231") == ((224, 224), (225, 231))
