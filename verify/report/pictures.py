"""The first classes of source and target on a few of the pictures, each with a small image of it."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..exhibits import Exhibits
from ..inputs import MEAN, STD

Array = npt.NDArray[Any]

DEPTH = 5
_MOST = 6
# The longer side, in pixels.
_SIDE = 128


@dataclass(frozen=True, slots=True)
class Place:
    """A rank: which class source and target have there, and the logit of the source's in both."""

    source: str
    target: str
    logit: float
    logit_in_target: float

    @property
    def moved(self) -> float:
        """By how much the logit differs in the target."""
        return self.logit_in_target - self.logit

    @property
    def same(self) -> bool:
        """Whether it is one class."""
        return self.source == self.target


@dataclass(frozen=True, slots=True)
class Card:
    """A picture and its first classes; ``image`` is a data URI."""

    title: str
    image: str
    width: int
    height: int
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """Some of ``of`` pictures; on ``differing`` of all of them the order of the first classes is not the same."""

    cards: tuple[Card, ...]
    of: int
    differing: int


def sample(
    exhibits: Exhibits, labels: Sequence[str], titles: Sequence[str], names: Sequence[str], output: str
) -> Sample:
    """Up to six pictures: those on which the order differs, then the first of each batch in turn.

    ``titles`` are those of the pictures of every batch, ``names`` those of the classes, where they have any.
    """
    every = []
    for batch, label in enumerate(labels):
        source, target = (exhibits.outputs[run][batch][output] for run in ("source", "target"))
        for index, (ours, theirs) in enumerate(zip(source, target, strict=True)):
            places = _places(ours, theirs, names)
            every.append((all(place.same for place in places), index, batch, label, places))
    every.sort(key=lambda item: item[:3])
    chosen = sorted(every[:_MOST], key=lambda item: (item[2], item[1]))
    return Sample(
        tuple(
            Card(
                f"{titles[index] if titles else f'picture {index + 1}'} at {label}",
                *_image(exhibits.pictures[batch][index]),
                places,
            )
            for _, index, batch, label, places in chosen
        ),
        len(every),
        sum(not same for same, *_ in every),
    )


def _places(ours: Array, theirs: Array, names: Sequence[str]) -> tuple[Place, ...]:
    def name(label: int) -> str:
        return names[label] if label < len(names) else f"class {label}"

    first, second = (np.argsort(-logits, kind="stable")[:DEPTH].tolist() for logits in (ours, theirs))
    return tuple(Place(name(a), name(b), float(ours[a]), float(theirs[a])) for a, b in zip(first, second, strict=True))


def _image(picture: Array) -> tuple[str, int, int]:
    """A normalised picture (3, H, W) made small, as a data URI, with its width and height."""
    from PIL import Image

    pixels = picture.transpose(1, 2, 0).astype(np.float64) * STD + MEAN
    if pixels.min() < -0.01 or pixels.max() > 1.01:  # normalised otherwise: its own range is shown
        pixels = (pixels - pixels.min()) / max(np.ptp(pixels), 1e-9)
    image = Image.fromarray(np.asarray(np.round(np.clip(pixels, 0, 1) * 255), np.uint8))
    image.thumbnail((_SIDE, _SIDE))
    data = io.BytesIO()
    image.save(data, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}", image.width, image.height
