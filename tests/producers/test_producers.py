"""The producers themselves, without our reader: their files are valid, and compute what they are said to compute."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.checker import ValidationError, check_model

sys.path.insert(0, str(Path(__file__).parents[1]))
from producers import MUTATIONS, PRODUCERS, REFUSED
from producers.edits import changed
from producers.registry import square
from producers.running import ended, run, run_reference
from producers.sample import SMALL, distance, draw, pictures, reference

pytestmark = pytest.mark.slow

# Odd and not square, where padding tells; float32 noise of the small network is some 5e-7.
SIZE = (65, 71)
OTHER = 1e-5


@pytest.mark.parametrize("name", PRODUCERS)
def test_a_producers_file_is_valid_and_computes_the_network(name, tmp_path):
    producer = PRODUCERS[name]
    sample, path = producer.sample(), tmp_path / "model.onnx"
    producer.make(sample, path)
    if producer.valid:
        check_model(str(path), full_check=True)
    else:
        with pytest.raises(ValidationError):
            check_model(str(path), full_check=True)
    batch = pictures(2, *(producer.size(sample) or SIZE))
    right = reference(sample, batch)
    if producer.noise == 0:
        assert distance(run_reference(path, batch), right) < 1e-7
        return
    outputs = run(path, batch, fixed=producer.batch)
    assert len(outputs) == 1
    assert distance(outputs[0], ended(right, producer.ends)) < producer.noise


@pytest.mark.parametrize("name", PRODUCERS)
def test_a_file_has_the_form_it_is_said_to_have(name, tmp_path):
    producer = PRODUCERS[name]
    sample, path = producer.sample(), tmp_path / "model.onnx"
    producer.make(sample, path)
    model = onnx.load(path)
    assert all(find_spec(package) for package in producer.needs)
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert bool(norms) != producer.folded
    assert not (producer.folded and producer.exact)
    constants = {constant.name for constant in model.graph.initializer}
    picture = next(port for port in model.graph.input if port.name not in constants)
    batch, _, *size = [dim.dim_value or None for dim in picture.type.tensor_type.shape.dim]
    assert batch == producer.batch
    fixed = producer.size(sample)
    assert tuple(size) == (fixed or (None, None))


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_file_computes_what_it_is_said_to_compute(name, tmp_path):
    refused = REFUSED[name]
    sample, path = draw(), tmp_path / "model.onnx"
    refused.make(sample, path)
    assert any(port.name for port in onnx.load(path).graph.output)
    size = square(sample, 8 if refused.needs else 7)
    batch = pictures(2, *size)
    if refused.computes == "no logits":
        return
    right = reference(sample, batch)
    fixed = onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value or None
    found = run(path, batch, fixed=fixed)[0]
    assert found.shape == right.shape
    if refused.computes == "same":
        assert distance(found, right) < 2e-6
    else:
        assert distance(found, right) > OTHER


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_changes_the_outputs(name, tmp_path):
    mutation, sample = MUTATIONS[name], draw()
    # Some change even sizes only, some odd ones.
    sizes = [square(sample, 8)] if mutation.final else [square(sample, 8), SIZE]
    batches = [pictures(4, *size) for size in sizes]
    outputs = []
    for apply in ((), (mutation.apply,)):
        path = tmp_path / f"{len(apply)}.onnx"
        onnx.save(changed(sample, *apply, final=mutation.final), path)
        check_model(str(path), full_check=True)
        outputs.append([run(path, batch)[0] for batch in batches])
    moved = max(distance(after, before) for before, after in zip(*outputs, strict=True))
    assert (moved > OTHER) == mutation.visible
    assert mutation.visible or moved < 2e-6


def test_the_weights_hide_nothing():
    """Tensors that a mistake would swap differ, and none is uniform where it need not be."""
    sample = draw()
    for key, array in sample.tensors.items():
        assert np.ptp(array) > 0, key
    values = [array.tobytes() for array in sample.tensors.values()]
    assert len(set(values)) == len(values)
    assert sample.network == SMALL
