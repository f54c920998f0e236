"""Pre-activation ResNets: structure, names, Gluon's dialects, and files told from those of other ResNets."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshub_convert.mappings.architectures import architecture, from_dict, kinds, known, resnet_v2, samples
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.architectures.resnet_v2 import NAMES, ResNetV2, parse
from mshub_convert.mappings.chains import Branches, chain
from mshub_convert.mappings.dialects import BUILTIN, check, dialect, dialects_for, preferred_dialect
from mshub_convert.mappings.errors import MappingError, UnknownNameError
from mshub_convert.mappings.graph import Graph, Node, Shape
from mshub_convert.mappings.identify import UnidentifiedError, identify
from mshub_convert.mappings.traits import Traits

GLUON = ("gluon", "gluon-ms")

networks = st.builds(
    ResNetV2,
    st.tuples(*[st.integers(1, 3)] * 4),
    st.sampled_from(("basic", "bottleneck")),
    st.integers(1, 2000),
)


def node(graph: Graph, name: str) -> Node:
    return next(found for found in graph.nodes if found.name == name)


def specs(name: str, dialect_name: str, classes: int = 1000) -> dict[str, Shape]:
    return dict(dialect(dialect_name).ground(architecture(name, classes=classes)).specs)


# Structure


# MXNet's documentation of gluon.model_zoo.vision counts running statistics too.
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("resnet18_v2", 11_695_796),
        ("resnet34_v2", 21_811_380),
        ("resnet50_v2", 25_595_060),
        ("resnet101_v2", 44_639_412),
        ("resnet152_v2", 60_329_140),
    ],
)
def test_parameters_are_as_many_as_published(name: str, published: int) -> None:
    graph = architecture(name).graph()
    assert sum(parameter.size for parameter in graph.parameters if parameter.leaf != "count") == published


def test_norm_and_relu_stand_before_each_convolution() -> None:
    graph = architecture("resnet50_v2").graph()
    assert [found.op for found in graph.nodes[:5]] == [
        "BatchNormalization",
        "Conv",
        "BatchNormalization",
        "Relu",
        "MaxPool",
    ]
    assert graph.nodes[0].inputs[0] == graph.input
    for k in (1, 2, 3):
        relu = node(graph, node(graph, f"stages.1.0.conv{k}").inputs[0])
        assert (relu.op, relu.inputs[0]) == ("Relu", f"stages.1.0.norm{k}")
    # The shortcut takes what the block's first ReLU gives; without one the value itself goes on, not normalised.
    assert node(graph, "stages.1.0.shortcut.conv").inputs[0] == node(graph, "stages.1.0.conv1").inputs[0]
    assert node(graph, "stages.1.0.add").inputs == ("stages.1.0.conv3", "stages.1.0.shortcut.conv")
    assert node(graph, "stages.1.1.add").inputs == ("stages.1.1.conv3", "stages.1.0.add")
    assert [found.op for found in graph.nodes[-6:]] == [
        "Add", "BatchNormalization", "Relu", "GlobalAveragePool", "Flatten", "Gemm",
    ]  # fmt: skip
    assert not any(module.path.endswith("shortcut.norm") for module in graph.modules)


@pytest.mark.parametrize(
    ("name", "strides", "shortcuts"),
    [("resnet50_v2", (1, 2, 1), (0, 1, 2, 3)), ("resnet34_v2", (2, 1), (1, 2, 3))],
)
def test_strides_and_shortcuts(name: str, strides: tuple[int, ...], shortcuts: tuple[int, ...]) -> None:
    graph = architecture(name).graph()
    for k, stride in enumerate(strides, start=1):
        assert node(graph, f"stages.2.0.conv{k}").attributes["strides"] == (stride, stride)
        assert node(graph, f"stages.2.1.conv{k}").attributes["strides"] == (1, 1)
    convs = [found.name for found in graph.nodes if found.name.endswith("shortcut.conv")]
    assert convs == [f"stages.{stage}.0.shortcut.conv" for stage in shortcuts]


@given(network=networks, traits=st.sampled_from((Traits(), Traits(stem_pool="same", padding="same"))))
@settings(max_examples=20, deadline=None)
def test_graph_is_closed_nests_and_reads_every_weight_once(network: ResNetV2, traits: Traits) -> None:
    graph = network.graph(traits)
    parameters = {parameter.key: parameter for parameter in graph.parameters}
    assert len(parameters) == len(graph.parameters)
    made, read = {graph.input}, []
    for found in graph.nodes:
        assert set(found.inputs) <= made | set(parameters)
        read += [name for name in found.inputs if name in parameters]
        made.add(found.output)
    assert sorted(read) == sorted(key for key, parameter in parameters.items() if parameter.leaf != "count")
    joins = [step for step in chain(graph) if isinstance(step, Branches)]
    assert joins
    for module in graph.modules:
        assert kinds()[module.pattern] == module.kind
        assert module.pattern.format(**module.indices) == module.path
    assert sum(module.closes_branch for module in graph.modules) == sum(network.depths)
    assert {module.kind for module in graph.modules if module.closes_branch} == {"conv"}


def test_taps_go_from_stem_to_logits_at_an_odd_size() -> None:
    graph = architecture("resnet50_v2", classes=7).graph()
    shapes = graph.shapes(225, 231)
    assert {tap: shapes[value] for tap, value in graph.taps.items()} == {
        "stem": (64, 57, 58), "stages.0": (256, 57, 58), "stages.1": (512, 29, 29), "stages.2": (1024, 15, 15),
        "stages.3": (2048, 8, 8), "head.pool": (2048, 1, 1), "head": (7,),
    }  # fmt: skip


def test_traits_change_what_is_computed_but_no_parameter() -> None:
    network = architecture("resnet50_v2")
    changed = network.graph(Traits("same", "same", 1e-3, "1x1"))
    assert {item.attributes["epsilon"] for item in changed.nodes if item.op == "BatchNormalization"} == {1e-3}
    assert {item.attributes.get("auto_pad") for item in changed.nodes if item.op in ("Conv", "MaxPool")} == {
        "SAME_UPPER"
    }
    assert [node(changed, f"stages.1.0.conv{k}").attributes["strides"] for k in (1, 2)] == [(2, 2), (1, 1)]
    assert changed.parameters == network.graph().parameters


# Names


def test_published_names_are_known_beside_the_others() -> None:
    assert set(NAMES) < set(known())
    for name in NAMES:
        network = architecture(name, classes=5)
        assert (network.name, network.classes, type(network)) == (name, 5, ResNetV2)
        assert not isinstance(architecture(name.removesuffix("_v2")), ResNetV2)


@given(depths=st.tuples(*[st.integers(1, 512)] * 4), block=st.sampled_from(("basic", "bottleneck")))
def test_every_network_has_a_name_that_is_read_back(depths: tuple[int, ...], block: Any) -> None:
    network = ResNetV2(depths, block)
    assert parse(network.name) == network
    assert architecture(network.name) == network
    assert set(network.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


@pytest.mark.parametrize(
    "name",
    ["", "resnet_v2", "resnet50", "resnet50_v1", "resnet50_v3", "resnet20_v2", "Resnet50_v2", "resnet50_v2\n",
     "resnet_3-4-6-3_bottleneck_v2", "resnet_1-1-1_basic_v2", "resnet_1-0-1-1_basic_v2", "resnet_1-01-1-1_basic_v2",
     "resnet_1-513-1-1_basic_v2", "resnet_1-1-1-1_v2", "resnet_1-1-1-1_other_v2"],
)  # fmt: skip
def test_other_names_are_none_of_these(name: str) -> None:
    assert parse(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnetv2_50", "no norm on the picture and none after the stem"),
        ("resnetv2_50x1_bit", "no norm on the picture"),
        ("resnet50_v1", "of Gluon's networks, resnet18_v2, resnet34_v2, resnet50_v2"),
        ("resnet50_v1b", "of Gluon's networks"),
        ("se_resnet50_v1", "of Gluon's networks"),
        ("resnet20_v2", "of Gluon's networks"),
    ],
)
def test_relatives_are_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(UnknownNameError, match="is not supported") as caught:
        architecture(name)
    assert reason in caught.value.message
    assert "mshub-convert list" in caught.value.remedy


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        architecture("rsnet50_v2")
    assert "resnet50_v2" in caught.value.remedy


# The type


@given(network=networks)
def test_plain_values_round_trip_and_say_the_family(network: ResNetV2) -> None:
    data = network.as_dict()
    assert data["family"] == "resnet_v2"
    assert from_dict(data) == network


def test_values_without_a_family_are_those_of_a_resnet() -> None:
    data = ResNet((1, 2)).as_dict()
    assert "family" not in data
    assert from_dict(data) == ResNet((1, 2))
    assert from_dict({**data, "family": "resnet"}) == ResNet((1, 2))


def test_an_unknown_family_is_an_error() -> None:
    with pytest.raises(MappingError, match="unknown family of networks 'resnet_v3'") as caught:
        from_dict({**ResNetV2((1, 1, 1, 1)).as_dict(), "family": "resnet_v3"})
    assert "resnet_v2" in caught.value.remedy


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"depths": (1, 1, 1)}, r"depths=\(1, 1, 1\)"),
        ({"depths": (1, 1, 1, 1, 1)}, "depths"),
        ({"depths": (1, 1, 0, 1)}, "depths"),
        ({"depths": (1, 1, 1, 513)}, "depths"),
        ({"block": "preact"}, "block=preact"),
        ({"classes": 0}, "classes=0"),
    ],
)
def test_impossible_networks_cannot_be_said(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(MappingError, match=named) as caught:
        ResNetV2(**{"depths": (1, 1, 1, 1), **changes})
    assert "4 stages" in caught.value.remedy


def test_class_count_is_no_part_of_the_name() -> None:
    network = architecture("resnet50_v2").with_classes(3)
    assert (network.name, network.classes) == ("resnet50_v2", 3)
    assert network.graph().shapes(64, 64)["head"] == (3,)


# Dialects


@pytest.mark.parametrize("name", GLUON)
def test_gluons_dialects_pass_their_own_check_and_name_all_published_networks(name: str) -> None:
    found = dialect(name)
    check(found)
    for model in NAMES:
        assert found.can_name(architecture(model))
        # Gluon builds its networks in MXNet, so there is none to load a file of this dialect into.
        assert not found.builds(architecture(model))
    assert found.traits == Traits()


def test_names_are_the_paths_of_gluons_blocks() -> None:
    names = specs("resnet50_v2", "gluon")
    assert names["features.0.weight"] == (3,)
    assert names["features.1.weight"] == (64, 3, 7, 7)
    assert names["features.2.running_var"] == (64,)
    assert names["features.5.0.bn1.weight"] == (64,)
    assert names["features.5.0.conv1.weight"] == (64, 64, 1, 1)
    assert names["features.5.0.downsample.weight"] == (256, 64, 1, 1)
    assert names["features.8.2.conv3.weight"] == (2048, 512, 1, 1)
    assert names["features.8.2.bn3.num_batches_tracked"] == ()
    assert names["features.9.bias"] == (2048,)
    assert names["output.weight"] == (1000, 2048)
    assert len(names) == 53 + 51 * 5 + 2
    mindspore = specs("resnet50_v2", "gluon-ms")
    leaves = {"gamma", "beta", "moving_mean", "moving_variance", "weight", "bias"}
    assert {name.rpartition(".")[2] for name in mindspore} == leaves
    assert len(mindspore) == len(names) - 51
    assert mindspore["features.5.0.bn1.gamma"] == (64,)


def test_no_other_dialect_has_names_for_them_nor_gluons_for_others() -> None:
    for name in NAMES:
        assert dialects_for(architecture(name)) == GLUON
    for name in ("resnet50", "resnext50_32x4d"):
        assert not set(GLUON) & set(dialects_for(architecture(name)))
    with pytest.raises(MappingError, match=r"dialect mindcv has no name for input\.norm of resnet50_v2") as caught:
        dialect("mindcv").ground(architecture("resnet50_v2"))
    assert caught.value.remedy == "Dialects that can name it: gluon or gluon-ms."
    with pytest.raises(MappingError, match="dialect gluon has no name for"):
        dialect("gluon").ground(architecture("resnet50"))


def test_the_preferred_dialect_is_the_first_of_the_framework_that_has_names() -> None:
    old, new = architecture("resnet50"), architecture("resnet50_v2")
    assert [preferred_dialect(old, framework).name for framework in ("torch", "mindspore")] == ["timm", "mindcv"]
    assert [preferred_dialect(new, framework).name for framework in ("torch", "mindspore")] == list(GLUON)
    with pytest.raises(MappingError, match="no dialect of jax has names for resnet50_v2") as caught:
        preferred_dialect(new, "jax")
    assert "gluon or gluon-ms" in caught.value.remedy


# Files


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dialect_name", GLUON)
@pytest.mark.parametrize("prefix", ["", "module.", "network."])
def test_files_are_identified(name: str, dialect_name: str, prefix: str) -> None:
    tensors = {prefix + key: shape for key, shape in specs(name, dialect_name, classes=12).items()}
    found = identify(tensors)
    assert found.architecture == architecture(name, classes=12)
    assert (found.dialect.name, found.also, found.prefix) == (dialect_name, (), prefix)


@given(network=networks, dialect_name=st.sampled_from(GLUON))
@settings(max_examples=20, deadline=None)
def test_any_network_is_identified_back(network: ResNetV2, dialect_name: str) -> None:
    found = identify(dialect(dialect_name).ground(network).specs)
    assert (found.architecture, found.dialect.name) == (network, dialect_name)


@pytest.mark.parametrize("dialect_name", [name for name in BUILTIN if name not in GLUON])
def test_files_of_other_resnets_are_not_claimed(dialect_name: str) -> None:
    network = next(item for item in samples() if dialect(dialect_name).can_name(item))
    found = identify(dialect(dialect_name).ground(network).specs)
    assert not isinstance(found.architecture, ResNetV2)


@pytest.mark.parametrize(
    "lost",
    [
        ("features.0.",),
        ("features.9.", "features.0.weight", "features.0.bias"),
        ("output.",),
        ("features.6.0.conv", "features.7.3.conv1."),
        ("features.1.", "features.2."),
    ],
)
def test_damaged_files_are_still_recognised(lost: tuple[str, ...]) -> None:
    whole = specs("resnet50_v2", "gluon")
    tensors = {name: shape for name, shape in whole.items() if not name.startswith(lost)}
    assert len(tensors) < len(whole)
    assert identify(tensors).architecture == architecture("resnet50_v2")


def test_misshapen_tensors_do_not_matter() -> None:
    tensors = specs("resnet50_v2", "gluon")
    tensors["features.5.0.conv1.weight"] = (64, 64, 3, 3)
    tensors["features.6.1.conv1.weight"] = (9,)
    tensors["features.0.weight"] = ()
    assert identify(tensors).architecture == architecture("resnet50_v2")


def test_a_file_of_three_stages_is_refused_by_what_it_is() -> None:
    tensors = {
        name: shape for name, shape in specs("resnet50_v2", "gluon").items() if not name.startswith("features.8.")
    }
    with pytest.raises(UnidentifiedError, match="a pre-activation ResNet, but not of 4 stages of basic or bottleneck"):
        identify(tensors)


@pytest.mark.parametrize(
    "names",
    [
        {"features.0.weight": (64, 3, 3, 3), "features.0.bias": (64,), "classifier.0.weight": (4096, 25088)},  # VGG
        {
            f"features.9.{leaf}": (256,) for leaf in ("weight", "bias", "running_mean", "running_var")
        },  # VGG-11 with norms
    ],
)
def test_networks_of_features_are_no_relatives(names: dict[str, Shape]) -> None:
    with pytest.raises(UnidentifiedError) as caught:
        identify(names)
    assert "pre-activation" not in caught.value.message


def test_samples_are_deep_enough_for_all() -> None:
    ours = {module.path for network in resnet_v2.SAMPLES for module in network.graph().modules}
    for name in NAMES:
        assert {module.path for module in architecture(name).graph().modules} <= ours
