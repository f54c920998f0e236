"""The process that runs one network: ``python -m mshub_convert.verify.worker FOLDER``.

Results go to that folder, with the arrays they name beside them.
"""

import importlib
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..mappings.names import listed
from .errors import LoadError, RuntimeRefusedError
from .process import read_job, serve
from .runtimes import EXTRAS, FileNetwork, Job, Runtime
from .runtimes.job import EMULATED
from .runtimes.weights import Loaded, for_network, in_precision
from .runtimes.where import DEVICES


def main(folder: Path) -> int:
    """Run the job in a folder; the exit code is that of the error, if there is one."""
    job = Job.from_dict(read_job(folder))
    return serve(folder, lambda: execute(job), what=f"the {job.runtime} runtime", extra=EXTRAS[job.runtime])


def execute(job: Job) -> dict[str, Any]:
    """Get the network with its weights, and run all inputs."""
    started = time.perf_counter()
    runtime, settings = ready_runtime(job.runtime, job.device, job.index)
    versions = {"python": platform.python_version(), "numpy": np.__version__, **runtime.versions(job.network)}
    imported = time.perf_counter()
    if isinstance(job.network, FileNetwork):
        network, loaded = runtime.open_file(job)
        read = _read(loaded)
        del loaded
    else:
        network, read = built(runtime, job)
    loaded_at = time.perf_counter()
    outputs, watched, finite = [], [], True
    for index, path in enumerate(job.inputs):
        given, seen = _forward(runtime, network, pictures(path), job)
        finite = finite and all(bool(np.isfinite(value).all()) for value in (*given.values(), *seen.values()))
        outputs.append(_saved(job, f"output_{index}", given))
        watched.append(_saved(job, f"watched_{index}", seen))
    done = time.perf_counter()
    return {
        **read, "outputs": outputs, "watched": watched, "finite": finite, "versions": versions, "device": job.device,
        "settings": dict(settings),
        "seconds": {"import": imported - started, "load": loaded_at - imported, "run": done - loaded_at},
    }  # fmt: skip


def ready_runtime(name: str, device: str, index: int) -> tuple[Runtime, Mapping[str, str]]:
    """The module of a runtime, with its device taken, and what was set there."""
    runtime: Runtime = importlib.import_module(f"{__package__}.runtimes.{name}")
    if device not in DEVICES[name]:
        devices = listed(tuple(DEVICES[name]), "or")
        raise RuntimeRefusedError(f"the {name} runtime runs on the {devices}, not on {device!r}")
    return runtime, runtime.set_up(device, index)


def built(runtime: Runtime, job: Job) -> tuple[Any, dict[str, Any]]:
    """A network with the weights of the file loaded into it, and how those were read."""
    network = runtime.build(job)
    loaded = runtime.read(job.weights, job.output)
    tensors, unused = for_network(loaded, job.weights, runtime.shapes(network))
    # Lower precisions are emulated in float32 arithmetic.
    tensors, rounded = in_precision(tensors, "float32" if job.precision in EMULATED else job.precision)
    try:
        runtime.load(network, tensors)
    except LoadError as error:
        what = f"{job.weights.file} in {job.runtime}"
        raise LoadError.of(what, missing=error.missing, unexpected=error.unexpected, shapes=error.shapes) from None
    return network, _read(loaded, unused, rounded)


def _read(loaded: Loaded, unused: tuple[str, ...] = (), rounded: tuple[str, ...] = ()) -> dict[str, Any]:
    """What there is to say of the tensors that a loader gave."""
    return {
        "loader": loaded.loader, "hashes": loaded.hashes, "unused": list(unused), "rounded": list(rounded),
        "dtypes": {name: array.dtype.name for name, array in loaded.tensors.items()},
    }  # fmt: skip


def _forward(runtime: Runtime, network: Any, pictures: Any, job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    """Outputs and watched values of all pictures, so many at a time as the job says; the last batch is filled up."""
    batch = job.batch or len(pictures)
    parts: tuple[dict[str, list[Any]], dict[str, list[Any]]] = {}, {}
    for start in range(0, len(pictures), batch):
        some = pictures[start : start + batch]
        filled = np.concatenate([some, np.repeat(some[-1:], batch - len(some), 0)])
        for kept, found in zip(parts, runtime.forward(network, filled, watch=job.watch), strict=True):
            for name, value in found.items():
                kept.setdefault(name, []).append(value[: len(some)])
    outputs, watched = ({name: np.concatenate(values) for name, values in kept.items()} for kept in parts)
    return outputs, watched


def pictures(path: Path) -> Any:
    """A batch of pictures, float32 (N, 3, H, W)."""
    array = np.load(path, allow_pickle=False)
    if array.dtype != np.float32 or array.ndim != 4 or array.shape[1] != 3:
        raise RuntimeRefusedError(f"{path} holds {array.dtype} of shape {array.shape}, not float32 of (N, 3, H, W)")
    return array


def _saved(job: Job, start: str, arrays: Mapping[str, Any]) -> dict[str, str]:
    """Names of the files that the arrays were saved to."""
    files = {}
    for number, (name, array) in enumerate(arrays.items()):
        files[name] = f"{start}_{number}.npy"
        np.save(job.output / files[name], array, allow_pickle=False)
    return files


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
