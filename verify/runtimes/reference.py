"""The reference runtime: our graphs in float64, in NumPy alone, so that no framework vouches for itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...mappings.dialects import Grounding, dialect
from ...mappings.graph import Graph, Shape
from ..errors import RuntimeRefusedError
from ..networks import exact
from ..networks.places import check_fit
from ..networks.watching import kept
from .job import GraphNetwork, Job, Network, Values, Watch, Weights
from .weights import Loaded, read_ourselves

Array = npt.NDArray[Any]


@dataclass(slots=True)
class ReferenceNetwork:
    """A graph, the names of its tensors, and their values by canonical key."""

    graph: Graph
    grounding: Grounding
    tensors: dict[str, Array] = field(default_factory=dict)


def set_up(device: str, index: int) -> dict[str, str]:
    """NumPy computes on the CPU, in the precision of its arrays."""
    return {"dtype": "float64"}


def versions(network: Network) -> dict[str, str]:
    """NumPy is all there is, and the worker tells its version."""
    return {}


def open_file(job: Job) -> tuple[ReferenceNetwork, Loaded]:
    """The reference runs no file that holds a network."""
    raise RuntimeRefusedError(f"the reference cannot run {job.weights.file} itself", remedy="Have its network rebuilt.")


def build(job: Job) -> ReferenceNetwork:
    """A network of the graph, without weights."""
    if job.precision != "float64":
        raise RuntimeRefusedError(
            f"the reference computes in float64, not in {job.precision}", remedy="Ask for float64."
        )
    if not isinstance(job.network, GraphNetwork):
        raise RuntimeRefusedError("the reference has no networks of a library", remedy="Take the network of the graph.")
    architecture = job.network.architecture
    grounding = dialect(job.network.dialect).ground(architecture)
    return ReferenceNetwork(architecture.graph(job.network.traits), grounding)


def shapes(network: ReferenceNetwork) -> dict[str, Shape]:
    """Shapes of the tensors by the dialect's names."""
    return dict(network.grounding.specs)


def read(weights: Weights, scratch: Path) -> Loaded:
    """Read a file with our own codecs: no framework is asked."""
    return read_ourselves(weights, "the reference uses no framework")


def load(network: ReferenceNetwork, tensors: Mapping[str, Array]) -> None:
    """Take the tensors, strictly; kernels that the dialect splits are joined."""
    check_fit("load into the reference", shapes(network), {name: array.shape for name, array in tensors.items()})
    for key, slot in network.grounding.slots.items():
        parts = [tensors[name] for name in slot.names]
        network.tensors[key] = np.concatenate(parts).reshape(slot.parameter.shape) if parts[0].ndim else parts[0]


def forward(network: ReferenceNetwork, pictures: Array, *, watch: Watch) -> tuple[Values, Values]:
    """Float64 outputs, and what is watched."""
    graph = network.graph
    return kept(exact.values(graph, network.tensors, pictures), graph.outputs, graph.taps, watch, np.asarray)
