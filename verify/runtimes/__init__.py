"""Run a network in its framework, in a process of its own: crashes, threads and environment stay there."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...converters import errors as converter_errors
from ...converters.errors import EnvironmentError_
from ...mappings import errors as mapping_errors
from ...mappings.errors import MshubConvertError
from ...mappings.graph import Shape
from .. import errors as verify_errors
from ..errors import LoadError, RuntimeCrashError, RuntimeRefusedError, RuntimeTimeoutError
from .job import GraphNetwork, Job, LibraryNetwork, Weights
from .weights import Loaded

__all__ = ["RUNTIMES", "GraphNetwork", "Job", "LibraryNetwork", "Outcome", "Runtime", "Weights", "run"]

# One module each beside this one.
RUNTIMES = ("torch", "mindspore")
_ENVIRONMENT = {
    # MindSpore's CPU convolutions fall to a reference kernel on AVX-512 machines, ten times slower.
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    # Accelerator plugins would be imported with torch, and break it where their driver is missing.
    "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
    "GLOG_v": "3",
    "HF_HUB_OFFLINE": "1",
    "PYTHONFAULTHANDLER": "1",
}
_TAIL_LINES = 20

Array = npt.NDArray[Any]


class Runtime(Protocol):
    """What the module of a runtime has; the worker calls these in order."""

    def versions(self, network: LibraryNetwork | GraphNetwork) -> dict[str, str]:
        """Versions of the framework and, if one is used, of the library."""

    def build(self, network: LibraryNetwork | GraphNetwork, precision: str) -> Any:
        """The network, in inference mode."""

    def shapes(self, network: Any) -> dict[str, Shape]:
        """Shapes of the network's own tensors."""

    def read(self, weights: Weights, scratch: Path) -> Loaded:
        """The tensors of the file, as the framework's own loader gives them."""

    def load(self, network: Any, tensors: Mapping[str, Array]) -> None:
        """Give the network its weights, strictly."""

    def forward(self, network: Any, pictures: Array, *, taps: bool) -> dict[str, Array]:
        """Logits under ``head``, with taps the other values too."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave.

    ``logits`` has one array (N, classes) for each input file, ``taps`` one mapping (empty unless asked for).
    ``hashes`` and ``dtypes`` are of every tensor in the file as ``loader`` returned it: sha256 of its little-endian
    bytes. ``unused`` names what the file holds and the network did not take, ``rounded`` tensors that were wider
    than the network's and changed. ``seconds`` are those of import, load and run.
    """

    logits: tuple[Array, ...]
    taps: tuple[Mapping[str, Array], ...]
    finite: bool
    hashes: Mapping[str, str]
    dtypes: Mapping[str, str]
    loader: str
    unused: tuple[str, ...]
    rounded: tuple[str, ...]
    versions: Mapping[str, str]
    device: str
    seconds: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """How it was run, as plain values for JSON: no arrays, no hashes."""
        return {
            "versions": dict(self.versions), "device": self.device, "loader": self.loader,
            "tensors": len(self.hashes), "unused": list(self.unused), "rounded": list(self.rounded),
            "finite": self.finite, "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
        }  # fmt: skip


def run(job: Job, *, timeout: float) -> Outcome:
    """Run a job in a new process and read its results; ``timeout`` in seconds.

    Raises MissingPackageError (a package is not installed), EnvironmentError_ (a file is not there), LoadError (the
    weights do not fit), RuntimeRefusedError, RuntimeTimeoutError, RuntimeCrashError, or what reading the file raised.
    """
    if job.runtime not in RUNTIMES:
        raise RuntimeRefusedError(f"no runtime {job.runtime!r}", remedy=f"Use one of {', '.join(RUNTIMES)}.")
    job = _absolute(job)
    for path in (job.weights.file, *job.inputs):
        if not path.is_file():
            raise EnvironmentError_(f"no file {path}", remedy="Check the path.")
    job.output.mkdir(parents=True, exist_ok=True)
    result = job.output / "result.json"
    result.unlink(missing_ok=True)
    description = job.output / "job.json"
    description.write_text(json.dumps(job.as_dict(), indent=1), encoding="utf-8")
    log = job.output / "worker.log"
    # -P: a folder called torch or timm where the user happens to be must not be imported.
    command = [sys.executable, "-P", "-m", "mshub_convert.verify.worker", str(description)]
    code = _in_process_group(command, log, job, timeout)
    if not result.exists():
        raise RuntimeCrashError(f"the {job.runtime} runtime {_how_it_ended(code)}\n{_tail(log)}")
    data = json.loads(result.read_text(encoding="utf-8"))
    if "error" in data:
        raise _error(data["error"], job, log)
    return _outcome(job, data)


def _in_process_group(command: list[str], log: Path, job: Job, timeout: float) -> int:
    """Run a command; end it and all it started when time is up or when we are interrupted."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=job.output, env=os.environ | _ENVIRONMENT, stdin=subprocess.DEVNULL,
            stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RuntimeTimeoutError(
                f"the {job.runtime} runtime did not finish in {timeout:g} seconds\n{_tail(log)}",
                remedy="Give it more time, or fewer and smaller inputs.",
            ) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _absolute(job: Job) -> Job:
    """The job with absolute paths: the worker runs in the output folder, where frameworks drop their litter."""
    network = job.network
    if isinstance(network, GraphNetwork) and network.dialect.endswith(".toml"):
        network = replace(network, dialect=str(Path(network.dialect).absolute()))
    return replace(
        job, network=network, weights=replace(job.weights, file=job.weights.file.absolute()),
        inputs=tuple(path.absolute() for path in job.inputs), output=job.output.absolute(),
    )  # fmt: skip


def _outcome(job: Job, data: Mapping[str, Any]) -> Outcome:
    def array(name: str) -> Array:
        loaded: Array = np.load(job.output / name, allow_pickle=False)
        return loaded

    return Outcome(
        logits=tuple(array(name) for name in data["logits"]),
        taps=tuple({tap: array(name) for tap, name in files.items()} for files in data["taps"]),
        finite=data["finite"], hashes=data["hashes"], dtypes=data["dtypes"], loader=data["loader"],
        unused=tuple(data["unused"]), rounded=tuple(data["rounded"]), versions=data["versions"],
        device=data["device"], seconds=data["seconds"],
    )  # fmt: skip


def _error(data: Mapping[str, Any], job: Job, log: Path) -> MshubConvertError:
    """The error that the worker met, as it was there."""
    kind, message, remedy = data["kind"], data["message"], data["remedy"]
    if kind == LoadError.__name__:
        return LoadError(
            message, remedy=remedy, missing=data["missing"], unexpected=data["unexpected"], shapes=data["shapes"]
        )
    for module in (verify_errors, converter_errors, mapping_errors):
        found = getattr(module, kind, None)
        if isinstance(found, type) and issubclass(found, MshubConvertError):
            return found(message, remedy=remedy)
    return RuntimeCrashError(f"the {job.runtime} runtime failed: {kind}: {message}\n{_tail(log)}")


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended without a result (exit code {code})"
    hint = ", perhaps for want of memory" if -code == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{hint}"


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])
