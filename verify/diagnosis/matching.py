"""Which rows of one array are which rows of another, and how to say it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...mappings.names import listed

Array = npt.NDArray[Any]
Mapping_ = npt.NDArray[np.int64]

_MOST = 4


def match_rows(ours: Array, theirs: Array, tolerance: float = 0.0) -> Mapping_:
    """For each row of ``theirs`` (rows first, any shape behind) the row of ``ours`` that it equals; -1 for none.

    A row that equals its own is that; of several that are equal one is taken that no other row has. ``tolerance`` is
    relative to the root mean square of all values.
    """
    ours, theirs = (array.reshape(len(array), -1).astype(np.float64) for array in (ours, theirs))
    # A few projections tell rows apart; what they find is compared in full.
    directions = np.random.Generator(np.random.Philox(0)).standard_normal((ours.shape[1], 3))
    mine, other = ours @ directions, theirs @ directions
    typical = float(np.sqrt(np.mean(ours**2))) if ours.size else 0.0
    near = (tolerance + 1e-12) * typical * np.sqrt(ours.shape[1]) * 8
    found = np.full(len(theirs), -1, np.int64)
    for row in range(min(len(ours), len(theirs))):
        if _equal(ours[row], theirs[row], tolerance * typical):
            found[row] = row
    used = set(found.tolist())
    for row in np.flatnonzero(found < 0):
        distance = np.abs(mine - other[row]).max(1)
        candidates = [
            at for at in np.flatnonzero(distance <= near) if _equal(ours[at], theirs[row], tolerance * typical)
        ]
        if candidates:
            found[row] = next((at for at in candidates if at not in used), candidates[0])
            used.add(int(found[row]))
    return found


def nearest_rows(ours: Array, theirs: Array) -> Mapping_:
    """For each row of ``theirs`` the row of ``ours`` that it is most like, no row taken twice; float64, 2-D.

    Rows are paired from the most alike on. Which pairing has the least total distance is not asked: where the pairing
    explains anything, distances are at the rounding floor, and any pairing with them is the same.
    """
    square = (ours**2).sum(1)
    distances = (theirs**2).sum(1)[:, None] - 2 * theirs @ ours.T + square[None, :]
    found = np.full(len(theirs), -1, np.int64)
    taken = np.zeros(len(ours), bool)
    for row in np.argsort(distances.min(1), kind="stable"):
        free = np.where(taken, np.inf, distances[row])
        found[row] = int(free.argmin())
        taken[found[row]] = True
    return found


def told(mapping: Mapping_, groups: int, noun: str) -> str:
    """What a mapping that is not the identity does, in words; -1 must not be in it."""
    rows = len(mapping)
    own = np.arange(rows)
    moved = np.flatnonzero(mapping != own)
    if noun == "input channels" and mapping.tolist() == [2, 1, 0]:
        return "red and blue are in each other's place (RGB and BGR)"
    if len(np.unique(mapping)) < rows:
        return _copied(mapping, moved, groups, noun)
    if len(moved) == 2:
        return f"{noun} {moved[0]} and {moved[1]} are swapped{_in_group(moved, rows, groups)}"
    by = int(mapping[0])
    if np.array_equal(mapping, (own + by) % rows):
        return f"{noun} are shifted cyclically: {noun[:-1]} 0 has the values of {by}"
    if 1 < groups < rows and rows % groups == 0:
        width = rows // groups
        for order in (own.reshape(groups, width).T.ravel(), own.reshape(width, groups).T.ravel()):
            if np.array_equal(mapping, order):
                return f"{noun} are interleaved: the permutation of the {groups} groups is missing or done twice"
        blocks = mapping.reshape(groups, width)
        if np.array_equal(blocks, blocks[:, :1] + np.arange(width)) and not (blocks[:, 0] % width).any():
            return _groups_told(blocks[:, 0] // width)
    if np.array_equal(mapping, own[::-1]):
        return f"{noun} are in reverse order"
    return f"{len(moved)} of {rows} {noun} are permuted{_in_group(moved, rows, groups)} ({_pairs(mapping, moved)})"


def _groups_told(blocks: Mapping_) -> str:
    own = np.arange(len(blocks))
    moved = np.flatnonzero(blocks != own)
    if len(moved) == 2:
        return f"groups {moved[0]} and {moved[1]} are swapped"
    if np.array_equal(blocks, (own + blocks[0]) % len(blocks)):
        return f"groups are shifted cyclically: group 0 has the values of group {blocks[0]}"
    return f"{len(moved)} of {len(blocks)} groups are permuted ({_pairs(blocks, moved)})"


def _copied(mapping: Mapping_, moved: Mapping_, groups: int, noun: str) -> str:
    rows = len(mapping)
    width = rows // max(groups, 1)
    if groups > 1 and len(moved) == width and len({*(moved // width)}) == 1 == len({*(mapping[moved] // width)}):
        return f"group {moved[0] // width} has the values of group {mapping[moved[0]] // width}"
    return f"{len(moved)} of {rows} {noun} have the values of others ({_pairs(mapping, moved)})"


def _in_group(moved: Mapping_, rows: int, groups: int) -> str:
    if groups < 2 or rows % groups:
        return ""
    within = {int(row) // (rows // groups) for row in moved}
    return f" inside group {within.pop()}" if len(within) == 1 else ""


def _pairs(mapping: Mapping_, moved: Mapping_) -> str:
    said = [f"{row} has those of {mapping[row]}" for row in moved[:_MOST]]
    return listed(said) if len(moved) <= _MOST else ", ".join(said) + ", …"


def spans(rows: Sequence[int]) -> str:
    """Row numbers in words, runs folded: ``3, 8 to 15``; long lists end with ``…``."""
    runs: list[list[int]] = []
    for row in rows:
        if runs and row == runs[-1][1] + 1:
            runs[-1][1] = row
        else:
            runs.append([row, row])
    said = [str(first) if first == last else f"{first} to {last}" for first, last in runs[:_MOST]]
    return ", ".join(said) + (", …" if len(runs) > _MOST else "")


def _equal(ours: Array, theirs: Array, distance: float) -> bool:
    return bool(np.abs(ours - theirs).max(initial=0.0) <= distance * 4)
