"""Read a dialect file. Faults of form are collected, each with the file and the line it stands in."""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from .architectures import kinds
from .errors import DialectFileError, MappingError
from .graph import LEAVES
from .names import did_you_mean, listed
from .traits import Traits
from .wrappers import PREFIXES

FRAMEWORKS = ("torch", "mindspore")
_TEXTS = ("name", "title", "framework", "library")
_TABLES = ("traits", "modules", "leaves")
_NEEDED = (*_TEXTS, "models", *_TABLES)
_KEYS = (*_NEEDED, "shapes", "wrapper")

# How a kind's kernels are shaped where not as ours: a dense layer's has two axes, a 1x1 convolution's four.
SHAPES: Mapping[str, tuple[str, ...]] = {"squeeze": ("conv", "dense")}
_REMEDY = "See CONTRIBUTING.md, 'A dialect'."

# A key as TOML writes it: bare or quoted, dotted or not; then a table's header or an assignment.
_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_LINE = re.compile(rf"[ \t]*(?:\[{{1,2}}[ \t]*(?P<table>{_DOTTED})[ \t]*\]|(?P<key>{_DOTTED})[ \t]*=)")
_ERROR_LINE = re.compile(r"\(at line ([0-9]+), column [0-9]+\)$")

# What stands in braces: the variables of a pattern, on the right also with an offset, and {g}, the group.
_FIELD = re.compile(r"\{([^{}]*)\}")
_VARIABLES = ("s", "b", "k")
_SUM = re.compile(r"([sbk])(?:\+[0-9]{1,3})?")


class Lines:
    """Where each key of a TOML text stands."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        self.texts = text.split("\n")
        self._numbers: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        for number, line in enumerate(self.texts, start=1):
            if found := _LINE.match(line):
                if found["table"]:
                    table = path = _key_path(found["table"])
                else:
                    path = (*table, *_key_path(found["key"]))
                for length in range(1, len(path) + 1):
                    self._numbers.setdefault(path[:length], number)

    def number(self, *path: str) -> int:
        """The line of a key, else of the table around it, else 1."""
        while path and path not in self._numbers:
            path = path[:-1]
        return self._numbers.get(path, 1)

    def number_of_item(self, key: str, item: str) -> int:
        """The line of a text in a list, which may go over several lines."""
        start = self.number(key)
        quoted = (f'"{item}"', f"'{item}'")
        for number, line in enumerate(self.texts[start - 1 :], start):
            if any(text in line for text in quoted):
                return number
        return start

    def at(self, number: int, message: str) -> str:
        """A message that starts with file and line."""
        return f"{self.source}:{number}: {message}"

    def fault(self, message: str, *path: str) -> str:
        """A message that starts with the file and the line of a key."""
        return self.at(self.number(*path), message)

    def error(self, faults: Iterable[str]) -> DialectFileError:
        """The error with these faults, in the order of their lines."""
        start = len(self.source) + 1
        ordered = sorted(dict.fromkeys(faults), key=lambda fault: int(fault[start:].partition(":")[0]))
        return DialectFileError("\n".join(ordered), remedy=_REMEDY)


def _key_path(dotted: str) -> tuple[str, ...]:
    """``leaves."norm"`` → its parts, unquoted by TOML's own rules."""
    path: list[str] = []
    with suppress(tomllib.TOMLDecodeError):  # a line inside a text of several lines may look like a key
        node: Any = tomllib.loads(f"{dotted} = 0")
        while isinstance(node, dict):
            ((part, node),) = node.items()
            path.append(part)
    return tuple(path)


def parse(text: str, *, source: str) -> tuple[Mapping[str, Any], Lines]:
    """The contents of a dialect file that is TOML at least, and where its keys stand."""
    lines = Lines(text, source)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _ERROR_LINE.search(str(error))
        number = int(found[1]) if found else max(len(lines.texts), 1)
        raise lines.error([lines.at(number, f"not valid TOML: {error}")]) from None
    except RecursionError:
        raise lines.error([lines.at(1, "not valid TOML: it is nested too deep")]) from None
    return data, lines


def read(text: str, *, source: str) -> tuple[Mapping[str, Any], Lines]:
    """The contents of a dialect file, valid in form, and where its keys stand.

    Raises DialectFileError with every fault of form, one a line, each starting with file and line.
    """
    data, lines = parse(text, source=source)
    faults = list(_faults(data, lines))
    if faults:
        raise lines.error(faults)
    return data, lines


def _faults(data: Mapping[str, Any], lines: Lines) -> Iterator[str]:
    for key in data:
        if key not in _KEYS:
            yield lines.fault(f"unknown key {key!r}. {did_you_mean(key, _KEYS)}", key)
    for key in _KEYS:
        if key not in data:
            if key in _NEEDED:
                yield lines.at(1, f"missing key {key!r}")
        elif key in _TEXTS and not _is_text(data[key]):
            yield lines.fault(f"{key} must be text", key)
        elif key == "models" and not (isinstance(data[key], list) and all(map(_is_text, data[key]))):
            yield lines.fault("models must be a list of names of architectures", key)
        elif key in (*_TABLES, "shapes") and not isinstance(data[key], dict):
            yield lines.fault(f"{key} must be a table", key)
        elif key in _CHECKS:
            yield from _CHECKS[key](data[key], lines)
    if isinstance(data.get("modules"), dict) and isinstance(data.get("leaves"), dict):
        yield from _kinds_without_rule(data, lines)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _framework(value: str, lines: Lines) -> Iterator[str]:
    if value not in FRAMEWORKS:
        yield lines.fault(f"framework must be {listed(FRAMEWORKS, 'or')}, not {value!r}", "framework")


def _wrapper(value: object, lines: Lines) -> Iterator[str]:
    if value not in PREFIXES:
        yield lines.fault(f"wrapper must be {listed(PREFIXES, 'or')}, not {value!r}", "wrapper")


def _traits(values: Mapping[str, object], lines: Lines) -> Iterator[str]:
    for name, value in values.items():
        try:
            Traits().with_values({name: value})
        except MappingError as error:
            yield lines.fault(f"{error.message}. {error.remedy}", "traits", name)


def _modules(rules: Mapping[str, object], lines: Lines) -> Iterator[str]:
    for key, template in rules.items():
        if isinstance(template, dict):
            yield lines.fault(f"the rule for {key} must be text: put the whole pattern in quotes", "modules", key)
        elif not isinstance(template, str) or not template:
            yield lines.fault(f"the rule for {key} must be text", "modules", key)
        else:
            faults = _pattern_faults(key) or _template_faults(template, key)
            yield from (lines.fault(fault, "modules", key) for fault in faults)


def _pattern_faults(key: str) -> list[str]:
    """What is wrong with the left side of a rule."""
    strange = [field for field in _FIELD.findall(key) if field not in _VARIABLES]
    if strange:
        return [f"{key!r}: {{{strange[0]}}} is none of {{s}}, {{b}} and {{k}}"]
    if not any(_specialises(key, pattern) for pattern in kinds()):
        return [f"{key!r} is no module of any architecture. {did_you_mean(key, kinds())}"]
    return []


def _template_faults(template: str, key: str) -> list[str]:
    """What is wrong with the right side of a rule."""
    faults: list[str] = []
    own = _FIELD.findall(key)
    for field in _FIELD.findall(template):
        variable = _SUM.fullmatch(field)
        if field == "g":
            if not any(kind == "conv" for pattern, kind in kinds().items() if _specialises(key, pattern)):
                faults.append(f"{template!r} splits {key!r} by group, which only a convolution has")
        elif variable is None:
            faults.append(f"{template!r}: {{{field}}} is none of {{s}}, {{b}}, {{k}}, {{g}} and sums such as {{s+1}}")
        elif variable[1] not in own:
            faults.append(f"{template!r} uses {{{variable[1]}}}, which {key!r} does not have")
    if set(_FIELD.sub("", template)) & set("{}"):
        faults.append(f"{template!r} has a brace without its partner")
    return faults


def _specialises(key: str, pattern: str) -> bool:
    """Whether ``key`` is ``pattern`` or has numbers for some of its variables."""
    expression = re.sub(r"\\\{([sbk])\\\}", r"(?:\\{\1\\}|[0-9]+)", re.escape(pattern))
    return re.fullmatch(expression, key) is not None


def _leaves(tables: Mapping[str, object], lines: Lines) -> Iterator[str]:
    for kind, table in tables.items():
        if kind not in LEAVES:
            yield lines.fault(f"unknown kind of module {kind!r}. {did_you_mean(kind, LEAVES)}", "leaves", kind)
        elif not isinstance(table, dict):
            yield lines.fault(f"leaves.{kind} must be a table", "leaves", kind)
        else:
            yield from _leaf_table(kind, table, lines)


def _kinds_without_rule(data: Mapping[str, Any], lines: Lines) -> Iterator[str]:
    """Leaf tables that rules need and that are not there, and what is said of kinds that no rule names."""
    named = {kind for key in data["modules"] for pattern, kind in kinds().items() if _specialises(key, pattern)}
    for kind in LEAVES:
        if kind in named and kind not in data["leaves"]:
            yield lines.fault(f"no [leaves.{kind}]", "leaves")
    shapes = data.get("shapes")
    for table, said in (("leaves", data["leaves"]), ("shapes", shapes if isinstance(shapes, dict) else {})):
        for kind in said:
            if kind in LEAVES and kind not in named:
                yield lines.fault(f"[{table}] has {kind}, but no rule names a module of that kind", table, kind)


def _shapes(table: Mapping[str, object], lines: Lines) -> Iterator[str]:
    for kind, form in table.items():
        if kind not in SHAPES:
            yield lines.fault(f"shapes are said of {listed(tuple(SHAPES), 'or')}, not of {kind!r}", "shapes", kind)
        elif form not in SHAPES[kind]:
            yield lines.fault(f"the shape of {kind} must be {listed(SHAPES[kind], 'or')}, not {form!r}", "shapes", kind)


def _leaf_table(kind: str, table: Mapping[str, object], lines: Lines) -> Iterator[str]:
    taken: dict[object, str] = {}
    for leaf, name in table.items():
        if leaf not in LEAVES[kind]:
            message = f"a {kind} has no {leaf!r}. {did_you_mean(leaf, LEAVES[kind])}"
        elif not _is_text(name):
            message = f"the name of {leaf} must be text"
        elif name in taken:
            message = f"{taken[name]} and {leaf} of a {kind} are both called {name}"
        else:
            taken[name] = leaf
            continue
        yield lines.fault(message, "leaves", kind, leaf)
    # Only the counter may be left out: libraries differ in having one.
    missing = [leaf for leaf in LEAVES[kind] if leaf not in table and leaf != "count"]
    if missing:
        yield lines.fault(f"[leaves.{kind}] has no name for {listed(missing)}", "leaves", kind)


_CHECKS: Mapping[str, Callable[[Any, Lines], Iterator[str]]] = {
    "framework": _framework, "wrapper": _wrapper, "traits": _traits, "modules": _modules, "leaves": _leaves,
    "shapes": _shapes,
}  # fmt: skip
