"""Backbones: what they share with their whole networks, in every dialect, and how a file of one is told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshub_convert.mappings.architectures import architecture, from_dict, known, named_like, spoken
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import BUILTIN, dialect, dialects_for
from mshub_convert.mappings.identify import UnidentifiedError, identify
from mshub_convert.naming import mapping

pytestmark = pytest.mark.slow

COUNTER = "num_batches_tracked"


@settings(deadline=None)
@given(st.from_type(ResNet))
def test_it_is_the_network_without_the_classifier(network):
    body, whole = network.backbone.graph(), network.graph()
    assert body.modules == whole.modules[:-1]
    assert whole.modules[-1].path == "head"
    assert body.nodes == whole.nodes[: len(body.nodes)]
    assert list(body.outputs) == ["features"]
    assert body.taps.items() == {tap: value for tap, value in whole.taps.items() if "head" not in tap}.items()
    assert body.shapes(97, 64)[body.output] == whole.shapes(97, 64)[whole.taps[f"stages.{len(network.depths) - 1}"]]


@settings(deadline=None)
@given(st.from_type(ResNet))
def test_it_is_its_own_backbone_and_is_read_back(network):
    body = network.backbone
    assert body.backbone == body
    assert from_dict(body.as_dict()) == body
    assert body.name == network.name
    assert named_like(body.name, body) == body
    assert body.with_classes(network.classes) == network


@pytest.mark.parametrize("name", known())
def test_which_networks_have_one(name):
    network = architecture(name)
    if name.endswith("_v2"):
        assert network.backbone is None
        assert named_like(name, architecture("resnet50").backbone) == network
    else:
        assert not network.backbone.classes
        assert {p.key for p in network.backbone.graph().parameters} < {p.key for p in network.graph().parameters}


def test_shapes_are_a_32nd_of_the_picture_rounded_up():
    for body, channels in ((architecture("resnet50").backbone, 2048), (architecture("resnet18").backbone, 512)):
        graph = body.graph()
        assert graph.shapes(224, 225)[graph.output] == (channels, 7, 8)


@settings(max_examples=50, deadline=None)
@given(st.from_type(ResNet), st.sampled_from(BUILTIN))
def test_a_dialect_calls_it_as_the_whole_network(network, name):
    naming = dialect(name)
    if not naming.can_name(network):
        return
    ours, whole = naming.ground(network.backbone), naming.ground(network)
    assert ours.slots.items() == {key: slot for key, slot in whole.slots.items() if "head" not in key}.items()
    assert list(ours.specs) == [name for name in whole.specs if name in ours.specs]


def test_dialects_of_the_detector_name_it_too():
    body = architecture("ssd_resnet50").backbone
    assert set(dialects_for(architecture("resnet50"))) | {"modelzoo-ssd", "ssd"} == set(dialects_for(body))
    for name in ("modelzoo-ssd", "ssd"):
        inside = dialect(name).ground(architecture("ssd_resnet50"))
        assert dialect(name).ground(body).specs.items() <= inside.specs.items()


def test_which_libraries_build_it():
    body = architecture("resnet50").backbone
    assert all(dialect(name).builds(body) for name in ("timm", "torchvision", "mindcv", "modelzoo-resnet"))
    assert dialect("modelzoo-ssd").builds(body)
    assert not dialect("modelzoo-ssd").builds(architecture("resnet18").backbone)
    assert not dialect("modelzoo-ssd").builds(architecture("resnet50"))


def test_names_between_dialects():
    names = mapping("resnet50", "modelzoo-ssd", "torchvision", classes=0)
    assert len(names) == 265
    assert names["network.feature_extractor.resnet.bn1.gamma"] == ("bn1.weight",)


# Files


def without_counters(specs):
    return {name: shape for name, shape in specs.items() if COUNTER not in name}


@settings(max_examples=60, deadline=None)
@given(st.from_type(ResNet), st.sampled_from(BUILTIN), st.booleans(), st.sampled_from(("", "module.")))
def test_a_file_of_one_is_told(network, name, counted, prefix):
    naming, body = dialect(name), network.backbone
    if not naming.can_name(body):
        return
    specs = naming.ground(body).specs if counted else without_counters(naming.ground(body).specs)
    found = identify({prefix + tensor: shape for tensor, shape in specs.items()}, dialects=(name,))
    # Where no shortcut has a convolution, nothing tells what kind it would be.
    assert (found.architecture.classes, found.grounding.specs) == (0, naming.ground(body).specs)
    assert found.names == {tensor: prefix + tensor for tensor in specs}


@settings(max_examples=30, deadline=None)
@given(st.from_type(ResNet), st.data())
def test_a_file_that_lacks_more_is_none(network, data):
    """A damaged network is not taken for a backbone, and no classifier for none."""
    whole = dialect("timm").ground(network).specs
    body = without_counters(dialect("timm").ground(network.backbone).specs)
    lost = data.draw(st.sampled_from(sorted(body)))
    cut = {name: shape for name, shape in body.items() if name != lost}
    try:
        assert identify(cut).architecture.classes
    except UnidentifiedError:
        assert len(body) < 20
    for left in ("fc.weight", "fc.bias", "layer1.0.surplus.weight"):
        found = identify({**body, left: whole.get(left, (3,))})
        assert found.architecture.classes


def test_in_words():
    assert spoken("resnet50", 7) == "resnet50, 7 classes"
    assert spoken("resnet50", 0) == "resnet50 without a classifier"
