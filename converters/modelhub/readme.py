"""The tables in a repository's README.md: they repeat config.json, and fill in what it lacks."""

import re
from dataclasses import fields, replace
from typing import Any

from ..errors import shown
from .config import Config, Publication

PATH = "README.md"
_SECTIONS = {"meta": "meta", "meta data": "meta", "publication": "publication", "model": "model"}
_ROW = re.compile(r"\|((?:[^|\\]|\\.)*)\|(.*?)(?:\|\s*)?")

Tables = dict[str, dict[str, str]]


def read_tables(text: str) -> Tables:
    """Section (``meta``, ``publication``, ``model``) → key → value; anything else is passed over.

    >>> read_tables("## meta data\\n| | |\\n|---|---|\\n| task | Classification |")
    {'meta': {'task': 'Classification'}}
    """
    tables: Tables = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("#"):
            section = _SECTIONS.get(line.strip("# \t").lower(), "")
        row = _ROW.fullmatch(line.strip()) if section else None
        if row is None:
            continue
        key, value = (cell.strip().replace("\\|", "|") for cell in row.groups())
        if key and not set(key) <= set("-: "):
            tables.setdefault(section, {})[key] = value
    return tables


def write_table(rows: dict[str, object]) -> str:
    """A table that ``read_tables`` reads; line breaks, which a table cannot have, become blanks."""
    lines = ["| | |", "|-|-|"]
    for key, value in rows.items():
        cell = " ".join(str(value).split()).replace("|", "\\|")
        lines.append(f"| {key} | {cell} |")
    return "\n".join(lines)


def cross_check(config: Config, tables: Tables) -> tuple[Config, tuple[str, ...]]:
    """The config with what only the tables say, and a notice for each contradiction."""
    notices: list[str] = []
    meta = _merged(config.meta, tables.get("meta", {}), notices)
    about = _merged(config.about, tables.get("model", {}), notices)
    stated = tables.get("publication", {})
    paper = _merged(config.publication or Publication(), stated, notices)
    own = tables.get("meta", {}).get("id", "")
    if own and config.id and own != config.id:
        notices.append(_contradiction("id", own, config.id))
    publication = paper if config.publication is not None or paper != Publication() else None
    merged = replace(config, id=config.id or own, meta=meta, about=about, publication=publication)
    return merged, tuple(notices)


def _merged(record: Any, table: dict[str, str], notices: list[str]) -> Any:
    """A record with its empty fields filled from a table of the same keys."""
    filled: dict[str, object] = {}
    for item in fields(record):
        said, value = table.get(item.name, ""), getattr(record, item.name)
        if not said or _folded(said) == _folded(value):
            continue
        if value:
            notices.append(_contradiction(item.name, said, value))
        elif item.name != "year":
            filled[item.name] = said
        elif said.isascii() and said.isdigit() and len(said) < 10:
            filled[item.name] = int(said)
    return replace(record, **filled)


def _folded(value: object) -> str:
    return " ".join(str(value).split())


def _contradiction(key: str, readme: str, config: object) -> str:
    return f"README.md says {key} {_short(readme)!r}, config.json {_short(str(config))!r}: config.json is taken"


def _short(text: str) -> str:
    return shown(text if len(text) <= 80 else f"{text[:79]}…")
