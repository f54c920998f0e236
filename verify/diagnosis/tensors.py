"""What is wrong with parameters that differ, read from the parameters themselves."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converters.rounding import round_to
from ...mappings.graph import Module
from .matching import match_rows, spans, told
from .parameters import Parameters, folded_into

Array = npt.NDArray[Any]

# Foreign folding rounds once or twice more than ours.
FOLDED_TOLERANCE = 2e-6
_FEW = 3
_LEAVES = ("scale", "shift", "mean", "var")


@dataclass(frozen=True, slots=True)
class Difference:
    """A parameter of the target that is not the source's: ``kind`` in a word, ``said`` in a sentence without subject.

    ``source`` and ``target`` are its names in the files; ``module`` is the canonical path of its layer.
    """

    key: str
    module: str
    kind: str
    said: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Pair:
    """The parameters of both sides, the source's as the target should have them; ``original`` are its own."""

    source: Parameters
    target: Parameters
    original: Parameters
    modules: Mapping[str, Module]

    @property
    def tolerance(self) -> float:
        """How far equal values may be apart, relative to the root mean square of a tensor."""
        return FOLDED_TOLERANCE if self.target.folded else 0.0

    def same(self, key: str) -> bool:
        """Whether both sides have the same values there."""
        return _same(self.source.arrays[key], self.target.arrays[key], self.tolerance)


def differences(pair: Pair, epsilons: Mapping[str, tuple[str, float]]) -> tuple[Difference, ...]:
    """Every parameter that differs, with what is wrong with it.

    ``epsilons`` are those of the source, with the path of the norm, by the path of the convolution that it may be
    folded into.
    """
    others: dict[bytes, list[str]] = {}
    for key, array in pair.source.arrays.items():
        if np.ptp(array) > 0:  # what is constant is anybody's
            others.setdefault(_digest(array), []).append(key)
    found: list[Difference] = []
    for path, module in pair.modules.items():
        keys = [p.key for p in module.parameters if p.key in pair.target.arrays and not pair.same(p.key)]
        for key in keys:
            kind, said = _explained(key, module, pair, others)
            found.append(Difference(key, path, kind, said, pair.source.names[key], pair.target.names[key]))
    return tuple(_refolded(found, pair, epsilons)) if pair.target.folded else tuple(found)


def _explained(key: str, module: Module, pair: Pair, others: Mapping[bytes, list[str]]) -> tuple[str, str]:
    ours, theirs = pair.source.arrays[key], pair.target.arrays[key]
    if not np.isfinite(theirs).all():
        return "not finite", f"NaN or Inf in {int((~np.isfinite(theirs)).sum())} of {theirs.size} values"
    twins = others.get(_digest(theirs), [])
    own = [twin for twin in twins if twin.rpartition(".")[0] == module.path]
    if own:
        return "leaves", _mixed(key, own[0], pair)
    if twins:
        return "other layer", f"the values of another layer's {pair.source.names[twins[0]]}"
    return next(filter(None, _hypotheses(ours, theirs, module, pair.tolerance)), _measured(ours, theirs))


def _mixed(key: str, twin: str, pair: Pair) -> str:
    """A leaf that has the values of another of its layer."""
    here, there = (name.rpartition(".")[2] for name in (key, twin))
    arrays = pair.target.arrays
    if _same(pair.source.arrays[key], arrays[twin], pair.tolerance):
        return "{} and {} are in each other's place".format(*sorted((here, there)))
    return f"the values of the layer's {there} ({pair.source.names[twin]})"


def _hypotheses(
    ours: Array, theirs: Array, module: Module, tolerance: float
) -> Iterator[tuple[str, str] | None]:  # fmt: skip
    apart = np.abs(theirs - ours) > tolerance * _rms(ours)
    if int(apart.sum()) == 1:
        yield "element", _elements(ours, theirs, apart)
    groups = module.groups
    rows = "classes" if module.kind == "linear" else "output channels" if ours.ndim > 1 else "channels"
    mapping = match_rows(ours, theirs, tolerance)
    if (mapping >= 0).all():
        yield "channels", told(mapping, groups, rows)
    if int(apart.sum()) <= _FEW:
        yield "element", _elements(ours, theirs, apart)
    if ours.ndim > 1:
        mapping = match_rows(np.moveaxis(ours, 1, 0), np.moveaxis(theirs, 1, 0), tolerance)
        if (mapping >= 0).all():
            yield "channels", told(mapping, 1, "input channels" if ours.ndim > 2 else "features")
        yield _rearranged(ours, theirs, tolerance)
    for dtype in ("float16", "bfloat16"):
        if np.array_equal(round_to(ours, dtype).astype(np.float32), theirs):
            yield "rounded", f"rounded to {dtype}"
    yield _scaled(ours, theirs)
    differing = np.flatnonzero(apart.reshape(len(apart), -1).any(1))
    if 1 < groups <= len(ours) and len(differing) < len(ours):
        within = {int(row) // (len(ours) // groups) for row in differing}
        if len(within) == 1:
            part = slice(differing[0], differing[-1] + 1)
            how = _scaled(ours[part], theirs[part]) or _measured(ours[part], theirs[part])
            yield "group", f"differs in group {within.pop()} only ({rows} {spans(differing.tolist())}): {how[1]}"
    if len(differing) < len(ours):
        part_said = (_scaled(ours[differing], theirs[differing]) or _measured(ours[differing], theirs[differing]))[1]
        yield "rows", f"differs in {len(differing)} of {len(ours)} {rows} ({spans(differing.tolist())}): {part_said}"


def _elements(ours: Array, theirs: Array, apart: Array) -> str:
    said = [
        f"[{', '.join(map(str, at))}] is {theirs[tuple(at)]:.6g} instead of {ours[tuple(at)]:.6g}"
        for at in np.argwhere(apart)
    ]
    return f"{'one value differs' if len(said) == 1 else f'{len(said)} values differ'}: {', '.join(said)}"


def _rearranged(ours: Array, theirs: Array, tolerance: float) -> tuple[str, str] | None:
    """Axes in another order, with the shape kept or read anew, or a kernel turned round."""
    for axes in itertools.permutations(range(ours.ndim)):
        if axes == tuple(range(ours.ndim)):
            continue
        turned = ours.transpose(axes)
        if _same(turned.reshape(ours.shape), theirs, tolerance):
            how = "" if turned.shape == ours.shape else ", read as if they were not"
            return "transposed", f"axes in the order {axes}{how}"
        read = ours.reshape([ours.shape[axis] for axis in axes])
        if _same(read.transpose(np.argsort(axes)), theirs, tolerance):
            return "transposed", f"read as if its axes were in the order {axes}, then put right"
    for axis in range(2, ours.ndim):
        if _same(np.flip(ours, axis), theirs, tolerance):
            return "flipped", "kernels are mirrored"
    if ours.ndim == 4 and _same(ours[:, :, ::-1, ::-1], theirs, tolerance):
        return "flipped", "kernels are turned by 180 degrees (for convolution, not correlation)"
    return None


def _scaled(ours: Array, theirs: Array) -> tuple[str, str] | None:
    if not theirs.any():
        return "zero", "all zeros"
    square = float((ours.astype(np.float64) ** 2).sum())
    if square == 0.0:
        return None
    factor = float((ours.astype(np.float64) * theirs).sum()) / square
    if _same(factor * ours.astype(np.float64), theirs, 1e-6) and factor:
        return "scaled", f"{factor:.6g} times the source's"
    offset = float(np.mean(theirs.astype(np.float64) - ours))
    if ours.size > 2 and _same(ours + offset, theirs, 1e-6):
        return "offset", f"the source's plus {offset:.6g}"
    return None


def _measured(ours: Array, theirs: Array) -> tuple[str, str]:
    apart = theirs.astype(np.float64) - ours
    relative = float(np.linalg.norm(apart) / max(np.linalg.norm(ours.astype(np.float64)), np.finfo(np.float64).tiny))
    count = int((apart != 0).sum())
    return "values", f"{count} of {ours.size} values differ, by {relative:.1e} of their size (relative L2)"


def _refolded(found: list[Difference], pair: Pair, epsilons: Mapping[str, tuple[str, float]]) -> Iterator[Difference]:
    """Differences of a folded file, told by what its layers were before, where that explains them."""
    for item in found:
        conv = next((conv for conv, (norm, _) in epsilons.items() if item.module in (conv, norm)), None)
        said = None if conv is None else _before_folding(item, conv, *epsilons[conv], pair)
        yield Difference(item.key, item.module, *said, item.source, item.target) if said else item


def _before_folding(item: Difference, conv: str, norm: str, epsilon: float, pair: Pair) -> tuple[str, str] | None:
    """What was folded: the leaves of the BatchNorm mixed up, another epsilon, or another kernel."""
    theirs = pair.target.arrays
    kernel, *values = (pair.original.arrays[key] for key in (f"{conv}.kernel", *(f"{norm}.{leaf}" for leaf in _LEAVES)))

    def explains(order: tuple[int, ...], eps: float) -> bool:
        made = folded_into(kernel, [values[place] for place in order], eps)
        folded = theirs[f"{conv}.kernel"], theirs[f"{norm}.shift"]
        return all(_same(one, other, 1e-5) for one, other in zip(made, folded, strict=True))

    with np.errstate(invalid="ignore", divide="ignore"):
        for order in itertools.permutations(range(4)):
            if order != (0, 1, 2, 3) and explains(order, epsilon):
                taken = [(_LEAVES[place], leaf) for leaf, place in zip(_LEAVES, order, strict=True)]
                return "leaves", f"folded with {', '.join(f'{one} as {leaf}' for one, leaf in taken if one != leaf)}"
        square = (kernel.astype(np.float64) ** 2).sum((1, 2, 3))
        gain = (kernel.astype(np.float64) * theirs[f"{conv}.kernel"]).sum((1, 2, 3)) / square
        fitted = float(np.nanmedian((values[0] / gain) ** 2 - values[3].astype(np.float64)))
        if fitted >= 0 and explains((0, 1, 2, 3), fitted):
            return "epsilon", f"folded with epsilon {fitted:.3g} where the source has {epsilon:.3g}"
        if item.module == conv:
            factor = values[0].astype(np.float64) / np.sqrt(values[3].astype(np.float64) + epsilon)
            before = theirs[item.key] / factor[:, None, None, None]
            if np.isfinite(before).all():
                return next(filter(None, _hypotheses(kernel, before, pair.modules[conv], 1e-5)), None)
    return None


def _same(ours: Array, theirs: Array, tolerance: float) -> bool:
    if ours.shape != theirs.shape:
        return False
    if not tolerance:
        return bool(np.array_equal(ours, theirs, equal_nan=True))
    both = np.isnan(ours) & np.isnan(theirs)
    apart = np.where(both, 0.0, theirs.astype(np.float64) - ours)
    return bool(np.abs(apart).max(initial=0.0) <= tolerance * _rms(np.where(both, 0.0, ours)) * 4)


def _digest(array: Array) -> bytes:
    """Equal for equal shapes and values."""
    return hashlib.sha256(np.ascontiguousarray(array, np.float32).tobytes() + repr(array.shape).encode()).digest()


def _rms(array: Array) -> float:
    return float(np.sqrt(np.mean(array.astype(np.float64) ** 2))) if array.size else 0.0
