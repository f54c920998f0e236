"""Exact inputs, from the arrays of a .npz file."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...converters.digest import file_sha256
from ...converters.errors import EnvironmentError_, MalformedFileError, shown
from ...mappings.names import counted, listed
from ..errors import RuntimeRefusedError
from .flaws import diverse, is_constant, is_nearly_constant, monotony
from .protocol import LARGEST, SMALLEST, Size, blind_spots, label

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Tensors:
    """Arrays of a file, by name: float32, (N, 3, height, width), run as they are."""

    file: Path
    sha256: str
    names: tuple[str, ...]
    shapes: tuple[tuple[int, int, int, int], ...]
    notices: tuple[str, ...] = ()

    @classmethod
    def read(cls, file: Path) -> "Tensors":
        """The arrays of a .npz file; raises MalformedFileError with everything that is wrong with them."""
        arrays = _arrays(file)
        problems = [f"{shown(name)} {problem}" for name, array in arrays.items() for problem in _problems(array)]
        if problems:
            raise MalformedFileError(
                f"{file} holds no inputs for a network:\n  " + "\n  ".join(problems),
                remedy="Each array must be float32 of shape (N, 3, height, width), normalised as the network needs.",
            )
        found = [notice for name, array in arrays.items() for notice in _notices(name, array)]
        sizes = [(array.shape[2], array.shape[3]) for array in arrays.values()]
        fewest = min(diverse(list(array)) for array in arrays.values())
        digest = file_sha256(file)
        shapes = tuple((array.shape[0], 3, array.shape[2], array.shape[3]) for array in arrays.values())
        return cls(file, digest, tuple(arrays), shapes, (*blind_spots(sizes, fewest), *found))

    @property
    def count(self) -> int:
        """How many pictures the smallest array has."""
        return min(shape[0] for shape in self.shapes)

    @property
    def asked(self) -> bool:
        """Arrays are run as they are."""
        return True

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Height and width of each array."""
        return tuple((shape[2], shape[3]) for shape in self.shapes)

    @property
    def labels(self) -> tuple[str, ...]:
        """Each array's size, with its name where two have the same."""
        sizes = self.sizes
        return tuple(
            label(size) if sizes.count(size) == 1 else f"{shown(name)} {label(size)}"
            for name, size in zip(self.names, sizes, strict=True)
        )

    @property
    def titles(self) -> tuple[str, ...]:
        """They have no names."""
        return ()

    @property
    def told(self) -> str:
        """Which arrays these are, in words."""
        arrays = [
            f"{shown(name)} of {' x '.join(map(str, shape))}"
            for name, shape in zip(self.names, self.shapes, strict=True)
        ]
        return f"{self.file.name} (sha256 {self.sha256[:16]}…): {listed(arrays)}"

    def narrowed(self, sizes: tuple[Size, ...]) -> Self:
        """The arrays of these sizes only; raises RuntimeRefusedError where there are none."""
        kept = [index for index, size in enumerate(self.sizes) if size in sizes]
        if not kept:
            wanted = listed([label(size) for size in sizes], "or")
            raise RuntimeRefusedError(
                f"{self.file.name} has pictures of {listed([label(size) for size in self.sizes])}, none of {wanted}",
                remedy=f"Add an array of {wanted}, the only size that both sides take.",
            )
        return replace(self, names=tuple(self.names[i] for i in kept), shapes=tuple(self.shapes[i] for i in kept))

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write one .npy an array, as it is."""
        arrays, paths = _arrays(self.file), []
        for index, name in enumerate(self.names):
            paths.append(folder / f"pictures-{index}.npy")
            np.save(paths[-1], arrays[name])
        return tuple(paths)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": "tensors", "count": self.count, "sizes": [list(size) for size in self.sizes],
            "file": str(self.file), "sha256": self.sha256,
            "arrays": {name: list(shape) for name, shape in zip(self.names, self.shapes, strict=True)},
        }  # fmt: skip


def _arrays(file: Path) -> Mapping[str, Array]:
    if not file.is_file():
        raise EnvironmentError_(f"no file {file}", remedy="Check the path given with --inputs.")
    with file.open("rb") as opened:
        head = opened.read(6)
    # numpy would take anything else for a pickle, and say so.
    if not head.startswith((b"PK", b"\x93NUMPY")):
        raise MalformedFileError(
            f"{file} is no .npz file: it begins with {head.decode('latin-1')!r}, not as a zip",
            remedy="Save it with numpy.savez(FILE, pictures=…).",
        )
    try:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise MalformedFileError(
                f"{file} is one .npy array, not a .npz file", remedy="Save it with numpy.savez(FILE, pictures=…)."
            )
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise MalformedFileError(
            f"{file} is no .npz file of plain arrays ({shown(str(error))})", remedy="Save it with numpy.savez."
        ) from None
    if not arrays:
        raise MalformedFileError(f"{file} holds no arrays", remedy="Save them with numpy.savez(FILE, pictures=…).")
    return arrays


def _problems(array: Array) -> list[str]:
    """What keeps an array from being run, in words that follow its name."""
    found = []
    shape = tuple(array.shape)
    if array.dtype != np.float32:
        hint = (
            ".astype(numpy.float32)" if array.dtype.kind == "f" else "scale to 0..1, normalise, .astype(numpy.float32)"
        )
        found.append(f"is {array.dtype}, and networks take float32: {hint}")
    if array.ndim == 4 and shape[3] == 3 and shape[1] != 3:
        found.append(f"has shape {shape}, channels last: .transpose(0, 3, 1, 2)")
    elif array.ndim == 3 and 3 in (shape[0], shape[2]):
        found.append(f"has shape {shape}, one picture without a batch: index it with [None]")
    elif array.ndim != 4 or shape[1] != 3:
        found.append(f"has shape {shape}, not (N, 3, height, width)")
    elif 0 in shape:
        found.append(f"has shape {shape}: there is no picture in it")
    elif not all(SMALLEST <= side <= LARGEST for side in shape[2:]):
        found.append(
            f"has pictures of {shape[2]}x{shape[3]}; from {label((SMALLEST,) * 2)} to {label((LARGEST,) * 2)} are run"
        )
    if found:
        return found
    bad = np.flatnonzero(~np.isfinite(array).all(axis=(1, 2, 3)))
    if bad.size:
        found.append(f"has NaN or Inf in {_which(bad)}")
    flat = np.array([index for index in range(len(array)) if is_constant(array[index])])
    if flat.size:
        found.append(f"is constant in {_which(flat)}: that hides red and blue mixed up, and a wrong pool")
    return found


def _which(indices: Array) -> str:
    more = f" and {len(indices) - 4} more" if len(indices) > 4 else ""
    return f"{counted(len(indices), 'picture')} ([{', '.join(map(str, indices[:4]))}]{more})"


def _notices(name: str, array: Array) -> list[str]:
    told = [f"{shown(name)}[{index}]" for index in range(len(array))]
    flat = [told[index] for index in range(len(array)) if is_nearly_constant(array[index])]
    found = [f"{listed(flat[:4])} nearly constant, and hides what it runs through"] if flat else []
    return found + [f"{shown(name)}: {notice}" for notice in monotony(list(array), told)]
