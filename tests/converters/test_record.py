"""The record: the same bytes for equal records, and every way in which one of a file can be wrong."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshub_convert.converters.codecs.record_text import parse_record
from mshub_convert.converters.record import (
    NOTHING_CARRIED,
    Carried,
    Dropped,
    Record,
    SourceFile,
    carried,
    placeholder,
    read_sidecar,
    sha256,
    sidecar_path,
)
from mshub_convert.converters.tensors import MappedFile
from mshub_convert.mappings.traits import Traits

TRAITS = Traits().as_dict()


def record(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "tool": "mshub-convert 1",
        "architecture": {"name": "resnext50_32x4d", "classes": 10},
        "dialect": "mindcv",
        "container": "ckpt",
        "traits": TRAITS,
        "origin": "file",
        "pretrained": None,
        "address": "",
        "sources": (SourceFile("höhe.pth", "pth", 12, "a" * 64),),
        "dropped": (Dropped("stem.norm.count", "why", "int64", (), (7,)),),
    }
    return Record(**values | changes)


def test_equal_records_give_equal_bytes() -> None:
    first = record(facts={"b": 1, "a": {"d": "é", "c": 2}})
    second = record(facts={"a": {"c": 2, "d": "é"}, "b": 1})
    assert first.as_bytes() == second.as_bytes()
    assert json.loads(first.as_bytes()) == json.loads(json.dumps(first.as_dict()))


def test_empty_parts_are_left_out() -> None:
    data = record(dropped=(), sources=()).as_dict()
    assert "dropped" not in data
    assert "facts" not in data
    assert data["pretrained"] is None
    assert data["schema"] == 1


texts = st.text(max_size=20)


@given(st.dictionaries(texts, texts | st.integers() | st.lists(texts, max_size=3), max_size=4), texts)
def test_draft_and_final_have_one_length(facts: dict[str, Any], name: str) -> None:
    draft, final = (
        record(facts=facts, sources=(SourceFile(name, "pth", 3, digest),)).as_bytes()
        for digest in (placeholder(), "f" * 64)
    )
    assert len(draft) == len(final)
    assert len(json.dumps(draft.decode())) == len(json.dumps(final.decode()))
    assert parse_record(final) == json.loads(final)


def test_names_that_are_not_utf8_can_be_written_and_read() -> None:
    name = os.fsdecode(b"h\xf6he.pth")
    for data in (record(sources=(SourceFile(name, "pth", 3),)).as_bytes(), record().sidecar({"name": name}, {})):
        kept, complaint = carried(parse_record(data), where="here")
        assert complaint == ""
        assert kept.traits == Traits()


def test_what_is_written_is_carried() -> None:
    changes = {"operations": ("float32 → float16",), "pretrained": True, "address": "timm:x", "origin": "pretrained"}
    data = record(facts={"licence": "MIT"}, **changes)
    kept, complaint = carried(parse_record(data.as_bytes()), where="here")
    assert complaint == ""
    assert kept.where == "here"
    assert kept.traits == Traits()
    assert kept.counters == {"stem.norm.count": data.dropped[0]}
    assert kept.sources == data.sources
    assert kept.facts == {"licence": "MIT"}
    assert kept.pretrained is True
    assert (kept.text("address"), kept.text("origin"), kept.texts("operations")) == (
        "timm:x", "pretrained", ("float32 → float16",),
    )  # fmt: skip


def test_no_record() -> None:
    assert carried(None, where="here") == (NOTHING_CARRIED, "")


def test_a_record_that_says_no_traits() -> None:
    kept, complaint = carried({"schema": 1, "origin": "calibrated:0"}, where="here")
    assert (kept.traits, kept.text("origin"), complaint) == (None, "calibrated:0", "")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({}, "the record in here cannot be read: ignored"),
        ({"schema": 2}, "the record in here has schema 2; this version reads 1: ignored"),
        ({"schema": [["x" * 9000]]}, "the record in here has schema [["),
        ({"schema": 1, "traits": []}, "the record in here is damaged"),
        ({"schema": 1, "traits": {"stem_pool": "odd"}}, "damaged (trait stem_pool cannot be 'odd'): ignored"),
        ({"schema": 1, "traits": {"stem_pool": ["same"]}}, "damaged"),
        ({"schema": 1, "traits": {"norm_eps": 10**400}}, "damaged"),
        ({"schema": 1, "traits": {"odd": 1}}, "damaged (unknown trait 'odd'): ignored"),
        ({"schema": 1, "traits": {"x" * 10**6: 1}}, "damaged"),
        ({"schema": 1, "dropped": 3}, "damaged"),
        ({"schema": 1, "dropped": "abc"}, "damaged"),
        ({"schema": 1, "dropped": [{}]}, "damaged"),
        ({"schema": 1, "dropped": [{"name": "a", "shape": None}]}, "damaged"),
        ({"schema": 1, "dropped": [{"name": "a", "values": 3}]}, "damaged"),
        ({"schema": 1, "dropped": [{"name": "a", "values": [1 << 63]}]}, "damaged (a value is no 64-bit integer)"),
        ({"schema": 1, "dropped": [{"name": "a", "values": [1.5]}]}, "damaged (a value is no 64-bit integer)"),
        ({"schema": 1, "dropped": [{"name": "a", "values": [True]}]}, "damaged (a value is no 64-bit integer)"),
    ],
)
def test_damaged_records(data: dict[str, Any], complaint: str) -> None:
    kept, said = carried(data, where="here")
    assert kept is NOTHING_CARRIED
    assert complaint in said
    assert len(said) < 300


def test_a_record_nested_too_deeply() -> None:
    deep: Any = "end"
    for _ in range(200):
        deep = [deep]
    kept, said = carried({"schema": 1, "facts": deep}, where="here")
    assert kept is NOTHING_CARRIED
    assert "nested too deeply" in said


def test_fields_of_other_types_are_as_if_missing() -> None:
    wrong = dict.fromkeys(("facts", "pretrained", "sources", "operations", "address", "origin"), 7)
    kept, complaint = carried({"schema": 1, **wrong}, where="here")
    assert complaint == ""
    assert (kept.facts, kept.pretrained, kept.sources, kept.texts("operations")) == ({}, None, (), ())
    assert (kept.text("address"), kept.text("origin")) == ("", "")


def test_sources_of_other_types_are_left_out() -> None:
    entries = [
        3,
        None,
        {},
        {"name": 3},
        {"name": "a", "bytes": True, "sha256": 7, "container": []},
        {"name": "b", "bytes": 4},
    ]
    assert Carried("", None, {}, {"sources": entries}).sources == (SourceFile("a", "", 0), SourceFile("b", "", 4))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(1 << 62, 1 << 70) | st.floats() | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["name", "values", "shape", "stem_pool", "norm_eps", "sha256", "a"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
keys = ["traits", "dropped", "sources", "facts", "operations", "address", "origin", "pretrained", "output"]


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(keys), json_values), st.just(1) | json_values)
def test_no_record_is_an_error(data: dict[str, Any], schema: Any) -> None:
    kept, complaint = carried({"schema": schema, **data}, where="here")
    assert (kept is NOTHING_CARRIED) == bool(complaint)
    # What is carried can be written again.
    passed_on = record(
        facts=kept.facts, sources=kept.sources, dropped=tuple(kept.counters.values()), pretrained=kept.pretrained,
        operations=kept.texts("operations"), address=kept.text("address"), origin=kept.text("origin"),
    )  # fmt: skip
    passed_on.as_bytes().decode()
    passed_on.sidecar({}, {}).decode()


@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()) | texts)
def test_no_text_is_an_error(text: bytes | str) -> None:
    found = parse_record(text)
    assert isinstance(found, dict)
    carried(found, where="here")


def test_a_huge_record_is_not_parsed() -> None:
    assert parse_record(b'{"schema":1,"facts":"' + b"x" * (16 << 20) + b'"}') == {}


# --- the sidecar


def beside(file: Path, content: Any) -> Path:
    path = sidecar_path(file)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_a_sidecar_that_fits(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    file.write_bytes(b"weights")
    with MappedFile(file) as mapped:
        digest = sha256(mapped)
    beside(file, {"schema": 1, "output": {"sha256": digest}})
    assert read_sidecar(file) == ({"schema": 1, "output": {"sha256": digest}}, "")


def test_no_sidecar(tmp_path: Path) -> None:
    assert read_sidecar(tmp_path / "a.pth") == (None, "")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"output": {"sha256": "0" * 64}}, "a.pth.mshub.json belongs to another a.pth (its sha256 differs): ignored"),
        ({"output": {"sha256": ""}}, "has no sha256 (written with --no-check)"),
        ({"output": {"sha256": 7}}, "is not a record of ours"),
        ({"output": []}, "is not a record of ours"),
        ({}, "is not a record of ours"),
        ([], "is not a record of ours"),
        (b"\xff", "is not a record of ours"),
        (b"", "is not a record of ours"),
        (b"[" * 100_000, "is not a record of ours"),
    ],
)
def test_sidecars_that_do_not_fit(tmp_path: Path, content: Any, complaint: str) -> None:
    file = tmp_path / "a.pth"
    file.write_bytes(b"weights")
    beside(file, content)
    data, said = read_sidecar(file)
    assert data is None
    assert complaint in said


def test_a_sidecar_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.pth"
    file.write_bytes(b"weights")
    beside(file, {})

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert read_sidecar(file) == (None, "a.pth.mshub.json cannot be read (Permission denied): ignored")
