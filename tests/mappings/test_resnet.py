"""ResNets: published sizes, shapes at odd sizes, padding, traits, and the grammar of their names."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshub_convert.mappings.architectures import architecture, from_dict, kinds, samples
from mshub_convert.mappings.architectures.resnet import ResNet, parse
from mshub_convert.mappings.architectures.resnet_names import NAMES, usual_squeeze
from mshub_convert.mappings.errors import MappingError, UnknownNameError
from mshub_convert.mappings.graph import Graph, Node, ints, pads
from mshub_convert.mappings.traits import Traits

TRAITS = st.builds(
    Traits,
    stem_pool=st.sampled_from(("symmetric", "same")),
    padding=st.sampled_from(("symmetric", "same")),
    bottleneck_stride=st.sampled_from(("3x3", "1x1")),
)


def node(graph: Graph, name: str) -> Node:
    return next(found for found in graph.nodes if found.name == name)


# Published and computed elsewhere


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("wide_resnet50_2", 68_883_240),
        ("seresnet18", 11_779_624),
        ("seresnet50", 28_088_024),
        ("seresnext50_32x4d", 27_559_896),
        ("seresnext101d_32x8d", 93_588_280),
        ("resnext50_32x4d", 25_028_904),
        ("resnext50d_32x4d", 25_048_136),
        ("resnext101_32x4d", 44_177_704),
        ("resnext101_32x8d", 88_791_336),
        ("resnext101_64x4d", 83_455_272),
        ("resnext152_32x4d", 59_951_400),
    ],
)
def test_parameters(name: str, parameters: int) -> None:
    graph = architecture(name).graph()
    assert sum(parameter.size for parameter in graph.parameters if parameter.trainable) == parameters


@pytest.mark.parametrize(
    ("name", "macs", "flops_mmcv"),
    [
        ("resnext50_32x4d", 4.230, 4.273),
        ("resnext101_32x8d", 16.414, 16.507),
        ("resnext101_32x4d", 7.970, 8.033),
        ("resnext152_32x4d", 11.710, 11.798),
    ],
)
def test_operations_in_billions(name: str, macs: float, flops_mmcv: float) -> None:
    graph = architecture(name).graph()
    assert round(graph.macs() / 1e9, 3) == macs
    assert round(graph.flops_mmcv() / 1e9, 3) == flops_mmcv


# As mmpretrain's model zoo states them (configs/resnet, configs/seresnet), in millions and billions.
@pytest.mark.parametrize(
    ("name", "parameters", "flops"),
    [
        ("resnet18", 11.69, 1.82),
        ("resnet34", 21.80, 3.68),
        ("resnet50", 25.56, 4.12),
        ("seresnet50", 28.09, 4.13),
        ("seresnet101", 49.33, 7.86),
    ],
)
def test_published_sizes(name: str, parameters: float, flops: float) -> None:
    graph = architecture(name).graph()
    assert round(sum(parameter.size for parameter in graph.parameters if parameter.trainable) / 1e6, 2) == parameters
    assert graph.flops_mmcv() / 1e9 == pytest.approx(flops, abs=0.0051)


# The graph


@given(network=st.from_type(ResNet), traits=TRAITS, height=st.integers(32, 300), width=st.integers(32, 300))
@settings(max_examples=40, deadline=None)
def test_branches_meet_at_any_size(network: ResNet, traits: Traits, height: int, width: int) -> None:
    graph = network.graph(traits)
    shapes = graph.shapes(height, width)
    for add in (found for found in graph.nodes if found.op == "Add"):
        assert len({shapes[name] for name in add.inputs}) == 1
    for product in (found for found in graph.nodes if found.op == "Mul"):
        values, gate = (shapes[name] for name in product.inputs)
        assert gate == (values[0], 1, 1)
        assert shapes[product.output] == values
    assert all(size > 0 for shape in shapes.values() for size in shape)
    assert shapes[graph.output] == (network.classes,)


@pytest.mark.slow
@given(network=st.from_type(ResNet), traits=TRAITS)
@settings(max_examples=40, deadline=None)
def test_graph_is_closed_and_every_weight_is_read_once(network: ResNet, traits: Traits) -> None:
    graph = network.graph(traits)
    parameters = {parameter.key: parameter for parameter in graph.parameters}
    assert len(parameters) == len(graph.parameters)
    made = {graph.input}
    read: list[str] = []
    for found in graph.nodes:
        assert found.output not in made
        for name in found.inputs:
            assert name in made or name in parameters, name
            read += [name] if name in parameters else []
        made.add(found.output)
    assert set(graph.taps.values()) <= made
    assert sorted(read) == sorted(key for key, parameter in parameters.items() if parameter.leaf != "count")


@given(network=st.from_type(ResNet))
@settings(max_examples=40, deadline=None)
def test_samples_tell_the_kind_of_every_module(network: ResNet) -> None:
    for module in network.graph().modules:
        assert kinds()[module.pattern] == module.kind
        assert module.pattern.format(**module.indices) == module.path
    assert sum(module.closes_branch for module in network.graph().modules) == sum(network.depths)


def test_shallow_networks_tell_the_kind_of_every_module_of_the_samples() -> None:
    assert dict(kinds()) == {module.pattern: module.kind for net in samples() for module in net.graph().modules}


@pytest.mark.slow
def test_samples_have_every_module_of_every_known_network() -> None:
    ours = {module.path for network in samples() for module in network.graph().modules}
    for name in NAMES:
        assert {module.path for module in architecture(name).graph().modules} <= ours


def test_taps_go_from_stem_to_logits() -> None:
    graph = architecture("resnext50_32x4d").graph()
    assert list(graph.taps) == ["stem", "stages.0", "stages.1", "stages.2", "stages.3", "head.pool", "head"]
    shapes = graph.shapes(224, 224)
    assert [shapes[value] for value in graph.taps.values()] == [
        (64, 56, 56), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7), (2048, 1, 1), (1000,)
    ]  # fmt: skip


@pytest.mark.parametrize("traits", [Traits(), Traits(stem_pool="same", padding="same")])
def test_shapes_at_an_odd_size(traits: Traits) -> None:
    graph = architecture("resnext50d_32x4d").graph(traits)
    shapes = graph.shapes(225, 231)
    assert shapes["stem.conv1"] == (32, 113, 116)
    assert shapes["stem.pool"] == (64, 57, 58)
    # The average pool rounds up, as the strided convolution beside it does.
    assert shapes["stages.1.0.avg_shortcut.pool"] == (256, 29, 29)
    assert shapes[graph.taps["stages.1"]] == (512, 29, 29)
    assert shapes[graph.taps["stages.2"]] == (1024, 15, 15)
    assert shapes[graph.taps["stages.3"]] == (2048, 8, 8)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        (112, 3, 2, (0, 1)),  # the max-pool of a 224 picture
        (113, 3, 2, (1, 1)),
        (224, 7, 2, (2, 3)),
        (225, 7, 2, (3, 3)),
        (56, 3, 1, (1, 1)),
        (56, 1, 2, (0, 0)),
        (57, 1, 2, (0, 0)),
    ],
)
def test_same_upper_puts_the_odd_row_below_and_right(
    size: int, kernel: int, stride: int, expected: tuple[int, int]
) -> None:
    window: dict[str, Any] = {"auto_pad": "SAME_UPPER", "kernel_shape": (kernel, kernel), "strides": (stride, stride)}
    before, after = expected
    assert pads(Node("Conv", "c", ("x",), "y", window), size, size) == (before, before, after, after)


@pytest.mark.parametrize(("ceil_mode", "kernel", "size", "expected"), [(0, 2, 57, 28), (1, 2, 57, 29), (1, 1, 57, 29)])
def test_rounding_up_adds_no_window_outside_the_picture(ceil_mode: int, kernel: int, size: int, expected: int) -> None:
    window = {"kernel_shape": (kernel,) * 2, "strides": (2, 2), "pads": (0, 0, 0, 0), "ceil_mode": ceil_mode}
    graph = Graph((), (Node("AveragePool", "pool", ("input",), "pool", window),), "input", {"head": "pool"}, 3, {})
    assert graph.shapes(size, size)["pool"] == (3, expected, expected)
    # Kernel 1 and stride 3 over 5 pixels: a third window would start at pixel 6.
    window |= {"kernel_shape": (1, 1), "strides": (3, 3)}
    assert graph.shapes(5, 5)["pool"] == (3, 2, 2)


def test_explicit_padding_does_not_depend_on_the_size() -> None:
    pool = node(architecture("resnet50").graph(), "stem.pool")
    assert pads(pool, 112, 112) == pads(pool, 7, 9) == (1, 1, 1, 1)


def test_a_missing_list_of_integers_is_an_error() -> None:
    pool = node(architecture("resnet50").graph(), "stem.pool")
    assert ints(pool, "strides") == (2, 2)
    with pytest.raises(TypeError, match="kernel_shape is 3"):
        ints(Node("Conv", "c", ("x",), "y", {"kernel_shape": 3}), "kernel_shape")


def test_an_operator_without_shape_rule_is_an_error() -> None:
    graph = Graph((), (Node("Erf", "erf", ("input",), "erf"),), "input", {"head": "erf"}, 3, {})
    with pytest.raises(NotImplementedError, match="Erf"):
        graph.shapes(8, 8)


def test_traits_change_what_is_computed_but_no_parameter() -> None:
    network = architecture("resnext50_32x4d")
    plain = network.graph()
    assert node(plain, "stem.pool").attributes["pads"] == (1, 1, 1, 1)
    assert node(plain, "stem.conv").attributes["pads"] == (3, 3, 3, 3)
    assert node(plain, "stem.norm").attributes["epsilon"] == 1e-5
    assert node(plain, "stages.1.0.conv2").attributes["strides"] == (2, 2)

    pool = network.graph(Traits(stem_pool="same"))
    assert node(pool, "stem.pool").attributes["auto_pad"] == "SAME_UPPER"
    assert node(pool, "stem.conv").attributes["pads"] == (3, 3, 3, 3)

    padded = network.graph(Traits(padding="same"))
    assert {found.attributes.get("auto_pad") for found in padded.nodes if found.op == "Conv"} == {"SAME_UPPER"}
    assert "auto_pad" not in node(padded, "stem.pool").attributes

    eps = network.graph(Traits(norm_eps=1e-4))
    assert {found.attributes["epsilon"] for found in eps.nodes if found.op == "BatchNormalization"} == {1e-4}

    caffe = network.graph(Traits(bottleneck_stride="1x1"))
    strides = [node(caffe, f"stages.1.0.conv{k}").attributes["strides"] for k in (1, 2, 3)]
    assert strides == [(2, 2), (1, 1), (1, 1)]

    for changed in (pool, padded, eps, caffe):
        assert changed.parameters == plain.parameters


def test_only_the_average_shortcut_pools_and_not_in_the_first_stage() -> None:
    def pools(name: str) -> list[str]:
        return [found.name for found in architecture(name).graph().nodes if found.op == "AveragePool"]

    assert pools("resnet50") == pools("resnet50c") == []
    assert pools("resnet50d") == [f"stages.{stage}.0.avg_shortcut.pool" for stage in (1, 2, 3)]
    assert pools("resnet18d") == pools("resnet50d")


def test_basic_blocks_have_no_shortcut_in_the_first_stage_unless_the_stem_is_wide() -> None:
    def shortcuts(network: ResNet) -> list[str]:
        return [module.path for module in network.graph().modules if module.path.endswith("shortcut.conv")]

    assert shortcuts(ResNet((2, 2), block="basic")) == ["stages.1.0.shortcut.conv"]
    wide = ResNet((2, 2), block="basic", stem=(64, 64, 128))
    assert shortcuts(wide) == ["stages.0.0.shortcut.conv", "stages.1.0.shortcut.conv"]
    assert wide.graph().shapes(64, 64)["stages.0.0.shortcut.conv"] == (64, 16, 16)


def test_the_first_convolution_of_a_basic_block_strides_whatever_the_bottlenecks_do() -> None:
    for stride in ("3x3", "1x1"):
        graph = architecture("resnet18").graph(Traits(bottleneck_stride=stride))
        assert [node(graph, f"stages.1.0.conv{k}").attributes["strides"] for k in (1, 2)] == [(2, 2), (1, 1)]


def test_squeeze_and_excitation_gates_what_the_last_norm_gives() -> None:
    graph = architecture("seresnext50_32x4d").graph(Traits(padding="same"))
    chain = ["squeeze.pool", "squeeze1", "squeeze.relu", "squeeze2", "squeeze.sigmoid", "squeeze.mul"]
    before = "stages.1.0.norm3"
    for name in chain:
        found = node(graph, f"stages.1.0.{name}")
        assert before in found.inputs
        before = found.output
    assert node(graph, "stages.1.0.squeeze.mul").inputs[0] == "stages.1.0.norm3"
    assert before in node(graph, "stages.1.0.add").inputs
    shapes = graph.shapes(64, 64)
    assert [shapes[f"stages.1.0.{name}"] for name in chain] == [
        (512, 1, 1), (32, 1, 1), (32, 1, 1), (512, 1, 1), (512, 1, 1), (512, 8, 8)
    ]  # fmt: skip
    # A 1x1 convolution of one value pads nothing, whatever the others do.
    assert node(graph, "stages.1.0.squeeze1").attributes["pads"] == (0, 0, 0, 0)
    plain = [module.path for module in architecture("resnext50_32x4d").graph().modules]
    assert [module.path for module in graph.modules if module.kind != "squeeze"] == plain


def test_counters_are_buffers_of_integers() -> None:
    counters = [found for found in architecture("resnet50").graph().parameters if found.leaf == "count"]
    assert {(found.shape, found.dtype, found.trainable, found.size) for found in counters} == {((), "int64", False, 1)}


# Names


@pytest.mark.parametrize("name", NAMES)
def test_known_names_round_trip(name: str) -> None:
    assert architecture(name).name == name


BOUNDED = st.integers(1, 4096)


@given(
    depths=st.lists(st.integers(1, 512), min_size=1, max_size=8).map(tuple),
    cardinality=st.one_of(st.just(1), BOUNDED),
    base_width=st.one_of(st.sampled_from((64, 128, 4096)), BOUNDED),
    stem=st.one_of(st.tuples(BOUNDED), st.tuples(BOUNDED, BOUNDED, BOUNDED), st.just((64,)), st.just((32, 32, 64))),
    shortcut=st.sampled_from(("conv", "avg")),
    basic=st.booleans(),
    squeeze=BOUNDED,
)
@settings(deadline=None)
def test_every_network_has_a_name_that_is_read_back(
    depths: tuple[int, ...], cardinality: int, base_width: int, stem: Any, shortcut: Any, basic: bool, squeeze: int
) -> None:
    if basic:
        network = ResNet(depths, stem=stem, shortcut=shortcut, block="basic")
    else:
        network = ResNet(depths, cardinality, base_width, stem=stem, shortcut=shortcut)
    for width in (None, squeeze):
        network = replace(
            network, squeeze=(width,) * len(depths) if width else usual_squeeze(network.block, len(depths))
        )
        assert parse(network.name) == network
    network = replace(network, squeeze=())
    assert parse(network.name) == network
    # Names become file names and words of a shell.
    assert set(network.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (ResNet((2, 2, 2, 2), 32, 4), "resnext26_32x4d"),
        (ResNet((1, 2), 32, 4), "resnext_1-2_32x4d"),
        (ResNet((3,)), "resnet_3"),
        (ResNet((3,), base_width=128), "wide_resnet_3_2"),
        (ResNet((3, 4, 6, 3), base_width=48), "resnext50_1x48d"),
        (ResNet((1, 1), 4, 2, stem=(32, 32, 64), shortcut="avg"), "resnext_1-1d_4x2d"),
        (ResNet((3, 4, 6, 3), stem=(32, 32, 64)), "resnet50c"),
        (ResNet((3, 4, 6, 3), stem=(24, 32, 64), shortcut="avg"), "resnet50t"),
        (ResNet((3, 4, 6, 3), stem=(64, 64, 128)), "resnet50s"),
        (ResNet((3, 4, 6, 3), stem=(24, 24, 64), shortcut="avg"), "resnet50_stem24-24-64_avg"),
        (ResNet((3, 4, 6, 3), base_width=128, shortcut="avg"), "wide_resnet50_2_stem64_avg"),
        (ResNet((2, 2, 2, 2), block="basic"), "resnet18"),
        (ResNet((3, 4, 6, 3), block="basic", squeeze=(8, 8, 16, 32)), "seresnet34"),
        (ResNet((1, 2), block="basic"), "resnet_1-2_basic"),
        (ResNet((1, 2), 4, 2, squeeze=(16, 32)), "seresnext_1-2_4x2d"),
        (ResNet((1, 2), base_width=128, squeeze=(16, 16)), "sewide_resnet_1-2_2_squeeze16-16"),
    ],
)
def test_names_of_odd_networks(network: ResNet, name: str) -> None:
    assert network.name == name
    assert parse(name) == network


@pytest.mark.parametrize(
    "name",
    [
        "", "resnet", "resnext50", "resnet49", "resnet50_", "resnet50_32x4d", "resnext50_32x4", "resnext50_0x4d",
        "resnext50_032x4d", "resnext50_9999x4d", "wide_resnet50", "wide_resnet50_65", "wide_resnext50_32x4d",
        "resnet50d_stem64_avg", "resnet50_stem0_avg", "resnet50_stem8-8_avg",
        "resnet_0-1", "resnet_1-", "resnet_513", "resnet_" + "1-" * 8 + "1",
        "resnet50\n", "resnet\N{ARABIC-INDIC DIGIT FIVE}0", "Resnet50",
        "resnet50.a1_in1k", "resnet50u", "resnext50_32x4d_avg", "resnet50_basic", "resnext18_32x4d",
        "wide_resnet18_2", "resnext_1-2_32x4d_basic", "resnet50_squeeze16-32-64-128", "seresnet50_squeeze16",
        "seseresnet50", "se_resnet50", "senet154",
    ],
)  # fmt: skip
def test_other_names_are_none_of_ours(name: str) -> None:
    assert parse(name) is None


@given(st.text(alphabet="wide_rsnxtqubcamzo0123456789-", max_size=30))
@settings(deadline=None)
def test_reading_a_name_never_fails(name: str) -> None:
    found = parse(name)
    assert found is None or parse(found.name) == found


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("legacy_seresnext50_32x4d", "another class"),
        ("legacy_senet154", "another class"),
        ("senet154", "3x3 shortcuts"),
        ("resnetrs50", "strides in a convolution"),
        ("resnetaa50d", "anti-aliased"),
        ("seresnextaa101d_32x8d", "anti-aliased"),
        ("resnetblur50", "anti-aliased"),
        ("resnetv2_50", "pre-activation"),
        ("skresnext50_32x4d", "selective kernels"),
        ("ecaresnet50d", "channel attention"),
        ("gcresnext50ts", "global context"),
        ("cspresnext50", "cross-stage"),
        ("resnest50d", "split attention"),
        ("res2net50_26w_4s", "multi-scale"),
        ("seresnext26ts", "depth, stem, width or norm"),
        ("resnet50_gn", "depth, stem, width or norm"),
        ("resnext99_32x4d", "depth, stem, width or norm"),
    ],
)
def test_relatives_are_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(UnknownNameError, match="is not supported") as caught:
        architecture(name)
    assert reason in caught.value.message
    assert "mshub-convert list" in caught.value.remedy
    assert caught.value.exit_code == 2


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown architecture 'rexnext50_32x4d'") as caught:
        architecture("rexnext50_32x4d")
    assert "Did you mean resnext50_32x4d" in caught.value.remedy


def test_a_name_of_another_family_gets_no_long_list() -> None:
    with pytest.raises(
        UnknownNameError, match="unknown architecture 'vit_base_patch16_224': by its name no Res"
    ) as caught:
        architecture("vit_base_patch16_224")
    assert caught.value.remedy == "See `mshub-convert list` for the networks that are converted."


# The type


@given(network=st.from_type(ResNet))
@settings(deadline=None)
def test_plain_values_round_trip(network: ResNet) -> None:
    assert from_dict(network.as_dict()) == network
    assert network.as_dict()["name"] == network.name


def test_class_count_is_no_part_of_the_name() -> None:
    network = architecture("resnet50", classes=7)
    assert network.classes == 7
    assert network.name == "resnet50"
    assert network.graph().shapes(64, 64)["head"] == (7,)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"depths": ()}, "depths"),
        ({"depths": (1,) * 9}, "depths"),
        ({"depths": (1, 0)}, "depths"),
        ({"depths": (513,)}, "depths"),
        ({"cardinality": 0}, "cardinality=0"),
        ({"base_width": 5000}, "base_width=5000"),
        ({"classes": -1}, "classes=-1"),
        ({"stem": ()}, r"stem=\(\)"),
        ({"stem": (32, 64)}, "stem="),
        ({"stem": (32, 32, 0)}, "stem="),
        ({"shortcut": "none"}, "shortcut=none"),
        ({"block": "wide"}, "block=wide"),
        ({"block": "basic", "cardinality": 32}, "basic blocks with cardinality=32 and base_width=64"),
        ({"block": "basic", "base_width": 128}, "basic blocks with cardinality=1 and base_width=128"),
        ({"squeeze": (16,)}, "squeeze="),
        ({"squeeze": (16, 0)}, "squeeze="),
        ({"squeeze": (16, 5000)}, "squeeze="),
    ],
)
def test_impossible_networks_cannot_be_said(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(MappingError, match=named):
        ResNet(**{"depths": (1, 1), **changes})


def test_widths_are_those_of_the_3x3_convolutions() -> None:
    network = ResNet((1, 1, 1), 32, 8)
    shapes = {parameter.key: parameter.shape for parameter in network.graph().parameters}
    for stage in range(3):
        assert shapes[f"stages.{stage}.0.conv2.kernel"] == (network.width(stage), 8 * 2**stage, 3, 3)
    assert network.width(2) == 1024
    assert math.prod(shapes["head.kernel"]) == 1000 * 1024
