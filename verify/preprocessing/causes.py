"""Find what was done to pictures from what came out: try hypotheses, and say in words what differs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converters.preprocessing import INTERPOLATIONS, Preprocessing
from .rendering import Album
from .words import ORIENTATION, colours, geometry, near

Array = npt.NDArray[Any]

_SHARES = (1.0, 0.96, 0.95, 0.94, 0.9, 0.875, 0.85, 0.8)
# In levels: by how much a hypothesis must be better than what the source does, to be believed instead.
_BETTER = 0.05
# Above this no resize of the usual ones was the right one, and all are tried.
_POOR = 2.0


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is done differently; ``levels`` is how far that alone moves values, in the mean."""

    name: str
    told: str
    levels: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"cause": self.name, "told": self.told, "levels": self.levels}


@dataclass(frozen=True, slots=True)
class Found:
    """What explains the arrays best: ``how``, up to ``unexplained`` levels in the mean."""

    how: Preprocessing
    unexplained: float


def find(album: Album, arrays: Sequence[Array], source: Preprocessing, stated: Preprocessing | None = None) -> Found:
    """How arrays (3, crop, crop) were made of pictures, of which the source does ``source``; tried, not believed.

    ``stated`` is what the maker of the arrays says; its values are tried before the usual ones. Where two hypotheses
    do not differ on these pictures, the source's is taken.
    """
    crop = arrays[0].shape[1]
    start = replace(source, crop=crop)
    best = _Best(album, arrays, start)
    likely = [source.resize, *([stated.resize] if stated else []), crop]
    likely += [math.floor(crop / share) for share in _SHARES]
    for how in _geometries(start, dict.fromkeys(likely), album.turned):
        best.take(how)
    if best.score > _POOR:
        for how in _geometries(start, range(crop, int(1.6 * crop)), turned=False):
            best.take(replace(how, oriented=best.how.oriented))
    for how in list(_filters(best.how)):
        best.take(how)
    for step in (-1, 1):
        best.take(replace(best.how, resize=best.how.resize + step))
    channels, mean, std = best.colours()
    how = replace(best.how, channels=channels, mean=mean, std=std)
    # What fits as well as the source's numbers is the source's numbers.
    same = near(how, source.mean, source.std)
    return Found(replace(how, mean=source.mean, std=source.std) if same else how, best.score)


def causes(album: Album, source: Preprocessing, found: Found) -> tuple[Cause, ...]:
    """How what was found differs from the source, what matters most first."""
    how, told = found.how, []
    for name, words, undone in _differences(source, how):
        levels = _apart(_normalised(album, how, source), _normalised(album, undone, source))
        told.append(Cause(name, words, levels))
    return tuple(sorted(told, key=lambda cause: -cause.levels))


def _differences(source: Preprocessing, how: Preprocessing) -> Iterator[tuple[str, str, Preprocessing]]:
    """Name and words of each difference, and what was found with that one undone."""
    for fields, words in geometry(source, how):
        yield fields[0], words, replace(how, **{name: getattr(source, name) for name in fields})
    if source.oriented != how.oriented:
        yield "oriented", ORIENTATION[how.oriented], replace(how, oriented=source.oriented)
    for name, words in colours(source, how):
        if name == "channels":
            yield name, words, replace(how, channels=source.channels)
        else:
            yield name, words, replace(how, mean=source.mean, std=source.std)


def _geometries(start: Preprocessing, resizes: Any, turned: bool) -> Iterator[Preprocessing]:
    for oriented in (start.oriented, not start.oriented) if turned else (start.oriented,):
        for edges in (start.edges, "both" if start.edges == "shorter" else "shorter"):
            for resize in resizes:
                for margin in (start.margin, "down" if start.margin == "even" else "even"):
                    yield replace(start, resize=resize, edges=edges, margin=margin, oriented=oriented)


def _filters(best: Preprocessing) -> Iterator[Preprocessing]:
    for interpolation in INTERPOLATIONS:
        for antialias in (True, False):
            for margin in ("even", "down"):
                yield replace(best, interpolation=interpolation, antialias=antialias, margin=margin)


class _Best:
    """The best hypothesis on geometry so far, judged apart from colours: whatever was done to those is linear."""

    def __init__(self, album: Album, arrays: Sequence[Array], start: Preprocessing) -> None:
        self._album, self._arrays = album, [_thinned(array) for array in arrays]
        self.how, self.score = start, self._score(start)

    def take(self, how: Preprocessing) -> None:
        """Keep a hypothesis if it is clearly better."""
        score = self._score(how)
        if score < self.score - _BETTER:
            self.how, self.score = how, score

    def colours(self) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
        """The order of channels, and the mean and deviation (of 0..1, in that order) that fit best."""
        order, fits = self._fit(self.how)
        # value = (level / 255 - mean) / std
        std = tuple(1 / (255 * slope) if slope else math.inf for slope, _ in fits)
        mean = tuple(-offset * deviation for (_, offset), deviation in zip(fits, std, strict=True))
        return order, mean, std

    def _score(self, how: Preprocessing) -> float:
        """Mean difference in levels that is left when colours are fitted."""
        order, fits = self._fit(how)
        apart = []
        for whole, array in zip(self._album.levels(how), self._arrays, strict=True):
            levels = _thinned(whole)
            given = levels[::-1] if order == "BGR" else levels
            for channel, (slope, offset) in enumerate(fits):
                if slope == 0:
                    return math.inf
                apart.append(abs((array[channel] - offset) / slope - given[channel]).mean())
        return float(np.mean(apart))

    def _fit(self, how: Preprocessing) -> tuple[str, list[tuple[float, float]]]:
        """The order of channels that fits better, with slope and offset of each, by least squares over all pictures."""
        levels = np.concatenate([_thinned(one).reshape(3, -1) for one in self._album.levels(how)], axis=1)
        values = np.concatenate([one.reshape(3, -1) for one in self._arrays], axis=1)
        fits = {}
        for order, given in (("RGB", levels), ("BGR", levels[::-1])):
            lines = [_line(x, y) for x, y in zip(given, values, strict=True)]
            fits[order] = (sum(line[2] for line in lines), [line[:2] for line in lines])
        order = min(fits, key=lambda name: fits[name][0])
        return order, fits[order][1]


def _thinned(array: Array) -> Array:
    """Every third row and column, which is enough to tell hypotheses apart."""
    return array[:, ::3, ::3].astype(np.float64)


def _line(x: Array, y: Array) -> tuple[float, float, float]:
    """Slope, offset and what is left of the variance: y = slope x + offset."""
    x_mean, y_mean = x.mean(), y.mean()
    spread, both = ((x - x_mean) ** 2).mean(), ((x - x_mean) * (y - y_mean)).mean()
    slope = float(both / spread) if spread else 0.0
    total = ((y - y_mean) ** 2).mean()
    left = float((total - slope * both) / total) if total else 1.0
    return slope, float(y_mean - slope * x_mean), left


def _normalised(album: Album, how: Preprocessing, units: Preprocessing) -> list[Array]:
    """What the network gets, in levels of the source's normalisation."""
    mean, std, unit = (np.reshape(values, (3, 1, 1)) for values in (how.mean, how.std, units.std))
    return [
        255 * unit * (((levels[::-1] if how.channels == "BGR" else levels) / 255 - mean) / std)
        for levels in album.levels(how)
    ]


def _apart(ours: Sequence[Array], theirs: Sequence[Array]) -> float:
    """Mean absolute difference; of crops of different sizes, that of what both have in the centre."""
    found = []
    for one, other in zip(ours, theirs, strict=True):
        side = min(one.shape[1], other.shape[1])
        found.append(abs(_centre(one, side) - _centre(other, side)).mean())
    return float(np.mean(found))


def _centre(array: Array, side: int) -> Array:
    start = (array.shape[1] - side) // 2
    return array[:, start : start + side, start : start + side]
