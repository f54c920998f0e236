"""The process that runs one network: ``python -m mshub_convert.verify.worker JOB.json``.

Writes ``result.json`` and the arrays it names beside it; errors go there too, as data.
"""

import importlib
import json
import platform
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from ..mappings.errors import MshubConvertError
from .errors import LoadError, MissingPackageError, RuntimeRefusedError
from .runtimes import Job, Runtime
from .runtimes.weights import for_network, in_precision

_EXTRAS = {
    "torch": "torch", "torchvision": "torch", "timm": "torch", "safetensors": "torch",
    "mindspore": "mindspore", "mindcv": "mindspore",
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run the job in a file; the exit code is that of the error, if there is one."""
    job = Job.from_dict(json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
    code = 0
    try:
        result = execute(job)
    except MshubConvertError as error:
        result, code = {"error": _as_data(error)}, error.exit_code
    except ImportError as error:
        traceback.print_exc()
        missing = _missing(error, job)
        result, code = {"error": _as_data(missing)}, missing.exit_code
    except Exception as error:
        traceback.print_exc()
        result, code = {"error": {"kind": type(error).__name__, "message": str(error), "remedy": ""}}, 1
    # Renamed when complete, so that a worker that dies here leaves no half result.
    draft = job.output / "result.json.tmp"
    draft.write_text(json.dumps(result, indent=1), encoding="utf-8")
    draft.rename(job.output / "result.json")
    return code


def execute(job: Job) -> dict[str, Any]:
    """Build the network, read and load the weights, run all inputs."""
    if job.device != "cpu":
        raise RuntimeRefusedError(f"the {job.runtime} runtime runs on the cpu, not on {job.device!r}")
    started = time.perf_counter()
    runtime: Runtime = importlib.import_module(f"{__package__}.runtimes.{job.runtime}")
    versions = {"python": platform.python_version(), "numpy": np.__version__, **runtime.versions(job.network)}
    imported = time.perf_counter()
    network = runtime.build(job.network, job.precision)
    loaded = runtime.read(job.weights, job.output)
    read = {
        "loader": loaded.loader, "hashes": loaded.hashes,
        "dtypes": {name: array.dtype.name for name, array in loaded.tensors.items()},
    }  # fmt: skip
    tensors, unused = for_network(loaded, job.weights, runtime.shapes(network))
    tensors, rounded = in_precision(tensors, job.precision)
    try:
        runtime.load(network, tensors)
    except LoadError as error:
        what = f"{job.weights.file} in {job.runtime}"
        raise LoadError.of(what, missing=error.missing, unexpected=error.unexpected, shapes=error.shapes) from None
    del loaded, tensors  # the network has its own copy
    ready = time.perf_counter()
    logits, taps, finite = [], [], True
    for index, path in enumerate(job.inputs):
        values = runtime.forward(network, _pictures(path), taps=job.taps)
        finite = finite and all(bool(np.isfinite(value).all()) for value in values.values())
        logits.append(_save(job, f"logits_{index}.npy", values["head"]))
        taps.append(
            {name: _save(job, f"tap_{index}_{name}.npy", value) for name, value in values.items()} if job.taps else {}
        )
    done = time.perf_counter()
    return {
        **read, "logits": logits, "taps": taps, "finite": finite, "unused": list(unused), "rounded": list(rounded),
        "versions": versions, "device": job.device,
        "seconds": {"import": imported - started, "load": ready - imported, "run": done - ready},
    }  # fmt: skip


def _pictures(path: Path) -> Any:
    array = np.load(path, allow_pickle=False)
    if array.dtype != np.float32 or array.ndim != 4 or array.shape[1] != 3:
        raise RuntimeRefusedError(f"{path} holds {array.dtype} of shape {array.shape}, not float32 of (N, 3, H, W)")
    return array


def _save(job: Job, name: str, array: Any) -> str:
    np.save(job.output / name, array, allow_pickle=False)
    return name


def _missing(error: ImportError, job: Job) -> MissingPackageError:
    package = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(package, job.runtime)
    remedy = f"pip install 'mshub-convert[{extra}]'"
    if isinstance(error, ModuleNotFoundError) and package in _EXTRAS:
        return MissingPackageError(f"the {job.runtime} runtime needs {package}, which is not installed", remedy=remedy)
    return MissingPackageError(
        f"a package of the {job.runtime} runtime is installed but cannot be imported: {error}", remedy=remedy
    )


def _as_data(error: MshubConvertError) -> dict[str, Any]:
    data: dict[str, Any] = {"kind": type(error).__name__, "message": error.message, "remedy": error.remedy}
    if isinstance(error, LoadError):
        data |= {"missing": error.missing, "unexpected": error.unexpected, "shapes": error.shapes}
    return data


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
