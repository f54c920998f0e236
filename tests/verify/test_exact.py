"""The float64 oracle in NumPy: the same function as torch's double, in every graph that we have, and nothing of it."""

import subprocess
import sys
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.graph import Graph, Node
from mshub_convert.mappings.traits import Traits
from mshub_convert.verify.errors import NetworkError
from mshub_convert.verify.inputs import pictures
from mshub_convert.verify.networks import exact

SIZES = ((64, 64), (65, 71))


def by_key(network, healthy):
    grounding = dialect("timm").ground(network)
    named = healthy(grounding)
    return {key: named[slot.names[0]].reshape(slot.parameter.shape) for key, slot in grounding.slots.items()}


def run(graph, tensors, batch):
    *_, (name, logits) = exact.values(graph, tensors, batch)
    assert name == graph.output
    return logits


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["small", "small_d", "small_se", "small_basic"])
@pytest.mark.parametrize(
    "traits", [Traits(), Traits(stem_pool="same", padding="same", norm_eps=1e-3, bottleneck_stride="1x1")]
)
def test_it_is_torchs_double(kind, traits, healthy, request):
    import torch

    from mshub_convert.verify.networks import torch as networks

    network = request.getfixturevalue(kind)
    graph, tensors = network.graph(traits), by_key(network, healthy)
    grounding = dialect("timm").ground(network)
    theirs = networks.build(graph, grounding)
    networks.load(theirs, healthy(grounding))
    theirs = theirs.double()
    for size in SIZES:
        batch = pictures(2, *size)
        with torch.inference_mode():
            known = dict(theirs.values(torch.from_numpy(batch).double()))
        for name, value in exact.values(graph, tensors, batch):
            expected = known[name].numpy()
            assert value.dtype == np.float64
            assert np.linalg.norm(value - expected) <= 1e-13 * np.linalg.norm(expected), name


@pytest.mark.parametrize("trait", [{"stem_pool": "same"}, {"padding": "same"}, {"norm_eps": 1.001e-5}])
def test_a_trait_changes_what_it_computes(trait, small, healthy):
    tensors, batch = by_key(small, healthy), pictures(1, 64, 64)
    plain, other = (run(small.graph(traits), tensors, batch) for traits in (Traits(), replace(Traits(), **trait)))
    assert np.linalg.norm(other - plain) > 1e-10 * np.linalg.norm(plain)


def test_average_pools_count_the_pixels_they_have():
    attributes = {"kernel_shape": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0), "ceil_mode": 1}
    node = Node("AveragePool", "pool", ("input",), "pool", MappingProxyType(attributes))
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    assert exact.apply(node, [x]).tolist() == [[[[2.0, 3.5], [6.5, 8.0]]]]
    with pytest.raises(NetworkError, match="counts its padding"):
        exact.apply(replace(node, attributes={**attributes, "count_include_pad": 1}), [x])


def test_an_unknown_operator_is_refused_by_name():
    graph = Graph((), (Node("Gelu", "act", ("input",), "act"),), "input", {"head": "act"}, 3, {})
    with pytest.raises(NetworkError, match="act is a Gelu"):
        run(graph, {}, np.zeros((1, 3, 4, 4)))


def test_it_needs_no_framework():
    code = (
        "import sys; from mshub_convert.verify.networks import exact;"
        "print([m for m in ('torch', 'mindspore', 'onnx', 'onnxruntime', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
