"""Run a network in its framework, in a process of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...converters.errors import EnvironmentError_
from ...mappings.graph import Shape
from ..errors import RuntimeRefusedError
from ..process import call
from .job import (
    FileNetwork,
    GraphNetwork,
    Job,
    LibraryNetwork,
    Network,
    Precision,
    UserNetwork,
    Values,
    Watch,
    Weights,
)
from .weights import Loaded

__all__ = [
    "EXTRAS", "RUNTIMES", "FileNetwork", "GraphNetwork", "Job", "LibraryNetwork", "Network", "Outcome", "Precision",
    "Runtime", "UserNetwork", "Values", "Watch", "Weights", "run",
]  # fmt: skip

# Runtime, a module beside this one, → the extra of ours that installs it; the reference needs none, and ais_bench,
# which runs an .om, is in no package index.
EXTRAS: Mapping[str, str] = {
    "torch": "torch", "mindspore": "mindspore", "onnxruntime": "onnx", "reference": "", "om": "",
}  # fmt: skip
# Those that compute in float32 and need a package.
RUNTIMES = tuple(runtime for runtime, extra in EXTRAS.items() if extra)

Array = npt.NDArray[Any]


class Runtime(Protocol):
    """What the module of a runtime has; the worker calls these in order.

    The device is set up first of all. The network of a FileNetwork is opened, with its weights; others are built, and
    given weights that were read.
    """

    def set_up(self, device: str, index: int) -> Mapping[str, str]:
        """Take a device and have it compute in the precision of the numbers; what was set, by the framework's names.

        Raises EnvironmentError_ where the device is not there: nothing is run on another instead.
        """

    def versions(self, network: Network) -> dict[str, str]:
        """Versions of the framework and, if one is used, of the library."""

    def open_file(self, job: Job) -> tuple[Any, Loaded]:
        """The network that the file itself holds, and its tensors as the framework's own loader gives them."""

    def build(self, job: Job) -> Any:
        """The network, in inference mode."""

    def shapes(self, network: Any) -> dict[str, Shape]:
        """Shapes of the network's own tensors."""

    def read(self, weights: Weights, scratch: Path) -> Loaded:
        """The tensors of the file, as the framework's own loader gives them."""

    def load(self, network: Any, tensors: Mapping[str, Array]) -> None:
        """Give the network its weights, strictly."""

    def forward(self, network: Any, pictures: Array, *, watch: Watch) -> tuple[Values, Values]:
        """The outputs (a classifier's logits under ``head``) and what is watched: stages by tap, or values by node."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave.

    ``outputs`` has one mapping for each input file (a classifier's has ``head``: logits of shape (N, classes)),
    ``watched`` one of what was asked for beside them.
    ``hashes`` and ``dtypes`` are of every tensor in the file as ``loader`` returned it: sha256 of its little-endian
    bytes. ``unused`` names what the file holds and the network did not take, ``rounded`` tensors that were wider
    than the network's and changed. ``settings`` are the precision switches and whatever else was set before it ran.
    ``seconds`` are those of import, load and run.
    """

    outputs: tuple[Values, ...]
    watched: tuple[Values, ...]
    finite: bool
    hashes: Mapping[str, str]
    dtypes: Mapping[str, str]
    loader: str
    unused: tuple[str, ...]
    rounded: tuple[str, ...]
    versions: Mapping[str, str]
    device: str
    settings: Mapping[str, str]
    seconds: Mapping[str, float]

    @property
    def logits(self) -> tuple[Array, ...]:
        """The arrays of the only output."""
        return tuple(only for (only,) in (batch.values() for batch in self.outputs))

    def as_dict(self) -> dict[str, Any]:
        """How it was run, as plain values for JSON: no arrays, no hashes."""
        return {
            "versions": dict(self.versions), "device": self.device, "settings": dict(self.settings),
            "loader": self.loader, "tensors": len(self.hashes), "unused": list(self.unused),
            "rounded": list(self.rounded), "finite": self.finite,
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
        }  # fmt: skip


def run(job: Job, *, timeout: float) -> Outcome:
    """Run a job in a new process and read its results; ``timeout`` in seconds.

    Raises MissingPackageError (a package is not installed), EnvironmentError_ (a file is not there), LoadError (the
    weights do not fit), RuntimeRefusedError, RuntimeTimeoutError, RuntimeCrashError, or what reading the file raised.
    """
    if job.runtime not in EXTRAS:
        raise RuntimeRefusedError(f"no runtime {job.runtime!r}", remedy=f"Use one of {', '.join(EXTRAS)}.")
    job = _absolute(job)
    for path in (job.weights.file, *job.inputs):
        if not path.is_file():
            raise EnvironmentError_(f"no file {path}", remedy="Check the path.")
    data = call("worker", job.as_dict(), job.output, what=f"the {job.runtime} runtime", timeout=timeout)
    return _outcome(job, data)


def _absolute(job: Job) -> Job:
    """The job with absolute paths: the worker runs in the output folder, where frameworks drop their litter."""
    network = job.network
    if isinstance(network, GraphNetwork) and network.dialect.endswith(".toml"):
        network = replace(network, dialect=str(Path(network.dialect).absolute()))
    if isinstance(network, UserNetwork):
        network = replace(network, file=network.file.absolute())
    return replace(
        job, network=network, weights=replace(job.weights, file=job.weights.file.absolute()),
        inputs=tuple(path.absolute() for path in job.inputs), output=job.output.absolute(),
    )  # fmt: skip


def _outcome(job: Job, data: Mapping[str, Any]) -> Outcome:
    def array(name: str) -> Array:
        loaded: Array = np.load(job.output / name, allow_pickle=False)
        return loaded

    return Outcome(
        outputs=tuple({name: array(file) for name, file in files.items()} for files in data["outputs"]),
        watched=tuple({name: array(file) for name, file in files.items()} for files in data["watched"]),
        finite=data["finite"], hashes=data["hashes"], dtypes=data["dtypes"], loader=data["loader"],
        unused=tuple(data["unused"]), rounded=tuple(data["rounded"]), versions=data["versions"],
        device=data["device"], settings=data["settings"], seconds=data["seconds"],
    )  # fmt: skip
