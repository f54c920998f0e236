"""Names, shapes and order against what the real networks have (scripts/make_golden.py)."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.architectures.resnet import parse
from mshub_convert.mappings.dialects import BUILTIN, dialect
from mshub_convert.mappings.graph import Shape
from mshub_convert.mappings.identify import UnidentifiedError, identify

GOLDEN = Path(__file__).parents[1] / "golden"
SCRIPT = Path(__file__).parents[2] / "scripts" / "make_golden.py"


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def tensors(content: dict[str, Any]) -> list[tuple[str, Shape]]:
    return [(name, tuple(shape)) for name, shape in content["tensors"]]


def named(name: str, dialect_name: str, classes: int | None = None) -> list[tuple[str, Shape]]:
    return list(dialect(dialect_name).ground(architecture(name, classes=classes)).specs.items())


FILES = {path.stem: read(path) for path in sorted(GOLDEN.glob("*.json"))}
OURS = {stem: content for stem, content in FILES.items() if content["dialect"]}


@pytest.mark.parametrize("stem", OURS)
def test_names_shapes_and_order_are_those_of_the_real_network(stem: str) -> None:
    content = OURS[stem]
    # The network itself has no wrapper around it.
    wrapper = dialect(content["dialect"]).wrapper
    names = named(content["architecture"], content["dialect"], content["classes"])
    expected = [(name.removeprefix(wrapper), shape) for name, shape in names]
    assert expected == tensors(content), f"differs from {content['source']}"


@pytest.mark.parametrize("stem", OURS)
def test_the_real_network_is_identified(stem: str) -> None:
    content = OURS[stem]
    found = identify(dict(tensors(content)))
    assert content["dialect"] in (found.dialect.name, *found.also)
    assert found.architecture == architecture(content["architecture"], classes=content["classes"])
    assert not found.prefix
    assert not found.copies
    assert not found.training


def test_every_dialect_has_a_golden_file_or_hand_written_names() -> None:
    # The names of Gluon's networks stand in test_resnet_v2.py, those of the detector in torch in test_ssd_resnet50.py.
    assert {content["dialect"] for content in OURS.values()} == set(BUILTIN) - {"mmcls", "gluon", "gluon-ms", "ssd"}


# mmpretrain has its own pins, so its names stand here, as read from its networks.
def test_mmcls_is_timm_behind_a_backbone() -> None:
    theirs = [
        ("head." + name if name.startswith("fc.") else "backbone." + name, shape)
        for name, shape in named("resnext50_32x4d", "timm")
    ]
    assert named("resnext50_32x4d", "mmcls") == theirs


def test_mmcls_deep_stem_is_a_sequence_of_named_layers() -> None:
    names = dict(named("resnet50d", "mmcls"))
    for index, (before, after) in enumerate(((3, 32), (32, 32), (32, 64))):
        assert names[f"backbone.stem.{index}.conv.weight"] == (after, before, 3, 3)
        assert names[f"backbone.stem.{index}.bn.num_batches_tracked"] == ()
    assert not any(name.startswith(("backbone.conv1", "backbone.bn1")) for name in names)


def test_mmcls_counts_the_average_pool_where_there_is_one() -> None:
    names = dict(named("resnet50d", "mmcls"))
    shortcuts = sorted(name for name in names if ".downsample." in name and name.endswith(".weight"))
    assert shortcuts == sorted(
        f"backbone.layer{layer}.0.downsample.{module}.weight"
        for layer, modules in ((1, (0, 1)), (2, (1, 2)), (3, (1, 2)), (4, (1, 2)))
        for module in modules
    )
    assert names["backbone.layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert names["backbone.layer2.0.downsample.1.weight"] == (512, 256, 1, 1)


def test_mmcls_squeezes_in_convolutions_of_their_own() -> None:
    names = dict(named("seresnet50", "mmcls"))
    place = "backbone.layer4.2.se_layer"
    assert {name: shape for name, shape in names.items() if name.startswith(place)} == {
        f"{place}.conv1.conv.weight": (128, 2048, 1, 1),
        f"{place}.conv1.conv.bias": (128,),
        f"{place}.conv2.conv.weight": (2048, 128, 1, 1),
        f"{place}.conv2.conv.bias": (2048,),
    }


# As research/cv/SE_ResNeXt50 of MindSpore's model_zoo names them.
@pytest.mark.parametrize("name", ["modelzoo", "modelzoo-gpu"])
def test_modelzoo_squeezes_in_dense_layers(name: str) -> None:
    names = dict(named("seresnext50_32x4d", name))
    place = "backbone.layer1.0.se"
    assert {key: shape for key, shape in names.items() if key.startswith(place)} == {
        f"{place}.fc1.weight": (16, 256),
        f"{place}.fc1.bias": (16,),
        f"{place}.fc2.weight": (256, 16),
        f"{place}.fc2.bias": (256,),
    }


@pytest.mark.parametrize(
    ("model", "dialect_name", "count"),
    [
        ("resnet18", "timm", 122),
        ("resnet18", "mindcv", 102),
        ("seresnext50_32x4d", "timm", 384),
        ("seresnext101_32x8d", "timm", 758),
        ("seresnext101d_32x8d", "timm", 770),
        ("seresnext50_32x4d", "mindcv-senet", 331),
        ("seresnext50_32x4d", "modelzoo-gpu", 331),
        ("seresnext50_32x4d", "modelzoo", 827),
        ("resnext50_32x4d", "timm", 320),
        ("resnext50d_32x4d", "timm", 332),
        ("resnext101_64x4d", "torchvision", 626),
        ("resnext50_32x4d", "mmcls", 320),
        ("resnext50_32x4d", "mindcv", 267),
        ("resnext50_32x4d", "modelzoo-gpu", 267),
        ("resnext50_32x4d", "modelzoo", 763),
        ("resnext101_32x4d", "modelzoo", 1545),
        ("resnext101_64x4d", "modelzoo", 2601),
    ],
)
def test_number_of_tensors(model: str, dialect_name: str, count: int) -> None:
    assert len(named(model, dialect_name)) == count


@pytest.mark.slow
def test_golden_files_are_what_the_libraries_have_today(tmp_path: Path) -> None:
    subprocess.run([sys.executable, SCRIPT, tmp_path], check=True)
    made = {path.stem: read(path) for path in tmp_path.glob("*.json")}
    assert set(made) == {stem for stem in FILES if not stem.startswith("modelzoo_")}
    for stem, content in made.items():
        assert tensors(content) == tensors(FILES[stem]), f"{content['source']} differs from {FILES[stem]['source']}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timm", "torchvision", "mindcv", "mindcv-senet"])
def test_library_has_the_models_that_its_dialect_says(name: str) -> None:
    _, create = runpy.run_path(str(SCRIPT))["LIBRARIES"][dialect(name).library]()
    for model in sorted(dialect(name).models):
        assert [(key, tuple(shape)) for key, shape in create(model)] == named(model, name), model


@pytest.mark.slow
def test_dialects_list_every_model_that_their_library_has() -> None:
    mindcv = pytest.importorskip("mindcv")
    timm = pytest.importorskip("timm")
    torchvision = pytest.importorskip("torchvision").models
    for library, models in (
        ("timm", timm.list_models()),
        ("torchvision", torchvision.list_models(torchvision)),
        ("mindcv", mindcv.list_models()),
    ):
        said = [dialect(name).models for name in BUILTIN if dialect(name).library == library]
        assert {name for name in models if parse(name)} == set().union(*said)
        assert sum(map(len, said)) == len(set().union(*said)), "two dialects of one library claim a model"


# Every kind of relative that timm has and whose tensors tell it.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("ecaresnet50t", "efficient channel attention"),
        ("ecaresnext26t_32x4d", "efficient channel attention"),
        ("skresnext50_32x4d", "selective kernels"),
        ("resnest14d", "a ResNeSt"),
        ("res2net50_26w_4s", "a Res2Net"),
        ("resnetrs50", "a ResNet-RS"),
        ("senet154", "an SENet-154"),
        ("legacy_seresnext50_32x4d", "timm's legacy class"),
        ("legacy_senet154", "timm's legacy class"),
        ("resnetv2_50", "timm's pre-activation ResNet"),
        ("resnet50_gn", "without running statistics: of group norm"),
    ],
)
def test_relatives_of_timm_are_refused_by_their_tensors(model: str, reason: str) -> None:
    _, create = runpy.run_path(str(SCRIPT))["LIBRARIES"]["timm"]()
    with pytest.raises(UnidentifiedError, match=reason):
        identify({name: tuple(shape) for name, shape in create(model)})


# Anti-aliasing is no tensor: only the name of the model tells it.
@pytest.mark.slow
def test_anti_aliased_networks_have_the_tensors_of_plain_ones() -> None:
    _, create = runpy.run_path(str(SCRIPT))["LIBRARIES"]["timm"]()
    for model, twin in (("resnetblur50", "resnet50"), ("resnetaa50", "resnet50"), ("resnetaa34d", "resnet34d")):
        assert create(model) == create(twin)
