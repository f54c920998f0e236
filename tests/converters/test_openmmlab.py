"""What mmcls files say of themselves: facts for the record, and the traits that only their config knows."""

import io
import pickle
import zipfile

import pytest

import mshub_convert as mc
from mshub_convert.converters.codecs.torch_metadata import plain
from mshub_convert.converters.openmmlab import said_by
from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.architectures.resnet import ResNet

NETWORK = ResNet((1, 2), cardinality=4, base_width=8, classes=3)
# As mmengine's Config.pretty_text writes them, and as yapf folds long lines.
CAFFE = "model = dict(\n    backbone=dict(\n        depth=50,\n        style='caffe',\n        type='ResNeXt'))\n"
PYTORCH = CAFFE.replace("caffe", "pytorch")
NORMALISE = (
    "data_preprocessor = dict(\n    mean=[\n        123.675,\n        116.28,\n        103.53,\n    ],\n"
    "    std=[58.395, 57.12, 57.375], to_rgb=True)\n"
)
META = {
    "epoch": 12, "iter": 3000, "mmengine_version": "0.10.7", "mmcls_version": "1.0.0rc6", "time": "20230101_000000",
    "seed": 7, "experiment_name": "/home/someone/exp", "dataset_meta": {"classes": ("cat", "dog", "cow")},
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The entries of a .pth in mmcls names that has no record."""
    folder = tmp_path_factory.mktemp("weights")
    calibrated.write(NETWORK, "mmcls", 0, folder / "drawn.safetensors")
    file = mc.convert(folder / "drawn.safetensors", to="pth:mmcls", out=folder / "drawn.pth").path
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("mshub_convert.json")}


@pytest.fixture
def checkpoint(weights, tmp_path):
    """``checkpoint(meta)`` writes ``{'meta', 'state_dict'}`` as mmcls does; None stands for a bare state dict."""

    def write(meta):
        path = tmp_path / "epoch_12.pth"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in weights.items():
                wrapped = data if meta is None or not name.endswith("data.pkl") else _wrapped(meta, data)
                archive.writestr(name, wrapped)
        return path

    return write


def _wrapped(meta, state):
    """The pickle of a dictionary of two, the second of them pickled already: PROTO and STOP go."""
    first = pickle.dumps(meta, 2)
    return b"\x80\x02}(X\4\0\0\0meta" + first[2:-1] + b"X\n\0\0\0state_dict" + state[2:-1] + b"u."


def style_notices(notices):
    return [notice for notice in notices if "style=" in notice or "says no style" in notice]


def test_small_facts_go_into_the_record(checkpoint, tmp_path):
    result = mc.convert(checkpoint({**META, "cfg": PYTORCH + NORMALISE}), to="ckpt", out=tmp_path)
    assert result.record.facts["training"] == {
        "mmcls_version": "1.0.0rc6", "mmengine_version": "0.10.7", "epoch": 12, "iter": 3000,
        "classes": 3, "class_names": ["cat", "dog", "cow"],
        "config": {"style": "pytorch", "to_rgb": "True", "mean": "123.675, 116.28, 103.53,",
                   "std": "58.395, 57.12, 57.375"},
    }  # fmt: skip
    assert "someone" not in result.path.with_name(result.path.name + ".mshub.json").read_text()
    assert mc.inspect(result.path).record["facts"] == result.record.facts
    assert style_notices(result.notices) == []


def test_the_names_of_mmcls_0x_are_read_too(checkpoint):
    meta = {"mmcls_version": "0.23.1", "CLASSES": ["a", "b", "c"], "config": CAFFE, "env_info": "GPU"}
    plan = mc.plan(checkpoint(meta), to="safetensors:timm")
    assert any("style='caffe'" in finding.message for finding in plan.notices)


@pytest.mark.parametrize("key", ["cfg", "config"])
def test_a_config_that_says_caffe_moves_the_stride(checkpoint, tmp_path, key):
    file = checkpoint({key: CAFFE})
    result = mc.convert(file, to="safetensors:timm", out=tmp_path)
    assert result.record.traits["bottleneck_stride"] == "1x1"
    (notice,) = style_notices(result.notices)
    assert notice == "the config in epoch_12.pth says style='caffe': bottleneck_stride=1x1"
    assert mc.inspect(result.path).network["traits"]["bottleneck_stride"] == "1x1"
    assert mc.inspect(file).network["traits_from"] == "the config in epoch_12.pth"


@pytest.mark.parametrize("meta", [None, {}, META, {"cfg": 5}, "text"])
def test_where_nothing_tells_the_default_is_said_aloud(checkpoint, meta):
    file = checkpoint(meta)
    plan = mc.plan(file, to="safetensors:timm")
    (finding,) = (finding for finding in plan.notices if finding.code == "traits")
    assert finding.message == (
        "epoch_12.pth says no style: taking mmcls's default, style='pytorch' (bottleneck_stride=3x3)"
    )
    assert "--trait bottleneck_stride=1x1" in finding.remedy
    assert mc.inspect(file).network["traits"]["bottleneck_stride"] == "3x3"
    with pytest.raises(mc.MshubConvertError, match="says no style"):
        mc.convert(file, to="ckpt", strict=True)


def test_a_config_that_says_both_decides_nothing(checkpoint):
    file = checkpoint({"cfg": CAFFE + PYTORCH.replace("model", "teacher")})
    plan = mc.plan(file, to="safetensors:timm")
    assert any("says both style='pytorch' and style='caffe'" in finding.message for finding in plan.notices)
    assert mc.inspect(file).network["traits"]["bottleneck_stride"] == "3x3"


@pytest.mark.parametrize("value", ["1x1", "3x3"])
def test_a_stated_trait_goes_before_the_config(checkpoint, tmp_path, value):
    file = checkpoint({"cfg": CAFFE})
    result = mc.convert(file, to="safetensors:timm", traits={"bottleneck_stride": value}, out=tmp_path)
    assert result.record.traits["bottleneck_stride"] == value
    said = [notice for notice in result.notices if "as you say" in notice]
    expected = "bottleneck_stride=3x3 as you say; the config in epoch_12.pth says 1x1"
    assert said == ([expected] if value == "3x3" else [])
    assert style_notices(result.notices) == []


def test_a_record_goes_before_the_config(checkpoint, tmp_path):
    first = mc.convert(checkpoint({"cfg": CAFFE}), to="pth:mmcls", out=tmp_path / "first.pth").path
    again = mc.convert(first, to="safetensors:mmcls", out=tmp_path / "again.safetensors")
    assert again.record.traits["bottleneck_stride"] == "1x1"
    assert style_notices(again.notices) == []
    assert again.record.facts["training"] == {"config": {"style": "caffe"}}


def test_class_names_of_another_head_are_told(checkpoint):
    plan = mc.plan(checkpoint({"CLASSES": ["a"] * 1000, "cfg": PYTORCH}), to="safetensors:timm")
    (finding,) = (finding for finding in plan.notices if finding.code == "classes")
    assert finding.message == "epoch_12.pth names 1000 classes in its meta, but its classifier has 3"


@pytest.mark.parametrize(
    ("text", "stride"),
    [
        ("style='caffe'", "1x1"), ('style = "caffe"', "1x1"), ("'style': 'caffe'", "1x1"), ('"style":"caffe"', "1x1"),
        ("style='pytorch'", "3x3"), ("style='caffe'\nstyle='caffe'", "1x1"), ("my_style='caffe'", None),
        ("style=caffe", None), ("style='tf'", None), ("", None),
    ],
)  # fmt: skip
def test_forms_of_the_style(text, stride):
    found = said_by({"meta": {"cfg": text}}, NETWORK, file="f.pth", known=(), pretrained=False)
    assert found.traits.get("bottleneck_stride") == stride


@pytest.mark.parametrize(
    ("text", "eps"),
    [
        ("norm_cfg=dict(type='BN', eps=1e-3)", 1e-3), ("'norm_cfg': {'type': 'BN', 'eps': 0.001}", 1e-3),
        ("norm_cfg=dict(\n        eps=0.0001, type='SyncBN')", 1e-4), ("norm_cfg=dict(type='BN')", 1e-5),
        ("optimizer=dict(type='Lamb', eps=1e-8)", None), ("norm_cfg=dict(type='BN')\noptimizer=dict(eps=1e-8)", 1e-5),
        ("norm_cfg=dict(eps=1e-3)\nnorm_cfg=dict(type='BN')", None), ("norm_cfg=dict(eps=1.2.3)", None),
        ("norm_cfg=dict(eps=7.0)", None),
    ],
)  # fmt: skip
def test_forms_of_the_epsilon(text, eps):
    found = said_by({"meta": {"cfg": text}}, NETWORK, file="f.pth", known=("bottleneck_stride",), pretrained=False)
    assert found.traits.get("norm_eps") == eps
    told = [notice.message for notice in found.notices]
    assert told == ([f"the config in f.pth says norm_eps={eps}"] if eps in (1e-3, 1e-4) else [])


@pytest.mark.parametrize(("name", "matters"), [("resnet18", False), ("resnet50", True), ("resnext50_32x4d", True)])
def test_basic_blocks_stride_in_one_place_only(name, matters):
    found = said_by({"meta": {"cfg": CAFFE}}, architecture(name), file="f.pth", known=(), pretrained=False)
    assert bool(found.traits) is matters
    assert bool(found.notices) is matters


def test_of_a_published_file_the_model_index_tells_the_style():
    assert said_by({}, NETWORK, file="f.pth", known=(), pretrained=True).notices == ()


def test_odd_values_are_left_out():
    meta = {
        "mmcls_version": 5, "epoch": "12", "iter": True, "CLASSES": {"a": 1}, "dataset_meta": [],
        "mmcv_version": "x" * 1000 + "\x1b[0m",
    }  # fmt: skip
    facts = said_by({"meta": meta}, NETWORK, file="f.pth", known=(), pretrained=False).facts
    assert list(facts) == ["mmcv_version"]
    assert len(facts["mmcv_version"]) < 400
    mixed = said_by({"meta": {"CLASSES": ["a", 5, "c"]}}, NETWORK, file="f.pth", known=(), pretrained=False).facts
    assert mixed == {"classes": 3}
    long = said_by({"meta": {"CLASSES": ["n" * 299] * 500}}, NETWORK, file="f.pth", known=(), pretrained=False).facts
    assert long == {"classes": 500}


def test_files_of_other_dialects_are_not_asked(checkpoint, tmp_path):
    """A timm file may have a ``meta`` of its own."""
    buffer = io.BytesIO()
    file = mc.convert(checkpoint({"cfg": CAFFE}), to="pth:timm", out=tmp_path / "timm.pth").path
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(buffer, "w") as bare:
        for name in archive.namelist():
            data = archive.read(name)
            if not name.endswith("mshub_convert.json"):
                bare.writestr(name, _wrapped({"cfg": CAFFE}, data) if name.endswith("data.pkl") else data)
    other = tmp_path / "other.pth"
    other.write_bytes(buffer.getvalue())
    found = mc.inspect(other)
    assert found.network["dialect"] == "timm"
    assert found.network["traits"]["bottleneck_stride"] == "3x3"
    assert style_notices(found.notices) == []


def test_a_meta_with_too_much_in_it_is_kept_in_part():
    """A log of thousands of values must not hide the config beside it."""
    log = [float(step) for step in range(20_000)]
    meta = {"cfg": CAFFE, "log": log, "text": "x" * 200_000, "epoch": 3}
    assert plain({"meta": meta, "log": log}) == {"meta": {"cfg": CAFFE, "epoch": 3}}
    assert plain({"many": {str(number): number for number in range(20_000)}}) == {}


@pytest.mark.slow
def test_what_is_kept_in_part_is_bounded():
    """A hostile file repeats one large structure by reference, at no cost of its own."""
    large = [0] * 2400
    entry = {str(number): large for number in range(64)}
    kept = plain({str(number): entry for number in range(1000)})
    assert len(kept) == 8
    assert plain({"wide": {str(number): large for number in range(65)}}) == {}
