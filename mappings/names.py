"""Names for people: collapse long lists of tensor names, and guess what was meant by a misspelt one."""

import difflib
import re
from collections.abc import Collection, Iterable, Sequence

_Segments = tuple[str, ...]
_Box = tuple[tuple[int, ...], ...]

# Indices are short and few. Longer digits and leading zeros stay text, and so does what comes after many numbers:
# a hostile name may be nothing but numbers.
_NUMBER = re.compile(r"(?<![0-9])(0|[1-9][0-9]{0,8})(?![0-9])")
_MOST_NUMBERS = 8


def collapse(names: Iterable[str]) -> tuple[str, ...]:
    """Fold names that differ only in their numbers into patterns, in order of first appearance.

    >>> collapse(["layer1.0.bn1.weight", "layer1.1.bn1.weight", "layer2.0.bn1.weight", "fc.bias"])
    ('layer1.{0,1}.bn1.weight', 'layer2.0.bn1.weight', 'fc.bias')
    >>> collapse(f"layer{s}.{b}.bn{k}.weight" for s in (1, 2) for b in range(4) for k in (1, 2, 3))
    ('layer{1,2}.{0..3}.bn{1..3}.weight',)
    """
    groups: dict[_Segments, set[tuple[int, ...]]] = {}
    for name in names:
        text, numbers = _split_numbers(name)
        groups.setdefault(text, set()).add(numbers)
    return tuple(_render(text, box) for text, tuples in groups.items() for box in _boxes(tuples))


def _split_numbers(name: str) -> tuple[_Segments, tuple[int, ...]]:
    """Cut ``layer1.0.x`` into its text around the numbers and the numbers."""
    pieces = _NUMBER.split(name, maxsplit=_MOST_NUMBERS)
    return tuple(pieces[::2]), tuple(map(int, pieces[1::2]))


def _boxes(tuples: set[tuple[int, ...]]) -> list[_Box]:
    """Cover a set of index tuples by few boxes (one sorted tuple of values an axis), merging axis by axis."""
    boxes: set[_Box] = {tuple((value,) for value in numbers) for numbers in tuples}
    width = len(next(iter(tuples)))
    for axis in reversed(range(width)):
        merged: dict[_Box, set[int]] = {}
        for box in boxes:
            merged.setdefault((*box[:axis], *box[axis + 1 :]), set()).update(box[axis])
        boxes = {(*rest[:axis], tuple(sorted(values)), *rest[axis:]) for rest, values in merged.items()}
    return sorted(boxes)


def _render(text: _Segments, box: _Box) -> str:
    parts = [_printable(text[0])]
    for values, following in zip(box, text[1:], strict=True):
        parts += [_render_values(values), _printable(following)]
    return "".join(parts)


def _printable(text: str) -> str:
    """Text safe for a terminal: control characters and lone surrogates are escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _render_values(values: tuple[int, ...]) -> str:
    if len(values) == 1:
        return str(values[0])
    if len(values) > 2 and values[-1] - values[0] == len(values) - 1:
        return f"{{{values[0]}..{values[-1]}}}"
    return "{" + ",".join(map(str, values)) + "}"


# How many known names a message lists whole, and how many of more.
_FEW, _SHOWN = 15, 6


def closest(name: str, known: Collection[str], *, limit: int = 3) -> tuple[str, ...]:
    """The known names nearest to a misspelt one, best first."""
    by_folded = {item.lower(): item for item in known}
    found = difflib.get_close_matches(name.lower(), by_folded, n=limit, cutoff=0.6)
    return tuple(by_folded[item] for item in found)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A sentence naming the nearest known names; when none is near all of them, or the first where they are many."""
    near = closest(name, known)
    if near:
        return f"Did you mean {listed(near, 'or')}?"
    if len(known) > _FEW:
        return f"Known are {len(known)}, such as {', '.join(sorted(known)[:_SHOWN])}."
    return f"Known: {', '.join(sorted(known)) or 'none'}."


def listed(items: Sequence[str], conjunction: str = "and") -> str:
    """Join words for a sentence: ``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {conjunction} {items[-1]}"


def counted(number: int, noun: str) -> str:
    """``1 tensor``, ``2 tensors``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
