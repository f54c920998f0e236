"""The backbone alone as a file: its bits, what is said of the rest, and what is not taken for one."""

import json

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.backbone import facts_of
from mshub_convert.converters.codecs import open_checkpoint
from mshub_convert.converters.errors import PlanError, UsageError
from mshub_convert.converters.sources import Origin, Source
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import dialect
from mshub_convert.verify.weights import compare_weights

pytestmark = pytest.mark.slow

SAID = "the backbone of resnext_1-1_4x2d alone"
HEAD = ["fc.weight", "fc.bias"]
ALL = ["ckpt", "ckpt:modelzoo", "ckpt:modelzoo-ssd", "pth", "pth:mmcls", "safetensors", "safetensors:mindcv", "onnx"]


def record_of(path):
    return json.loads(path.with_name(f"{path.name}.mshub.json").read_text(encoding="utf-8"))


def in_canonical_order(path, naming, network):
    with open_checkpoint(path) as checkpoint:
        held = {name: ref.read().copy() for name, ref in checkpoint.tensors.items()}
    slots = dialect(naming).ground(network).slots
    return {key: np.concatenate([held[name] for name in slot.names]) for key, slot in slots.items()
            if slot.parameter.leaf != "count"}  # fmt: skip


@pytest.mark.parametrize("to", [to for to in ALL if to != "onnx"])
def test_it_has_the_bits_of_the_whole_network(weights_file, arrays, tmp_path, small, to):
    source = weights_file()
    result = mc.convert(source, to=to, out=f"{tmp_path}/out/", backbone=True)
    assert result.path.stem == "small_backbone"
    naming = record_of(result.path)["dialect"]
    ours = in_canonical_order(result.path, naming, small.backbone)
    whole = in_canonical_order(source, "timm", small)
    assert ours.keys() == whole.keys() - {"head.kernel", "head.bias"}
    assert all(np.array_equal(array, whole[key].reshape(array.shape)) for key, array in ours.items())
    assert set(arrays(result.path)) == set(dialect(naming).ground(small.backbone).specs)


@pytest.mark.parametrize("to", ALL)
def test_what_is_left_out_is_declared_and_the_file_says_what_it_is(weights_file, tmp_path, small, to):
    result = mc.convert(weights_file(), to=to, out=f"{tmp_path}/out/", backbone=True)
    record = record_of(result.path)
    assert record["architecture"]["classes"] == 0
    assert SAID in record["operations"]
    assert f"{SAID}, the 2 tensors after it left out: fc.weight, fc.bias" in result.notices
    found = mc.inspect(result.path)
    assert (found.network["name"], found.network["classes"]) == (small.name, 0)
    assert found.problems == ()


def test_bytes_move_without_being_computed(weights_file, prepared, opened, tmp_path):
    plan = prepared(opened(weights_file(), backbone=True), "ckpt", tmp_path / "x.ckpt").plan
    assert all(step.target.extents for step in plan.steps)
    assert all(step.how == "copy" for step in plan.steps)


@pytest.mark.parametrize("through", ["ckpt", "ckpt:modelzoo", "pth:mmcls", "safetensors:mindcv", "onnx"])
def test_there_and_back_is_bit_exact(weights_file, arrays, tmp_path, through):
    """Counters included, which MindSpore has no place for; what a file of ours is need not be said again."""
    first = mc.convert(weights_file(), to="safetensors", out=tmp_path / "first.safetensors", backbone=True).path
    between = mc.convert(first, to=through, out=f"{tmp_path}/between/").path
    back = mc.convert(between, to="safetensors", out=tmp_path / "back.safetensors").path
    before, after = arrays(first), arrays(back)
    assert before.keys() == after.keys()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert record_of(back)["operations"] == [SAID]


def test_a_detector_gives_its_own_traits_along(tmp_path):
    plan = mc.plan("ssd_resnet50", init="calibrated:0", to="pth:torchvision", backbone=True)
    assert plan.source.architecture == architecture("resnet50").backbone
    assert len(plan.steps) == 318
    assert not plan.problems
    (left,) = [finding for finding in plan.notices if finding.code == "backbone"]
    assert left.message == "the backbone of ssd_resnet50 alone, the 90 tensors after it left out"
    assert len(left.names) == 90
    told = {finding.code: finding.message for finding in plan.notices if finding.code.startswith("library-")}
    assert set(told) == {"library-stem_pool", "library-padding", "library-norm_eps"}
    assert "these weights need norm_eps=0.001, torchvision's own resnet50 has 1e-05" in told["library-norm_eps"]
    assert "the features move by about 19 %" in told["library-padding"]


def test_no_module_is_promised_for_a_backbone():
    told = [finding.remedy for finding in mc.plan("resnet50", init="calibrated:0", to="ckpt", backbone=True).notices]
    assert any("load_mindspore" in remedy for remedy in told)
    assert not any("--emit-network" in remedy for remedy in told)


# --- files that hold no more


def test_a_file_without_a_classifier_is_not_taken_for_a_backbone_in_silence(backbone_file, tmp_path):
    with pytest.raises(PlanError) as caught:
        mc.convert(backbone_file, to="ckpt", out=tmp_path / "out")
    assert caught.value.exit_code == 3
    assert "body.safetensors holds resnext_1-1_4x2d without its classifier: fc.weight, fc.bias" in caught.value.message
    assert "--backbone converts the backbone alone" in caught.value.message
    assert not (tmp_path / "out").exists()
    (problem,) = mc.inspect(backbone_file).problems
    assert "without its classifier" in problem


def test_where_it_is_asked_for_nothing_is_left_out(backbone_file, arrays, tmp_path):
    result = mc.convert(backbone_file, to="safetensors", out=f"{tmp_path}/out/", backbone=True)
    assert result.path.name == "body.safetensors"
    assert "operations" not in record_of(result.path)
    assert not any("backbone" in notice for notice in result.notices)
    before, after = arrays(backbone_file), arrays(result.path)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_state_dict_without_a_classifier(backbone_file, arrays):
    held = arrays(backbone_file)
    with pytest.raises(PlanError, match="the state dict holds resnext_1-1_4x2d without its classifier"):
        mc.translate(held, to="mindcv")
    assert len(mc.translate(held, to="mindcv", backbone=True)) == len(held) - sum(
        "num_batches" in name for name in held
    )


def test_a_dialect_of_detectors_has_no_names_for_a_classifier(weights_file, tmp_path, arrays):
    from safetensors.numpy import save_file

    made = mc.convert(weights_file(), to="safetensors:modelzoo-ssd", out=tmp_path / "in.safetensors", backbone=True)
    save_file(arrays(made.path), tmp_path / "bare.safetensors")
    (problem,) = mc.inspect(tmp_path / "bare.safetensors").problems
    assert "bare.safetensors holds resnext_1-1_4x2d without its classifier → --backbone" in problem


def test_a_damaged_backbone_is_told(weights_file, arrays, tmp_path):
    from safetensors.numpy import save_file

    held = arrays(weights_file())
    del held["layer2.0.bn1.bias"]
    save_file(held, tmp_path / "damaged.safetensors")
    with pytest.raises(PlanError, match=r"1 tensor of resnext_1-1_4x2d missing: layer2\.0\.bn1\.bias"):
        mc.convert(tmp_path / "damaged.safetensors", to="ckpt", out=tmp_path / "out", backbone=True)


def test_a_damaged_classifier_does_not_matter(weights_file, arrays, tmp_path):
    from safetensors.numpy import save_file

    held = arrays(weights_file())
    del held["fc.bias"]
    save_file(held, tmp_path / "headless.safetensors")
    result = mc.convert(tmp_path / "headless.safetensors", to="ckpt", out=f"{tmp_path}/out/", backbone=True)
    assert f"{SAID}, the 1 tensor after it left out: fc.weight" in result.notices


def test_what_belongs_to_no_network_is_still_told(weights_file, arrays, tmp_path):
    from safetensors.numpy import save_file

    held = arrays(weights_file()) | {"fc.0.weight": np.ones((4, 512), np.float32)}
    save_file(held, tmp_path / "more.safetensors")
    with pytest.raises(PlanError, match=r"1 tensor that resnext_1-1_4x2d does not have: fc\.0\.weight"):
        mc.convert(tmp_path / "more.safetensors", to="ckpt", out=tmp_path / "out", backbone=True)


# --- what does not go with it


def test_networks_of_which_no_backbone_is_described(tmp_path):
    with pytest.raises(UsageError, match="holds resnet18_v2, of which no backbone is described"):
        mc.convert("resnet18_v2", init="calibrated:0", to="ckpt:gluon-ms", out=tmp_path / "out", backbone=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"classes": 7}, "--classes 7 keeps rows of the classifier, and --backbone leaves all of it out"),
        ({"to": "onnx", "heads": "boxes"}, "--heads is for detectors, resnext_1-1_4x2d is a backbone"),
        ({"to": "modelhub"}, "written around a whole network, and this is resnext_1-1_4x2d without a classifier"),
        ({"to": "mshub"}, "written around a whole network, and this is resnext_1-1_4x2d without a classifier"),
        ({"to": "ckpt", "emit_network": "net.py"}, "--emit-network writes the module of a whole network"),
    ],
)
def test_options_that_make_no_sense_with_it(weights_file, tmp_path, more, said):
    with pytest.raises(UsageError) as caught:
        mc.convert(weights_file(), out=tmp_path / "out", backbone=True, **more)
    assert said in caught.value.message
    assert caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_strict_refuses_what_is_left_out(weights_file, tmp_path):
    with pytest.raises(PlanError, match="the 2 tensors after it left out"):
        mc.convert(weights_file(), to="safetensors", out=tmp_path, backbone=True, strict=True)


def test_a_promise_is_kept_by_the_backbone(backbone_file, opened, small):
    """An address that says a network, and a file of its backbone; of another network it is broken as ever."""

    def problems(name, **options):
        source = Source(f"timm:{name}", backbone_file, name, Origin("stated"), architecture=name, classes=1000)
        return [finding.message for finding in opened(source, **options).problems]

    assert problems(small.name, backbone=True) == []
    (broken,) = problems("ssd_resnet50", backbone=True)
    assert broken == f"timm:ssd_resnet50 is resnet50, the file body.safetensors holds {small.name}"
    assert problems("resnet18_v2") == [
        f"timm:resnet18_v2 is resnet18_v2, the file body.safetensors holds {small.name}",
        f"body.safetensors holds {small.name} without its classifier",
    ]


def test_accuracy_and_labels_are_of_the_classes():
    facts = {"accuracy": {"acc@1": 80.0}, "labels": ["a"], "license": "apache-2.0"}
    assert facts_of(facts, 1) == facts
    assert facts_of(facts, 0) == {"license": "apache-2.0"}


# --- a graph of one


def test_an_onnx_file_of_one_is_read_as_we_wrote_it(weights_file, tmp_path):
    path = mc.convert(weights_file(), to="onnx", out=tmp_path / "body.onnx", backbone=True).path
    data = path.read_bytes()
    other = tmp_path / "other.onnx"
    other.write_bytes(data.replace(b"mshub_convert.record", b"mshub_convert.recorb"))
    found = mc.inspect(other)
    assert not found.network
    assert "none of our networks" in found.reason


def test_one_with_norms_folded_in(weights_file, tmp_path, arrays):
    folded = mc.convert(weights_file(), to="onnx", out=tmp_path / "body.onnx", backbone=True, fold_bn=True).path
    back = mc.convert(folded, to="safetensors", out=tmp_path / "back.safetensors")
    assert record_of(back.path)["architecture"]["classes"] == 0
    assert set(arrays(back.path)) == set(dialect("timm").ground(ResNet((1, 1), 4, 2).backbone).specs)


# --- weights of both sides


def test_weights_are_compared_as_what_they_are(weights_file, opened, tmp_path):
    source = weights_file()
    body = mc.convert(source, to="ckpt", out=tmp_path / "body.ckpt", backbone=True).path
    assert compare_weights(opened(source, backbone=True), opened(body)).verdict.value == "pass"
    unsaid = compare_weights(opened(source), opened(body))
    assert unsaid.reason == (
        "the source is resnext_1-1_4x2d of 10 classes, the target resnext_1-1_4x2d without a classifier;"
        " if the target is the backbone alone, say --backbone"
    )
    whole = compare_weights(opened(source, backbone=True), opened(source))
    assert whole.reason.endswith("; --backbone is for a target that is a backbone alone")


def test_other_weights_are_found_out(weights_file, opened, tmp_path):
    body = mc.convert(weights_file(seed=1, name="other.safetensors"), to="ckpt", out=tmp_path / "b.ckpt", backbone=True)
    found = compare_weights(opened(weights_file(), backbone=True), opened(body.path))
    assert found.verdict.value == "fail"
    assert "conv1.weight" in found.differing
