"""Every producer's file gives back its network, tensor by tensor; other files are refused at the node that differs."""

import re
import shutil
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from mshub_convert.converters.errors import MalformedFileError, PlanError
from mshub_convert.mappings.dialects import dialects_for
from mshub_convert.request import SourceRequest

sys.path.insert(0, str(Path(__file__).parents[1]))
from producers import MUTATIONS, PRODUCERS, REFUSED
from producers.edits import changed
from producers.registry import square
from producers.sample import SMALL, Sample, distance, draw, pictures, reference
from producers.strangers import without

# Those that take onnx and NumPy alone are quick.
QUICK = [name for name, producer in PRODUCERS.items() if not producer.needs and producer.network is None]
SLOW = [name for name in PRODUCERS if name not in QUICK]
SIZES = ((64, 64), (65, 71))


def each(names):
    slow = [pytest.param(name, marks=pytest.mark.slow) for name in names if name not in QUICK]
    return pytest.mark.parametrize("name", [*(name for name in names if name in QUICK), *slow])


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """``read(name)``: a producer, what it was given, and what was recovered of its file; each is made once."""
    known = {}

    def once(name):
        if name not in known:
            producer, path = PRODUCERS[name], tmp_path_factory.mktemp("onnx") / "model.onnx"
            sample = producer.sample()
            producer.make(sample, path)
            known[name] = (producer, sample, *recover(path))
            shutil.rmtree(path.parent)
        return known[name]

    return once


def recover(path):
    """What the file holds, its tensors read into memory."""
    with SourceRequest(path).open() as opened:
        recovered = opened.recovered
        tensors = {key: np.array(ref.read(), np.float32) for key, ref in recovered.tensors.items()}
        assert set(opened.tensors) == {name for slot in opened.found.grounding.slots.values() for name in slot.names}
        return recovered, tensors


def refusal(path):
    """The error that opening the file gives."""
    with pytest.raises((PlanError, MalformedFileError)) as caught, SourceRequest(path).open():
        pass
    return caught.value


@each(PRODUCERS)
def test_every_tensor_is_recovered(name, read):
    producer, sample, recovered, tensors = read(name)
    assert recovered.architecture == sample.network
    assert recovered.traits == sample.traits
    assert {key: array.shape for key, array in tensors.items()} == {
        key: array.shape for key, array in sample.tensors.items()
    }
    if producer.exact:
        differing = [key for key, array in tensors.items() if array.tobytes() != sample.tensors[key].tobytes()]
        assert differing == []
    norms = sum(module.kind == "norm" for module in sample.graph.modules)
    assert recovered.folded == (norms if producer.folded else 0)


@each(PRODUCERS)
def test_what_the_file_fixes_of_its_input_is_told(name, read):
    producer, sample, recovered, _ = read(name)
    assert (recovered.batch, recovered.size) == (producer.batch, producer.size(sample))


@each(PRODUCERS)
def test_names_in_the_file_are_told_for_every_tensor(name, read):
    producer, sample, recovered, _ = read(name)
    assert set(recovered.names) == set(sample.tensors)
    untold = [key for key, names in recovered.names.items() if not names]
    made_up = {"scale", "mean", "var"} if producer.folded else set()
    assert {key.rpartition(".")[2] for key in untold} == made_up


@pytest.mark.slow
@pytest.mark.parametrize("name", PRODUCERS)
def test_the_recovered_network_is_the_original(name, read):
    producer, sample, recovered, tensors = read(name)
    found = Sample(recovered.architecture, recovered.traits, tensors)
    for size in [producer.size(sample)] if producer.final else SIZES:
        batch = pictures(2, *size)
        away = distance(reference(found, batch), reference(sample, batch))
        # Folding rounds each weight once, and so does taking a bias off a mean.
        assert away < (1e-12 if producer.exact else 1e-6)


@pytest.mark.parametrize(
    "name",
    [name if not refused.needs else pytest.param(name, marks=pytest.mark.slow) for name, refused in REFUSED.items()],
)
def test_a_strange_network_is_refused_at_the_node_that_differs(name, tmp_path):
    refused, path = REFUSED[name], tmp_path / "model.onnx"
    refused.make(draw(), path)
    error = refusal(path)
    assert str(path) in error.message
    assert re.search(refused.node, error.message)
    assert re.search(refused.reason, error.message)
    assert error.remedy


@pytest.mark.parametrize("name", [name for name, mutation in MUTATIONS.items() if mutation.caught != "forward"])
def test_a_mutation_is_noticed_without_running_anything(name, tmp_path):
    mutation, sample, path = MUTATIONS[name], draw(), tmp_path / "model.onnx"
    onnx.save(changed(sample, mutation.apply, final=mutation.final), path)
    if mutation.caught == "structure":
        assert re.search(mutation.node, refusal(path).message)
        return
    recovered, tensors = recover(path)
    differing = [key for key, array in tensors.items() if array.tobytes() != sample.tensors[key].tobytes()]
    assert recovered.traits == (mutation.traits or sample.traits)
    assert bool(differing) == (mutation.caught == "weights")
    assert mutation.caught == "weights" or recovered.traits != sample.traits


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, mutation in MUTATIONS.items() if mutation.caught == "forward"])
def test_a_mutation_of_folded_weights_is_read_as_it_is_and_moves_the_outputs(name, tmp_path):
    mutation, sample, path = MUTATIONS[name], draw(), tmp_path / "model.onnx"
    onnx.save(changed(sample, mutation.apply), path)
    recovered, tensors = recover(path)
    assert recovered.traits == sample.traits
    assert recovered.architecture == sample.network
    batch = pictures(2, *square(sample, 8))
    found = Sample(recovered.architecture, recovered.traits, tensors)
    assert distance(reference(found, batch), reference(sample, batch)) > 1e-5


def test_a_batchnorm_that_is_missing_is_the_identity(tmp_path):
    """Which is what it computes: there is nothing to tell it from one that was folded away."""
    path, norm = tmp_path / "model.onnx", "stages.0.0.norm1"
    onnx.save(changed(draw(), partial(without, name=f"{norm}/BatchNormalization")), path)
    recovered, tensors = recover(path)
    assert recovered.folded == 1
    identity = {"scale": 1.0, "shift": 0.0, "mean": 0.0, "var": np.float32(1 - 1e-5)}
    for key, array in tensors.items():
        place, _, leaf = key.rpartition(".")
        right = np.full_like(array, identity[leaf]) if place == norm else draw().tensors[key]
        assert array.tobytes() == right.tobytes(), key


@pytest.mark.parametrize("stages", [(1,), (2, 1), (1, 2, 1)])
@pytest.mark.parametrize(("cardinality", "width"), [(1, 64), (1, 128), (8, 4)])
def test_depths_and_widths_are_read_off_the_graph(stages, cardinality, width, tmp_path):
    network, path = (
        replace(SMALL, depths=stages, cardinality=cardinality, base_width=width, classes=3),
        tmp_path / "x.onnx",
    )
    PRODUCERS["reordered-anonymised"].make(draw(network), path)
    recovered, tensors = recover(path)
    assert recovered.architecture == network
    assert all(array.tobytes() == draw(network).tensors[key].tobytes() for key, array in tensors.items())


def test_every_producer_can_be_tried_here():
    """A package that is missing is no reason to skip: the development environment has them all."""
    needed = {package for entry in (*PRODUCERS.values(), *REFUSED.values()) for package in entry.needs}
    assert [package for package in sorted(needed) if find_spec(package) is None] == []
    assert all(dialects_for(producer.network or SMALL) for producer in PRODUCERS.values())
