"""Whether a runtime and its device are there, told before anything is downloaded, converted or run."""

import importlib.util
import tempfile
from pathlib import Path

from ..errors import MissingPackageError
from ..process import call
from . import EXTRAS
from .where import Where

# Seconds; a probe takes what the runtime's import takes.
TIMEOUT = 120.0


def check_available(where: Where | None, *, timeout: float = TIMEOUT) -> None:
    """Raise MissingPackageError for a runtime that is not installed, EnvironmentError_ for a device that is not there.

    A device is looked for in a process of its own, as a run would: some can be taken once in a process.
    """
    if where is None:
        return
    runtime = where.engine
    if EXTRAS[runtime] and importlib.util.find_spec(runtime) is None:
        raise MissingPackageError(
            f"{runtime} is not installed, and {where} was asked for",
            remedy=f"pip install 'mshub-convert[{EXTRAS[runtime]}]'",
        )
    if where.on_device:
        job = {"runtime": runtime, "device": where.device, "index": where.index}
        with tempfile.TemporaryDirectory(prefix="mshub-probe-") as folder:
            call("probe_worker", job, Path(folder), what=f"the {runtime} runtime", timeout=timeout)
