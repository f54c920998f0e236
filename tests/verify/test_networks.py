"""Our networks against the libraries' own, against each other, and against the dialects' names."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.chains import Branches, chain
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.dialects import load as load_dialect
from mshub_convert.mappings.errors import MappingError
from mshub_convert.mappings.graph import Graph, Node
from mshub_convert.mappings.traits import Traits
from mshub_convert.verify.errors import LoadError, NetworkError
from mshub_convert.verify.inputs import pictures
from mshub_convert.verify.networks.places import check_fit, places

SAME = Traits(stem_pool="same", padding="same", norm_eps=1e-4)
MINDCV = dialect("mindcv").traits
TRAIT_CHANGES = {"stem_pool": "same", "padding": "same", "norm_eps": 1e-3, "bottleneck_stride": "1x1"}


def distance(values, reference):
    """Largest relative L2 distance of a row."""
    return float((np.linalg.norm(values - reference, axis=1) / np.linalg.norm(reference, axis=1)).max())


def torch_network(target, name, healthy, traits=None):
    from mshub_convert.verify.networks import torch as networks

    grounding = dialect(name).ground(target)
    network = networks.build(target.graph(traits), grounding)
    networks.load(network, healthy(grounding))
    return network


def mindspore_network(target, name, healthy, traits=None):
    from mshub_convert.verify.networks import mindspore as networks

    grounding = dialect(name).ground(target)
    network = networks.build(target.graph(traits), grounding)
    networks.load(network, healthy(grounding))
    return network


def run_torch(network, batch):
    import torch

    with torch.inference_mode():
        return network(torch.from_numpy(batch)).numpy()


def run_mindspore(network, batch):
    import mindspore

    return network(mindspore.Tensor(batch)).asnumpy()


# Chains and places, without a framework


@pytest.mark.parametrize("name", ["resnet50", "resnext50d_32x4d", "resnet18", "seresnext50_32x4d"])
def test_a_chain_holds_every_node_once_and_in_order(name):
    graph = architecture(name).graph()
    produced = {graph.input}

    def walk(steps):
        for step in steps:
            node = step.node if isinstance(step, Branches) else step
            if isinstance(step, Branches):
                for branch in step.chains:
                    walk(branch)
            assert all(source in produced or "." in source for source in node.inputs)
            assert node.output not in produced
            produced.add(node.output)

    walk(chain(graph))
    assert produced == {graph.input, *(node.output for node in graph.nodes)}


def relus(*pairs):
    return tuple(Node("Relu", name, (source,), name) for source, name in pairs)


def test_branches_within_branches():
    nodes = (
        *relus(("input", "a"), ("a", "b"), ("b", "c")),
        Node("Add", "d", ("c", "b"), "d"), Node("Add", "e", ("a", "d"), "e"),
    )  # fmt: skip
    first, outer = chain(Graph((), nodes, "input", {"head": "e"}, 3, {}))
    assert first is nodes[0]
    assert outer.node.name == "e"
    empty, inner = outer.chains
    assert empty == ()
    assert inner == (nodes[1], Branches(nodes[3], ((nodes[2],), ())))


@pytest.mark.parametrize(
    "nodes",
    [
        (*relus(("input", "a"), ("a", "b"), ("a", "c"), ("input", "d")),
         Node("Add", "e", ("b", "d"), "e"), Node("Add", "out", ("e", "c"), "out")),
        (*relus(("input", "a")), Node("Add", "out", ("a", "elsewhere"), "out")),
        relus(("input", "a"), ("input", "out")),
    ],
    ids=["crossing", "from nowhere", "to nowhere"],
)  # fmt: skip
def test_branches_that_do_not_nest_are_refused(nodes):
    with pytest.raises(MappingError):
        chain(Graph((), nodes, "input", {"head": "out"}, 3, {}))


def test_a_dialect_of_the_other_framework_is_refused(small):
    with pytest.raises(NetworkError, match="mindcv names networks of mindspore, not of torch"):
        places(small.graph(), dialect("mindcv").ground(small), "torch")


def test_places_of_a_split_convolution(small):
    found = places(small.graph(), dialect("modelzoo").ground(small), "mindspore")
    assert found["stages.1.1.conv2"].paths == tuple(f"backbone.layer2.1.conv2.convs.{group}" for group in range(4))
    assert found["stem.norm"].paths == ("backbone.bn",)


@pytest.mark.parametrize(
    ("op", "attributes", "said"),
    [
        ("Erf", {}, "is a Erf"),
        ("Relu", {"alpha": 0.1}, "has alpha=0.1"),
        ("MaxPool", {"auto_pad": "SAME_LOWER"}, "has auto_pad='SAME_LOWER'"),
    ],
)
def test_what_the_networks_do_not_compute_is_refused(op, attributes, said, small):
    graph = small.graph()
    odd = replace(graph, nodes=(*graph.nodes[:-1], replace(graph.nodes[-1], op=op, attributes=attributes)))
    with pytest.raises(NetworkError, match=said):
        places(odd, dialect("timm").ground(small), "torch")


def test_a_misfit_lists_everything():
    with pytest.raises(LoadError) as caught:
        check_fit("load", {"a.0": (1,), "a.1": (1,), "b": (2, 3)}, {"b": (3, 2), "c": (1,)})
    assert caught.value.missing == ("a.0", "a.1")
    assert caught.value.unexpected == ("c",)
    assert caught.value.shapes == ("b: (3, 2) in the weights, (2, 3) in the network",)
    assert "2 tensors missing from the weights: a.{0,1}" in caught.value.message
    assert caught.value.exit_code == 4


# Names


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("timm", "resnext50_32x4d"), ("timm", "resnet26d"), ("torchvision", "resnext50_32x4d"),
        ("mmcls", "resnext50_32x4d"), ("mmcls", "resnet26d"), ("timm", "resnet50s"), ("timm", "seresnet18"),
        ("mmcls", "seresnext50_32x4d"), ("torchvision", "resnet18"),
    ],
)  # fmt: skip
def test_torch_names_are_the_dialects(name, model):
    from mshub_convert.verify.networks import torch as networks

    target = architecture(model, classes=7)
    grounding = dialect(name).ground(target)
    state = networks.build(target.graph(), grounding).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == grounding.specs
    assert list(state) == list(grounding.specs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("mindcv", "resnext50_32x4d"), ("mindcv", "resnet26d"), ("modelzoo", "resnext50_32x4d"),
        ("modelzoo-gpu", "resnext50_32x4d"), ("modelzoo-resnet", "resnet50"), ("mindcv", "resnet18d"),
        ("mindcv-senet", "seresnext50_32x4d"), ("mindcv-senet", "seresnet18"), ("modelzoo", "seresnext50_32x4d"),
    ],
)  # fmt: skip
def test_mindspore_names_are_the_dialects(name, model):
    from mshub_convert.verify.networks import mindspore as networks

    target = architecture(model, classes=7)
    grounding = dialect(name).ground(target)
    parameters = networks.build(target.graph(), grounding).parameters_dict()
    assert {key: tuple(value.shape) for key, value in parameters.items()} == grounding.specs
    assert list(parameters) == list(grounding.specs)


# Against the libraries' own networks


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "model"),
    [
        ("timm", "resnext50_32x4d"), ("timm", "resnext50d_32x4d"), ("torchvision", "resnext50_32x4d"),
        ("timm", "resnet18d"), ("timm", "resnet50s"), ("timm", "seresnet18"), ("timm", "seresnext26t_32x4d"),
        ("torchvision", "resnet18"),
    ],
)  # fmt: skip
def test_torch_equals_the_library(library, model, healthy):
    import timm
    import torchvision

    if library == "timm":
        own = timm.create_model(model, pretrained=False, num_classes=11).eval()
    else:
        own = torchvision.models.get_model(model, weights=None, num_classes=11).eval()
    target = architecture(model, classes=11)
    network = torch_network(target, library, healthy)
    assert list(own.state_dict()) == list(network.state_dict())
    own.load_state_dict(network.state_dict(), strict=True)
    for size in ((64, 64), (225, 231)):
        batch = pictures(2, *size)
        assert distance(run_torch(network, batch), run_torch(own, batch)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("mindcv", "resnext50_32x4d"), ("mindcv", "resnet50"), ("mindcv", "resnet18"),
        ("mindcv-senet", "seresnet18"), ("mindcv-senet", "seresnext26_32x4d"),
    ],
)  # fmt: skip
def test_mindspore_equals_mindcv(name, model, healthy):
    import mindcv

    from mshub_convert.verify.networks import mindspore as networks

    target = architecture(model, classes=11)
    own = mindcv.create_model(model, num_classes=11, pretrained=False).set_train(False)
    networks.load(own, healthy(dialect(name).ground(target)))
    ours = mindspore_network(target, name, healthy, MINDCV)
    theirs = mindspore_network(target, name, healthy, Traits())
    batch = pictures(2, 64, 64)
    reference = run_mindspore(own, batch)
    assert distance(run_mindspore(ours, batch), reference) < 1e-6
    assert distance(run_mindspore(theirs, batch), reference) > 1e-3


# Torch against MindSpore


@pytest.mark.slow
@pytest.mark.parametrize("size", [(224, 224), (225, 231)])
@pytest.mark.parametrize("traits", [Traits(), MINDCV])
def test_mindspore_equals_torch_at_full_size(size, traits, healthy):
    target = architecture("resnext50_32x4d")
    batch = pictures(1, *size)
    reference = run_torch(torch_network(target, "timm", healthy, traits), batch)
    assert distance(run_mindspore(mindspore_network(target, "mindcv", healthy, traits), batch), reference) < 2e-6


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 64), (75, 98), (33, 41)])
@pytest.mark.parametrize("traits", [Traits(), MINDCV, SAME, Traits(bottleneck_stride="1x1"), Traits(padding="same")])
@pytest.mark.parametrize("kind", ["small", "small_d", "small_se", "small_basic"])
def test_mindspore_equals_torch_with_any_traits(size, traits, kind, healthy, request):
    target = request.getfixturevalue(kind)
    batch = pictures(2, *size)
    reference = run_torch(torch_network(target, "timm", healthy, traits), batch)
    name = "mindcv-senet" if target.squeeze else "mindcv"
    assert distance(run_mindspore(mindspore_network(target, name, healthy, traits), batch), reference) < 2e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mindcv-senet", "modelzoo", "modelzoo-gpu"])
def test_dense_squeeze_and_excitation_is_the_convolutional_one(name, small_se, healthy):
    batch = pictures(2, 64, 72)
    reference = run_torch(torch_network(small_se, "timm", healthy, MINDCV), batch)
    assert distance(run_mindspore(mindspore_network(small_se, name, healthy, MINDCV), batch), reference) < 2e-6
    # The gates matter: a network with others is far away.
    other = {key: array * (0.5 if "conv_expand.bias" in key or "fc2.bias" in key else 1)
             for key, array in healthy(dialect(name).ground(small_se)).items()}  # fmt: skip
    changed = mindspore_network(small_se, name, lambda _: other, MINDCV)
    assert distance(run_mindspore(changed, batch), reference) > 1e-3


@pytest.mark.slow
def test_a_torch_dialect_may_be_dense_too(small_se, healthy):
    from mshub_convert.verify.networks import torch as networks

    text = _toml("timm").replace("[leaves.conv]", '[shapes]\nsqueeze = "dense"\n[leaves.conv]', 1)
    grounding = load_dialect(text, source="dense.toml").ground(small_se)
    network = networks.build(small_se.graph(), grounding)
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == grounding.specs
    networks.load(network, healthy(grounding))
    batch = pictures(2, 64, 64)
    assert distance(run_torch(network, batch), run_torch(torch_network(small_se, "timm", healthy), batch)) < 1e-6


@pytest.mark.slow
def test_split_and_single_grouped_convolutions_agree(small, healthy):
    batch = pictures(2, 64, 64)
    split = mindspore_network(small, "modelzoo", healthy, MINDCV)
    single = mindspore_network(small, "modelzoo-gpu", healthy, MINDCV)
    assert len(split.parameters_dict()) > len(single.parameters_dict())
    assert distance(run_mindspore(split, batch), run_mindspore(single, batch)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("trait", TRAIT_CHANGES)
@pytest.mark.parametrize("framework", ["torch", "mindspore"])
def test_each_trait_changes_the_output(trait, framework, small, healthy):
    build, run, name = (
        (torch_network, run_torch, "timm") if framework == "torch" else (mindspore_network, run_mindspore, "mindcv")
    )
    batch = pictures(2, 64, 64)
    changed = Traits().with_values({trait: TRAIT_CHANGES[trait]})
    before, after = (run(build(small, name, healthy, traits), batch) for traits in (Traits(), changed))
    assert distance(after, before) > 1e-4


# As modules of their framework


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["small", "small_d", "small_se", "small_basic"])
def test_taps_are_the_graphs(kind, healthy, request):
    import mindspore
    import torch

    target = request.getfixturevalue(kind)
    batch = pictures(2, 64, 72)
    shapes = target.graph().shapes(64, 72)
    ours = torch_network(target, "timm", healthy)
    with torch.inference_mode():
        taps = ours.taps(torch.from_numpy(batch))
        assert list(taps) == list(target.graph().taps)
        assert {tap: tuple(taps[tap].shape[1:]) for tap in taps} == {
            tap: shapes[value] for tap, value in target.graph().taps.items()
        }
        assert torch.equal(taps["head"], ours(torch.from_numpy(batch)))
    theirs = mindspore_network(target, "mindcv-senet" if target.squeeze else "mindcv", healthy)
    other = theirs.taps(mindspore.Tensor(batch))
    assert list(other) == list(taps)
    for tap, value in other.items():
        flat = value.asnumpy().reshape(2, -1)
        assert distance(flat, taps[tap].numpy().reshape(2, -1)) < 1e-6, tap
    assert np.array_equal(other["head"].asnumpy(), run_mindspore(theirs, batch))


@pytest.mark.slow
def test_a_torch_network_is_a_proper_module(small, healthy, tmp_path):
    import torch

    network = torch_network(small, "timm", healthy)
    batch = torch.from_numpy(pictures(2, 64, 64))
    before = network(batch)
    assert not network.training
    double = copy.deepcopy(network).double()
    assert distance(double(batch.double()).detach().numpy(), before.detach().numpy()) < 1e-5
    assert next(network.parameters()).dtype == torch.float32, "the copy shares parameters"
    again = pickle.loads(pickle.dumps(network))
    assert torch.equal(again(batch), before)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    network.load_state_dict(torch.load(tmp_path / "w.pth", weights_only=True), strict=True)

    network.train()
    count = int(network.bn1.num_batches_tracked)
    network(batch).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert int(network.bn1.num_batches_tracked) == count + 1

    network.eval().fc = torch.nn.Linear(1024, 3)
    assert network(batch).shape == (2, 3), "a new head is the one that runs"


@pytest.mark.slow
def test_a_mindspore_network_is_a_proper_cell(small, healthy):
    import mindspore
    from mindspore import nn

    network = mindspore_network(small, "mindcv", healthy)
    batch = mindspore.Tensor(pictures(2, 64, 64))
    before = network(batch).asnumpy()
    assert not network.training
    state = {name: mindspore.Parameter(value.asnumpy(), name=name) for name, value in network.parameters_dict().items()}
    assert mindspore.load_param_into_net(network, state, strict_load=True) == ([], [])

    trainable = mindspore.ParameterTuple(network.trainable_params())
    network.set_train(True)
    assert network.bn1.training
    mean = network.bn1.moving_mean.asnumpy().copy()
    loss_and_gradients = mindspore.value_and_grad(lambda x: network(x).square().mean(), None, trainable)
    _, gradients = loss_and_gradients(batch)
    assert len(gradients) == len(trainable)
    assert all(np.abs(gradient.asnumpy()).max() > 0 for gradient in gradients)
    assert not np.array_equal(network.bn1.moving_mean.asnumpy(), mean)

    network.set_train(False)
    network.bn1.moving_mean.set_data(mindspore.Tensor(mean))
    network.bn1.moving_variance.set_data(state["bn1.moving_variance"])
    with pytest.raises(AttributeError, match="classifier cannot be replaced"):
        network.classifier = nn.Dense(1024, 3)
    assert before.shape == (2, 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [("mindcv", "small"), ("modelzoo", "small"), ("mindcv-senet", "small_se"), ("mindcv", "small_basic")],
)
def test_mindir_export_computes_the_same(name, kind, healthy, tmp_path, request):
    import mindspore
    from mindspore import nn

    network = mindspore_network(request.getfixturevalue(kind), name, healthy, MINDCV)
    batch = mindspore.Tensor(pictures(1, 64, 64))
    mindspore.export(network, batch, file_name=str(tmp_path / "network"), file_format="MINDIR")
    again = nn.GraphCell(mindspore.load(str(tmp_path / "network.mindir")))
    assert distance(again(batch).asnumpy(), network(batch).asnumpy()) < 1e-6


# Loading


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["torch", "mindspore"])
def test_loading_is_strict(framework, small, healthy):
    if framework == "torch":
        from mshub_convert.verify.networks import torch as networks
    else:
        from mshub_convert.verify.networks import mindspore as networks
    grounding = dialect("timm" if framework == "torch" else "mindcv").ground(small)
    network = networks.build(small.graph(), grounding)
    tensors = healthy(grounding)
    head = "fc.weight" if framework == "torch" else "classifier.weight"
    for change, field, said in (
        ({}, "missing", head),
        ({head: tensors[head], "extra": tensors[head]}, "unexpected", "extra"),
        ({head: tensors[head].T}, "shapes", f"{head}: (1024, 10) in the weights, (10, 1024) in the network"),
    ):
        broken = {name: array for name, array in tensors.items() if name != head} | change
        with pytest.raises(LoadError) as caught:
            networks.load(network, broken)
        assert getattr(caught.value, field) == (said,)
    networks.load(network, dict(reversed(tensors.items())))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_loading_casts_to_the_networks_dtype(dtype, small, healthy):
    import ml_dtypes

    from mshub_convert.verify.networks import mindspore as mindspore_networks
    from mshub_convert.verify.networks import torch as torch_networks

    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    for networks, name in ((torch_networks, "timm"), (mindspore_networks, "mindcv")):
        grounding = dialect(name).ground(small)
        network = networks.build(small.graph(), grounding)
        tensors = {key: array.astype(kind) if array.ndim else array for key, array in healthy(grounding).items()}
        networks.load(network, tensors)
        held = network.state_dict() if name == "timm" else network.parameters_dict()
        for key, array in tensors.items():
            value = held[key].numpy() if name == "timm" else held[key].asnumpy()
            assert value.dtype in (np.float32, np.int64)
            assert np.array_equal(value, array.astype(value.dtype)), key


@pytest.mark.slow
def test_a_dialect_without_counters(small, healthy):
    import torch

    from mshub_convert.verify.networks import torch as networks

    text = _toml("timm").replace('count = "num_batches_tracked"\n', "")
    grounding = load_dialect(text, source="old.toml").ground(small)
    network = networks.build(small.graph(), grounding)
    assert not [name for name in network.state_dict() if "num_batches" in name]
    networks.load(network, healthy(grounding))
    reference = torch_network(small, "timm", healthy)
    batch = torch.from_numpy(pictures(2, 64, 64))
    assert torch.equal(network(batch), reference(batch))
    copy.deepcopy(network).train()(batch)


@pytest.mark.slow
def test_leaves_that_torch_calls_otherwise_are_refused(small):
    from mshub_convert.verify.networks import torch as networks

    text = _toml("timm").replace('scale = "weight"', 'scale = "gamma"')
    with pytest.raises(NetworkError, match="torch calls the scale of a norm 'weight', not 'gamma'"):
        networks.build(small.graph(), load_dialect(text, source="odd.toml").ground(small))


@pytest.mark.slow
def test_leaves_of_any_name_run_in_mindspore(small, healthy):
    from mshub_convert.verify.networks import mindspore as networks

    text = _toml("mindcv").replace('scale = "gamma"', 'scale = "weight"')
    grounding = load_dialect(text, source="odd.toml").ground(small)
    network = networks.build(small.graph(), grounding)
    assert "bn1.weight" in network.parameters_dict()
    networks.load(network, healthy(grounding))
    batch = pictures(2, 64, 64)
    assert np.array_equal(
        run_mindspore(network, batch), run_mindspore(mindspore_network(small, "mindcv", healthy), batch)
    )


def _toml(name):
    from importlib import resources

    return resources.files("mshub_convert.mappings").joinpath(f"{name}.toml").read_text(encoding="utf-8")
