"""JSON read with its place in mind: every complaint names the file and the path of the value."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import MalformedFileError, shown

# Far above any repository's files, far below what would hurt to parse.
LIMIT = 4 << 20
_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}


@dataclass(frozen=True, slots=True)
class Fields:
    """An object of a JSON file: ``path`` is where it stands, such as ``$.model.io``."""

    file: str
    path: str
    values: Mapping[str, object]

    def text(self, key: str) -> str:
        """A text, without blanks around it; empty when missing or null."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, "a text")
        return value.strip() if value else ""

    def whole(self, key: str) -> int | None:
        """A whole number, or a text of digits; None when missing, null or an empty text."""
        value = self.values.get(key)
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 20:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is None or value == "":
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(key, "a whole number")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty when missing."""
        values = self._list(key)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(key, "a list of texts")
        return tuple(str(value) for value in values)

    def fields(self, key: str) -> "Fields":
        """An object; empty when missing."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return Fields(self.file, f"{self.path}.{shown(key)}", value or {})

    def each(self, key: str) -> "tuple[Fields, ...]":
        """A list of objects; empty when missing."""
        entries = []
        for index, value in enumerate(self._list(key)):
            if not isinstance(value, dict):
                raise self._error(f"{self.path}.{shown(key)}[{index}]", value, "an object")
            entries.append(Fields(self.file, f"{self.path}.{shown(key)}[{index}]", value))
        return tuple(entries)

    def others(self, *known: str) -> dict[str, object]:
        """What else stands here, by its path in the file."""
        return {f"{self.path}.{key}": value for key, value in self.values.items() if key not in known}

    def wrong(self, key: str, needed: str) -> MalformedFileError:
        """The error of a value that is not what is needed there."""
        return self._error(f"{self.path}.{shown(key)}", self.values.get(key), needed)

    def _list(self, key: str) -> list[object]:
        value = self.values.get(key)
        if value is not None and not isinstance(value, list):
            raise self.wrong(key, "a list")
        return value or []

    def _error(self, path: str, value: object, needed: str) -> MalformedFileError:
        found = "missing" if value is None else shown(json.dumps(value, ensure_ascii=False, default=str)[:60])
        kind = _KINDS.get(type(value), "")
        said = f"{kind} ({found})" if kind else found
        return MalformedFileError(f"{self.file}: {path} is {said}, {needed} is needed", remedy="Correct the file.")


def read_json(data: bytes, file: str) -> Fields:
    """The object that a JSON file holds; ``file`` names it in messages."""
    if len(data) > LIMIT:
        raise MalformedFileError(f"{file} has {len(data)} bytes, more than {LIMIT}", remedy="It is not what it says.")
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_no_number, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        fact = f"{file} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        raise MalformedFileError(fact, remedy="Correct the file.") from None
    except (ValueError, RecursionError) as error:
        raise MalformedFileError(f"{file} is not JSON: {shown(str(error))}", remedy="Correct the file.") from None
    if not isinstance(value, dict):
        raise MalformedFileError(f"{file} holds no JSON object at its top", remedy="Correct the file.")
    return Fields(file, "$", value)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in names if names.count(key) > 1)!r} stands twice in one object")
    return found
