"""``contrib_src/model/config.json``: what a repository says of its model.

The fields are those of modelhub's own schema (modelhub-ai/modelhub, ``config_schema.json``). Older files give
``io.input`` flat, newer ones by name (``single`` where there is one input); both read the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .fields import Fields, read_json

PATH = "contrib_src/model/config.json"
SINGLE = "single"


@dataclass(frozen=True, slots=True)
class Meta:
    """What the model is for."""

    name: str = ""
    application_area: str = ""
    task: str = ""
    task_extended: str = ""
    data_type: str = ""
    data_source: str = ""


@dataclass(frozen=True, slots=True)
class Publication:
    """The paper of the model."""

    title: str = ""
    source: str = ""
    year: int | None = None
    authors: str = ""
    email: str = ""
    abstract: str = ""
    url: str = ""
    google_scholar: str = ""
    bibtex: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """The model itself, in words; ``format`` is the suffix of its file."""

    description: str = ""
    provenance: str = ""
    architecture: str = ""
    learning_type: str = ""
    format: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """The sizes that one dimension of an input may have."""

    smallest: int
    largest: int | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """One input: MIME types, and limits of channels, width and length."""

    name: str
    formats: tuple[str, ...]
    limits: tuple[Limit, ...]
    description: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """One output; ``label_list`` is a list of labels with probabilities."""

    name: str
    type: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole file. ``unknown`` keeps what the schema does not have, by its path in the file."""

    id: str
    meta: Meta
    publication: Publication | None
    about: About
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    modelhub: Mapping[str, Any] = field(default_factory=dict)
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lacks(self) -> tuple[str, ...]:
        """Fields that modelhub's schema requires and that are missing or empty."""
        wanted: dict[str, object] = {"id": self.id}
        wanted |= {f"meta.{key}": value for key, value in _values(self.meta).items() if key != "data_source"}
        wanted |= {f"model.{key}": value for key, value in _values(self.about).items()}
        wanted |= {"model.io.input": self.inputs, "model.io.output": self.outputs}
        if self.publication is not None:
            paper = _values(self.publication)
            wanted |= {f"publication.{key}": value for key, value in paper.items() if key != "email"}
        return tuple(name for name, value in wanted.items() if not value)

    def as_dict(self) -> dict[str, Any]:
        """The JSON of the newer form, without what is unknown."""
        paper = {} if self.publication is None else {"publication": _plain(self.publication)}
        io = {"input": self._inputs(), "output": [_plain(one, optional=("description",)) for one in self.outputs]}
        model = {**_plain(self.about), "io": io}
        return {"id": self.id, "meta": _plain(self.meta), **paper, "model": model, "modelhub": dict(self.modelhub)}

    def _inputs(self) -> dict[str, Any]:
        formats = list(dict.fromkeys(name for one in self.inputs for name in one.formats))
        return {"format": formats, **{one.name: _plain_input(one) for one in self.inputs}}


def _values(record: Any) -> dict[str, Any]:
    return {item.name: getattr(record, item.name) for item in fields(record)}


def _plain(record: Any, *, optional: tuple[str, ...] = ("email", "data_source")) -> dict[str, Any]:
    """All fields but those that the schema does not require and that are empty."""
    return {key: value for key, value in _values(record).items() if value or key not in optional}


def _plain_input(one: Input) -> dict[str, Any]:
    limits = [_plain_limit(limit) for limit in one.limits]
    described = {"description": one.description} if one.description else {}
    return {"format": list(one.formats), "dim_limits": limits, **described}


def _plain_limit(limit: Limit) -> dict[str, int]:
    return {"min": limit.smallest} if limit.largest is None else {"min": limit.smallest, "max": limit.largest}


def read_config(data: bytes, file: str = PATH) -> Config:
    """Read and check a config.json; a field of the wrong type is a MalformedFileError with file and JSON path."""
    top = read_json(data, file)
    meta, model = top.fields("meta"), top.fields("model")
    if not meta.text("name"):
        raise meta.wrong("name", "the name of the model")
    if "io" not in model.values:
        raise model.wrong("io", "an object with input and output")
    io = model.fields("io")
    inputs, surplus = _read_inputs(io)
    outputs = tuple(Output(one.text("name"), one.text("type"), one.text("description")) for one in io.each("output"))
    unknown = {
        **top.others("id", "meta", "publication", "model", "modelhub"), **meta.others(*_names(Meta)),
        **model.others(*_names(About), "io"), **io.others("input", "output"), **surplus,
    }  # fmt: skip
    for one in io.each("output"):
        unknown |= one.others(*_names(Output))
    paper = None
    if "publication" in top.values:
        found = top.fields("publication")
        texts = {name: found.text(name) for name in _names(Publication) if name != "year"}
        paper = Publication(**texts, year=found.whole("year"))
        unknown |= found.others(*_names(Publication))
    return Config(
        top.text("id"), Meta(**{name: meta.text(name) for name in _names(Meta)}), paper,
        About(**{name: model.text(name) for name in _names(About)}), inputs, outputs,
        top.fields("modelhub").values, unknown,
    )  # fmt: skip


def _names(record: type) -> tuple[str, ...]:
    return tuple(item.name for item in fields(record))


def _read_inputs(io: Fields) -> tuple[tuple[Input, ...], dict[str, object]]:
    """The inputs of either form, and what is unknown of them."""
    top = io.fields("input")
    if "dim_limits" in top.values:
        return (_read_input(SINGLE, top),), top.others("format", "dim_limits", "description")
    top.texts("format")
    named = [key for key in top.values if key not in ("format", "description")]
    inputs: list[Input] = []
    unknown: dict[str, object] = {}
    for key in named:
        one = top.fields(key)
        inputs.append(_read_input(key, one))
        unknown |= one.others("format", "dim_limits", "description")
    return tuple(inputs), unknown


def _read_input(name: str, one: Fields) -> Input:
    limits = []
    for limit in one.each("dim_limits"):
        smallest, largest = limit.whole("min"), limit.whole("max")
        if smallest is None or smallest < 0:
            raise limit.wrong("min", "a whole number of at least 0")
        if largest is not None and largest < smallest:
            raise limit.wrong("max", f"at least the min ({smallest})")
        limits.append(Limit(smallest, largest))
    return Input(name, one.texts("format"), tuple(limits), one.text("description"))
