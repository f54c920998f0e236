"""The record that travels with converted weights: what they are, where they come from, what was done to them.

Schema 1. The copy embedded in a file holds no path, time or hash of the file itself, so that equal conversions
give equal bytes; the sidecar ``<output>.mshub.json`` adds the output's name, size and sha256.
"""

import hashlib
import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..mappings.errors import MshubConvertError
from ..mappings.traits import Traits
from .codecs.record_text import parse_record
from .splice import views
from .tensors import Extent, MappedFile

SCHEMA = 1
SIDECAR_SUFFIX = ".mshub.json"
_UNKNOWN_SHA256 = "0" * 64
# Levels of nested values; ours have four. Deeper ones could not be written again.
_DEPTH_LIMIT = 32


@dataclass(frozen=True, slots=True)
class Dropped:
    """A tensor of the source that the target has no place for; integers come with their values, flattened."""

    name: str
    reason: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
    values: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that went into the weights; ``sha256`` is empty when it was not hashed."""

    name: str
    container: str
    bytes: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """What a converted file says of itself. ``sources`` go from the first file of a chain to the last."""

    tool: str
    architecture: Mapping[str, Any]
    dialect: str
    container: str
    traits: Mapping[str, Any]
    origin: str
    pretrained: bool | None
    address: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[SourceFile, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    synthesised: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = ()
    notices: tuple[str, ...] = ()
    read_back: str = "bit-exact"
    schema: int = SCHEMA

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; empty parts are left out."""
        data: dict[str, Any] = {"schema": self.schema}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("sources", "dropped"):
                value = [_plain(entry) for entry in value]
            elif isinstance(value, tuple):
                value = list(value)
            elif isinstance(value, Mapping):
                value = dict(value)
            if value or item.name in ("pretrained", "schema"):
                data[item.name] = value
        return data

    def as_bytes(self) -> bytes:
        """Compact JSON, the same for equal records."""
        return _utf8(json.dumps(self.as_dict(), separators=(",", ":"), sort_keys=True, ensure_ascii=False))

    def sidecar(self, output: Mapping[str, Any], more: Mapping[str, Any]) -> bytes:
        """The JSON of the file beside an output."""
        data = {**self.as_dict(), "output": output, **more}
        return _utf8(json.dumps(data, indent=1, ensure_ascii=False)) + b"\n"


def _utf8(text: str) -> bytes:
    """File names need not be UTF-8; what is not becomes a question mark."""
    return text.encode("utf-8", errors="replace")


def _plain(entry: Dropped | SourceFile) -> dict[str, Any]:
    values = {item.name: getattr(entry, item.name) for item in fields(entry)}
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in values.items()
        if value not in ("", (), None)
    }


@dataclass(frozen=True, slots=True)
class Carried:
    """What an earlier record lets us carry on: traits, counters (by canonical key), origin, the chain of sources."""

    where: str
    traits: Traits | None
    counters: Mapping[str, Dropped]
    data: Mapping[str, Any]

    def text(self, key: str) -> str:
        """A text field, empty when missing or of another type."""
        value = self.data.get(key)
        return value if isinstance(value, str) else ""

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts in a list, empty when missing or of another type."""
        value = self.data.get(key)
        return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the first source said of the weights."""
        value = self.data.get("facts")
        return value if isinstance(value, dict) else {}

    @property
    def pretrained(self) -> bool | None:
        """Whether the weights come from a library's hub; None when unknown."""
        value = self.data.get("pretrained")
        return value if isinstance(value, bool) else None

    @property
    def sources(self) -> tuple[SourceFile, ...]:
        """The chain of source files; entries that cannot be read are left out."""
        value = self.data.get("sources")
        entries = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
        return tuple(_source_file(entry) for entry in entries if isinstance(entry.get("name"), str))


NOTHING_CARRIED = Carried("", None, {}, {})


def carried(data: Mapping[str, Any] | None, *, where: str) -> tuple[Carried, str]:
    """Read an earlier record; the second value says what is wrong with it (then nothing is carried)."""
    if data is None:
        return NOTHING_CARRIED, ""
    schema = data.get("schema")
    if schema is None:
        return NOTHING_CARRIED, f"the record in {where} cannot be read: ignored"
    if schema != SCHEMA:
        found = reprlib.repr(schema)
        return NOTHING_CARRIED, f"the record in {where} has schema {found}; this version reads {SCHEMA}: ignored"
    try:
        if not _shallow(data, _DEPTH_LIMIT):
            raise ValueError("nested too deeply")
        traits = Traits().with_values(data["traits"]) if "traits" in data else None
        counters = {entry.name: entry for entry in map(_dropped, data.get("dropped", []))}
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError, MshubConvertError) as error:
        return (
            NOTHING_CARRIED,
            f"the record in {where} is damaged ({getattr(error, 'message', str(error))[:200]}): ignored",
        )
    return Carried(where, traits, counters, data), ""


def _shallow(value: object, levels: int) -> bool:
    if isinstance(value, Mapping):
        return levels > 0 and all(_shallow(item, levels - 1) for item in value.values())
    if isinstance(value, (list, tuple)):
        return levels > 0 and all(_shallow(item, levels - 1) for item in value)
    return True


def _dropped(item: Mapping[str, Any]) -> Dropped:
    values = item.get("values")
    return Dropped(
        str(item["name"]), str(item.get("reason", "")), str(item.get("dtype", "")),
        _integers(item.get("shape", [])), None if values is None else _integers(values),
    )  # fmt: skip


def _integers(values: list[Any]) -> tuple[int, ...]:
    if not all(type(value) is int and -(1 << 63) <= value < 1 << 63 for value in values):
        raise ValueError("a value is no 64-bit integer")
    return tuple(values)


def _source_file(item: Mapping[str, Any]) -> SourceFile:
    size = item.get("bytes")
    texts = (value if isinstance(value := item.get(key), str) else "" for key in ("container", "sha256"))
    container, digest = texts
    return SourceFile(item["name"], container, size if type(size) is int else 0, digest)


def sidecar_path(file: Path) -> Path:
    """``<file>.mshub.json``."""
    return file.with_name(file.name + SIDECAR_SUFFIX)


def stated_sha256(file: Path) -> str:
    """The sha256 that the sidecar beside a file gives for it; empty where there is none to read."""
    try:
        return _output_sha256(parse_record(sidecar_path(file).read_bytes())) or ""
    except OSError:
        return ""


def _output_sha256(data: Mapping[str, Any] | None) -> str | None:
    """What a sidecar says its file's sha256 is; None for something that is no sidecar of ours."""
    output = (data or {}).get("output")
    stated = output.get("sha256") if isinstance(output, dict) else None
    return stated if isinstance(stated, str) else None


def read_sidecar(file: Path) -> tuple[dict[str, Any] | None, str]:
    """The record beside a file, if its sha256 is the file's; the second value says why it was not used."""
    path = sidecar_path(file)
    if not path.is_file():
        return None, ""
    try:
        data = parse_record(path.read_bytes())
    except OSError as error:
        return None, f"{path.name} cannot be read ({error.strerror}): ignored"
    stated = _output_sha256(data)
    if data is None or stated is None:
        return None, f"{path.name} is not a record of ours: ignored"
    if not stated:
        return None, f"{path.name} has no sha256 (written with --no-check), so it may not belong to this file: ignored"
    with MappedFile(file) as mapped:
        actual = sha256(mapped)
    if actual != stated:
        return None, f"{path.name} belongs to another {file.name} (its sha256 differs): ignored"
    return data, ""


def sha256(file: MappedFile) -> str:
    """Hex sha256 of a whole file."""
    digest = hashlib.sha256()
    for view in views([Extent(file, 0, file.size)]):
        digest.update(view)
    return digest.hexdigest()


def placeholder() -> str:
    """Stands for a sha256 that is not known yet, of the same length."""
    return _UNKNOWN_SHA256
