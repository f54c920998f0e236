"""Leaving out the last classes: the rows, the record, and what cannot be asked for."""

import json
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.classes import first_rows
from mshub_convert.converters.errors import PlanError, UsageError
from mshub_convert.converters.pipeline import Options, prepare, write
from mshub_convert.converters.target import parse_target
from mshub_convert.verify.weights import compare_weights

SAID = "the first 7 of 10 classes kept, rows 7 to 9 of the classifier left out"


def record_of(path):
    return json.loads(path.with_name(f"{path.name}.mshub.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("to", ["ckpt", "ckpt:modelzoo", "pth", "safetensors", "safetensors:mindcv"])
def test_first_rows_are_kept_and_all_else_is_the_same(weights_file, arrays, tmp_path, to):
    source = weights_file()
    whole = arrays(mc.convert(source, to=to, out=f"{tmp_path}/whole/").path)
    result = mc.convert(source, to=to, out=f"{tmp_path}/cut/", classes=7)
    cut = arrays(result.path)
    head = {name for name in whole if whole[name].shape[:1] == (10,)}
    assert len(head) == 2
    for name, array in whole.items():
        assert np.array_equal(cut[name], array[:7] if name in head else array)
    record = record_of(result.path)
    assert record["architecture"]["classes"] == 7
    assert record["operations"] == [SAID]
    assert any(SAID in notice for notice in result.notices)
    assert mc.inspect(result.path).network["classes"] == 7


def test_bytes_move_without_being_computed(weights_file, opened, tmp_path):
    held = opened(weights_file(), classes=7)
    plan = prepare(held, parse_target("ckpt"), tmp_path / "x.ckpt", Options()).plan
    cut = {step.key: step for step in plan.steps if step.how == "cut"}
    assert set(cut) == {"head.kernel", "head.bias"}
    assert all(step.target.compute is None and step.target.extents for step in cut.values())
    assert [finding.code for finding in plan.notices if "classes" in finding.code] == ["classes-cut"]


def test_rounded_and_cut(weights_file, arrays, tmp_path):
    source = weights_file()
    made = arrays(mc.convert(source, to="ckpt", out=tmp_path, dtype="bfloat16", classes=1).path)
    expected = arrays(source)["fc.weight"][:1].astype(ml_dtypes.bfloat16)
    assert np.array_equal(made["classifier.weight"], expected)
    operations = record_of(tmp_path / "small.ckpt")["operations"]
    assert operations == [
        "the first 1 of 10 classes kept, rows 1 to 9 of the classifier left out", "float32 → bfloat16",
    ]  # fmt: skip


def test_rows_of_what_is_not_plain_bytes(reference):
    """A tensor that the file does not hold in one piece is read first."""
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T
    (cut,) = first_rows([reference("fc.weight", array)], 3)
    assert (cut.spec.shape, cut.extents) == ((3, 3), None)
    assert np.array_equal(cut.read(), array[:3])


def test_rows_of_bytes_in_several_ranges(weights_file, opened):
    held = opened(weights_file()).tensors["fc.weight"]
    (whole,) = held.extents
    pieces = (whole.part(0, 5), whole.part(5, 4096), whole.part(4101, whole.length - 4101))
    for rows in (1, 2, 10):
        (cut,) = first_rows([replace(held, extents=pieces)], rows)
        assert np.array_equal(cut.read(), held.read()[:rows])


def test_all_classes_asked_for_is_no_cut(weights_file, tmp_path):
    result = mc.convert(weights_file(), to="ckpt", out=tmp_path, classes=10)
    assert "operations" not in record_of(result.path)
    assert not any("classes" in notice for notice in result.notices)


def test_more_classes_than_there_are(weights_file, tmp_path):
    with pytest.raises(PlanError, match=r"--classes 11, but small\.safetensors has 10") as caught:
        mc.convert(weights_file(), to="ckpt", out=tmp_path / "out", classes=11)
    assert "can be left out, not added" in caught.value.message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("classes", [0, -1])
def test_no_classes(weights_file, tmp_path, classes):
    with pytest.raises(UsageError, match=f"--classes {classes} leaves no class"):
        mc.plan(weights_file(), classes=classes)


def test_strict_refuses_the_cut(weights_file, tmp_path):
    with pytest.raises(PlanError, match="7 of 10 classes kept"):
        mc.convert(weights_file(), to="ckpt", out=tmp_path, classes=7, strict=True)


@pytest.fixture
def compared(weights_file, opened, tmp_path):
    """Compares the weights of a source, of which some classes are kept, with a target of seven."""

    def compare(classes, change=None):
        source = weights_file()
        prepared = prepare(
            opened(source, classes=7), parse_target("safetensors"), tmp_path / "cut.safetensors", Options()
        )
        with write(change(prepared) if change else prepared) as staged:
            return compare_weights(opened(source, classes=classes), opened(staged.commit()))

    return compare


def test_weights_of_a_cut_are_proven(compared):
    proven = compared(7)
    assert (proven.verdict.value, proven.differing) == ("pass", ())


@pytest.mark.parametrize("classes", [None, 8, 6])
def test_another_number_of_classes_is_no_proof(compared, classes):
    found = compared(classes)
    assert found.verdict.value == "fail"
    assert f"{classes or 10} classes, the target" in found.reason
    assert ("say --classes 7" in found.reason) == (classes != 6)


def test_other_rows_are_found_out(compared):
    """The first row left out instead of the last ones."""

    def last_rows(prepared):
        steps = tuple(
            replace(step, target=replace(step.target, extents=tuple(
                replace(extent, offset=extent.offset + extent.length // 7) for extent in step.target.extents
            )))
            if step.how == "cut" else step
            for step in prepared.plan.steps
        )  # fmt: skip
        return replace(prepared, plan=replace(prepared.plan, steps=steps))

    found = compared(7, last_rows)
    assert found.verdict.value == "fail"
    assert set(found.differing) == {"fc.weight", "fc.bias"}
