"""What one run of a network is: plain values that go to the worker process as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from ...mappings.architectures import Architecture, from_dict
from ...mappings.traits import Traits
from .where import CPU

Precision = Literal["hf32", "float16", "bfloat16", "float32", "float64"]
# Those that are float32 arithmetic on rounded numbers, as devices of lower precision do it.
EMULATED: tuple[Precision, ...] = ("hf32", "float16", "bfloat16")
# The outputs of a network that does not name them, and those of a library's backbone.
CLASSIFIER, BACKBONE = ("head",), ("features",)
# What is kept of a run: what the network gives, its stages too, or the output of every node.
Watch = Literal["outputs", "stages", "values"]
# Arrays by name, each with one row a picture.
Values = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class LibraryNetwork:
    """A library's own network: ``timm``, ``torchvision``, ``mindcv`` or ``mmpretrain``, and its name there.

    With no ``classes`` it is used as a backbone: what comes before its pool and classifier.

    ``traits`` are those to give it as arguments; only mmpretrain's networks take any.
    """

    library: str
    model: str
    classes: int = 1000
    traits: Mapping[str, str | float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": "library", "library": self.library, "model": self.model, "classes": self.classes,
            "traits": dict(self.traits),
        }  # fmt: skip


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
class FileNetwork:
    """The network that a file itself holds (ONNX, MINDIR): the file is run as it is, under no names of ours.

    ``outputs`` tells which of its values are which outputs (``head`` → ``logits``), in a MINDIR, whose values have no
    names of their own, by their order; without, its only one is ``head``.
    ``values`` tells which are the outputs of our nodes, for those that can be watched. ``optimization`` tells how far
    ONNX Runtime may rewrite the graph: ``disable``, ``basic``, ``extended`` or ``all``, as it does by default.
    """

    outputs: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    optimization: str = "all"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": "file", "outputs": dict(self.outputs), "values": dict(self.values),
            "optimization": self.optimization,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class UserNetwork:
    """A network that a user's own function makes: ``factory`` in the Python file ``file``, whose code is run.

    ``outputs`` are what it gives, in order, each with its axes for a picture, 0 for one that goes with the picture's
    size. ``wrapper`` is what names may have before them that its own do not.
    """

    file: Path
    factory: str
    classes: int
    outputs: Mapping[str, tuple[int, ...]]
    wrapper: str = ""

    @property
    def said(self) -> str:
        """As it is named on the command line."""
        return f"{self.file}:{self.factory}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": "user", "file": str(self.file), "factory": self.factory, "classes": self.classes,
            "outputs": {name: list(axes) for name, axes in self.outputs.items()}, "wrapper": self.wrapper,
        }  # fmt: skip


Network = LibraryNetwork | GraphNetwork | FileNetwork | UserNetwork


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of weights and how the network's tensors are made of the file's.

    ``container`` is the name of the file's codec. ``slots`` gives for each name of the network the names in the file
    whose tensors, joined on axis 0, are its tensor; without slots the names are the same. A file whose network was
    recovered from its graph has its tensors by canonical key. ``absent`` lists counters (``num_batches_tracked``)
    that the file lacks; they become 0. ``select`` is the dotted path of the dict in a .pth that holds the weights
    (``state_dict``), ``norm_eps`` the epsilon of the BatchNorms that a graph has folded away.
    """

    file: Path
    container: str
    slots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    select: str = ""
    norm_eps: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "file": str(self.file), "container": self.container, "absent": list(self.absent), "select": self.select,
            "norm_eps": self.norm_eps, "slots": [[name, list(parts)] for name, parts in self.slots.items()],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """One network, one file of weights, one or more batches of inputs (.npy, float32, N x 3 x H x W).

    Results go to the folder ``output``; ``watch`` says which values along the network are kept too. ``batch`` is
    how many pictures run at a time (None: all of a file), ``index`` which of several devices. The precisions
    of ``EMULATED`` are float32 arithmetic with what goes into the layers rounded; only our networks in torch have them.
    """

    runtime: str
    network: Network
    weights: Weights
    inputs: tuple[Path, ...]
    output: Path
    precision: Precision = "float32"
    device: str = CPU
    watch: Watch = "outputs"
    batch: int | None = None
    index: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "runtime": self.runtime, "device": self.device, "index": self.index, "precision": self.precision,
            "network": self.network.as_dict(), "weights": self.weights.as_dict(),
            "inputs": [str(path) for path in self.inputs], "output": str(self.output), "watch": self.watch,
            "batch": self.batch,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Job":
        """The inverse of ``as_dict``; what has a default may be left out."""
        weights = data["weights"]
        return cls(
            runtime=data["runtime"], device=data.get("device", CPU), index=data.get("index", 0),
            precision=data.get("precision", "float32"),
            network=_network(data["network"]), inputs=tuple(map(Path, data["inputs"])), output=Path(data["output"]),
            watch=data.get("watch", "outputs"), batch=data.get("batch"),
            weights=Weights(
                Path(weights["file"]), weights["container"], select=weights.get("select", ""),
                absent=tuple(weights.get("absent", ())), norm_eps=weights.get("norm_eps"),
                slots={name: tuple(parts) for name, parts in weights.get("slots", ())},
            ),
        )  # fmt: skip


def _network(data: Mapping[str, Any]) -> Network:
    if data["kind"] == "file":
        return FileNetwork(data.get("outputs", {}), data.get("values", {}), data.get("optimization", "all"))
    if data["kind"] == "library":
        return LibraryNetwork(data["library"], data["model"], data["classes"], data.get("traits", {}))
    if data["kind"] == "user":
        outputs = {name: tuple(axes) for name, axes in data["outputs"].items()}
        return UserNetwork(Path(data["file"]), data["factory"], data["classes"], outputs, data["wrapper"])
    return GraphNetwork(from_dict(data["architecture"]), data["dialect"], Traits().with_values(data["traits"]))
