"""SSD-ResNet50: names, shapes, traits and anchors against model_zoo's, and what only looks like it."""

import json
import math
from pathlib import Path

import pytest

from mshub_convert.mappings.architectures import architecture, from_dict
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.architectures.ssd_anchors import anchors, grids
from mshub_convert.mappings.architectures.ssd_resnet50 import SsdResNet50
from mshub_convert.mappings.chains import chain, segments
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.errors import MappingError, UnknownNameError
from mshub_convert.mappings.graph import Graph, Node
from mshub_convert.mappings.identify import UnidentifiedError, identify
from mshub_convert.mappings.traits import Traits

GOLDEN = Path(__file__).parents[1] / "golden" / "modelzoo_ssd_resnet50.json"
NETWORK = SsdResNet50()
TRAITS = dialect("modelzoo-ssd").traits


def golden():
    return {name: tuple(shape) for name, shape in json.loads(GOLDEN.read_text(encoding="utf-8"))["tensors"]}


def test_the_number_of_tensors_and_elements():
    specs = dialect("modelzoo-ssd").ground(NETWORK).specs
    assert len(specs) == 355
    assert sum(map(math.prod, specs.values())) == 36_737_462
    assert all(name.startswith("network.") for name in specs)


@pytest.mark.parametrize("prefix", ["", "network.", "module.network."])
def test_files_with_and_without_the_cell_around_the_network(prefix):
    found = identify({prefix + name: shape for name, shape in golden().items()})
    assert (found.dialect.name, found.architecture, found.prefix) == ("modelzoo-ssd", NETWORK, prefix)
    assert set(found.names) == set(found.grounding.specs)


def test_names_in_torch():
    specs = dialect("ssd").ground(NETWORK).specs
    assert specs["backbone.layer2.0.downsample.0.weight"] == (512, 256, 1, 1)
    assert specs["extras.0.0.weight"] == (512, 2048, 3, 3)
    assert specs["head.regression_head.1.0.weight"] == (1024, 1, 3, 3)
    assert specs["head.classification_head.4.3.weight"] == (486, 256, 1, 1)
    assert specs["head.classification_head.4.3.bias"] == (486,)
    found = identify(specs)
    assert (found.dialect.name, found.architecture) == ("ssd", NETWORK)


def test_the_class_count_is_read_off_the_heads():
    tensors = dict(dialect("modelzoo-ssd").ground(SsdResNet50(21)).specs)
    del tensors["network.multi_box.multi_cls_layers.2.3.weight"]
    assert identify(tensors).architecture == SsdResNet50(21)
    assert from_dict(SsdResNet50(21).as_dict()) == SsdResNet50(21)
    with pytest.raises(MappingError, match="no ssd_resnet50 has 1 classes"):
        SsdResNet50(1)


def test_sizes_at_640():
    graph = NETWORK.graph(TRAITS)
    shapes = graph.shapes(640, 640)
    sides = {"stem": 160, "stages.1": 80, "stages.2": 40, "stages.3": 20, "extras.0": 20, "extras.2": 10, "extras.3": 5}
    assert {tap: shapes[graph.taps[tap]][1] for tap in sides} == sides
    assert {name: shapes[value] for name, value in graph.outputs.items()} == {"loc": (51150, 4), "scores": (51150, 81)}
    with pytest.raises(ValueError, match="the outputs loc, scores, not one"):
        _ = graph.output


def test_only_backbone_and_heads_follow_the_trait_of_epsilon():
    graph = NETWORK.graph(Traits(norm_eps=0.25))
    epsilons = {n.name: n.attributes["epsilon"] for n in graph.nodes if n.op == "BatchNormalization"}
    fixed = {name for name, epsilon in epsilons.items() if epsilon != 0.25}
    assert fixed == {f"extras.{number}.norm" for number in range(4)}
    assert {epsilons[name] for name in fixed} == {1e-5}
    assert len(epsilons) == 53 + 4 + 10


def test_anchors():
    found = anchors(640, 640)
    assert len(found) == 51150
    assert grids(640, 640) == ((80, 80), (40, 40), (20, 20), (10, 10), (5, 5))
    # Row by row: the sixth after the first is the next column; ratio before scale; [cy, cx, h, w].
    assert found[6] == pytest.approx((4 / 640, 12 / 640, 0.05, 0.05))
    assert found[80 * 6] == pytest.approx((12 / 640, 4 / 640, 0.05, 0.05))
    root = math.sqrt(2)
    assert [box[2:] for box in found[:6]] == [
        pytest.approx(size)
        for size in (
            (0.05, 0.05), (0.05 * root, 0.05 * root), (0.05 / root, 0.05 * root), (0.05, 0.1),
            (0.05 * root, 0.05 / root), (0.1, 0.05),
        )
    ]  # fmt: skip
    assert found[-1] == pytest.approx((576 / 640, 576 / 640, 1.6, 0.8))
    shapes = NETWORK.graph(TRAITS).shapes(321, 353)
    assert len(anchors(321, 353)) == shapes["heads.boxes"][0]


def test_a_classifier_is_one_chain():
    for name in ("resnet50", "seresnext50_32x4d", "resnet50_v2", "resnet50d"):
        graph = architecture(name).graph()
        (only,) = segments(graph)
        assert only.steps == chain(graph)
        assert (only.sources, only.output) == ((graph.input,), graph.output)


def test_the_detector_is_chains_that_read_each_other():
    graph = NETWORK.graph(TRAITS)
    parts = segments(graph)
    assert len(parts) == 18
    known = {graph.input}
    for part in parts:
        assert set(part.sources) <= known
        known.add(part.output)
    assert set(graph.outputs.values()) <= known
    assert [len(part.sources) for part in parts].count(5) == 2


def test_chains_of_a_graph_whose_branches_cross():
    nodes = (
        *(Node("Relu", name, (source,), name) for source, name in (("input", "a"), ("a", "b"), ("a", "c"), ("b", "d"))),
        Node("Add", "e", ("b", "c"), "e"), Node("Add", "f", ("e", "d"), "f"),
    )  # fmt: skip
    parts = segments(Graph((), nodes, "input", {"e": "e", "f": "f"}, 3, {}))
    assert [(part.sources, part.output) for part in parts] == [
        (("input",), "a"), (("a",), "b"), (("a",), "c"), (("b",), "d"), (("b", "c"), "e"), (("e", "d"), "f"),
    ]  # fmt: skip


# What only looks like it


def refusal(tensors):
    with pytest.raises(UnidentifiedError) as caught:
        identify(tensors)
    return caught.value


def test_the_backbone_alone():
    backbone = {name: shape for name, shape in golden().items() if ".resnet." in name}
    assert len(backbone) == 265
    found = identify(backbone)
    assert (found.architecture, found.dialect.name) == (NETWORK.backbone, "modelzoo-ssd")


def test_less_or_more_than_the_backbone_alone():
    more = {name: shape for name, shape in golden().items() if "multi_box" not in name}
    error = refusal(more)
    assert error.message.startswith(
        "285 tensors of a part of ssd_resnet50: neither all of it nor its whole backbone alone: "
    )
    assert error.remedy.startswith("Give the file of the whole detector, which has multi_box.")
    damaged = {name: shape for name, shape in golden().items() if ".resnet." in name and "bn1.gamma" not in name}
    assert "neither all of it nor its whole backbone alone" in refusal(damaged).message


def test_what_an_optimiser_has_of_the_backbone_is_no_backbone():
    whole = golden()
    conv = "feature_extractor.resnet.conv1.weight"
    found = identify(whole | {"queue": (1,), f"moments.{conv}": whole[conv]})
    assert (found.architecture, found.training) == (NETWORK, (f"moments.{conv}",))
    averaged = {f"ema.{name}": shape for name, shape in whole.items()}
    found = identify(whole | averaged | {"queue": (1,)})
    assert (found.architecture, set(found.copies)) == (NETWORK, set(averaged))


def test_shared_heads_are_those_of_the_pyramid():
    tensors = {name: shape for name, shape in golden().items() if ".resnet." in name}
    tensors |= {"multi_box.loc_layers.0.weight": (24, 256, 3, 3), "multi_box.cls_layers.0.weight": (486, 256, 3, 3)}
    assert "model_zoo's ssd_resnet50_fpn" in refusal(tensors).message


def test_an_ssd_of_another_backbone():
    tensors = {name: shape for name, shape in golden().items() if "multi_box" in name}
    narrow = {name: tuple(96 if size > 500 else size for size in shape) for name, shape in tensors.items()}
    assert refusal(narrow).message.startswith(
        "70 tensors of an SSD of model_zoo on another backbone than ssd_resnet50's: "
    )


def test_a_detector_of_torchvision():
    tensors = {"head.classification_head.conv.0.0.weight": (256, 256, 3, 3), "backbone.fpn.x.weight": (256, 256, 1, 1)}
    assert "an SSD or RetinaNet of torchvision" in refusal(tensors).message


def test_the_pyramid_is_refused_by_name():
    with pytest.raises(UnknownNameError, match="its feature pyramid and shared heads"):
        architecture("ssd_resnet50_fpn")
    with pytest.raises(UnknownNameError, match="of detectors only ssd_resnet50 is described"):
        architecture("retinanet_resnet50")


def test_the_backbone_is_a_resnet50():
    ours = {m.path: [(p.leaf, p.shape) for p in m.parameters] for m in NETWORK.graph().modules}
    theirs = {m.path: [(p.leaf, p.shape) for p in m.parameters] for m in ResNet((3, 4, 6, 3)).graph().modules}
    assert {path: ours.get(path) for path in theirs if path != "head"} == {
        path: leaves for path, leaves in theirs.items() if path != "head"
    }


def test_a_dialect_says_a_known_wrapper(tmp_path):
    from importlib import resources

    text = resources.files("mshub_convert.mappings").joinpath("modelzoo-ssd.toml").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('"modelzoo-ssd"', '"mine"').replace('"network."', '"around."'), encoding="utf-8")
    with pytest.raises(MappingError, match=r"mine.toml:\d+: wrapper must be module., .* not 'around\.'"):
        dialect(str(path))
