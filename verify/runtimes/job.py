"""What one run of a network is: plain values that go to the worker process as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...mappings.architectures import Architecture, from_dict
from ...mappings.traits import Traits


@dataclass(frozen=True, slots=True)
class LibraryNetwork:
    """A library's own network: ``timm``, ``torchvision`` or ``mindcv``, and its name there."""

    library: str
    model: str
    classes: int = 1000

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": "library", "library": self.library, "model": self.model, "classes": self.classes}


@dataclass(frozen=True, slots=True)
class GraphNetwork:
    """Our network of a graph, its parameters called as a dialect (name or .toml path) says."""

    architecture: Architecture
    dialect: str
    traits: Traits

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": "graph", "architecture": self.architecture.as_dict(), "dialect": self.dialect,
            "traits": self.traits.as_dict(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of weights and how the network's tensors are made of the file's.

    ``container`` is ``pth``, ``safetensors`` or ``ckpt``. ``slots`` gives for each name of the network the names in
    the file whose tensors, joined on axis 0, are its tensor; without slots the names are the same. ``absent`` lists
    counters (``num_batches_tracked``) that the file lacks; they become 0. ``select`` is the dotted path of the dict
    in a .pth that holds the weights (``state_dict``).
    """

    file: Path
    container: str
    slots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    select: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "file": str(self.file), "container": self.container, "absent": list(self.absent), "select": self.select,
            "slots": [[name, list(parts)] for name, parts in self.slots.items()],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """One network, one file of weights, one or more batches of inputs (.npy, float32, N x 3 x H x W).

    Results go to the folder ``output``; with ``taps`` the values along the network are kept too.
    """

    runtime: str
    network: LibraryNetwork | GraphNetwork
    weights: Weights
    inputs: tuple[Path, ...]
    output: Path
    precision: Literal["float32", "float64"] = "float32"
    device: str = "cpu"
    taps: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "runtime": self.runtime, "device": self.device, "precision": self.precision,
            "network": self.network.as_dict(), "weights": self.weights.as_dict(),
            "inputs": [str(path) for path in self.inputs], "output": str(self.output), "taps": self.taps,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Job":
        """The inverse of ``as_dict``; what has a default may be left out."""
        weights = data["weights"]
        return cls(
            runtime=data["runtime"], device=data.get("device", "cpu"), precision=data.get("precision", "float32"),
            network=_network(data["network"]), inputs=tuple(map(Path, data["inputs"])), output=Path(data["output"]),
            taps=data.get("taps", False),
            weights=Weights(
                Path(weights["file"]), weights["container"], select=weights.get("select", ""),
                absent=tuple(weights.get("absent", ())),
                slots={name: tuple(parts) for name, parts in weights.get("slots", ())},
            ),
        )  # fmt: skip


def _network(data: Mapping[str, Any]) -> LibraryNetwork | GraphNetwork:
    if data["kind"] == "library":
        return LibraryNetwork(data["library"], data["model"], data["classes"])
    return GraphNetwork(from_dict(data["architecture"]), data["dialect"], Traits().with_values(data["traits"]))
