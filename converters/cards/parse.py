"""Read a card: Markdown with a header that looks like YAML and often is none; line by line, with nothing refused
that can be understood, and everything told that is wrong.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import MalformedFileError, shown
from .card import Asset, Card, CardProblem
from .fields import ASSET, ASSET_FIELDS, BY_LABEL, FIELDS, Field, clean, normal, says_nothing, stray_mark

SIZE_LIMIT = 1 << 20  # bytes; the longest card has 20 kB
_RULE = re.compile("-{3,}")
# Chinese cards have full-width colons, in the header or everywhere.
_COLON = ":\uff1a"
_KEY = re.compile(rf"(?P<key>[^{_COLON}]{{1,60}}?)\s*[{_COLON}](?!//)(?P<value>.*)", re.DOTALL)
_ASSET_KEYS = frozenset(entry.key for entry in ASSET_FIELDS)
_REQUIRED, _SHAPE = "model-name", "input-shape"
_PROBLEMS_TOLD = 50


@dataclass(slots=True)
class _Entry:
    """The text of a field and where it stands."""

    entry: Field
    text: str
    line: int


@dataclass(slots=True)
class _Header:
    """The header while it is read: fields, assets (each a few entries), what is unknown, what is wrong."""

    fields: dict[str, _Entry] = field(default_factory=dict)
    assets: list[dict[str, _Entry]] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    problems: list[CardProblem] = field(default_factory=list)
    chinese: int = 0
    open: _Entry | None = None  # what a line without a key continues
    in_assets: bool = False

    def blame(self, line: int, message: str) -> None:
        if len(self.problems) < _PROBLEMS_TOLD:
            self.problems.append(CardProblem(line, shown(message)))
        elif len(self.problems) == _PROBLEMS_TOLD:
            self.problems.append(CardProblem(line, f"more than {_PROBLEMS_TOLD} problems: no further ones are told"))

    def take(self, number: int, line: str) -> None:
        """Read one line of the header."""
        indented = line[:1] in (" ", "\t", "\u3000")
        text = clean(line)
        if text.startswith("-"):
            text = clean(text[1:])
            if not text and not self.in_assets:
                self.blame(number, "a '-' with nothing after it, outside of the list of files: ignored")
                return
            if not self.in_assets and _field_of(text) not in ASSET_FIELDS:
                self._continue(number, text, ", ")
                return
            self.assets.append({})
            if not text:
                return
        found = _KEY.fullmatch(text)
        known = BY_LABEL.get(normal(found["key"])) if found else None
        if found is None:
            self._lone(number, text, indented)
        elif known is None:
            key = clean(found["key"])
            self._unknown(key, self._whole(number, key, clean(found["value"])), indented)
        else:
            self.chinese += normal(found["key"]) == normal(known.label)
            self._known(known, clean(found["value"]), number)

    def _known(self, known: Field, value: str, number: int) -> None:
        entry = _Entry(known, value, number)
        self.open = entry
        if known is ASSET:
            self.in_assets = True
            if value and not says_nothing(value):
                self.blame(number, f"{ASSET.key} is a list of files, not {value!r}: ignored")
        elif known.key in _ASSET_KEYS:
            self.in_assets = True
            # Some cards give several links in one entry.
            if not self.assets or known.key in self.assets[-1]:
                self.assets.append(self._format_of_the_last() if known.key == "asset-link" else {})
            self.assets[-1][known.key] = entry
        else:
            self.in_assets = False
            first = self.fields.setdefault(known.key, entry)
            if first is not entry:
                self.blame(number, f"{known.key} is given again (first in line {first.line}): ignored")

    def _format_of_the_last(self) -> dict[str, _Entry]:
        last = self.assets[-1].get("file-format") if self.assets else None
        return {"file-format": last} if last else {}

    def _unknown(self, key: str, value: str, indented: bool) -> None:
        self.open = None
        place = f"asset {len(self.assets)}: {key}" if self.in_assets and indented else key
        self.in_assets = self.in_assets and indented
        self.unknown.setdefault(place, value)

    def _lone(self, number: int, text: str, indented: bool) -> None:
        """A line without a key."""
        known = BY_LABEL.get(normal(text.lstrip("#")))
        if known is ASSET:  # the example of the hub itself writes it without a colon, or as a heading
            self._known(known, "", number)
        elif indented or (self.open is not None and self.open.entry.key == "summary"):
            self._continue(number, text, " ")
        else:
            self._stray(number, text)

    def _continue(self, number: int, text: str, between: str) -> None:
        if self.open is None or self.open.entry is ASSET:
            self._stray(number, text)
        else:
            self.open.text = f"{self.open.text}{between}{text}" if self.open.text else text

    def _stray(self, number: int, text: str) -> None:
        self.blame(number, f"this is no field (KEY: VALUE), so it is ignored: {text!r}")

    def _whole(self, line: int, key: str, text: str) -> str:
        """A value without a bracket or quote at its end that has no partner."""
        mark = stray_mark(text)
        if not mark:
            return text
        self.blame(line, f"{key}: {mark} without its partner in {text!r}: left out")
        return clean(text[1:] if text.startswith(mark) else text[:-1])

    def value_of(self, entry: _Entry) -> Any:
        """The typed value of a field; what cannot be read stays text, or is left out where it says nothing."""
        key = entry.entry.key
        # The brackets of a shape are its own.
        text = entry.text if key == _SHAPE else self._whole(entry.line, key, entry.text)
        if says_nothing(text):
            yaml = ", which is not valid YAML" if text == "-" else ""
            self.blame(entry.line, f"{key} has no value" + (f": {text!r}{yaml}" if text else ""))
            return None
        try:
            return entry.entry.read(text)
        except ValueError as error:
            kept = "ignored" if key in _ASSET_KEYS else "kept as text"
            self.blame(entry.line, f"{key}: {error}: {kept}")
            return "" if key in _ASSET_KEYS else text


def parse(data: bytes, *, where: str, uid: str = "") -> Card:
    """Read a card; raises MalformedFileError only for what is no card at all."""
    if len(data) > SIZE_LIMIT:
        raise _no_card(where, f"it has {len(data)} bytes, more than {SIZE_LIMIT}")
    header = _Header()
    text = data.decode("utf-8-sig", errors="replace")
    lines = re.split(r"\r\n|\r|\n", text)
    if "\ufffd" in text:
        damaged = next(number for number, line in enumerate(lines, 1) if "\ufffd" in line)
        header.blame(damaged, "not UTF-8 text: characters that cannot be read are replaced")
    title = ""
    for number, line in _header_lines(lines, header):
        if line.startswith("# ") and not title and not header.fields:
            title = clean(line[2:])
        else:
            header.take(number, line)
    if not header.fields and not header.assets:
        raise _no_card(where, "no line of it is a field such as model-name or 模型名称")
    values = {key: header.value_of(entry) for key, entry in header.fields.items()}
    assets = tuple(_asset(header, entries) for entries in header.assets if entries)
    if values.get(_REQUIRED) is None:
        header.blame(0, f"{_REQUIRED} is missing")
    return Card(
        where, title or _text_of(values.get(_REQUIRED)), "zh" if header.chinese > len(values) / 2 else "en",
        {entry.key: values[entry.key] for entry in FIELDS if entry.key in values}, header.unknown, assets,
        tuple(sorted(header.problems, key=lambda problem: problem.line)), uid,
    )  # fmt: skip


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _no_card(where: str, why: str) -> MalformedFileError:
    remedy = "Give a card of MindSpore Hub: Markdown with a header of fields, from mshub_res/assets."
    return MalformedFileError(f"{where} is no card: {why}", remedy=remedy)


def _header_lines(lines: list[str], header: _Header) -> Iterator[tuple[int, str]]:
    """The lines of title and header that hold anything, counted from 1: up to the second ``---``."""
    rules = 0
    for number, line in enumerate(lines, 1):
        bare = clean(line)
        if _RULE.fullmatch(bare):
            rules += 1
            if rules == 2:
                return
        elif bare.startswith("## ") and normal(bare[3:]) not in BY_LABEL and (header.fields or header.assets):
            header.blame(number, "the header has no --- at its end")
            return
        elif bare and (rules or bare.startswith("# ") or _field_of(bare)):
            if not rules and not bare.startswith("# ") and not header.fields:
                header.blame(number, "the header has no --- at its beginning")
            yield number, line
    if header.fields or header.assets:
        header.blame(len(lines), "the header has no --- at its end")


def _field_of(text: str) -> Field | None:
    """The field that a line states, if it states one."""
    found = _KEY.fullmatch(text)
    return BY_LABEL.get(normal(found["key"])) if found else None


def _asset(header: _Header, entries: dict[str, _Entry]) -> Asset:
    values = {key: header.value_of(entry) or "" for key, entry in entries.items()}
    line = min(entry.line for entry in entries.values())
    if "asset-link" not in entries:
        header.blame(line, "this asset has no asset-link")
    elif "asset-sha256" not in entries:
        header.blame(line, "this asset has no asset-sha256: its file cannot be checked")
    return Asset(values.get("file-format", ""), values.get("asset-link", ""), values.get("asset-sha256", ""), line)
