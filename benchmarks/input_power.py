"""How many of 64 mistakes each kind of input shows: drawn pictures, photographs, noise, constants, few, one size.

    python benchmarks/input_power.py [--network NAME] [--count N] [--side PIXELS]

The network is the chaotic one of ``detection.py``, whose BatchNorms have the statistics of forwarded pictures. Prints
the table of docs/inputs.md.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import detection
import numpy as np
import pictures as kinds

from mshub_convert.mappings.architectures import architecture
from mshub_convert.request import SourceRequest
from mshub_convert.verify.inputs import Inputs, Size, pictures
from mshub_convert.verify.inputs.photographs import pillow, read_photograph
from mshub_convert.verify.selftest.detection import self_test


@dataclass(frozen=True)
class Arrays:
    """Any arrays as the inputs of a network, those that a verification refuses too."""

    told: str
    arrays: tuple[Any, ...] = field(repr=False, compare=False)
    notices: tuple[str, ...] = ()
    asked: bool = True

    @property
    def count(self) -> int:
        """Pictures a size."""
        return len(self.arrays[0])

    @property
    def sizes(self) -> tuple[Size, ...]:
        """(height, width) of each array."""
        return tuple(array.shape[2:] for array in self.arrays)

    @property
    def labels(self) -> tuple[str, ...]:
        """The sizes in words."""
        return tuple(f"{height}x{width}" for height, width in self.sizes)

    def narrowed(self, sizes: tuple[Size, ...]) -> "Arrays":
        """The arrays are run as they are."""
        return self

    def save(self, folder: Path) -> tuple[Path, ...]:
        """One .npy an array."""
        paths = tuple(folder / f"inputs-{number}.npy" for number in range(len(self.arrays)))
        for path, array in zip(paths, self.arrays, strict=True):
            np.save(path, np.ascontiguousarray(array, np.float32))
        return paths

    def as_dict(self) -> dict[str, Any]:
        """What they are."""
        return {"told": self.told}


def main() -> None:
    """Print one row for each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnext50_32x4d")
    parser.add_argument("--count", type=int, default=64, help="mutations")
    parser.add_argument("--side", type=int, default=224, help="pixels")
    chosen = parser.parse_args()
    sizes = ((chosen.side, chosen.side), (chosen.side + 1, chosen.side + 7))
    print(f"{chosen.network}, chaotic, {chosen.count} mistakes\n\n| inputs | missed | which |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="mshub-inputs-") as folder:
        network = architecture(chosen.network)
        file = detection.write(network, Path(folder) / "source.safetensors", chaotic=True, side=chosen.side)
        with SourceRequest(file).open() as target:
            for name, inputs in every(sizes).items():
                found = self_test(target, inputs, count=chosen.count, timeout=detection.TIMEOUT)
                told = "; ".join(one.words for one in found.missed) or "none"
                print(f"| {name} | {len(found.missed)} | {told} |", flush=True)


def every(sizes: tuple[Size, ...]) -> Mapping[str, Any]:
    """The inputs of each kind, at both sizes where not said otherwise."""
    random = np.random.default_rng(0)
    shapes = [(8, 3, *size) for size in sizes]
    image = pillow("the benchmark")
    photographs = tuple(
        np.stack([read_photograph(path, size, image) for path in kinds.photographs()]) for size in sizes
    )
    made = {
        "8 photographs": photographs,
        "8 normal noise": tuple(random.standard_normal(shape) for shape in shapes),
        "8 uniform noise": tuple(random.random(shape) for shape in shapes),
        "8 of ones": tuple(np.ones(shape) for shape in shapes),
        "8 of zeros": tuple(np.zeros(shape) for shape in shapes),
        "1 drawn picture": tuple(pictures(1, *size) for size in sizes),
    }
    rows: dict[str, Any] = {"8 drawn pictures": Inputs(sizes=sizes)}
    rows |= {name: Arrays(name, arrays) for name, arrays in made.items()}
    return rows | {
        f"8 drawn pictures, {height}x{width} only": Inputs(sizes=((height, width),)) for height, width in sizes
    }


if __name__ == "__main__":
    main()
