"""What a foreign graph turned out to be."""

from collections.abc import Mapping
from dataclasses import dataclass

from ...mappings.architectures import Architecture
from ...mappings.traits import Traits
from ..findings import Finding
from ..tensors import TensorRef


@dataclass(frozen=True, slots=True)
class Recovered:
    """A network of ours, found by structure in a file that holds a graph.

    ``tensors`` go by canonical key, without BatchNorm counters; ``names`` tell for each which constants of the file
    it was made of (none where it was made up). ``folded`` counts the BatchNorms that the file had folded into
    convolutions. ``batch`` and ``size`` (height, width) are what the file fixes of its input, None where it takes
    any. ``outputs`` are the values of the file that hold the outputs: ``head`` the logits, before a Softmax if there is
    one; ``values`` are those of the
    layers: the output of a node of ours → the value of the file that is the same.
    """

    architecture: Architecture
    traits: Traits
    tensors: Mapping[str, TensorRef]
    names: Mapping[str, tuple[str, ...]]
    folded: int
    batch: int | None
    size: tuple[int, int] | None
    input: str
    outputs: Mapping[str, str]
    values: Mapping[str, str]
    notices: tuple[Finding, ...] = ()
