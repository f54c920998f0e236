"""Why a conversion failed: the layer, the parameter on both sides and the cause are named, and nothing else is."""

from dataclasses import replace

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.codecs import EmbeddedRecord, codec, open_checkpoint
from mshub_convert.converters.sources import calibrated
from mshub_convert.converters.splice import splice
from mshub_convert.converters.tensors import TensorRef
from mshub_convert.mappings.traits import Traits
from mshub_convert.request import SourceRequest
from mshub_convert.verify import sides
from mshub_convert.verify.diagnosis import diagnose as module
from mshub_convert.verify.diagnosis.diagnose import compare, diagnose
from mshub_convert.verify.diagnosis.matching import match_rows, nearest_rows, told
from mshub_convert.verify.diagnosis.parameters import parameters
from mshub_convert.verify.diagnosis.result import Diagnosis
from mshub_convert.verify.errors import RuntimeRefusedError
from mshub_convert.verify.inputs import Inputs, pictures
from mshub_convert.verify.networks.exact import apply

pytestmark = pytest.mark.slow

SIZES = ((32, 32), (33, 39))
PICTURES = [pictures(1, *size) for size in SIZES]
INPUTS = Inputs(count=2, sizes=SIZES)


@pytest.fixture(scope="session")
def source(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("diagnosis") / "source.safetensors"
    calibrated.write(small, "timm", 0, path)
    return path


def edited(source, path, edit):
    """The file with its tensors changed in place."""
    with open_checkpoint(source) as checkpoint:
        arrays = {name: np.array(ref.read()) for name, ref in checkpoint.tensors.items()}
        edit(arrays)
        refs = [TensorRef(ref.spec, None, lambda name=name: arrays[name]) for name, ref in checkpoint.tensors.items()]
        splice(path, codec("safetensors").layout(refs, EmbeddedRecord(b"", bytes), framework="torch"), sync=False)
    return path


def float32(graph, arrays, batch):
    """The values of all nodes, in float32 and NumPy."""
    known = {graph.input: batch}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            known[node.output] = apply(node, [known[n] if n in known else arrays[n] for n in node.inputs])
    return {name: value for name, value in known.items() if name != graph.input}


def found(source, target, *, graph=None, watched=lambda _: True, spoil=lambda values: values, traits=None):
    """What is found of a target that computes what a graph says, in float32."""
    with SourceRequest(source).open() as ours, SourceRequest(target, traits=traits or {}).open() as theirs:
        runs = theirs.network.graph(theirs.traits) if graph is None else graph
        arrays = parameters(theirs, runs).arrays
        values = [spoil(float32(runs, arrays, batch)) for batch in PICTURES]
        values = [{name: value for name, value in one.items() if watched(name)} for one in values]
        result = compare(ours, theirs, PICTURES, values)
    return Diagnosis("test", result.faults, result.unseen, result.curve)


def swapped(first, second):
    def edit(arrays):
        arrays[first], arrays[second] = arrays[second], arrays[first]

    return edit


def reordered(name, order, axis=0):
    def edit(arrays):
        arrays[name] = np.ascontiguousarray(np.take(arrays[name], order, axis))

    return edit


def changed(name, function):
    def edit(arrays):
        arrays[name] = np.ascontiguousarray(function(arrays[name].copy()), np.float32)

    return edit


def with_(array, index, value):
    array[index] = value
    return array


def exchanged(length, first, second):
    order = list(range(length))
    order[first], order[second] = second, first
    return order


# The parameters themselves

CONV2, NORM2 = "layer2.0.conv2.weight", "layer2.0.bn2"  # 4 groups of 16
_SECOND = slice(16, 32)
PARAMETERS = {
    "leaves": (swapped(f"{NORM2}.weight", f"{NORM2}.bias"), "stages.1.0.norm2",
               f"{NORM2}.weight, {NORM2}.bias: scale and shift are in each other's place"),
    "statistics": (swapped(f"{NORM2}.running_mean", f"{NORM2}.running_var"), "stages.1.0.norm2",
                   f"{NORM2}.running_mean, {NORM2}.running_var: mean and var are in each other's place"),
    "a copied leaf": (lambda a: a.update({f"{NORM2}.bias": a[f"{NORM2}.weight"].copy()}), "stages.1.0.norm2",
                      f"{NORM2}.bias: the values of the layer's scale ({NORM2}.weight)"),
    "two channels": (reordered(CONV2, exchanged(64, 3, 7)), "stages.1.0.conv2",
                     f"{CONV2}: output channels 3 and 7 are swapped inside group 0"),
    "across groups": (reordered(CONV2, exchanged(64, 3, 20)), "stages.1.0.conv2",
                      f"{CONV2}: output channels 3 and 20 are swapped"),
    "group permutation": (reordered(CONV2, np.arange(64).reshape(4, 16).T.ravel()), "stages.1.0.conv2",
                          f"{CONV2}: output channels are interleaved: the permutation of the 4 groups is missing or"
                          " done twice"),
    "groups swapped": (reordered(CONV2, np.arange(64).reshape(4, 16)[[0, 2, 1, 3]].ravel()), "stages.1.0.conv2",
                       f"{CONV2}: groups 1 and 2 are swapped"),
    "groups shifted": (reordered(CONV2, np.roll(np.arange(64), -16)), "stages.1.0.conv2",
                       f"{CONV2}: output channels are shifted cyclically: output channel 0 has the values of 16"),
    "another group's": (changed(CONV2, lambda a: with_(a, _SECOND, a[32:48])), "stages.1.0.conv2",
                        f"{CONV2}: group 1 has the values of group 2"),
    "one group": (changed(CONV2, lambda a: with_(a, _SECOND, a[_SECOND] * 2)), "stages.1.0.conv2",
                  f"{CONV2}: differs in group 1 only (output channels 16 to 31): 2 times the source's"),
    "one element": (changed(CONV2, lambda a: with_(a, (5, 2, 1, 0), 0)), "stages.1.0.conv2",
                    f"{CONV2}: one value differs: [5, 2, 1, 0] is 0 instead of "),
    "scaled": (changed("layer3.0.conv1.weight", lambda a: a * 0.5), "stages.2.0.conv1",
               "layer3.0.conv1.weight: 0.5 times the source's"),
    "zero": (changed("layer3.0.bn3.weight", np.zeros_like), "stages.2.0.norm3", "layer3.0.bn3.weight: all zeros"),
    "another layer's": (swapped("layer2.0.conv3.weight", "layer2.1.conv3.weight"), "stages.1.0.conv3",
                        "layer2.0.conv3.weight: the values of another layer's layer2.1.conv3.weight"),
    "colours": (reordered("conv1.weight", [2, 1, 0], 1), "stem.conv",
                "conv1.weight: red and blue are in each other's place (RGB and BGR)"),
    "inputs": (reordered("layer2.0.conv3.weight", exchanged(64, 3, 8), 1), "stages.1.0.conv3",
               "layer2.0.conv3.weight: input channels 3 and 8 are swapped"),
    "classes": (reordered("fc.weight", exchanged(10, 3, 8)), "head", "fc.weight: classes 3 and 8 are swapped"),
    "all classes": (reordered("fc.weight", [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]), "head",
                    "fc.weight: classes are in reverse order"),
    "transposed": (changed(CONV2, lambda a: a.swapaxes(2, 3)), "stages.1.0.conv2",
                   f"{CONV2}: axes in the order (0, 1, 3, 2)"),
    "reshaped": (changed("layer2.0.conv1.weight", lambda a: a.transpose(1, 0, 2, 3).reshape(a.shape)),
                 "stages.1.0.conv1",
                 "layer2.0.conv1.weight: axes in the order (1, 0, 2, 3), read as if they were not"),
    "turned": (changed(CONV2, lambda a: a[:, :, ::-1, ::-1]), "stages.1.0.conv2",
               f"{CONV2}: kernels are turned by 180 degrees (for convolution, not correlation)"),
    "rounded": (changed(CONV2, lambda a: a.astype(np.float16)), "stages.1.0.conv2", f"{CONV2}: rounded to float16"),
    "drawn anew": (changed("layer2.0.conv3.weight", lambda a: a + np.random.Generator(np.random.Philox(1)).normal(
        size=a.shape)), "stages.1.0.conv3", "layer2.0.conv3.weight: 32768 of 32768 values differ, by "),
    "nothing finite": (changed("layer3.0.bn3.bias", lambda a: with_(a, 4, np.nan)), "stages.2.0.norm3",
                       "layer3.0.bn3.bias: NaN or Inf in 1 of 1024 values"),
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_is_wrong_with_parameters_is_named(name, source, tmp_path):
    edit, layer, said = PARAMETERS[name]
    diagnosis = found(source, edited(source, tmp_path / "target.safetensors", edit))
    assert layer in [fault.layer for fault in diagnosis.faults]
    assert len(diagnosis.faults) == (2 if name == "another layer's" else 1)
    assert all(fault.explained and not fault.causes for fault in diagnosis.faults)
    assert diagnosis.lines[0].startswith(said)
    assert diagnosis.first == diagnosis.lines[0]


def test_names_are_those_of_both_files(source, tmp_path):
    target = edited(source, tmp_path / "wrong.safetensors", swapped(f"{NORM2}.weight", f"{NORM2}.bias"))
    ckpt = mc.convert(target, to="ckpt", out=tmp_path / "wrong.ckpt").path
    assert found(source, ckpt).first == (
        f"{NORM2}.gamma, {NORM2}.beta ({NORM2}.weight, {NORM2}.bias in the source):"
        " scale and shift are in each other's place"
    )


def test_what_cannot_be_seen_is_told_too(source, tmp_path):
    def edit(arrays):
        arrays["layer2.0.conv2.weight"][5, 2, 1, 0] *= np.float32(1 + 2**-20)

    diagnosis = found(source, edited(source, tmp_path / "target.safetensors", edit))
    assert not diagnosis.faults
    assert [item.source for item in diagnosis.unseen] == ["layer2.0.conv2.weight"]
    assert "(not seen in what the layer gives on these pictures)" in diagnosis.first


def test_several_mistakes_are_all_named_whatever_is_watched(source, tmp_path):
    def edit(arrays):
        for name in ("two channels", "classes", "leaves"):
            PARAMETERS[name][0](arrays)

    target = edited(source, tmp_path / "target.safetensors", edit)
    everything = found(source, target)
    assert [fault.layer for fault in everything.faults] == ["stages.1.0.conv2", "stages.1.0.norm2", "head"]
    few = found(source, target, watched=lambda name: name.endswith(("norm2", "norm3", "head")))
    assert [fault.layer for fault in few.faults] == ["stages.1.0.norm2", "head"]
    assert set(few.lines) == set(everything.lines)


def test_the_curve_grows_where_the_mistake_is(source, tmp_path):
    target = edited(source, tmp_path / "target.safetensors", PARAMETERS["leaves"][0])
    curve = found(source, target).curve
    at = next(place for place, point in enumerate(curve) if point.value == "stages.1.0.norm2")
    assert all(point.target < 1e-6 for point in curve[:at])
    assert curve[at].stage == "stages.1"
    assert curve[at].target > 0.1
    assert curve[-1].value == "head"


# What a network does with the right parameters


def without(graph, name, **attributes):
    """The graph with other attributes of one node."""
    nodes = tuple(
        replace(node, attributes={**node.attributes, **attributes}) if node.name == name else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)


def spoilt(name, function):
    def spoil(values):
        return {**values, name: np.asarray(function(values[name]), np.float32)}

    return spoil


def test_a_correct_target_has_no_faults(source):
    diagnosis = found(source, source)
    assert (diagnosis.faults, diagnosis.unseen, diagnosis.lines) == ((), (), ())
    assert max(point.target for point in diagnosis.curve) < 1e-6


@pytest.mark.parametrize(
    ("node", "attributes", "said"),
    [
        ("stages.1.1.norm2", {"epsilon": 1e-4}, "has epsilon 0.0001 where the source has 1e-05"),
        ("stages.2.0.norm3", {"epsilon": 1.7e-3}, "has epsilon 0.0017 where the source has 1e-05"),
        ("stem.pool", {"ceil_mode": 1}, "has rounding of sizes up (ceil_mode) where the source has down"),
    ],
)
@pytest.mark.parametrize("few", [False, True])
def test_a_layer_that_computes_otherwise_is_named(node, attributes, said, few, small, source):
    graph = without(small.graph(), node, **attributes)
    only = (lambda name: ".norm" in name or ".conv" in name) if few else (lambda _: True)
    diagnosis = found(source, source, graph=graph, watched=only)
    assert f"{node}: {said}" in diagnosis.lines
    assert all(fault.explained for fault in diagnosis.faults)


@pytest.mark.parametrize(
    ("trait", "said"),
    [
        ({"norm_eps": "1e-3"}, "16 layers (stem.norm, stages.{0,2}.0.norm{1..3}, stages.1.{0,1}.norm{1..3},"
         " stages.{0..2}.0.shortcut.norm): has epsilon 0.001 where the source has 1e-05"),
        ({"stem_pool": "same"}, "stem.pool: has padding `same` where the source has 1"),
        ({"bottleneck_stride": "1x1"}, "2 layers (stages.{1,2}.0.conv1): has stride 2 where the source has 1"),
    ],
)  # fmt: skip
def test_traits_of_the_target_explain_what_it_does(trait, said, source):
    diagnosis = found(source, source, traits=trait)
    assert said in diagnosis.lines
    assert all(fault.explained and fault.causes[0].kind == "traits" for fault in diagnosis.faults)


def test_strides_show_in_a_network_that_hides_its_traits(small, source):
    graph = small.graph(Traits(bottleneck_stride="1x1"))
    lines = found(source, source, graph=graph).lines
    assert "2 layers (stages.{1,2}.0.conv1): has stride 2 where the source has 1" in lines
    assert "2 layers (stages.{1,2}.0.conv2): has stride 1 where the source has 2" in lines


@pytest.mark.parametrize(
    ("value", "function", "said"),
    [
        ("stages.1.0.conv2", lambda v: v[:, exchanged(64, 0, 5)], "output channels 0 and 5 are swapped inside group 0"),
        ("stages.1.0.conv2", lambda v: v * 1.01, "gives 1.01 times what it should"),
        ("stages.1.0.conv2", lambda v: with_(v.copy(), (slice(None), slice(8, 12)), 0),
         "is wrong in 4 of 64 channels (8 to 11)"),
        ("stages.1.0.norm2", lambda v: v * np.linspace(1, 2, 64)[:, None, None] + 1,
         "scales and shifts every channel otherwise, as a BatchNorm of other values does"),
        ("stages.1.0.add", lambda v: v[:, :, ::2], "gives 2x4 where the source gives 4x4"),
        ("stages.1.0.conv2", lambda v: np.where(v > 2, np.nan, v), "gives NaN or Inf"),
    ],
)  # fmt: skip
def test_what_the_values_alone_show(value, function, said, source):
    diagnosis = found(source, source, spoil=spoilt(value, function))
    mine = [fault for fault in diagnosis.faults if fault.causes and fault.causes[0].layer == value]
    assert [fault.causes[0].said.replace("512x", "") for fault in mine] == [said]


def test_training_mode_mixed_leaves_and_turned_kernels_are_recognised(small, source, tmp_path):
    with SourceRequest(source).open() as opened:
        arrays = dict(parameters(opened, small.graph()).arrays)
    values = float32(small.graph(), arrays, PICTURES[0])
    x = values["stages.1.0.conv2"]
    scale, shift, mean, var = (arrays[f"stages.1.0.norm2.{leaf}"] for leaf in ("scale", "shift", "mean", "var"))
    kernel = arrays["stages.1.0.conv2.kernel"][:, :, ::-1, ::-1]
    conv = next(node for node in small.graph().nodes if node.name == "stages.1.0.conv2")

    def normal(scale, shift, mean, var):
        fold = (scale / np.sqrt(var + 1e-5))[:, None, None]
        return (x - mean[:, None, None]) * fold + shift[:, None, None]

    for value, wrong, said in (
        ("stages.1.0.norm2", normal(scale, shift, x.mean((0, 2, 3)), x.var((0, 2, 3))), "(training mode)"),
        ("stages.1.0.norm2", normal(shift, scale, mean, var), "uses shift as scale, scale as shift"),
        ("stages.1.0.conv2", apply(conv, [values["stages.1.0.relu1"], kernel]), "turns its kernels by 180 degrees"),
    ):
        with SourceRequest(source).open() as ours, SourceRequest(source).open() as theirs:
            result = compare(ours, theirs, PICTURES[:1], [{**values, value: wrong}])
        causes = [fault.causes[0] for fault in result.faults if fault.layer == value]
        assert len(causes) == 1
        assert said in causes[0].said


def test_what_nothing_explains_is_said_to_be_unexplained(source):
    diagnosis = found(source, source, spoil=spoilt("stages.1.0.conv2", lambda v: np.tanh(v * 3)))
    fault = diagnosis.faults[0]
    assert not fault.explained
    assert any("explained by nothing tried" in line for line in diagnosis.lines)


def test_the_json_holds_no_infinity(source, small):
    diagnosis = found(source, source, graph=without(small.graph(), "stem.pool", ceil_mode=1))
    data = diagnosis.as_dict()
    assert data["faults"][0]["error"] is None
    assert data["faults"][0]["causes"][0]["kind"] == "window"
    assert data["lines"] == list(diagnosis.lines)


# Rows


def test_rows_are_matched_and_pairings_told():
    rows = np.random.Generator(np.random.Philox(0)).normal(size=(12, 3, 2))
    order = np.array([1, 0, *range(2, 12)])
    assert match_rows(rows, rows[order]).tolist() == order.tolist()
    assert match_rows(rows, np.where(np.arange(12)[:, None, None] == 4, 9.0, rows))[4] == -1
    assert nearest_rows(rows.reshape(12, 6), rows[order].reshape(12, 6) + 1e-7).tolist() == order.tolist()
    # Of rows that are equal each is taken once.
    assert match_rows(np.ones((4, 2)), np.ones((4, 2))).tolist() == [0, 1, 2, 3]
    assert (
        told(np.array([4, 1, 2, 3, 4]), 1, "channels") == "1 of 5 channels have the values of others (0 has those of 4)"
    )
    assert told(np.array([1, 2, 0, 3]), 1, "channels") == (
        "3 of 4 channels are permuted (0 has those of 1, 1 has those of 2 and 2 has those of 0)"
    )


# With frameworks


def diagnosed(source, target, folder, runtime=None):
    folder.mkdir()
    with SourceRequest(source).open() as ours, SourceRequest(target).open() as theirs:
        return diagnose(ours, theirs, sides.own_side(theirs, runtime), INPUTS, folder, timeout=300)


@pytest.mark.parametrize(
    ("to", "options", "said"),
    [
        ("pth", {}, "scale and shift are in each other's place"),
        ("ckpt", {}, "scale and shift are in each other's place"),
        ("onnx", {}, "scale and shift are in each other's place"),
        ("onnx", {"fold_bn": True}, "folded with shift as scale, scale as shift"),
        ("mindir", {}, "scale and shift are in each other's place"),
    ],
)
def test_every_container_is_diagnosed(to, options, said, source, tmp_path):
    wrong = edited(source, tmp_path / "wrong.safetensors", PARAMETERS["leaves"][0])
    right, wrong = (
        mc.convert(file, to=to, out=tmp_path / f"{name}.{to}", **options).path
        for name, file in (("right", source), ("broken", wrong))
    )
    diagnosis = diagnosed(source, wrong, tmp_path / "wrong")
    assert [fault.layer for fault in diagnosis.faults] == ["stages.1.0.norm2"]
    assert diagnosis.first.endswith(said)
    assert diagnosis.faults[0].explained
    assert len(diagnosis.curve) > (15 if "fold_bn" in options else 30)
    assert max(point.source for point in diagnosis.curve) < 1e-6
    correct = diagnosed(source, right, tmp_path / "right")
    assert not correct.faults
    assert max(point.target for point in correct.curve) < 2e-6
    where = "the fault is not in the weights but in the file itself in MindSpore" if to == "mindir" else "no layer is"
    assert where in correct.first


def test_a_folded_file_is_diagnosed_by_what_was_folded(source, tmp_path):
    wrong = edited(source, tmp_path / "wrong.safetensors", PARAMETERS["two channels"][0])
    target = mc.convert(wrong, to="onnx", out=tmp_path / "wrong.onnx", fold_bn=True).path
    assert "output channels 3 and 7 are swapped inside group 0" in diagnosed(source, target, tmp_path / "one").first
    # A file that was folded with another epsilon tells it by its kernels alone.
    other = mc.convert(source, to="onnx", out=tmp_path / "eps.onnx", fold_bn=True, traits={"norm_eps": "1e-3"}).path
    lines = diagnosed(source, other, tmp_path / "two").lines
    assert "folded with epsilon 0.001 where the source has 1e-05" in lines[0]


def test_a_runtime_that_cannot_be_watched_leaves_the_parameters(source, tmp_path, monkeypatch):
    def refuse(job, *, timeout):
        raise RuntimeRefusedError("no values today")

    monkeypatch.setattr(module, "run", refuse)
    wrong = edited(source, tmp_path / "wrong.safetensors", PARAMETERS["leaves"][0])
    diagnosis = diagnosed(source, wrong, tmp_path / "wrong")
    assert "scale and shift" in diagnosis.first
    assert "the layers of the target could not be watched: no values today" in diagnosis.notices
