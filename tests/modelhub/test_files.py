"""The other files of a repository: init.json, labels.json, the licence and the README's tables."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshub_convert.converters.errors import MalformedFileError
from mshub_convert.converters.modelhub import licence, readme
from mshub_convert.converters.modelhub.config import read_config
from mshub_convert.converters.modelhub.init import External, read_init
from mshub_convert.converters.modelhub.labels import indices, read_labels

from .conftest import LICENCE, README, URL, as_bytes, config, init


def _init(url: object = URL, path: object = "/contrib_src/model/model.onnx") -> bytes:
    return as_bytes({"docker_id": "x", "external_contrib_files": [{"src_url": url, "dest_file_path": path}]})


def test_init_names_the_image_and_the_files():
    found = read_init(as_bytes(init()))
    assert found.docker_id == "modelhub/mxnet-modelhub:1.0.0"
    assert found.files == (External(URL, "contrib_src/model/model.onnx"),)
    assert found.as_dict() == init()


def test_a_path_is_relative_with_and_without_a_slash():
    """Both are in use: modelhub-ai/resnet-50 has the slash, modelhub-ai/yolo-v3 has not."""
    assert read_init(_init(path="contrib_src/model/model.onnx")) == read_init(_init())


@pytest.mark.parametrize(
    "path",
    ["../../.bashrc", "/contrib_src/../../x", "//etc/passwd", "", "/", "a//b", "./x", "C:\\x", "a\\..\\b", "C:x",
     "a/\0", "a\nb", 7, None],
)  # fmt: skip
def test_a_path_out_of_the_repository_is_refused(path):
    with pytest.raises(MalformedFileError, match=r"\$\.external_contrib_files\[0\]\.dest_file_path") as caught:
        read_init(_init(path=path), "clone/init/init.json")
    assert caught.value.message.startswith("clone/init/init.json")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/y", "https://", "https://host/", "model.onnx", "", 1, "http://[x"]
)
def test_an_address_that_is_no_download_is_refused(url):
    with pytest.raises(MalformedFileError, match=r"\$\.external_contrib_files\[0\]\.src_url"):
        read_init(_init(url=url))


def test_init_keeps_what_it_does_not_know():
    value = init() | {"gpu": True}
    value["external_contrib_files"][0]["sha256"] = "ab"
    assert read_init(as_bytes(value)).unknown == {"$.gpu": True, "$.external_contrib_files[0].sha256": "ab"}


def test_labels_are_in_the_order_of_their_indices():
    assert read_labels(b'{"1": "cytoplasm", "0": "cell periphery", "2": ""}') == ("cell periphery", "cytoplasm", "")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"0": "a", "2": "b"}, "none for class 1 .*'2'"),
        ({"1": "a"}, "none for class 0"),
        ({"0": "a", "one": "b"}, "'one'"),
        ({"0": "a", "9" * 9000: "b"}, "none for class 1"),
        ({"0": 1}, r"\$\.0 is a number"),
    ],
)
def test_labels_with_a_gap_or_no_texts_are_refused(value, said):
    with pytest.raises(MalformedFileError, match=said):
        read_labels(json.dumps(value).encode())


def test_indices_are_no_names():
    assert indices(("0", "1"))
    assert not indices(("0", "cat"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (LICENCE, "Apache-2.0"),
        ("MIT License\n\nCopyright", "MIT"),
        ('Permission is hereby granted, free of charge, to any\nperson …\nTHE SOFTWARE IS PROVIDED "AS IS"', "MIT"),
        ("Creative Commons Zero CC0 license", "CC0-1.0"),
        ("Creative Commons Attribution-NonCommercial 4.0 International", "CC-BY-NC-4.0"),
        ("Redistribution and use in source and binary forms, with … Neither the name of", "BSD-3-Clause"),
        ("Redistribution and use in source and binary forms, with", "BSD-2-Clause"),
        ("SPDX-License-Identifier: cc-by-nc-4.0", "cc-by-nc-4.0"),
        ("All rights reserved.", licence.OTHER),
        (" \n", "unstated"),
    ],
)
def test_licences_are_known_by_their_texts(text, name):
    assert licence.identify(text) == name


@pytest.mark.parametrize("name", ["Apache-2.0", "cc-by-nc-4.0", "unstated"])
def test_the_licence_that_is_written_reads_back(name):
    assert licence.identify(licence.text_of(name, "timm:resnet50")) == name


def test_tables_of_the_readme():
    found = readme.read_tables(README)
    assert found["meta"]["id"] == "8abbcaef-6bcf-4f1f-9159-85c17c38bd00"
    assert found["meta"]["task"] == "Classification"
    assert found["publication"]["year"] == "2016"
    assert found["model"]["format"] == ".onnx"
    assert set(found) == {"meta", "publication", "model"}


def test_the_readme_fills_in_what_config_lacks():
    found, notices = readme.cross_check(read_config(as_bytes(config())), readme.read_tables(README))
    assert found.about.format == ".onnx"
    assert notices == ()
    assert "model.format" not in found.lacks


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("| task             | Classification ", "| task | Counting ", "'Counting', config.json 'Classification'"),
        ("| year           | 2016 ", "| year | 2017", "'2017', config.json '2016'"),
        ("8abbcaef", "00000000", "says id '00000000-"),
    ],
)  # fmt: skip
def test_contradictions_are_told(old, new, said):
    assert old in README
    before = read_config(as_bytes(config()))
    found, (notice,) = readme.cross_check(before, readme.read_tables(README.replace(old, new)))
    assert said in notice
    assert "config.json is taken" in notice
    assert (found.meta, found.publication, found.id) == (before.meta, before.publication, before.id)


def test_a_publication_only_in_the_readme():
    value = config()
    del value["publication"]
    found, _ = readme.cross_check(read_config(as_bytes(value)), readme.read_tables(README))
    assert (found.publication.title, found.publication.year) == ("Deep Residual Learning for Image Recognition", 2016)


_cells = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1).map(
    lambda text: " ".join(text.split())
)


@given(st.dictionaries(st.sampled_from(["task", "data_type", "id"]), _cells.filter(bool), min_size=1))
def test_tables_read_back_as_written(rows):
    plain = {key: value for key, value in rows.items() if "\\" not in value}
    text = f"## meta data\n\n{readme.write_table(plain)}\n"
    assert readme.read_tables(text).get("meta", {}) == plain


@given(st.text())
def test_any_text_is_a_readme(text):
    readme.read_tables(f"## model\n{text}")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data):
    for read in (read_init, read_labels, read_config):
        with contextlib.suppress(MalformedFileError):
            read(data)
