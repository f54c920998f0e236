"""SSD-ResNet50 in every runtime: one function in all of them, and what would make it another is seen."""

from dataclasses import replace

import numpy as np
import pytest

from mshub_convert.converters.detection import agreement, decode, detect
from mshub_convert.mappings.architectures.ssd_resnet50 import SsdResNet50
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.graph import Graph
from mshub_convert.mappings.traits import Traits
from mshub_convert.verify.compare import Verdict, compare
from mshub_convert.verify.inputs import pictures

pytestmark = pytest.mark.slow

NETWORK = SsdResNet50(classes=6)
TRAITS = dialect("modelzoo-ssd").traits
# Small and not square, one side odd further in, the other a multiple of four, where pools that pad otherwise differ.
SIZE = 100, 130


@pytest.fixture(scope="module")
def batch():
    return pictures(2, *SIZE)


@pytest.fixture(scope="module")
def run(healthy, batch):
    """``run(graph, dtype)`` gives the outputs of a graph in torch."""
    import torch

    from mshub_convert.verify.networks import torch as networks

    grounding = dialect("ssd").ground(NETWORK)

    def outputs(graph: Graph, dtype="float32"):
        network = networks.build(graph, grounding)
        networks.load(network, healthy(grounding))
        wanted = getattr(torch, dtype)
        with torch.inference_mode():
            found = network.to(wanted).outputs(torch.from_numpy(batch).to(wanted))
        return {name: value.numpy() for name, value in found.items()}

    return outputs


@pytest.fixture(scope="module")
def exact(run):
    return run(NETWORK.graph(TRAITS), "float64")


@pytest.fixture(scope="module")
def ours(run):
    return run(NETWORK.graph(TRAITS))


def verdicts(source, target, exact):
    return {
        name: compare(name, source[name], target[name], exact[name], ranked=False).verdict for name in ("loc", "scores")
    }


def test_mindspore_agrees_with_torch(healthy, batch, ours, exact):
    import mindspore

    from mshub_convert.verify.networks import mindspore as networks

    grounding = dialect("modelzoo-ssd").ground(NETWORK)
    network = networks.build(NETWORK.graph(TRAITS), grounding)
    networks.load(network, healthy(grounding))
    given = dict(zip(network.output_values, network(mindspore.Tensor(batch)), strict=True))
    arrays = {name: value.asnumpy() for name, value in given.items()}
    assert set(verdicts(ours, arrays, exact).values()) <= {Verdict.PASS, Verdict.WARN}
    taps = network.taps(mindspore.Tensor(batch))
    assert all(np.array_equal(taps[name].asnumpy(), array) for name, array in arrays.items())


def test_numpy_agrees_with_torch_in_float64(healthy, batch, exact):
    from mshub_convert.verify.networks.exact import values

    grounding = dialect("ssd").ground(NETWORK)
    held = healthy(grounding)
    tensors = {key: held[slot.names[0]] for key, slot in grounding.slots.items()}
    graph = NETWORK.graph(TRAITS)
    found = dict(values(graph, tensors, batch))
    for name, value in graph.outputs.items():
        assert np.linalg.norm(found[value] - exact[name]) <= 1e-12 * np.linalg.norm(exact[name])


def test_the_parameters_are_called_as_in_the_original(healthy):
    from mshub_convert.verify.networks import mindspore as networks

    grounding = dialect("modelzoo-ssd").ground(NETWORK)
    network = networks.build(NETWORK.graph(TRAITS), grounding)
    assert len(network.parameters_dict()) == 355
    assert {name: tuple(p.shape) for name, p in network.parameters_dict().items()} == dict(grounding.specs)


# What would be another network


def with_nodes(change):
    graph = NETWORK.graph(TRAITS)
    return replace(graph, nodes=tuple(change(node) for node in graph.nodes))


def reordered(node):
    """The heads of the last two levels, which have equal shapes, in the wrong order."""
    if node.op != "Concat":
        return node
    *others, fourth, fifth = node.inputs
    return replace(node, inputs=(*others, fifth, fourth))


def columns_first(node):
    """Anchors column by column in place of row by row."""
    return replace(node, attributes={"perm": (0, 3, 2, 1)}) if node.op == "Transpose" else node


def plain_relu(node):
    return replace(node, op="Relu", attributes={}) if node.op == "Clip" else node


def extras_as_the_rest(node):
    """One epsilon everywhere."""
    return replace(node, attributes={"epsilon": 1e-3}) if node.op == "BatchNormalization" else node


MUTATIONS = {
    "eps 1e-5 for 1e-3": lambda: NETWORK.graph(TRAITS.with_values({"norm_eps": 1e-5})),
    "eps 1e-3 in the extra layers": lambda: with_nodes(extras_as_the_rest),
    "symmetric padding": lambda: NETWORK.graph(replace(TRAITS, padding="symmetric")),
    "symmetric pool": lambda: NETWORK.graph(replace(TRAITS, stem_pool="symmetric")),
    "stride in the first convolution": lambda: NETWORK.graph(replace(TRAITS, bottleneck_stride="1x1")),
    "heads in another order": lambda: with_nodes(reordered),
    "anchors in another order": lambda: with_nodes(columns_first),
    "ReLU for ReLU6": lambda: with_nodes(plain_relu),
    "PyTorch's traits": lambda: NETWORK.graph(Traits()),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_of_the_graph_is_caught(name, run, ours, exact):
    target = run(MUTATIONS[name]())
    assert {array.shape for array in target.values()} == {array.shape for array in ours.values()}
    found = verdicts(ours, target, exact)
    assert Verdict.FAIL in found.values()
    assert found["scores"] is Verdict.FAIL


def test_swapped_heads_are_caught_by_the_outputs_alone(healthy, batch, ours, exact):
    import torch

    from mshub_convert.verify.networks import torch as networks

    grounding = dialect("ssd").ground(NETWORK)
    held = healthy(grounding)
    swapped = {
        name: held[name.replace("_head.3.", "_head.9.").replace("_head.4.", "_head.3.").replace("_head.9.", "_head.4.")]
        for name in held
    }
    network = networks.build(NETWORK.graph(TRAITS), grounding)
    networks.load(network, swapped)
    with torch.inference_mode():
        target = {name: value.numpy() for name, value in network.outputs(torch.from_numpy(batch)).items()}
    assert set(verdicts(ours, target, exact).values()) == {Verdict.FAIL}


def detections(outputs, *, loc=None, place=0):
    boxes = decode(outputs["loc"] if loc is None else loc, *SIZE)
    return detect(boxes[place], outputs["scores"][place], *SIZE, score_threshold=0.02)


def test_detections_tell_swapped_axes_and_the_order_of_anchors(ours, exact):
    here = detections(ours)
    assert len(here) > 20
    there = detections({name: array.astype(np.float32) for name, array in exact.items()})
    same = agreement(here, there)
    assert same.alone == (0, 0)
    assert same.least_iou > 0.999
    assert same.largest_difference < 1e-5
    swapped = detections(ours, loc=ours["loc"][..., [1, 0, 3, 2]])
    assert sum(agreement(here, swapped).alone) or agreement(here, swapped).least_iou < 0.99
    # Ratio after scale in place of before: the second and third anchor of each cell, and so on.
    order = np.arange(ours["loc"].shape[1]).reshape(-1, 3, 2).transpose(0, 2, 1).ravel()
    shuffled = detections({"loc": ours["loc"][:, order], "scores": ours["scores"][:, order]})
    assert sum(agreement(here, shuffled).alone) or agreement(here, shuffled).least_iou < 0.99


def test_a_verification_through_the_front_door(tmp_path):
    import mshub_convert as mc

    made = mc.convert("ssd_resnet50", init="calibrated:0", to="ckpt", out=tmp_path)
    back = mc.convert(made.path, to="safetensors", out=tmp_path)
    proof = mc.verify(back, sizes=[SIZE], count=2)
    assert proof
    outputs = {comparison.label for comparison in proof.comparisons}
    assert outputs == {"100x130 loc", "100x130 scores", "100x130 boxes"}
    (found,) = proof.detections
    assert (found.label, found.pictures, found.unexplained) == ("100x130", 2, 0)
    wrong = mc.verify(made.path, back.path, traits={"norm_eps": "1e-5"}, sizes=[SIZE], count=2)
    assert wrong.verdict is Verdict.FAIL
    assert any("norm_eps is 0.001 in the source and 1e-05 in the target" in notice for notice in wrong.notices)
