"""Networks to run and their weights: drawn, healthy, equal under every dialect."""

import os

import numpy as np
import pytest

from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures.resnet import ResNet

# Before any test imports MindSpore, as the runtimes do it.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
os.environ.setdefault("GLOG_v", "3")


@pytest.fixture(scope="session")
def small():
    """A grouped network of four blocks, one with an identity shortcut, that runs in milliseconds."""
    return ResNet((1, 2, 1), cardinality=4, base_width=8, classes=10)


@pytest.fixture(scope="session")
def small_d():
    """The same with a deep stem and average-pool shortcuts."""
    return ResNet((1, 2, 1), cardinality=4, base_width=8, classes=10, stem=(32, 32, 64), shortcut="avg")


@pytest.fixture(scope="session")
def small_se():
    """The first with squeeze-and-excitation."""
    return ResNet((1, 2, 1), cardinality=4, base_width=8, classes=10, squeeze=(16, 8, 24))


@pytest.fixture(scope="session")
def small_basic():
    """Basic blocks, with a wide deep stem."""
    return ResNet((1, 2, 1), classes=10, stem=(64, 64, 128), block="basic")


@pytest.fixture(scope="session")
def healthy():
    """``healthy(grounding)`` draws weights by name; a parameter has the same values under every dialect."""
    return _healthy


def _healthy(grounding, *, seed=0):
    modules = {module.path: module for module in grounding.architecture.graph().modules}
    tensors = {}
    for slot in grounding.slots.values():
        whole = calibrated.draw(seed, modules[slot.parameter.module], slot.parameter.leaf)
        parts = np.split(whole, len(slot.names)) if len(slot.names) > 1 else [whole]
        tensors |= {name: part.reshape(slot.shape) for name, part in zip(slot.names, parts, strict=True)}
    return tensors
