"""The detection power: every mutation is caught by the check that claims it, nearly all by the outputs alone."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.codecs import EmbeddedRecord, codec
from mshub_convert.converters.sources import calibrated
from mshub_convert.converters.splice import splice
from mshub_convert.converters.tensors import TensorRef, TensorSpec
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.traits import Traits
from mshub_convert.request import SourceRequest
from mshub_convert.verify.compare import Verdict, compare, relative_l2
from mshub_convert.verify.diagnosis import diagnose
from mshub_convert.verify.diagnosis.parameters import parameters
from mshub_convert.verify.inputs import Inputs, pictures
from mshub_convert.verify.networks.exact import apply
from mshub_convert.verify.selftest.detection import Detection, Tried, self_test
from mshub_convert.verify.selftest.mutations import harmless, mutations
from mshub_convert.verify.weights import compare_weights

NETWORK = ResNet((1, 2, 2, 1), cardinality=8, base_width=4, classes=100)
INPUTS = Inputs(count=8, sizes=((64, 64), (57, 71)))
# The mutations that are tried of each kind, apart from those of the whole network.
KINDS = ("epsilon of", "leaves of", "channels of", "groups of", "zero in")


def written(path, arrays):
    """A file of timm's names from arrays by canonical key."""
    refs = [
        TensorRef(TensorSpec(slot.names[0], slot.shape, arrays[key].dtype.name), None,
                  lambda key=key, shape=slot.shape: arrays[key].reshape(shape))
        for key, slot in dialect("timm").ground(NETWORK).slots.items()
    ]  # fmt: skip
    splice(path, codec("safetensors").layout(refs, EmbeddedRecord(b"", bytes), framework="torch"), sync=False)
    return path


@pytest.fixture(scope="module")
def arrays():
    modules = {module.path: module for module in NETWORK.graph().modules}
    return {p.key: calibrated.draw(0, modules[p.module], p.leaf) for p in NETWORK.graph().parameters}


@pytest.fixture(scope="module")
def source(arrays, tmp_path_factory):
    return written(tmp_path_factory.mktemp("selftest") / "source.safetensors", arrays)


def run(graph, arrays, batch, dtype):
    known = {graph.input: batch.astype(dtype)}
    tensors = {key: array.astype(dtype) for key, array in arrays.items()}
    for node in graph.nodes:
        known[node.output] = apply(node, [known[n] if n in known else tensors[n] for n in node.inputs])
    return {name: value for name, value in known.items() if name != graph.input}


def mutated(mutation, arrays):
    return arrays if mutation.edit is None else {**arrays, **mutation.edit(arrays)}


# What is tried


def test_mutations_are_many_spread_and_the_same_each_time():
    made = mutations(NETWORK, Traits(), count=64)
    assert len(made) == len({one.name for one in made}) == 64
    kinds = Counter(next((kind for kind in KINDS if one.name.startswith(kind)), "everywhere") for one in made)
    # There are six grouped convolutions, whose groups can be permuted in one way.
    assert kinds == {
        "everywhere": 6,
        "channels of": 6,
        "groups of": 6,
        "epsilon of": 16,
        "leaves of": 15,
        "zero in": 15,
    }
    assert Counter(one.claim for one in made) == {"traits": 4, "weights": 43, "layers": 17}
    assert [one.words for one in mutations(NETWORK, Traits(), count=64)] == [one.words for one in made]
    assert [one.words for one in mutations(NETWORK, Traits(), count=64, seed=1)] != [one.words for one in made]
    assert len(mutations(NETWORK, Traits(), count=3)) == 3
    assert len(mutations(NETWORK, Traits(), count=4096)) < 200


def test_networks_without_groups_or_bottlenecks_have_mutations_too(small_basic):
    made = mutations(small_basic, Traits(), count=4096)
    assert not any("groups" in one.name or "stride" in one.words for one in made)
    assert {"epsilon 0.001 everywhere", "stem pool padded as same"} <= {one.words for one in made}


@pytest.mark.slow
def test_every_mutation_changes_the_function_and_the_harmless_ones_do_not(arrays):
    batch, graph = pictures(1, 64, 64), NETWORK.graph()
    exact = run(graph, arrays, batch, np.float64)["head"]
    for one in mutations(NETWORK, Traits(), count=64):
        logits = run(one.graph(graph), mutated(one, arrays), batch, np.float64)["head"]
        # A single weight may lead nowhere: what it is multiplied with, or what follows, is zero behind a ReLU.
        assert relative_l2(logits, exact).max() > 1e-10 or one.name.startswith("zero in"), one.words
    rounded, zeros = harmless(NETWORK, Traits())
    assert relative_l2(run(rounded.graph(graph), arrays, batch, np.float64)["head"], exact).max() < 1e-10
    assert (zeros.padded, zeros.claim, rounded.claim) == ("stem.relu", None, None)


# Each by the check that claims it


@pytest.fixture(scope="module")
def tried():
    """Those of the whole network, and two layers of each kind."""
    made = mutations(NETWORK, Traits(), count=64)
    kinds = [[one for one in made if one.name.startswith(kind)][:2] for kind in KINDS]
    return [*made[:6], *(one for kind in kinds for one in kind)]


@pytest.mark.slow
def test_the_check_that_claims_a_mutation_catches_it(tried, arrays, source, tmp_path):
    graph, batch = NETWORK.graph(), pictures(1, 64, 64)
    for one in tried:
        target = written(tmp_path / "target.safetensors", mutated(one, arrays)) if one.edit else source
        traits = dict([one.name.split("=")]) if one.claim == "traits" else {}
        with SourceRequest(source).open() as ours, SourceRequest(target, traits=traits).open() as theirs:
            verdict = compare_weights(ours, theirs)
            assert (verdict.verdict is Verdict.FAIL) is (one.claim == "weights"), one.words
            assert bool(ours.traits.differences(theirs.traits)) is (one.claim == "traits"), one.words
            values = run(one.graph(graph), parameters(theirs, graph).arrays, batch, np.float32)
            found = diagnose.compare(ours, theirs, [batch], [values])
        assert found.faults or one.name == "norm_eps=1.001e-05", one.words
        layers = {*one.nodes, *(key.rpartition(".")[0] for key in one.keys)}
        if one.claim == "traits":
            layers = {fault.layer for fault in found.faults}
        named = {fault.layer for fault in found.faults}
        assert named == layers, one.words
        assert all(fault.explained for fault in found.faults), one.words
        target.unlink() if one.edit else None


# By the outputs alone


@pytest.fixture(scope="module")
def forwarded(arrays, tmp_path_factory):
    """A network whose BatchNorms have the statistics of what reaches them, as a trained one's have."""
    from mshub_convert.verify.networks import torch as networks
    from mshub_convert.verify.networks.statistics import settle

    grounding = dialect("timm").ground(NETWORK)
    network = networks.build(NETWORK.graph(), grounding)
    networks.load(network, {slot.names[0]: arrays[key].reshape(slot.shape) for key, slot in grounding.slots.items()})
    settle(network, pictures(16, 64, 64, seed=7))
    state = network.state_dict()
    settled = {key: state[slot.names[0]].numpy().reshape(slot.parameter.shape) for key, slot in grounding.slots.items()}
    return written(tmp_path_factory.mktemp("forwarded") / "forwarded.safetensors", settled)


@pytest.fixture(scope="module")
def detection(forwarded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    with SourceRequest(forwarded).open() as target:
        return self_test(target, INPUTS, count=64, timeout=300, keep=folder), folder


@pytest.mark.slow
def test_the_outputs_alone_catch_at_least_60_of_64(detection):
    found, _ = detection
    assert len(found.tried) == 64
    assert len(found.missed) <= 4, [(one.words, one.ratio) for one in found.missed]
    assert not found.false_alarms
    assert [one.ratio < 2 for one in found.harmless] == [True, True]
    assert 0 < found.error < 1e-5
    assert found.lines[0].startswith(f"{64 - len(found.missed)} of 64 mutations of the target caught by the outputs")
    assert found.as_dict()["caught"] == 64 - len(found.missed)


@pytest.mark.slow
def test_a_run_from_the_middle_is_the_run_from_the_start(detection, forwarded):
    import torch

    from mshub_convert.verify.networks import torch as networks

    _, folder = detection
    kept = np.load(folder / "logits.npz")
    grounding, graph = dialect("timm").ground(NETWORK), NETWORK.graph()
    with SourceRequest(forwarded).open() as opened:
        arrays = {**parameters(opened, graph).arrays}
    counters = {key: np.array(1) for key in grounding.slots if key.endswith(".count")}
    batch = torch.from_numpy(pictures(8, 64, 64))
    for number, one in enumerate(mutations(NETWORK, Traits(), count=64)):
        network = networks.build(one.graph(graph), grounding)
        held = {**mutated(one, arrays), **counters}
        networks.load(network, {slot.names[0]: held[key].reshape(slot.shape) for key, slot in grounding.slots.items()})
        with torch.inference_mode():
            logits = network(batch).numpy()
        assert relative_l2(kept[f"mutation_{number}_0"], logits).max() < 1e-5, one.words


@pytest.mark.slow
def test_what_is_said_to_be_unseen_is_what_single_values_do(detection, forwarded):
    """The estimate, held against values that are really moved."""
    import torch

    from mshub_convert.verify.networks import torch as networks

    found, folder = detection
    kept = np.load(folder / "logits.npz")
    reference, errors = kept["reference_0"], relative_l2(kept["own_0"], kept["reference_0"])
    assert not [name for name in found.values if "num_batches_tracked" in name]
    grounding = dialect("timm").ground(NETWORK)
    with SourceRequest(forwarded).open() as opened:
        arrays = {**parameters(opened, NETWORK.graph()).arrays}
    arrays |= {key: np.array(1) for key in grounding.slots if key.endswith(".count")}
    network = networks.build(NETWORK.graph(), grounding)
    networks.load(network, {slot.names[0]: arrays[key].reshape(slot.shape) for key, slot in grounding.slots.items()})
    network = network.double()
    batch = torch.from_numpy(pictures(8, 64, 64)).double()
    random = np.random.Generator(np.random.Philox(3))
    for name in ("conv1.weight", "layer2.0.conv2.weight", "layer3.1.bn2.running_var", "layer4.0.bn3.running_mean"):
        tensor = network.state_dict()[name].view(-1)
        typical = float(tensor.square().mean().sqrt())
        hidden = 0
        chosen = random.permutation(tensor.numel())[:24]
        for at in chosen:
            before = float(tensor[at])
            with torch.inference_mode():
                tensor[at] = before + 1e-3 * typical
                moved = network(batch).numpy()
                tensor[at] = before
            hidden += bool((relative_l2(moved, reference) * 1e3 / errors).max() < 4)
        share, of = found.values[name]
        assert abs(hidden / len(chosen) - share / of) < 0.25, name


@pytest.mark.slow
def test_no_correct_conversion_fails(forwarded, tmp_path):
    """Thread counts, batches, kernels and optimisation levels: a warning at most."""
    import torch

    from mshub_convert.verify import sides
    from mshub_convert.verify.networks import torch as networks
    from mshub_convert.verify.runtimes import Job
    from mshub_convert.verify.runtimes import run as run_job

    grounding = dialect("timm").ground(NETWORK)
    onnx = mc.convert(forwarded, to="onnx", out=tmp_path / "forwarded.onnx").path
    paths = INPUTS.save(tmp_path)
    batches = [np.load(path) for path in paths]
    with SourceRequest(forwarded).open() as opened, SourceRequest(onnx).open() as target:
        side = sides.rebuilt_side(opened, "torch")
        jobs = {
            kind: run_job(Job("torch", side.network, side.weights, paths, tmp_path / kind, kind), timeout=300).logits
            for kind in ("float32", "float64")
        }
        onnx_side = sides.own_side(target)
        runs = {}
        for level in ("disable", "basic", "extended", "all"):
            network = replace(onnx_side.network, optimization=level)
            for batch in (1, 8):
                job = Job("onnxruntime", network, onnx_side.weights, paths, tmp_path / f"{level}-{batch}", batch=batch)
                runs[f"ONNX Runtime {level}, batch {batch}"] = run_job(job, timeout=300).logits
        arrays = {name: np.array(ref.read()) for name, ref in opened.tensors.items()}
    network = networks.build(NETWORK.graph(), grounding)
    networks.load(network, arrays)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for mkldnn in (True, False):
                for size in (1, 8):
                    with torch.inference_mode(), torch.backends.mkldnn.flags(enabled=mkldnn):
                        runs[f"torch, {count} threads, mkldnn {mkldnn}, batch {size}"] = [
                            torch.cat([network(part) for part in torch.from_numpy(batch).split(size)]).numpy()
                            for batch in batches
                        ]
    finally:
        torch.set_num_threads(threads)
    assert len(runs) == 16
    for name, outputs in runs.items():
        for label, target, source, exact in zip(INPUTS.labels, outputs, jobs["float32"], jobs["float64"], strict=True):
            found = compare(label, source, target, exact, ranked=True)
            assert found.verdict.good, (name, found.reason)


# What is said


def test_what_was_missed_is_said_by_name():
    tried = (
        Tried("zero in a", "one weight zeroed in a, at [0]", "weights", (1.5, 0.9), 0.1),
        Tried("ceil_mode", "stem.pool rounds sizes up (ceil_mode)", "layers", (float("inf"), 3.0), 0.1),
    )
    alarm = Tried("zeros", "zeros around stem.pool", None, (5.0,), 0.1)
    found = Detection(tried, (alarm,), 1e-6, {"a": (10, 40), "n": (1, 1)}, "resnet", "2 pictures", 3.2)
    assert found.lines == (
        "1 of 2 mutations of the target caught by the outputs alone, 0 of 1 harmless changes passed"
        " (3 s; resnet, torch)",
        "missed: one weight zeroed in a, at [0] (ratio 1.50), which the check of the weights tells",
        "failed although harmless: zeros around stem.pool (ratio 5.00)",
        "11 of 41 values (27 %) can be off by their tensor's typical size, one alone, without failing: the weight check"
        " alone proves them; most are in a (10 of 40) and n (1 of 1)",
    )
    data = json.loads(json.dumps(found.as_dict()))
    assert (data["caught"], data["of"], data["false_alarms"]) == (1, 2, 1)
    assert data["mutations"][1]["ratio"] is None
    assert data["hash_only"] == {"a": [10, 40], "n": [1, 1]}
    assert replace(found, values={"a": (0, 40)}).lines[-1] == (
        "each of 40 values would show if it alone were off by its tensor's typical size"
    )
    assert "proves nothing by its outputs" in replace(found, error=1e-3).lines[1]


@pytest.mark.parametrize("count", [0, -1, 5000])
def test_a_count_out_of_range_is_refused_before_anything_is_read(count, tmp_path):
    with pytest.raises(mc.MshubConvertError, match=f"--self-test {count} is out of range") as caught:
        mc.verify(tmp_path / "none.pth", tmp_path / "none.ckpt", self_test=count)
    assert caught.value.exit_code == 2


@pytest.mark.slow
def test_the_command_line_measures_it(forwarded, tmp_path):
    target = mc.convert(forwarded, to="ckpt", out=tmp_path / "forwarded.ckpt").path

    def verify(*arguments):
        command = [sys.executable, "-m", "mshub_convert", "verify", str(forwarded), str(target), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    sizes = ("--sizes", "64x64", "--count", "4", "--self-test", "8")
    shown = verify(*sizes, "-q")
    assert shown.returncode == 0, shown.stderr
    assert "self-test" in shown.stdout
    assert "of 8 mutations of the target caught by the outputs alone" in shown.stdout
    data = json.loads(verify(*sizes, "--json").stdout)
    assert data["detection"]["of"] == 8
    failed = verify(*sizes, "--trait", "norm_eps=1e-3", "-q")
    assert failed.returncode == 4
    assert "not measured" in failed.stdout
