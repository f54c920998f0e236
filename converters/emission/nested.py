"""Cells at paths such as ``network.extras.0``, in the groups and lists that give them these names."""

from collections.abc import Iterable, Mapping
from keyword import iskeyword

from .errors import EmissionError
from .expressions import Call
from .naming import Path


def nested(cells: Mapping[Path, str | Call]) -> dict[str, str | Call]:
    """The attributes of a cell that holds others at these paths."""
    found = _members(cells)
    wrong = next((name for name in found if not _is_attribute(name)), None)
    if wrong is not None:
        raise EmissionError(f"{wrong!r}, which begins the name of a layer, can be no attribute of a cell")
    return found


def place(path: Path) -> str:
    """How code of the cell that holds all others comes by the one at a path."""
    return "self" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path)


def common(paths: Iterable[Path]) -> Path:
    """The cell that holds layers of these names: what all of them begin with, the layers' own last words apart."""
    shared: Path = ()
    for parts in zip(*(path[:-1] for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        shared += (parts[0],)
    return shared


def _members(cells: Mapping[Path, str | Call]) -> dict[str, str | Call]:
    found: dict[str, str | Call] = {}
    for name in dict.fromkeys(path[0] for path in cells):
        below = {path[1:]: made for path, made in cells.items() if path[0] == name}
        if () in below and len(below) > 1:
            raise EmissionError(f"{name} is the name of one cell and the beginning of another's")
        found[name] = below[()] if () in below else _holder(name, _members(below))
    return found


def _holder(name: str, members: Mapping[str, str | Call]) -> Call:
    numbers = [str(number) for number in range(len(members))]
    if set(members) == set(numbers):
        return Call("nn.CellList(", (("", Call("[", tuple(("", members[number]) for number in numbers), "]")),))
    wrong = next((member for member in members if not _is_attribute(member)), None)
    if wrong is not None:
        raise EmissionError(f"{name} would hold a cell called {wrong!r}, and those of a list are numbered from 0")
    return Call("Group(", tuple((f"{member}=", made) for member, made in members.items()))


def _is_attribute(name: str) -> bool:
    return name.isidentifier() and not iskeyword(name)
