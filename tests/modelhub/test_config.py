"""config.json: both forms of the input, every field checked where it stands, and nothing lost."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshub_convert.converters.errors import MalformedFileError
from mshub_convert.converters.modelhub.config import About, Config, Input, Limit, Meta, Output, Publication, read_config

from .conftest import as_bytes, config, single

LIMITS = (Limit(1, 4), Limit(32), Limit(32))
FORMATS = ("image/png", "image/jpg", "image/jpeg")


@pytest.mark.parametrize("form", [config, single], ids=["flat", "single"])
def test_both_forms_of_the_input_read_the_same(form):
    found = read_config(as_bytes(form()))
    assert found.inputs == (Input("single", FORMATS, LIMITS),)
    assert found.outputs == (Output("probabilities", "label_list"),)
    assert found.meta.name == "resnet-50"
    assert found.publication.year == 2016
    assert found.about.learning_type == "Supervised learning"


def test_several_inputs_have_their_names():
    value = single()
    one = {"format": ["application/nii-gzip"], "dim_limits": [{"min": 155, "max": 240}], "description": "T1"}
    value["model"]["io"]["input"] = {"format": ["application/json"], "t1": one, "t1c": one}
    found = read_config(as_bytes(value))
    assert [given.name for given in found.inputs] == ["t1", "t1c"]
    assert found.inputs[0].limits == (Limit(155, 240),)
    assert found.inputs[0].description == "T1"


def test_what_the_schema_does_not_have_is_kept_with_its_path():
    value = config()
    value["meta"]["colour"] = "blue"
    value["publication"]["journal"] = "None"
    value["model"]["io"]["input"]["depth"] = 8
    value["model"]["io"]["output"][0]["overlaid"] = False
    assert read_config(as_bytes(value)).unknown == {
        "$.viewer": "netron", "$.allow_user_input": True, "$.meta.colour": "blue", "$.publication.journal": "None",
        "$.model.io.input.depth": 8, "$.model.io.output[0].overlaid": False,
    }  # fmt: skip


def test_what_the_schema_requires_and_the_file_lacks():
    assert read_config(as_bytes(config())).lacks == ("model.provenance", "model.format")
    assert read_config(as_bytes(single())).lacks == ()


def test_the_modelhub_object_is_free():
    assert read_config(as_bytes(single())).modelhub == {"top": 5, "sort": True}


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("id",), 7, r"\$\.id is a number \(7\), a text is needed"),
        (("meta",), [], r"\$\.meta is a list"),
        (("meta", "name"), "", r"\$\.meta\.name is a text \(\"\"\), the name of the model"),
        (("meta", "name"), None, r"\$\.meta\.name is missing"),
        (("meta", "task"), {"a": 1}, r"\$\.meta\.task is an object"),
        (("publication", "year"), "soon", r"\$\.publication\.year is a text .*a whole number is needed"),
        (("publication", "year"), True, r"\$\.publication\.year is true or false"),
        (("publication", "authors"), ["He"], r"\$\.publication\.authors is a list"),
        (("model",), "resnet", r"\$\.model is a text"),
        (("model", "io"), None, r"\$\.model\.io is an? "),
        (("model", "io", "input"), [], r"\$\.model\.io\.input is a list"),
        (("model", "io", "input", "format"), "image/png", r"\$\.model\.io\.input\.format is a text"),
        (("model", "io", "input", "format"), [1], r"\$\.model\.io\.input\.format .*a list of texts"),
        (("model", "io", "input", "dim_limits"), [3], r"dim_limits\[0\] is a number \(3\), an object is needed"),
        (("model", "io", "input", "dim_limits"), [{}], r"dim_limits\[0\]\.min is missing"),
        (("model", "io", "input", "dim_limits"), [{"min": -1}], r"dim_limits\[0\]\.min is a number \(-1\)"),
        (("model", "io", "input", "dim_limits"), [{"min": 4, "max": 1}], r"dim_limits\[0\]\.max .*at least the min"),
        (("model", "io", "output"), {}, r"\$\.model\.io\.output is an object"),
        (("model", "io", "output"), ["x"], r"\$\.model\.io\.output\[0\] is a text"),
        (("modelhub",), 1, r"\$\.modelhub is a number"),
    ],
)
def test_a_wrong_field_is_named_with_its_path(where, value, said):
    whole = config()
    *way, last = where
    place = whole
    for key in way:
        place = place[key]
    place[last] = value
    if where == ("model", "io"):
        del whole["model"]["io"]
        said = r"\$\.model\.io is missing"
    with pytest.raises(MalformedFileError, match=said) as caught:
        read_config(as_bytes(whole), "clone/contrib_src/model/config.json")
    assert caught.value.message.startswith("clone/contrib_src/model/config.json: ")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "line 1, column 2"),
        (b"[]", "no JSON object"),
        (b'{"id": NaN}', "NaN is no number"),
        (b'{"id": "a", "id": "b"}', "'id' stands twice"),
        (b'{"id": "\xff"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b" " * ((4 << 20) + 1), "4194305 bytes"),
    ],
)
def test_what_is_no_json_says_so(data, said):
    with pytest.raises(MalformedFileError, match=said):
        read_config(data)


def test_a_byte_order_mark_is_no_harm():
    assert read_config(b"\xef\xbb\xbf" + as_bytes(config())).meta.name == "resnet-50"


def test_a_year_may_be_a_text_of_digits_or_missing():
    value = config()
    value["publication"]["year"] = "2016"
    assert read_config(as_bytes(value)).publication.year == 2016
    del value["publication"]["year"]
    assert read_config(as_bytes(value)).publication.year is None


def test_no_publication_is_none():
    value = config()
    del value["publication"]
    assert read_config(as_bytes(value)).publication is None


_words = st.text(st.characters(codec="utf-8"), max_size=20).map(str.strip)
_named = _words.filter(bool)
_limits = st.builds(Limit, st.integers(0, 9), st.none() | st.integers(9, 99))
_inputs = st.lists(
    st.builds(Input, st.sampled_from(["single", "t1", "t2"]), st.lists(_words).map(tuple),
              st.lists(_limits).map(tuple), _words),
    unique_by=lambda one: one.name, max_size=3,
).map(tuple)  # fmt: skip
_configs = st.builds(
    Config, _words, st.builds(Meta, _named, *[_words] * 5),
    st.none() | st.builds(Publication, _words, _words, st.none() | st.integers(1, 3000), *[_words] * 6),
    st.builds(About, *[_words] * 5), _inputs, st.lists(st.builds(Output, _words, _words, _words)).map(tuple),
    st.dictionaries(_words, st.integers()), st.just({}),
)  # fmt: skip


@settings(max_examples=40)
@given(_configs)
def test_what_is_written_reads_back_the_same(value):
    assert read_config(as_bytes(value.as_dict())) == value


_keys = st.sampled_from(
    ["id", "meta", "name", "model", "io", "input", "output", "single", "dim_limits", "min", "publication"]
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
)


@given(st.dictionaries(_keys, _json, max_size=6) | _json)
def test_only_errors_of_ours_are_raised(value):
    with contextlib.suppress(MalformedFileError):
        read_config(json.dumps(value).encode())
