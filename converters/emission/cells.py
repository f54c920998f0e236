"""From steps with dotted names to cells that nest as those names say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from keyword import iskeyword

from .errors import EmissionError
from .expressions import Call, named_sequence, sequence


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a network does with one value.

    ``make`` makes its cell. ``path`` are the segments of its name; it is empty where there are no parameters, and then
    ``call`` is how it is done without a cell (``ops.relu({})``), if it can be, and ``label`` what to call its cell.
    ``begins`` starts a new line of the code that calls it.
    """

    make: str | Call
    path: tuple[str, ...] = ()
    call: str = ""
    label: str = ""
    begins: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """An attribute of a cell, or a call without one: ``made`` is empty then. ``call`` is applied to the value."""

    name: str
    made: str | Call
    call: str
    begins: bool = False


def arrange(steps: Sequence[Step]) -> tuple[Item, ...]:
    """The attributes of a cell that does these steps, in their order; what shares a name becomes one of them."""
    items = []
    for name, group in _groups(steps):
        first = group[0]
        if not name:
            kept = "" if first.call else first.label
            items.append(Item(kept, first.make if kept else "", first.call or f"self.{kept}({{}})"))
            continue
        if not name.isidentifier() or iskeyword(name):
            raise EmissionError(f"{name!r}, which begins the name of a layer, can be no attribute of a cell")
        made = first.make if first.path == (name,) else contained(name, _below(group))
        items.append(Item(name, made, f"self.{name}({{}})", begins=len(group) > 1 or first.begins))
    names = [item.name for item in items if item.name]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise EmissionError(f"{twice} would be the name of two things")
    return tuple(items)


def _groups(steps: Sequence[Step]) -> list[tuple[str, list[Step]]]:
    """Steps by the first segment of their names; those without a name between two of a group belong to it."""
    groups: list[tuple[str, list[Step]]] = []
    index = 0
    while index < len(steps):
        name = steps[index].path[0] if steps[index].path else ""
        last = index
        if name:
            last = max(place for place, step in enumerate(steps) if step.path[:1] == (name,))
        group = list(steps[index : last + 1])
        if any(step.path and step.path[0] != name for step in group):
            raise EmissionError(f"between two layers of {name} another one runs")
        if len(group) > 1 and any(step.path == (name,) for step in group):
            raise EmissionError(f"{name} is the name of a layer and the beginning of another's")
        # What needs a cell of its own goes where the numbers leave room for it.
        for _ in range(_room(group[0])):
            if groups and not groups[-1][0] and not groups[-1][1][0].call:
                group = groups.pop()[1] + group
        groups.append((name, group))
        index = last + 1
    return groups


def _room(step: Step) -> int:
    """How many cells can go before a layer in the sequence that its name is a number of."""
    return int(step.path[1]) if len(step.path) > 1 and step.path[1].isdigit() else 0


def _below(group: list[Step]) -> list[Step]:
    """The steps of a group, by their names in its cell."""
    return [replace(step, path=step.path[1:]) for step in group]


def contained(name: str, steps: Sequence[Step]) -> Call:
    """One cell, called ``name``, that does these steps."""
    members: list[tuple[str, str, str | Call]] = []
    for child, group in _groups(steps):
        first = group[0]
        made = contained(child, _below(group)) if child and first.path != (child,) else first.make
        members.append((child, first.label, made))
    return _numbered(members) or _named(name, members)


def _numbered(members: list[tuple[str, str, str | Call]]) -> Call | None:
    """A sequence by number, where names are numbers that leave room for what has none."""
    cells: list[str | Call] = []
    for child, _, made in members:
        if child:
            if not child.isdigit() or str(int(child)) != child or int(child) < len(cells):
                return None
            cells += ["nn.Identity()"] * (int(child) - len(cells))
        cells.append(made)
    return sequence(cells)


def _named(name: str, members: list[tuple[str, str, str | Call]]) -> Call:
    cells: dict[str, str | Call] = {}
    for child, label, made in members:
        key, number = child or label, 2
        while not child and (key in cells or any(key == other for other, _, _ in members)):
            key, number = f"{label}{number}", number + 1
        if key in cells:
            raise EmissionError(f"{name}.{key} would be the name of two things")
        cells[key] = made
    return named_sequence(cells)


def calls(items: Sequence[Item], value: str, result: str) -> list[str]:
    """Lines of code that apply items to ``value``, the last one's value in ``result``."""
    lines: list[str] = []
    expression = value
    for item in items:
        if item.begins and expression not in (value, result):
            lines.append(f"{result} = {expression}")
            expression = result
        expression = item.call.format(expression)
    if expression != result:
        lines.append(f"{result} = {expression}")
    return lines
