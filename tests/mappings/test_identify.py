"""Identification: whole, wrapped, doubled, damaged, foreign and hostile files, by names and shapes."""

import json
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import BUILTIN, dialect, dialects_for
from mshub_convert.mappings.errors import MappingError
from mshub_convert.mappings.graph import Shape
from mshub_convert.mappings.identify import Identification, UnidentifiedError, identify
from mshub_convert.mappings.wrappers import PREFIXES, is_training, wrapper_prefix

GOLDEN = Path(__file__).parents[1] / "golden"
MINDCV = Path(__file__).parents[2] / "mappings" / "mindcv.toml"


@cache
def shapes(name: str, dialect_name: str, classes: int = 1000) -> Mapping[str, Shape]:
    return dialect(dialect_name).ground(architecture(name, classes=classes)).specs


def golden(stem: str) -> dict[str, Shape]:
    content = json.loads((GOLDEN / f"{stem}.json").read_text(encoding="utf-8"))
    return {name: tuple(shape) for name, shape in content["tensors"]}


def prefixed(prefix: str, tensors: Mapping[str, Shape]) -> dict[str, Shape]:
    return {prefix + name: shape for name, shape in tensors.items()}


def is_a(found: Identification, name: str, dialect_name: str, classes: int = 1000) -> bool:
    return found.architecture == architecture(name, classes=classes) and dialect_name in (
        found.dialect.name,
        *found.also,
    )


# Whole files

NETWORKS = ("resnet50", "wide_resnet50_2", "resnext50_32x4d", "resnext101_64x4d", "resnext_1-2_4x24d", "resnet18")
OURS = tuple(name for name in BUILTIN if dialect(name).can_name(architecture("resnet50")))


@pytest.mark.parametrize("dialect_name", OURS)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("classes", [1, 1000, 1001])
def test_every_dialect_is_told(dialect_name: str, name: str, classes: int) -> None:
    tensors = shapes(name, dialect_name, classes)
    found = identify(tensors)
    assert is_a(found, name, dialect_name, classes)
    assert dict(found.names) == {tensor: tensor for tensor in tensors}
    assert (found.prefix, found.training, found.copies) == ("", (), ())


@pytest.mark.parametrize("dialect_name", ["timm", "mmcls", "mindcv", "mindcv-senet"])
@pytest.mark.parametrize(
    "name",
    [
        "resnet50c",
        "resnext50d_32x4d",
        "resnet50t",
        "resnet50s",
        "resnet18d",
        "resnet50_stem24-24-64_avg",
        "resnext101_32x8d_stem64_avg",
        "resnet50_stem32_conv",
    ],
)
def test_stems_and_shortcuts_are_told(dialect_name: str, name: str) -> None:
    assert is_a(identify(shapes(name, dialect_name)), name, dialect_name)


@pytest.mark.parametrize("dialect_name", ["timm", "mmcls", "mindcv-senet", "modelzoo", "modelzoo-gpu"])
@pytest.mark.parametrize("name", ["seresnet18", "seresnet50", "seresnext101_64x4d", "seresnet50_squeeze4-8-100-8"])
def test_squeeze_and_excitation_is_told(dialect_name: str, name: str) -> None:
    assert is_a(identify(shapes(name, dialect_name)), name, dialect_name)


@pytest.mark.slow
@given(network=st.from_type(ResNet), data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_network_is_identified_back(network: ResNet, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(dialects_for(network)))
    # One stage never strides: both shortcuts are the same function, and mmcls gives them the same names; a stage of
    # basic blocks has neither.
    assume(len(network.depths) > 1 or (name != "mmcls" and network.block != "basic"))
    found = identify(dialect(name).ground(network).specs)
    assert found.architecture == network
    assert name in (found.dialect.name, *found.also)


def test_dialects_of_the_same_names_are_told_beside() -> None:
    found = identify(shapes("resnext50_32x4d", "torchvision"))
    assert found.dialect.name == "timm"
    assert found.also == ("torchvision",)
    assert identify(shapes("resnext50d_32x4d", "timm")).also == ()
    assert identify(shapes("resnext50_32x4d", "mindcv")).also == ()
    only = identify(shapes("resnext50_32x4d", "timm"), dialects=("torchvision",))
    assert (only.dialect.name, only.also) == ("torchvision", ())


def test_a_split_network_of_cardinality_1_is_no_trap() -> None:
    found = identify(shapes("resnet50", "modelzoo"))
    assert is_a(found, "resnet50", "modelzoo")
    assert not found.dialect.builds(found.architecture)


# Wrapped and doubled files


@given(
    words=st.lists(st.sampled_from(PREFIXES), min_size=1, max_size=4),
    dialect_name=st.sampled_from(OURS),
)
@settings(max_examples=20, deadline=None)
def test_stacked_prefixes_are_stripped(words: list[str], dialect_name: str) -> None:
    prefix = "".join(words)
    tensors = shapes("resnext50_32x4d", dialect_name)
    found = identify(prefixed(prefix, tensors))
    assert is_a(found, "resnext50_32x4d", dialect_name)
    assert found.prefix == prefix
    assert dict(found.names) == {name: prefix + name for name in tensors}


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("conv1.weight", ""),
        ("module.conv1.weight", "module."),
        ("network.network.conv1.weight", "network.network."),
        ("module.", ""),
        ("module.module.", ""),
        ("modules.conv1", ""),
        ("", ""),
    ],
)
def test_wrapper_prefix(name: str, prefix: str) -> None:
    assert wrapper_prefix(name) == prefix


@pytest.mark.parametrize("averaged", ["ema.", "model_ema.", "model_ema.module.", "module.ema."])
@pytest.mark.parametrize("first", ["raw", "averaged"])
def test_raw_weights_are_taken_before_averaged_ones(averaged: str, first: str) -> None:
    raw, copy = shapes("resnext50_32x4d", "mindcv"), prefixed(averaged, shapes("resnext50_32x4d", "mindcv"))
    both = {**raw, **copy} if first == "raw" else {**copy, **raw}
    found = identify(both)
    assert found.prefix == ""
    assert set(found.copies) == set(copy)
    assert set(found.names) == set(raw)


def test_averaged_weights_are_taken_where_the_raw_ones_are_no_network() -> None:
    found = identify({"fc.weight": (3, 4), **prefixed("ema.", shapes("resnet50", "timm"))})
    assert found.prefix == "ema."


@pytest.mark.parametrize("select", ["ema", "ema.", "ema.module."])
def test_a_set_of_weights_is_picked_by_its_prefix(select: str) -> None:
    raw = shapes("resnext50_32x4d", "timm")
    found = identify({**raw, **prefixed("ema.module.", raw)}, select=select)
    assert found.prefix == "ema.module."
    assert set(found.copies) == set(raw)  # what was not picked is still told


def test_the_bare_names_can_be_picked() -> None:
    raw = shapes("resnext50_32x4d", "timm")
    assert identify({**prefixed("module.", raw), **raw}).prefix == "module."
    assert identify({**prefixed("module.", raw), **raw}, select="").prefix == ""


def test_a_prefix_that_is_not_there_lists_those_that_are() -> None:
    raw = shapes("resnext50_32x4d", "timm")
    with pytest.raises(UnidentifiedError) as caught:
        identify({**raw, **prefixed("ema.", raw)}, select="model")
    assert caught.value.message == "no tensor has the prefix 'model'; there is '' and 'ema.'"


def test_optimiser_state_is_left_out() -> None:
    weights = shapes("resnext50_32x4d", "mindcv")
    training = {
        **prefixed("moments.", weights),
        **prefixed("network.moment1.", weights),
        "global_step": (1,), "learning_rate": (), "epoch_num": (1,), "network.step_num": (1,),
    }  # fmt: skip
    found = identify({**training, **weights})
    assert set(found.training) == set(training)
    assert set(found.names) == set(weights)
    assert found.copies == ()
    assert all(map(is_training, training))
    assert not any(map(is_training, weights))


def test_a_stray_tensor_beside_the_weights_is_kept_as_unexpected() -> None:
    weights = shapes("resnext50_32x4d", "timm")
    # Bare names that the chosen weights have too, under their prefix: neither may replace the other.
    found = identify({**prefixed("module.", weights), "conv1.weight": (1, 2, 3), "queue": (128, 65536)})
    assert found.prefix == "module."
    assert found.names["conv1.weight"] == "module.conv1.weight"
    strays = {full for name, full in found.names.items() if name not in found.grounding.specs}
    assert strays == {"conv1.weight", "queue"}
    assert len(found.names) == len(weights) + 2


# Damaged files

DAMAGED = st.sampled_from(
    [
        ("resnext50_32x4d", "timm"),
        ("resnext50_32x4d", "mindcv"),
        ("resnext50_32x4d", "modelzoo"),
        ("resnet50", "modelzoo-resnet"),
        ("resnext50d_32x4d", "mmcls"),
        ("resnet18", "timm"),
        ("resnet34d", "mindcv"),
        ("seresnet18", "mindcv-senet"),
        ("seresnext26t_32x4d", "timm"),
        ("seresnext50_32x4d", "modelzoo"),
    ]
)
ODD_SHAPES = st.lists(st.integers(0, 5000), max_size=5).map(tuple)


@pytest.mark.slow
@given(which=DAMAGED, at=st.integers(0, 10_000), shape=st.one_of(st.none(), ODD_SHAPES))
@settings(max_examples=60, deadline=None)
def test_one_tensor_missing_or_misshapen_does_not_matter(
    which: tuple[str, str], at: int, shape: tuple[int, ...] | None
) -> None:
    whole = shapes(*which)
    damaged = dict(whole)
    name = list(whole)[at % len(whole)]
    if shape is None:
        del damaged[name]
    else:
        damaged[name] = shape
    assert is_a(identify(damaged), *which)


@pytest.mark.parametrize(
    ("dialect_name", "name"),
    [
        ("timm", "conv1.0.weight"),
        ("timm", "conv1.6.weight"),
        ("timm", "layer2.0.downsample.1.weight"),
        ("timm", "fc.weight"),
        ("timm", "fc.bias"),
    ],
)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (64, 3, 7, 7), (2048, 77)])
def test_telling_tensors_may_be_damaged_too(dialect_name: str, name: str, shape: Shape) -> None:
    whole = dict(shapes("resnext50d_32x4d", dialect_name, 77))
    assert is_a(identify({**whole, name: shape}), "resnext50d_32x4d", dialect_name, 77)
    del whole[name]
    assert is_a(identify(whole), "resnext50d_32x4d", dialect_name, 77)


def test_a_stray_stem_does_not_make_the_stem_deep() -> None:
    found = identify({**shapes("resnext50_32x4d", "timm"), "conv1.0.weight": (32, 3, 3, 3)})
    assert found.architecture == architecture("resnext50_32x4d")


def test_a_damaged_file_without_its_head_has_the_usual_classes() -> None:
    damaged = {name: shape for name, shape in shapes("resnext50_32x4d", "timm").items() if not name.startswith("fc.")}
    assert is_a(identify(damaged), "resnext50_32x4d", "timm", 0)
    del damaged["bn1.weight"]
    assert is_a(identify(damaged), "resnext50_32x4d", "timm")


def test_files_older_than_the_counters_are_known() -> None:
    old = {name: shape for name, shape in shapes("resnext50_32x4d", "timm").items() if "num_batches" not in name}
    assert is_a(identify(old), "resnext50_32x4d", "timm")


# Files that are none of ours


def refusal(tensors: Mapping[str, Shape], **options: tuple[str, ...]) -> UnidentifiedError:
    with pytest.raises(UnidentifiedError) as caught:
        identify(tensors, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 3
    return caught.value


def test_an_empty_file() -> None:
    assert refusal({}).message == "the file holds no tensors"


def test_an_optimiser_alone() -> None:
    assert refusal({"moments.conv1.weight": (64, 3, 7, 7), "global_step": (1,)}).message == (
        "2 tensors, all of an optimiser or a training loop: moments.conv1.weight and global_step"
    )


def test_a_vision_transformer() -> None:
    assert refusal(golden("timm_vit_tiny_patch16_224")).message == (
        "152 tensors that fit no ResNet or ResNeXt in any dialect (it looks like a vision transformer): cls_token, "
        "pos_embed, patch_embed.proj.weight, patch_embed.proj.bias, blocks.{0..11}.norm{1,2}.weight, "
        "blocks.{0..11}.norm{1,2}.bias and 10 more patterns"
    )


def altered(name: str, dialect_name: str, old: str, new: str) -> dict[str, Shape]:
    """The tensors of a network, some of them renamed."""
    tensors = {tensor.replace(old, new): shape for tensor, shape in shapes(name, dialect_name).items()}
    assert tensors.keys() != shapes(name, dialect_name).keys()
    return tensors


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (golden("timm_ecaresnet26t"), "a ResNet with efficient channel attention (ECA), which is another function"),
        (golden("timm_skresnet18"), "a ResNet with selective kernels (SK), which is another network"),
        (golden("timm_legacy_seresnet18"), "an SENet of timm's legacy class, whose max-pool rounds up"),
        ({**shapes("resnet50", "timm"), "maxpool.1.filt": (64, 1, 3, 3)}, "an anti-aliased ResNet"),
        ({**shapes("resnet50d", "timm"), "maxpool.0.weight": (64, 64, 3, 3)}, "a ResNet-RS"),
        (altered("resnet50", "timm", ".conv2.", ".conv2.conv.") | {"layer1.0.conv2.fc1.weight": (8, 64)}, "a ResNeSt"),
        (altered("resnet50", "timm", ".conv2.", ".convs.0."), "a Res2Net"),
        (altered("resnet50", "timm", ".bn1.weight", ".bn1.IN.weight"), "an IBN-Net"),
        (altered("seresnet50", "mindcv-senet", "conv_reduce", "fc1"), "model_zoo's senet, whose excitation"),
        (altered("seresnet50", "modelzoo", ".se.fc1", ".se_dense_0"), "model_zoo's se_resnet50, which pools"),
        (
            altered("resnet18", "modelzoo-resnet", ".bn1.", ".bn1d."),
            "model_zoo's resnet18 or resnet34, which calls the BatchNorms",
        ),
    ],
)
def test_relatives_are_refused_by_their_tensors(tensors: dict[str, Shape], reason: str, prefix: str) -> None:
    assert refusal(prefixed(prefix, tensors)).message.startswith(f"{len(tensors)} tensors of {reason}")


def test_a_relative_that_other_libraries_have_as_ours_is_told_where() -> None:
    error = refusal(altered("resnet18", "modelzoo-resnet", ".bn1.", ".bn1d."))
    assert "such as timm:resnet18" in error.remedy


def test_senet_154_is_refused_by_its_shortcuts() -> None:
    network = shapes("seresnext152_64x4d", "timm")
    strided = {name: (*shape[:2], 3, 3) for name, shape in network.items() if "downsample.0" in name}
    del strided["layer1.0.downsample.0.weight"]
    message = refusal({**network, **strided}).message
    assert message.startswith(f"{len(network)} tensors of an SENet-154, whose shortcuts are 3x3 convolutions: ")


def test_norms_without_statistics_are_refused() -> None:
    tensors = {name: shape for name, shape in shapes("resnet50", "timm").items() if "running" not in name}
    assert refusal(tensors).message.startswith("214 tensors of a ResNet without running statistics: of group norm, or")


def test_basic_blocks_of_another_width_are_refused() -> None:
    network = shapes("resnet18", "timm")
    narrow = {name: tuple(size // 4 if size % 64 == 0 else size for size in shape) for name, shape in network.items()}
    assert refusal(narrow).message.startswith(
        "122 tensors of a ResNet with basic blocks of 16 channels in its first stage, where ours have 64: "
    )


def test_squeeze_and_excitation_in_few_blocks_is_surplus() -> None:
    tensors = golden("timm_seresnext50_32x4d")
    few = {name: shape for name, shape in tensors.items() if ".se." not in name or name.startswith("layer4.")}
    found = identify(few)
    assert is_a(found, "resnext50_32x4d", "timm")
    assert sum(name not in found.grounding.specs for name in found.names) == 12
    # As asked for in a dialect that has no names for it.
    found = identify(golden("mindcv_seresnext50_32x4d"), dialects=("mindcv",))
    assert is_a(found, "resnext50_32x4d", "mindcv")
    assert sum(name not in found.grounding.specs for name in found.names) == 89


def test_a_quarter_of_a_network_is_named_but_refused() -> None:
    whole = shapes("resnext50_32x4d", "mindcv")
    message = refusal({name: shape for name, shape in whole.items() if name.startswith("layer2.")}).message
    assert message == (
        "65 tensors that fit no ResNet or ResNeXt in any dialect (its BatchNorm is named as in MindSpore): "
        "layer2.{0..3}.conv{1..3}.weight, layer2.{0..3}.bn{1..3}.moving_mean, layer2.{0..3}.bn{1..3}.moving_variance, "
        "layer2.{0..3}.bn{1..3}.gamma, layer2.{0..3}.bn{1..3}.beta, layer2.0.down_sample.0.weight and 4 more patterns"
    )


def test_the_nearest_network_is_told_with_what_differs() -> None:
    convs = {name: shape for name, shape in shapes("resnext50_32x4d", "timm").items() if ".conv" in name}
    message = refusal({**convs, "decoder.0.weight": (1,), "decoder.1.weight": (1,)}).message
    assert message.startswith("50 tensors of which the nearest network, resnext50_32x4d in mindcv names, explains 18%")
    assert "; surplus: decoder.{0,1}.weight; missing: conv1.weight, bn1.moving_mean" in message


def test_another_dialect_than_the_one_asked_for_is_named() -> None:
    error = refusal(shapes("resnext50_32x4d", "mindcv"), dialects=("timm",))
    assert "the nearest network, resnext50_32x4d in timm names, explains" in error.message
    assert error.remedy == "Its names are those of resnext50_32x4d in dialect mindcv."
    error = refusal(golden("timm_vit_tiny_patch16_224"), dialects=("timm", "mmcls"))
    assert "in timm or mmcls names" in error.message
    assert error.remedy == ""


# Dialects of the user's


def user_dialect(tmp_path: Path, *changes: tuple[str, str]) -> str:
    text = MINDCV.read_text(encoding="utf-8").replace('name = "mindcv"', 'name = "mine"', 1)
    for old, new in changes:
        text = text.replace(old, new)
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_a_dialect_whose_names_begin_like_a_wrapper(prefix: str, tmp_path: Path) -> None:
    # The backbone under "model.", the head bare.
    path = user_dialect(
        tmp_path, ('= "conv1', '= "model.conv1'), ('= "bn1', '= "model.bn1'), ('= "layer', '= "model.layer')
    )
    tensors = dialect(path).ground(architecture("resnext50_32x4d")).specs
    assert {wrapper_prefix(name) for name in tensors} == {"", "model."}
    found = identify(prefixed(prefix, tensors), dialects=(path,))
    assert is_a(found, "resnext50_32x4d", "mine")
    assert found.prefix == prefix
    assert set(found.names) == set(tensors)


# Hostile files

WORDS = st.sampled_from(
    (
        *(
            "module",
            "ema",
            "moments",
            "backbone",
            "layer1",
            "layer4",
            "conv1",
            "conv2",
            "convs",
            "bn1",
            "downsample",
            "fc",
        ),
        *("weight", "gamma", "0", "31", "99999999999999999999", "9" * 5000, "", "\x00", "\ud800"),
    )
)
HOSTILE_NAMES = st.one_of(
    st.text(max_size=20),
    st.lists(WORDS, max_size=8).map(".".join),
    st.sampled_from(list(shapes("resnext_1-1d_4x2d", "timm")) + list(shapes("resnext_1-1_4x2d", "modelzoo"))),
)
HOSTILE_SHAPES = st.lists(st.one_of(st.integers(0, 8), st.sampled_from((2**31, 2**63, 10**30))), max_size=6).map(tuple)


@pytest.mark.slow
@given(st.dictionaries(HOSTILE_NAMES, HOSTILE_SHAPES, max_size=40))
@settings(max_examples=200, deadline=5000)
def test_no_names_and_shapes_break_it(tensors: dict[str, Shape]) -> None:
    try:
        found = identify(tensors)
    except MappingError as error:
        said = error.message
    else:
        said = found.architecture.name
        assert sorted([*found.names.values(), *found.training, *found.copies]) == sorted(tensors)
    assert said.isprintable()


@pytest.mark.parametrize("dialect_name", ["modelzoo", "modelzoo-gpu"])
@pytest.mark.parametrize("size", [4096, 10**9, 2**63])
def test_a_shape_cannot_ask_for_more_names_than_there_are(dialect_name: str, size: int) -> None:
    slots = dialect(dialect_name).ground(ResNet((512,), base_width=1)).slots
    start = time.perf_counter()
    refusal({slots[f"stages.0.{block}.conv2.kernel"].names[0]: (size, 1, 3, 3) for block in range(512)})
    assert time.perf_counter() - start < 5


def test_many_names_in_many_prefixes_take_no_time() -> None:
    tensors = {f"{'module.' * (n % 50)}layer1.{n}.conv1.weight": (1,) for n in range(5000)}
    tensors["module." * 100_000 + "x"] = ()
    start = time.perf_counter()
    refusal(tensors)
    assert time.perf_counter() - start < 5
