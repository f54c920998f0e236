"""Pictures to compare networks on: procedural, from a seed, with the statistics of photographs.

Constant inputs hide mistakes (a wrong pool, swapped colours) that pictures show.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...mappings.names import listed
from .protocol import MEAN, STD, Size, blind_spots, label

Picture = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Which pictures to run: how many, at which sizes (height, width), from which seed.

    Odd and non-square sizes exercise padding and ceil; at some of them a wrong pool cannot be told, hence 224 as well.
    ``asked`` says that somebody chose the sizes: else they are those that suit the network.
    """

    count: int = 8
    sizes: tuple[Size, ...] = ((224, 224), (225, 231))
    seed: int = 0
    asked: bool = field(default=False, compare=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """The sizes in words."""
        return tuple(map(label, self.sizes))

    @property
    def titles(self) -> tuple[str, ...]:
        """They have no names."""
        return ()

    @property
    def told(self) -> str:
        """Which pictures these are, in words."""
        few = "1 drawn picture" if self.count == 1 else f"{self.count} drawn pictures"
        return f"{few} (seed {self.seed}) at {listed(self.labels)}"

    @property
    def notices(self) -> tuple[str, ...]:
        """What these pictures cannot show."""
        return blind_spots(self.sizes, self.count)

    def narrowed(self, sizes: tuple[Size, ...]) -> Self:
        """The same pictures at these sizes only."""
        return replace(self, sizes=sizes)

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write one .npy a size: float32, (count, 3, height, width)."""
        paths = []
        for name, (height, width) in zip(self.labels, self.sizes, strict=True):
            paths.append(folder / f"pictures-{name}.npy")
            np.save(paths[-1], pictures(self.count, height, width, seed=self.seed))
        return tuple(paths)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": "drawn", "count": self.count, "sizes": [list(size) for size in self.sizes], "seed": self.seed}


def pictures(count: int, height: int, width: int, *, seed: int = 0) -> npt.NDArray[np.float32]:
    """Normalised RGB pictures, float32 of shape (count, 3, height, width).

    Picture ``i`` depends on the seed, ``i`` and the size only: a longer batch starts with a shorter one.

    >>> pictures(2, 32, 48).shape
    (2, 3, 32, 48)
    """
    if count < 1 or height < 1 or width < 1:
        raise ValueError(f"no pictures of {count} x 3 x {height} x {width}")
    drawn = np.stack([scene(index, height, width, seed) for index in range(count)])
    mean, std = (np.reshape(values, (1, 3, 1, 1)) for values in (MEAN, STD))
    return np.asarray((drawn - mean) / std, np.float32)


def scene(index: int, height: int, width: int, seed: int) -> Picture:
    """One picture (3, height, width) in 0..1, in steps of 1/255 as files have them."""
    random = np.random.default_rng([seed, index])
    drawn = _SCENES[index % len(_SCENES)](random, height, width)
    drawn = drawn + 0.12 * _noise(random, height, width, falloff=1.0)
    low, high = np.quantile(drawn, (0.01, 0.99))
    drawn = np.clip((drawn - low) / max(high - low, 1e-9), 0.0, 1.0)
    # Dark, normal and light exposures, each with a colour cast of its own.
    exposure = (1.0, 2.2, 0.5)[(index + index // len(_SCENES)) % 3]
    cast = random.uniform(0.65, 1.0, (3, 1, 1))
    return np.asarray(np.round(255 * cast * drawn**exposure) / 255)


def _colour(random: np.random.Generator) -> Picture:
    return random.uniform(0.0, 1.0, (3, 1, 1))


def _grid(height: int, width: int) -> tuple[Picture, Picture]:
    """Coordinates of the pixels; the shorter side is 1 long."""
    short = max(min(height, width) - 1, 1)
    rows, columns = np.mgrid[0:height, 0:width]
    return rows / short, columns / short


def _noise(random: np.random.Generator, height: int, width: int, *, falloff: float) -> Picture:
    """Coloured noise of unit variance whose amplitude falls with frequency, as in photographs (1/f)."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = 1.0
    white = random.standard_normal((3, height, width))
    shaped = np.fft.irfft2(np.fft.rfft2(white) / frequency**falloff, s=(height, width))
    shaped -= shaped.mean(axis=(1, 2), keepdims=True)
    shaped /= shaped.std(axis=(1, 2), keepdims=True) + 1e-9
    # Channels of a photograph go together, though not quite.
    mixing = 0.7 + 0.6 * random.standard_normal((3, 3))
    mixing /= np.linalg.norm(mixing, axis=1, keepdims=True)
    return np.asarray(np.einsum("ij,jhw->ihw", mixing, shaped))


def _clouds(random: np.random.Generator, height: int, width: int) -> Picture:
    return 0.5 + 0.25 * _noise(random, height, width, falloff=1.2)


def _gradient(random: np.random.Generator, height: int, width: int) -> Picture:
    """A horizon: two ramps of colour and an edge between them."""
    y, x = _grid(height, width)
    angle = random.uniform(0, 2 * np.pi)
    ramp = x * np.cos(angle) + y * np.sin(angle)
    ramp = (ramp - ramp.min()) / (np.ptp(ramp) + 1e-9)
    sky = _colour(random) * (1 - ramp) + _colour(random) * ramp
    ground = _colour(random) * ramp + 0.1 * _noise(random, height, width, falloff=0.8)
    return np.where(y > random.uniform(0.4, 0.7) + 0.1 * np.sin(5 * x), ground, sky)


def _shapes(random: np.random.Generator, height: int, width: int) -> Picture:
    """Overlapping discs, boxes and half-planes in flat colours."""
    y, x = _grid(height, width)
    scene = np.broadcast_to(_colour(random), (3, height, width))
    for number in range(14):
        centre_y, centre_x = random.uniform(0, y.max() + 1e-9), random.uniform(0, x.max() + 1e-9)
        size, angle = random.uniform(0.05, 0.35), random.uniform(0, np.pi)
        along = (x - centre_x) * np.cos(angle) + (y - centre_y) * np.sin(angle)
        across = (y - centre_y) * np.cos(angle) - (x - centre_x) * np.sin(angle)
        inside = np.hypot(along, across) < size if number % 2 else np.maximum(abs(along), 2 * abs(across)) < size
        scene = np.where(inside, _colour(random), scene)
    return scene


def _stripes(random: np.random.Generator, height: int, width: int) -> Picture:
    """Gratings of different pitch and hardness, one on the other."""
    y, x = _grid(height, width)
    scene = 0.3 * _noise(random, height, width, falloff=1.5)
    for hardness in (1.0, 3.0, 20.0):
        angle, pitch = random.uniform(0, np.pi), random.uniform(3, 25)
        phase = 2 * np.pi * pitch * (x * np.cos(angle) + y * np.sin(angle))
        scene = scene + (_colour(random) - 0.3) * np.tanh(hardness * np.sin(phase))
    return scene


def _blobs(random: np.random.Generator, height: int, width: int) -> Picture:
    """Soft lights on a dim ground."""
    y, x = _grid(height, width)
    scene = 0.1 * _noise(random, height, width, falloff=1.0)
    for _ in range(10):
        centre_y, centre_x = random.uniform(0, y.max() + 1e-9), random.uniform(0, x.max() + 1e-9)
        size = random.uniform(0.05, 0.3)
        scene = scene + _colour(random) * np.exp(-((y - centre_y) ** 2 + (x - centre_x) ** 2) / (2 * size**2))
    return scene


def _texture(random: np.random.Generator, height: int, width: int) -> Picture:
    """Fur or grass: noise stretched by a warp, over coarse patches."""
    y, x = _grid(height, width)
    bend = random.uniform(0.5, 2.0) * _noise(random, height, width, falloff=1.6)[0]
    fibres = np.sin(2 * np.pi * random.uniform(6, 18) * (x + 0.3 * y) + 2 * bend)
    patches = _noise(random, height, width, falloff=1.8)
    scene: Picture = _colour(random) * fibres + 0.5 * _colour(random) * patches
    return scene + 0.2 * _noise(random, height, width, falloff=0.5)


_SCENES: tuple[Callable[[np.random.Generator, int, int], Picture], ...] = (
    _shapes, _clouds, _stripes, _gradient, _blobs, _texture,
)  # fmt: skip
