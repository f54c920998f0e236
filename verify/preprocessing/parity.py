"""Compare what two libraries make of the same pictures, and find out why where it is not the same."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converters.errors import EnvironmentError_
from ...converters.preprocessing import Preprocessing, from_facts
from ...mappings.names import counted
from ..errors import RuntimeRefusedError
from ..process import call
from . import album, causes
from .budget import Budget, PictureDifference, differences
from .causes import Cause, Found
from .effect import Effect
from .libraries import library
from .rendering import Album

Array = npt.NDArray[Any]
Progress = Callable[[str, int, int | None], None]
# Measures what the arrays of both sides do to the network, in a folder.
Measure = Callable[[Sequence[Array], Sequence[Array], Path], Effect]

# Seconds for one library to be imported and to prepare all pictures.
TIMEOUT = 300.0
USUAL_BUDGET = Budget()
# Hypotheses are tried on so many pictures: those whose proportions tell most.
_TRIED = 3


@dataclass(frozen=True, slots=True)
class Party:
    """One side: a library's own code, or a function of the user's, and the settings it is given.

    ``library`` is a module of ``libraries``, or a Python file where ``function`` names what to call in it. Without
    ``stated`` it does what it does for ``architecture`` by itself; ``settings`` change that, in the words of a record.
    """

    library: str
    architecture: str = ""
    stated: Preprocessing | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    function: str = ""

    @property
    def label(self) -> str:
        """Who this is, in a word."""
        return f"{Path(self.library).name}:{self.function}" if self.function else self.library


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a side did: ``how`` is None for a function, which does not say."""

    how: Preprocessing | None
    versions: Mapping[str, str]
    arrays: tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class Parity:
    """A comparison of preprocessing; true when the tensors are the same within the budget.

    ``pictures`` is empty where the crops have different sizes. ``found`` is how the target's arrays were made as far
    as hypotheses tell, up to ``found.unexplained`` levels. ``advice`` is what to type in the target's library for the
    source's settings, and ``advised`` the mean difference that was then left on the worst picture, in levels.
    """

    same: bool
    reason: str
    source: Party
    target: Party
    source_how: Preprocessing
    target_how: Preprocessing | None
    told: str
    pictures: tuple[PictureDifference, ...]
    found: Found | None = None
    causes: tuple[Cause, ...] = ()
    advice: str = ""
    advised: float | None = None
    effect: Effect | None = None
    budget: Budget = USUAL_BUDGET
    versions: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return self.same

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        how = self.found.how if self.found else None
        return {
            "same": self.same, "reason": self.reason, "source": self.source.label, "target": self.target.label,
            "source_preprocessing": self.source_how.as_dict(),
            "target_preprocessing": self.target_how.as_dict() if self.target_how else None,
            "pictures_from": self.told, "pictures": [picture.as_dict() for picture in self.pictures],
            "budget": {"mean": self.budget.mean, "share_over_1": self.budget.share},
            "causes": [cause.as_dict() for cause in self.causes], "found": how.as_dict() if how else None,
            "unexplained": self.found.unexplained if self.found else None, "advice": self.advice,
            "advised": self.advised,
            "effect": self.effect.as_dict() if self.effect else None, "versions": dict(self.versions),
            "notices": list(self.notices), "seconds": round(self.seconds, 1),
        }  # fmt: skip


def preprocessing_parity(
    source: Party,
    target: Party,
    *,
    images: Path | None = None,
    budget: Budget = USUAL_BUDGET,
    measure: Measure | None = None,
    progress: Progress | None = None,
    timeout: float = TIMEOUT,
) -> Parity:
    """Prepare pictures by both sides, each in a process of its own, and compare the tensors.

    Pictures are those of the folder ``images``, or files made from drawn ones. ``measure`` tells what both do to the
    network. Raises MissingPackageError (a library is not installed), EnvironmentError_ (no pictures),
    RuntimeRefusedError (a setting that a library lacks, a picture it cannot read).
    """
    started = time.monotonic()
    say = progress or (lambda *_: None)
    with tempfile.TemporaryDirectory(prefix="mshub-preprocessing-") as scratch:
        folder, left_out = Path(scratch), list[str]()
        if images is None:
            paths = album.made(folder / "pictures")
            told = f"{len(paths)} drawn pictures in .jpg and .png files of several proportions"
        else:
            paths, told, left_out = album.given(images)
        sides = {}
        for name, party in (("source", source), ("target", target)):
            say(f"preparing pictures by {party.label}", 0, None)
            sides[name] = _prepared(party, paths, folder / name, timeout)
        ours, theirs = sides["source"], sides["target"]
        if ours.how is None:
            raise EnvironmentError_(f"{source.label} does not say what it does, so nothing can be compared with it")
        names = [path.name for path in paths]
        apart = differences(names, ours.arrays, theirs.arrays, ours.how.std)
        same = bool(apart) and all(picture.within(budget) for picture in apart)
        result = Parity(
            same, _reason(apart, ours, theirs, budget), source, target, ours.how, theirs.how, told, apart,
            budget=budget, versions={**ours.versions, **theirs.versions},
        )  # fmt: skip
        if not same:
            say("trying what explains the difference", 0, None)
            result = _explained(result, paths, theirs, ours.how)
            if not target.function:
                say(f"trying the source's settings in {target.label}", 0, None)
                result = _advised(result, ours, paths, folder / "advised", timeout)
        if measure is not None:
            say("running the network on both", 0, None)
            result = replace(result, effect=measure(ours.arrays, theirs.arrays, folder))
    notices = (*left_out, *_notices(result, paths))
    return replace(result, notices=notices, seconds=time.monotonic() - started)


def _prepared(party: Party, paths: Sequence[Path], folder: Path, timeout: float) -> Prepared:
    job = {
        "library": str(Path(party.library).absolute()) if party.function else party.library,
        "function": party.function, "architecture": party.architecture, "settings": dict(party.settings),
        "preprocessing": party.stated.as_dict() if party.stated else None, "pictures": [str(path) for path in paths],
    }  # fmt: skip
    what = f"the preprocessing of {party.label}"
    data = call("preprocessing.worker", job, folder, what=what, timeout=timeout)
    arrays = tuple(np.load(folder / name, allow_pickle=False) for name in data["arrays"])
    return Prepared(from_facts(data["preprocessing"]), data["versions"], arrays)


def _reason(apart: Sequence[PictureDifference], ours: Prepared, theirs: Prepared, budget: Budget) -> str:
    if not apart:
        sizes = (" x ".join(map(str, side.arrays[0].shape[1:])) for side in (ours, theirs))
        return "the tensors are of different sizes: {} and {} pixels".format(*sizes)
    worst = max(apart, key=lambda picture: picture.mean)
    far = f"mean {worst.mean:.2g} of 255 levels on the worst picture, {worst.share:.1%} of values more than 1 apart"
    return f"{far} (budget: {budget.mean:g} and {budget.share:.0%})"


def _explained(result: Parity, paths: Sequence[Path], theirs: Prepared, ours: Preprocessing) -> Parity:
    """The result with what explains it; only square crops are explained."""
    heights = {array.shape[1:] for array in theirs.arrays}
    if any(height != width for height, width in heights) or len(heights) > 1:
        return result
    chosen = _telling(result, paths)
    pictures = Album([paths[index] for index in chosen])
    arrays = [theirs.arrays[index] for index in chosen]
    found = causes.find(pictures, arrays, ours, theirs.how)
    told = causes.causes(pictures, ours, found)
    return replace(result, found=found, causes=told)


def _advised(result: Parity, ours: Prepared, paths: Sequence[Path], folder: Path, timeout: float) -> Parity:
    """The result with what to type in the target's library, and what that leaves, which was tried."""
    how = result.source_how
    advice = library(result.target.library).advice(how)
    try:
        tried = _prepared(replace(result.target, stated=how, settings={}), paths, folder, timeout)
    except RuntimeRefusedError as error:
        return replace(result, notices=(f"{result.target.label} cannot do what the source does: {error.message}",))
    left = differences([path.name for path in paths], ours.arrays, tried.arrays, how.std)
    return replace(result, advice=advice, advised=max(picture.mean for picture in left) if left else None)


def _telling(result: Parity, paths: Sequence[Path]) -> list[int]:
    """The pictures to try hypotheses on: the most different ones."""
    order = range(len(paths))
    if result.pictures:
        order = sorted(order, key=lambda index: -result.pictures[index].mean)  # type: ignore[assignment]
    return list(order)[:_TRIED]


def _notices(result: Parity, paths: Sequence[Path]) -> tuple[str, ...]:
    """What these pictures could not show."""
    found = list(result.notices)
    ours, theirs = result.source_how, result.target_how
    seen = any(cause.name == "oriented" for cause in result.causes)
    if theirs is not None and ours.oriented != theirs.oriented and not seen:
        turning = result.source.label if ours.oriented else result.target.label
        found.append(f"{turning} turns pictures as their EXIF says, the other does not; none of these was turned so")
    if result.found is not None and result.found.unexplained > result.budget.mean:
        found.append(
            f"{result.found.unexplained:.2g} levels in the mean are not explained by what is named (rounding inside "
            "the libraries, or a step that is not looked for, such as padding)"
        )
    if len(paths) < 3:
        found.append(f"{counted(len(paths), 'picture')} only: give some of several proportions")
    return tuple(found)
