"""A MindSpore Hub card as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

SHA256_LENGTH = 64

# Text, a flag, a number, a list of sizes (nested for several inputs), or named measures; None says nothing.
Value = Any


@dataclass(frozen=True, slots=True)
class CardProblem:
    """Something wrong with a card; ``line`` counts from 1 and is 0 where no line is to blame."""

    line: int
    message: str

    @property
    def told(self) -> str:
        """For people, with the line."""
        return f"line {self.line}: {self.message}" if self.line else self.message

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"line": self.line or None, "message": self.message}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that a card offers; ``sha256`` are lower-case hex digits, 64 or only the first 8, or none."""

    file_format: str
    link: str
    sha256: str
    line: int = 0

    @property
    def name(self) -> str:
        """The name of the file, which ``#NAME`` picks it by."""
        return unquote(PurePosixPath(urlsplit(self.link).path).name)

    @property
    def fully_checked(self) -> bool:
        """Whether the card gives the whole sha256."""
        return len(self.sha256) == SHA256_LENGTH

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON, under the card's own keys."""
        return {"file-format": self.file_format, "asset-link": self.link, "asset-sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Card:
    """A card.

    ``fields`` go by their English keys, typed; ``unknown`` are those with other keys, as text; ``where`` says in words
    where the card was read; ``uid`` is empty for a file that is not in the hub's folders.
    """

    where: str
    title: str = ""
    language: str = "en"
    fields: Mapping[str, Value] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    assets: tuple[Asset, ...] = ()
    problems: tuple[CardProblem, ...] = ()
    uid: str = ""

    def text(self, key: str) -> str:
        """A field as text, empty where the card does not state it."""
        value = self.fields.get(key)
        return value if isinstance(value, str) else ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "uid": self.uid, "where": self.where, "title": self.title, "language": self.language,
            "fields": dict(self.fields), "unknown": dict(self.unknown),
            "assets": [asset.as_dict() for asset in self.assets],
            "problems": [problem.as_dict() for problem in self.problems],
        }  # fmt: skip
