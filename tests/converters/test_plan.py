"""The plan: the join of two dialects, every problem a file can have, counters, and casts."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshub_convert.converters.plan import Plan, make_plan
from mshub_convert.converters.record import NOTHING_CARRIED, Carried, Dropped
from mshub_convert.converters.rounding import common_dtype, holds, round_to
from mshub_convert.converters.tensors import DTYPES, FLOATS, TensorRef, TensorSpec
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.identify import identify

Arrays = dict[str, np.ndarray]
GOLDEN = Path(__file__).parents[1] / "golden"


def drawn(network: Any, dialect_name: str, seed: int = 0) -> Arrays:
    draw = np.random.default_rng(seed)
    return {
        name: draw.integers(1, 10**12, slot.shape)
        if slot.parameter.leaf == "count"
        else draw.standard_normal(slot.shape, np.float32)
        for slot in dialect(dialect_name).ground(network).slots.values()
        for name in slot.names
    }


@pytest.fixture
def weights(small: ResNet) -> Arrays:
    """The small network under timm's names."""
    return drawn(small, "timm")


def plan(held: Arrays, to: str = "mindcv", *, carried: Carried = NOTHING_CARRIED, dtype: str | None = None) -> Plan:
    refs = {
        name: TensorRef(TensorSpec(name, array.shape, str(array.dtype)), compute=lambda array=array: array)
        for name, array in held.items()
    }
    found = identify({name: array.shape for name, array in held.items()})
    return make_plan(refs, found, dialect(to).ground(found.architecture), carried=carried, dtype=dtype)


def made(plan: Plan) -> Arrays:
    return {step.target.spec.name: step.target.read() for step in plan.steps}


def problem(plan: Plan, code: str) -> str:
    (line,) = [finding.line for finding in plan.problems if finding.code == code]
    return line


# --- the join


def test_names_change_and_bytes_do_not(weights: Arrays) -> None:
    found = plan(weights)
    assert found.problems == ()
    assert found.notices == ()
    held = made(found)
    assert held["classifier.weight"].tobytes() == weights["fc.weight"].tobytes()
    assert held["layer1.0.bn1.moving_mean"].tobytes() == weights["layer1.0.bn1.running_mean"].tobytes()
    assert {step.how for step in found.steps} == {"copy"}
    assert list(held) == list(found.target.specs)
    assert found.nbytes == sum(array.nbytes for array in held.values())


def test_kernels_are_split_and_joined(small: ResNet, weights: Arrays) -> None:
    split = plan(weights, "modelzoo")
    kernel = weights["layer2.0.conv2.weight"]
    parts = [step for step in split.steps if step.key == "stages.1.0.conv2.kernel"]
    assert [step.how for step in parts] == ["split"] * small.cardinality
    assert {step.sources for step in parts} == {("layer2.0.conv2.weight",)}
    assert np.array_equal(np.concatenate([step.target.read() for step in parts]), kernel)
    joined = plan(made(split), "timm")
    (step,) = [step for step in joined.steps if step.key == "stages.1.0.conv2.kernel"]
    assert (step.how, len(step.sources)) == ("join", small.cardinality)
    assert step.target.read().tobytes() == kernel.tobytes()


@pytest.mark.parametrize("to", ["timm", "mmcls", "mindcv", "modelzoo", "modelzoo-gpu"])
@pytest.mark.parametrize("dtype", [None, "float16"])
def test_bytes_in_a_file_are_pointed_at(
    prepared: Callable[..., Any], weights_file: Callable[..., Path], tmp_path: Path, to: str, dtype: str | None
) -> None:
    held = prepared(weights_file(), f"safetensors:{to}", tmp_path / "out.safetensors", dtype=dtype).plan
    moved = [step for step in held.steps if step.target.extents is not None]
    cast = [step for step in held.steps if step.cast]
    assert len(moved) + len(cast) == len(held.steps)
    assert all(step.target.spec.dtype == dtype for step in cast)
    assert bool(cast) == bool(dtype)
    for step in moved:
        assert sum(extent.length for extent in step.target.extents or ()) == step.target.spec.nbytes


def test_a_computed_source_is_cut_like_a_file_is(
    prepared: Callable[..., Any], weights_file: Callable[..., Path], arrays: Callable[[Path], Arrays], tmp_path: Path
) -> None:
    path = weights_file()
    pointed = prepared(path, "safetensors:modelzoo", tmp_path / "out.safetensors").plan
    computed = plan(arrays(path), "modelzoo")
    assert all(step.target.compute is not None for step in computed.steps)
    for ours, theirs in zip(pointed.steps, computed.steps, strict=True):
        assert ours.target.spec == theirs.target.spec
        assert ours.target.read().tobytes() == theirs.target.read().tobytes()


# --- problems


def test_a_missing_tensor(weights: Arrays) -> None:
    del weights["layer1.0.bn2.weight"]
    found = plan(weights)
    assert problem(found, "missing") == "1 tensor of resnext_1-1_4x2d missing: layer1.0.bn2.weight"
    assert found.problems[0].remedy


def test_a_pre_activation_network_without_its_classifier() -> None:
    held = drawn(architecture("resnet18_v2"), "gluon")
    head = [name for name in held if name.startswith("output.")]
    for name in head:
        del held[name]
    assert problem(plan(held, "gluon"), "missing") == (
        "2 tensors of resnet18_v2 missing (the file is a backbone without its classifier): " + ", ".join(head)
    )


def test_a_missing_tensor_of_a_network_without_a_classifier() -> None:
    weights = drawn(architecture("ssd_resnet50"), "modelzoo-ssd")
    del weights["network.multi_box.multi_loc_layers.0.0.weight"]
    expected = "1 tensor of ssd_resnet50 missing: network.multi_box.multi_loc_layers.0.0.weight"
    assert problem(plan(weights, "ssd"), "missing") == expected


def test_a_surplus_tensor(weights: Arrays) -> None:
    weights["layer1.0.extra.weight"] = np.ones(3, np.float32)
    expected = "1 tensor that resnext_1-1_4x2d does not have: layer1.0.extra.weight"
    assert problem(plan(weights), "unexpected") == expected


@pytest.mark.parametrize(
    ("names", "cause"),
    [
        (["layer{s}.0.se_module.a.weight", "layer{s}.0.se_module.b.weight"], "squeeze-and-excitation"),
        (["layer{s}.0.attn.conv.weight"], "channel attention"),
        (["aux_classifier.{s}.weight"], "an auxiliary classifier"),
        (["layer{s}.0.lora_A.weight"], "adapters"),
    ],
)
def test_parts_of_other_networks_are_named(weights: Arrays, names: list[str], cause: str) -> None:
    weights |= {name.format(s=s): np.ones(1, np.float32) for name in names for s in (1, 2)}
    line = problem(plan(weights), "unexpected")
    assert cause in line
    assert "{1,2}" in line


def test_squeeze_and_excitation_in_few_blocks_is_surplus() -> None:
    content = json.loads((GOLDEN / "timm_seresnext50_32x4d.json").read_text(encoding="utf-8"))
    held = {
        name: np.zeros(shape, np.int64 if name.endswith("num_batches_tracked") else np.float32)
        for name, shape in content["tensors"]
        if ".se." not in name or name.startswith("layer4.")
    }
    line = problem(plan(held), "unexpected")
    assert line.startswith("12 tensors that resnext50_32x4d does not have (squeeze-and-excitation: another function)")
    assert "layer4.{0..2}.se.fc{1,2}.weight" in line


SQUEEZED = ResNet((1, 1), cardinality=4, base_width=2, classes=5, squeeze=(16, 8))


@pytest.mark.parametrize("to", ["mindcv-senet", "modelzoo", "modelzoo-gpu"])
def test_convolutions_of_one_pixel_become_dense_layers_and_back(to: str) -> None:
    held = drawn(SQUEEZED, "timm")
    there = plan(held, to)
    assert there.problems == ()
    reshaped = [step for step in there.steps if step.how == "reshape"]
    assert [step.key for step in reshaped] == [f"stages.{s}.0.squeeze{k}.kernel" for s in (0, 1) for k in (1, 2)]
    assert [step.target.spec.shape for step in reshaped] == [(16, 256), (256, 16), (8, 512), (512, 8)]
    arrays = made(there)
    for step in reshaped:
        (source,) = step.sources
        assert arrays[step.target.spec.name].tobytes() == held[source].tobytes()
    back = plan({name: array.reshape(there.target.specs[name]) for name, array in arrays.items()}, "timm")
    assert back.problems == ()
    again = made(back)
    for step in reshaped:
        (source,) = step.sources
        assert again[source].shape == held[source].shape
        assert again[source].tobytes() == held[source].tobytes()


def test_a_dense_layer_where_a_convolution_belongs_is_misshapen() -> None:
    held = drawn(SQUEEZED, "timm")
    held["layer1.0.se.fc1.weight"] = held["layer1.0.se.fc1.weight"].reshape(16, 256)
    assert problem(plan(held, "mindcv-senet"), "shape") == (
        "1 tensor of shape [16, 256] where [16, 256, 1, 1] is needed: layer1.0.se.fc1.weight"
    )


def test_a_wrong_shape(weights: Arrays) -> None:
    weights["layer1.0.conv3.weight"] = np.ones((3, 4), np.float32)
    assert problem(plan(weights), "shape") == (
        "1 tensor of shape [3, 4] where [256, 8, 1, 1] is needed: layer1.0.conv3.weight"
    )


def test_two_swapped_tensors_name_each_other(weights: Arrays) -> None:
    first, second = "layer1.0.conv3.weight", "layer2.0.conv1.weight"
    weights[first], weights[second] = weights[second], weights[first]
    lines = [finding.line for finding in plan(weights).problems]
    assert len(lines) == 2
    assert f"looks swapped with {second}" in lines[0]
    assert f"looks swapped with {first}" in lines[1]


def test_wrong_dtypes(weights: Arrays) -> None:
    for s in (1, 2):
        weights[f"layer{s}.0.conv1.weight"] = weights[f"layer{s}.0.conv1.weight"].astype(np.int8)
    weights["bn1.num_batches_tracked"] = np.array(3, np.int32)
    found = plan(weights)
    lines = {finding.line: finding.remedy for finding in found.problems}
    assert list(lines) == [
        "1 tensor of dtype int32 where int64 is needed: bn1.num_batches_tracked",
        "2 tensors of dtype int8 where a float is needed: layer{1,2}.0.conv1.weight",
    ]
    assert "Cast them to int64" in next(iter(lines.values()))
    assert "Quantised" in [*lines.values()][1]


def test_all_problems_come_at_once_and_folded() -> None:
    weights = drawn(architecture("resnext50_32x4d"), "timm")
    for block in range(6):
        del weights[f"layer3.{block}.bn2.bias"]
        weights[f"layer3.{block}.se.fc1.weight"] = np.ones(1, np.float32)
        weights[f"layer3.{block}.conv1.weight"] = weights[f"layer3.{block}.conv1.weight"].astype(np.int8)
        weights[f"layer3.{block}.bn3.weight"] = np.ones(5, np.float32)
    found = plan(weights)
    assert [finding.code for finding in found.problems] == ["missing", "shape", "dtype", "unexpected"]
    assert all("layer3.{0..5}." in finding.line for finding in found.problems)
    assert "6 tensors" in found.problems[0].line


def test_a_tensor_that_has_a_problem_has_no_step(weights: Arrays) -> None:
    weights["fc.weight"] = weights["fc.weight"].astype(np.int8)
    found = plan(weights)
    assert "classifier.weight" not in made(found)
    assert "classifier.bias" in made(found)


def test_many_patterns_are_cut_short(weights: Arrays) -> None:
    weights |= {f"extra_{letter}.weight": np.ones(1, np.float32) for letter in "abcdefghij"}
    assert problem(plan(weights), "unexpected").endswith("extra_h.weight and 2 more patterns")


def test_what_is_left_out_and_stripped_is_told(weights: Arrays) -> None:
    held = made(plan(weights))
    trained = {f"network.{name}": array for name, array in held.items()}
    trained |= {f"moments.network.{name}": array for name, array in held.items() if name.endswith("weight")}
    trained |= {"global_step": np.array(3, np.int32), "learning_rate": np.array(0.1, np.float32)}
    trained |= {f"ema.{name}": array for name, array in held.items()}
    found = plan(trained, "timm")
    assert found.problems == ()
    told = {finding.code: finding for finding in found.notices}
    assert told["prefix"].message == f"stripped the prefix network. from {len(held)} names"
    assert "of optimiser and training loop" in told["training"].message
    assert "global_step" in told["training"].names
    assert told["copies"].message == f"left out another set of {len(held)} weights"
    assert told["copies"].remedy == "Pick it with --select PREFIX."


def test_what_was_not_stripped_is_not_told() -> None:
    """The original's files may lack what the dialect has before every name."""
    specs = dialect("modelzoo-ssd").ground(architecture("ssd_resnet50")).specs
    bare = {name.removeprefix("network."): np.broadcast_to(np.float32(0), shape) for name, shape in specs.items()}
    found = plan(bare, "ssd")
    assert found.problems == ()
    assert "prefix" not in {finding.code for finding in found.notices}


def test_names_cannot_control_a_terminal_or_flood_it(weights: Arrays) -> None:
    weights["layer1.0.\x1b[31m" + "x" * 9000] = np.ones(1, np.float32)
    line = problem(plan(weights), "unexpected")
    assert line.isprintable()
    assert len(line) < 500


def test_strict_makes_notices_problems(weights: Arrays) -> None:
    found = plan(weights, dtype="float16").strict()
    assert [finding.code for finding in found.problems] == ["cast"]
    assert found.notices == ()


# --- counters


def counters(held: Arrays) -> Arrays:
    return {name: array for name, array in held.items() if name.endswith("num_batches_tracked")}


def test_counters_are_kept_where_there_is_a_place(weights: Arrays) -> None:
    found = plan(weights, "mmcls")
    assert (found.dropped, found.synthesised, found.restored) == ((), (), ())
    assert [int(array) for array in counters(made(found)).values()] == [int(a) for a in counters(weights).values()]


def carrying(found: Plan) -> Carried:
    return Carried("a record", None, {entry.name: entry for entry in found.dropped}, {})


def test_counters_are_dropped_with_their_values_and_restored(weights: Arrays) -> None:
    out = plan(weights)
    assert len(out.dropped) == len(counters(weights))
    assert {entry.dtype for entry in out.dropped} == {"int64"}
    back = plan(made(out), "timm", carried=carrying(out))
    assert sorted(back.restored) == sorted(counters(weights))
    assert back.synthesised == ()
    held = made(back)
    assert held.keys() == weights.keys()
    assert all(held[name].tobytes() == array.tobytes() for name, array in weights.items())
    # Through a second file that has no place for them either.
    on = plan(made(out), "modelzoo", carried=carrying(out))
    assert on.dropped == out.dropped


def test_counters_that_nobody_knows_are_set_to_0(weights: Arrays) -> None:
    back = plan(made(plan(weights)), "timm")
    assert sorted(back.synthesised) == sorted(counters(weights))
    assert not any(made(back)[name].any() for name in back.synthesised)
    assert "BatchNorm counters not in the source, set to 0" in back.notices[0].line
    assert back.steps[0].target.spec.dtype in FLOATS


def test_files_older_than_counters(weights: Arrays) -> None:
    for name in counters(weights):
        del weights[name]
    assert plan(weights).problems == ()
    assert plan(weights).dropped == ()
    assert len(plan(weights, "mmcls").synthesised) > 0


@pytest.mark.parametrize("values", [None, (), (1, 2)])
def test_a_counter_in_the_record_that_is_no_number_is_not_used(weights: Arrays, values: tuple[int, ...] | None) -> None:
    out = plan(weights)
    kept = {entry.name: Dropped(entry.name, "", "int64", (), values) for entry in out.dropped}
    back = plan(made(out), "timm", carried=Carried("", None, kept, {}))
    assert back.restored == ()
    assert len(back.synthesised) == len(counters(weights))


# --- casts


def test_a_cast_is_declared(weights: Arrays) -> None:
    found = plan(weights, dtype="bfloat16")
    assert {step.cast for step in found.steps} == {"float32"}
    assert [finding.line for finding in found.notices] == ["rounding float32 weights to bfloat16: lossy, as asked"]
    held = made(found)
    assert {str(array.dtype) for array in held.values()} == {"bfloat16"}
    assert np.array_equal(held["classifier.weight"], weights["fc.weight"].astype(ml_dtypes.bfloat16))


def test_counters_are_not_cast(weights: Arrays) -> None:
    held = made(plan(weights, "mmcls", dtype="float16"))
    assert {str(array.dtype) for array in held.values()} == {"float16", "int64"}


def test_widening_is_exact_and_no_notice(weights: Arrays) -> None:
    narrow = {name: a.astype(np.float16) if a.dtype == np.float32 else a for name, a in weights.items()}
    found = plan(narrow, dtype="float32")
    assert found.notices == ()
    assert {step.cast for step in found.steps} == {"float16"}
    stays = plan(narrow)
    assert [finding.line for finding in stays.notices] == ["weights are float16; they stay so"]


def test_mixed_dtypes_stay_as_they_are(weights: Arrays) -> None:
    weights["fc.weight"] = weights["fc.weight"].astype(np.float64)
    found = plan(weights)
    assert made(found)["classifier.weight"].dtype == np.float64
    assert [finding.line for finding in found.notices] == ["weights are float32 and float64; they stay so"]
    cast = plan(weights, dtype="float32")
    assert [finding.line for finding in cast.notices] == ["rounding float64 weights to float32: lossy, as asked"]
    assert [step.cast for step in cast.steps if step.cast] == ["float64"]


def test_parts_of_several_dtypes_are_joined_without_loss(weights: Arrays) -> None:
    split = made(plan(weights, "modelzoo"))
    first, second = "backbone.layer1.0.conv2.convs.0.weight", "backbone.layer1.0.conv2.convs.1.weight"
    split[first], split[second] = split[first].astype(np.float16), split[second].astype(ml_dtypes.bfloat16)
    for group in (2, 3):
        name = f"backbone.layer1.0.conv2.convs.{group}.weight"
        split[name] = split[name].astype(np.float16)
    found = plan(split, "timm", dtype=None)
    (step,) = [step for step in found.steps if step.cast]
    assert (step.cast, step.target.spec.dtype) == ("bfloat16 and float16", "float32")
    expected = np.concatenate([split[name].astype(np.float32) for name in step.sources])
    assert step.target.read().tobytes() == expected.tobytes()
    assert any(finding.code == "mixed" for finding in found.notices)
    # Put under names that keep them apart, they stay as they are.
    apart = plan(split, "modelzoo")
    assert not [step for step in apart.steps if step.cast]


def test_the_common_dtype_holds_all() -> None:
    assert common_dtype({"float16", "bfloat16"}) == "float32"
    assert common_dtype({"float16", "float32"}) == "float32"
    assert common_dtype({"bfloat16", "float64"}) == "float64"
    assert common_dtype({"bfloat16"}) == "bfloat16"
    assert [(a, b) for a in FLOATS for b in FLOATS if holds(a, b) and DTYPES[a].itemsize < DTYPES[b].itemsize] == []


# --- rounding against whole numbers, which round in one known way

# Bits of the significand (with the leading one), least exponent of a last bit, largest finite value's exponent.
_FORMS = {"float16": (11, -24, 15), "bfloat16": (8, -133, 127), "float32": (24, -149, 127)}


def nearest_even(value: float, dtype: str) -> float:
    """One rounding of a finite number, by exact arithmetic."""
    digits, least, most = _FORMS[dtype]
    exact = abs(Fraction(value))
    if not exact:
        return value
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length()
    if Fraction(2) ** exponent > exact:
        exponent -= 1
    unit = Fraction(2) ** max(exponent - digits + 1, least)
    rounded = round(exact / unit) * unit  # of a Fraction: to the nearest, ties to even
    result = float("inf") if rounded >= Fraction(2) ** (most + 1) else float(rounded)
    return -result if value < 0 else result


doubles = st.floats(allow_nan=False, allow_infinity=False) | st.floats(-1e5, 1e5) | st.builds(
    # Close to the middle of two neighbours of bfloat16 or float16, off by less than float32 can tell.
    lambda high, low, off, e: (high + 0.5 + off * 2.0**-low) * 2.0**e,
    st.integers(128, 4095), st.integers(20, 40), st.sampled_from([-1, 0, 1]), st.integers(-140, 118),
)  # fmt: skip


@given(st.lists(doubles, min_size=1, max_size=20), st.sampled_from(sorted(_FORMS)))
def test_float64_is_rounded_once(values: list[float], dtype: str) -> None:
    rounded = round_to(np.array(values, np.float64), dtype)
    assert rounded.dtype == DTYPES[dtype]
    expected = [nearest_even(value, dtype) for value in values]
    assert rounded.astype(np.float64).tobytes() == np.array(expected).tobytes()


singles = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(singles, min_size=1), st.sampled_from(["float16", "bfloat16"]))
def test_float32_is_rounded_once(values: list[float], dtype: str) -> None:
    rounded = round_to(np.array(values, np.float32), dtype).astype(np.float64)
    assert rounded.tobytes() == np.array([nearest_even(value, dtype) for value in values]).tobytes()


@pytest.mark.parametrize(("narrow", "wide"), [(a, b) for a in FLOATS for b in FLOATS if a != b and holds(b, a)])
def test_widening_loses_nothing(narrow: str, wide: str) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    values = bits.view(DTYPES[narrow]) if narrow != "float32" else (bits.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(invalid="ignore"):
        values = values[~np.isnan(values)]
    assert round_to(round_to(values, wide), narrow).tobytes() == values.tobytes()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("source", ["float32", "float64"])
def test_what_is_not_finite(source: str, dtype: str) -> None:
    word, bits = (np.uint32, 0x7F800001) if source == "float32" else (np.uint64, 0x7FF0000000000001)
    signalling = np.array([bits], word).view(source)
    values = np.concatenate([np.array([np.nan, np.inf, -np.inf, np.finfo(source).max], source), signalling])
    rounded = round_to(values, dtype)  # a warning here would be an error
    with np.errstate(invalid="ignore"):
        rounded = rounded.astype(np.float64)
    assert np.isnan(rounded[[0, 4]]).all()
    assert rounded[1:3].tolist() == [np.inf, -np.inf]
    assert np.isinf(rounded[3]) != holds(dtype, source)
