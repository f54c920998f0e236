"""SSD-ResNet50 in ONNX: written with three kinds of heads, run, and read back as long as nothing was changed."""

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.detection import agreement, decode, detect
from mshub_convert.converters.errors import PlanError, UsageError
from mshub_convert.verify.inputs import pictures

onnx = pytest.importorskip("onnx")

SIZE = 129, 160


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory):
    return mc.convert("ssd_resnet50", init="calibrated:0", to="ckpt", out=tmp_path_factory.mktemp("ssd")).path


@pytest.fixture(scope="module")
def models(ckpt, tmp_path_factory):
    """Models by what they give."""
    folder = tmp_path_factory.mktemp("onnx")
    shape = (2, 3, *SIZE)
    raw = mc.convert(ckpt, to="onnx", out=folder / "raw.onnx").path
    return {
        "raw": raw,
        **{
            heads: mc.convert(ckpt, to="onnx", heads=heads, input_shape=shape, out=folder / f"{heads}.onnx").path
            for heads in ("boxes", "nms")
        },
    }


@pytest.fixture(scope="module")
def outputs(models):
    import onnxruntime

    batch = pictures(2, *SIZE)
    found = {}
    for heads, path in models.items():
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [port.name for port in session.get_outputs()]
        found[heads] = dict(zip(names, session.run(names, {"input": batch}), strict=True))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("heads", ["raw", "boxes", "nms"])
def test_the_models_are_valid(models, heads):
    model = onnx.load(str(models[heads]))
    onnx.checker.check_model(model, full_check=True)
    wanted = {
        "raw": ["loc", "scores"], "boxes": ["boxes", "scores"],
        "nms": ["detected_boxes", "detected_scores", "detected_classes", "detected_pictures"],
    }  # fmt: skip
    assert [port.name for port in model.graph.output] == wanted[heads]


@pytest.mark.slow
def test_boxes_are_those_of_numpy(outputs):
    raw, boxes = outputs["raw"], outputs["boxes"]
    assert np.array_equal(raw["scores"], boxes["scores"])
    assert np.abs(decode(raw["loc"], *SIZE) - boxes["boxes"]).max() < 2e-6


@pytest.mark.slow
def test_suppression_leaves_what_numpy_leaves(outputs):
    raw, found = outputs["raw"], outputs["nms"]
    boxes = decode(raw["loc"], *SIZE)
    from mshub_convert.converters.detection import Detections

    total = 0
    for place in range(2):
        ours = detect(boxes[place], raw["scores"][place], *SIZE)
        here = found["detected_pictures"] == place
        scale = np.array([*SIZE, *SIZE], np.float32)
        theirs = Detections(
            found["detected_boxes"][here] * scale, found["detected_scores"][here], found["detected_classes"][here]
        )
        same = agreement(ours, theirs)
        assert same.alone == (0, 0)
        assert same.least_iou > 0.9999
        assert same.largest_difference == 0.0
        total += same.matched
    assert total > 10
    assert found["detected_classes"].min() >= 1


@pytest.mark.slow
@pytest.mark.parametrize("heads", ["raw", "boxes", "nms"])
def test_back_to_the_very_checkpoint(ckpt, models, heads, tmp_path):
    back = mc.convert(models[heads], to="ckpt", out=tmp_path / "back.ckpt")
    with mc_open(ckpt) as first, mc_open(back.path) as second:
        assert list(first.tensors) == list(second.tensors)
        assert all(np.array_equal(ref.read(), second.tensors[name].read()) for name, ref in first.tensors.items())


def mc_open(path):
    from contextlib import closing

    from mshub_convert.converters.codecs import open_checkpoint

    return closing(open_checkpoint(path))


@pytest.mark.slow
def test_a_model_that_was_changed_is_refused(models, tmp_path):
    def changed(name, change):
        model = onnx.load(str(models["boxes"]))
        change(model)
        path = tmp_path / f"{name}.onnx"
        onnx.save(model, str(path))
        with pytest.raises(PlanError) as caught:
            mc.plan(path, to="ckpt")
        return caught.value.message

    def epsilon(model):
        node = next(node for node in model.graph.node if node.op_type == "BatchNormalization")
        node.attribute[0].f = 1e-5

    def anchors(model):
        node = next(node for node in model.graph.node if node.name == "detection.sizes")
        node.attribute[0].t.raw_data = bytes(4) + node.attribute[0].t.raw_data[4:]

    def levels(model):
        node = next(n for n in model.graph.node if n.op_type == "Concat")
        node.input[3], node.input[4] = node.input[4], node.input[3]

    assert "reads or computes otherwise" in changed("epsilon", epsilon)
    assert "Constant 'detection.sizes'" in changed("anchors", anchors)
    assert "Concat 'heads.boxes'" in changed("levels", levels)
    assert "beyond its end" in changed(
        "longer", lambda m: m.graph.node.append(onnx.helper.make_node("Relu", ["boxes"], ["more"], "more"))
    )


@pytest.mark.slow
def test_a_detector_without_our_record_is_refused(models, tmp_path):
    model = onnx.load(str(models["raw"]))
    del model.metadata_props[:]
    path = tmp_path / "bare.onnx"
    onnx.save(model, str(path))
    with pytest.raises(PlanError, match="it is no chain of residual blocks") as caught:
        mc.plan(path, to="ckpt")
    assert "as mshub-convert wrote it" in caught.value.remedy


@pytest.mark.slow
def test_half_precision_and_folding(ckpt, tmp_path):
    import onnxruntime

    batch = pictures(1, *SIZE)
    plain, half, short = (
        mc.convert(ckpt, to="onnx", out=tmp_path / f"{name}.onnx", **how).path
        for name, how in {"plain": {}, "half": {"dtype": "float16"}, "short": {"fold_bn": True}}.items()
    )
    runs = [
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"input": batch})
        for path in (plain, half, short)
    ]
    for (exact, *_), (found, *_), allowed in ((runs[0], runs[1], 2e-2), (runs[0], runs[2], 1e-5)):
        assert found.dtype == np.float32
        assert np.linalg.norm(found - exact) < allowed * np.linalg.norm(exact)
    notices = mc.convert(short, to="pth", out=tmp_path).notices
    assert any("67 BatchNorms were folded into convolutions" in notice for notice in notices)


def test_heads_are_for_detectors_in_onnx(weights_file, tmp_path):
    with pytest.raises(UsageError, match="--heads is for files that hold the graph"):
        mc.plan("ssd_resnet50", init="calibrated:0", to="ckpt", heads="boxes")
    with pytest.raises(UsageError, match="no heads 'box'"):
        mc.plan("ssd_resnet50", init="calibrated:0", to="onnx", heads="box")
    with pytest.raises(UsageError, match="--heads is for detectors"):
        mc.convert(weights_file(), to="onnx", heads="boxes", out=tmp_path)
