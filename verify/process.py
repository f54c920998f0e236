"""Work in a process of its own: crashes, threads and environment stay there, errors come back as they were.

One side calls a module of ours with a folder that has ``job.json``, plain values; the module serves it and leaves
``result.json`` there.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..converters import errors as converter_errors
from ..mappings import errors as mapping_errors
from ..mappings.errors import MshubConvertError
from . import errors as verify_errors
from .errors import LoadError, MissingPackageError, RuntimeCrashError, RuntimeTimeoutError

_ENVIRONMENT = {
    # MindSpore's CPU convolutions fall to a reference kernel on AVX-512 machines, ten times slower.
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    # Accelerator plugins would be imported with torch, and break it where their driver is missing.
    "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
    "GLOG_v": "3",
    "HF_HUB_OFFLINE": "1",
    "PYTHONFAULTHANDLER": "1",
}
# Package → the extra of ours that installs it.
_EXTRAS = {
    "torch": "torch", "torchvision": "torch", "timm": "torch", "safetensors": "torch",
    "mmpretrain": "mmpretrain", "mmengine": "mmpretrain", "mmcv": "mmpretrain",
    "mindspore": "mindspore", "mindcv": "mindspore", "onnxruntime": "onnx", "onnx": "onnx",
}  # fmt: skip
_TAIL_LINES = 20
_JOB, _RESULT, _LOG = "job.json", "result.json", "worker.log"


def call(module: str, job: Mapping[str, Any], folder: Path, *, what: str, timeout: float) -> dict[str, Any]:
    """Have a module of this package serve a job in a new process; ``timeout`` in seconds, ``what`` for messages.

    The process runs in ``folder``, where frameworks drop their litter, so the job's paths must be absolute. Raises
    what was raised there, RuntimeTimeoutError or RuntimeCrashError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result, log = folder / _RESULT, folder / _LOG
    result.unlink(missing_ok=True)
    (folder / _JOB).write_text(json.dumps(job, indent=1), encoding="utf-8")
    # -P: a folder called torch or timm where the user happens to be must not be imported.
    command = [sys.executable, "-P", "-m", f"{__package__}.{module}", str(folder.absolute())]
    code = _in_process_group(command, folder, what, timeout)
    if not result.exists():
        raise RuntimeCrashError(f"{what} {_how_it_ended(code)}\n{_tail(log)}")
    data: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    if "error" in data:
        raise _error(data["error"], what, log)
    return data


def read_job(folder: Path) -> dict[str, Any]:
    """The job that a process was called with."""
    job: dict[str, Any] = json.loads((folder / _JOB).read_text(encoding="utf-8"))
    return job


def serve(folder: Path, work: Callable[[], Mapping[str, Any]], *, what: str, extra: str) -> int:
    """Do the work of a job and leave its result, or its error, in its folder; returns the exit code.

    A package that is missing and that no extra of ours is known for is told as one of ``extra``.
    """
    code = 0
    try:
        result = work()
    except MshubConvertError as error:
        result, code = {"error": _as_data(error)}, error.exit_code
    except ImportError as error:
        traceback.print_exc()
        missing = _missing(error, what, extra)
        result, code = {"error": _as_data(missing)}, missing.exit_code
    except Exception as error:
        traceback.print_exc()
        result, code = {"error": {"kind": type(error).__name__, "message": str(error), "remedy": ""}}, 1
    # Renamed when complete, so that a worker that dies here leaves no half result.
    draft = folder / f"{_RESULT}.tmp"
    draft.write_text(json.dumps(result, indent=1), encoding="utf-8")
    draft.rename(folder / _RESULT)
    return code


def _in_process_group(command: list[str], folder: Path, what: str, timeout: float) -> int:
    """Run a command; end it and all it started when time is up or when we are interrupted."""
    with (folder / _LOG).open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | _ENVIRONMENT, stdin=subprocess.DEVNULL,
            stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RuntimeTimeoutError(
                f"{what} did not finish in {timeout:g} seconds\n{_tail(folder / _LOG)}",
                remedy="Give it more time, or fewer and smaller inputs.",
            ) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _error(data: Mapping[str, Any], what: str, log: Path) -> MshubConvertError:
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
    return RuntimeCrashError(f"{what} failed: {kind}: {message}\n{_tail(log)}")


def _as_data(error: MshubConvertError) -> dict[str, Any]:
    data: dict[str, Any] = {"kind": type(error).__name__, "message": error.message, "remedy": error.remedy}
    if isinstance(error, LoadError):
        data |= {"missing": error.missing, "unexpected": error.unexpected, "shapes": error.shapes}
    return data


def _missing(error: ImportError, what: str, extra: str) -> MissingPackageError:
    package = (error.name or "").partition(".")[0]
    remedy = f"pip install 'mshub-convert[{_EXTRAS.get(package, extra)}]'"
    if isinstance(error, ModuleNotFoundError) and package in _EXTRAS:
        return MissingPackageError(f"{what} needs {package}, which is not installed", remedy=remedy)
    return MissingPackageError(f"a package of {what} is installed but cannot be imported: {error}", remedy=remedy)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended without a result (exit code {code})"
    hint = ", perhaps for want of memory" if -code == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{hint}"


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])
