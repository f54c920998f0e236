"""Networks as MindSpore exports them, for containers that only MindSpore can make."""

import importlib.util
import tempfile
from pathlib import Path

from ..converters.codecs import Described
from .errors import MissingPackageError
from .process import call

# Seconds; the longest export seen, of a network with one convolution a group, took 50 on a busy machine.
TIMEOUT = 900.0
EXPORTED = "exported.mindir"


def export_mindir(network: Described, *, timeout: float = TIMEOUT) -> bytes:
    """A MINDIR of the network without its weights, made in a process of its own.

    Equal networks give equal bytes. Raises MissingPackageError where MindSpore is not installed, NetworkError where it
    cannot build the network, RuntimeTimeoutError or RuntimeCrashError.
    """
    if importlib.util.find_spec("mindspore") is None:
        raise MissingPackageError(
            "a MINDIR is exported by mindspore, which is not installed",
            remedy="pip install 'mshub-convert[mindspore]'",
        )
    dialect = network.grounding.dialect.reference
    job = {
        "architecture": network.grounding.architecture.as_dict(),
        "dialect": str(Path(dialect).absolute()) if dialect.endswith(".toml") else dialect,
        "traits": network.traits.as_dict(),
        "input_shape": None if network.input_shape is None else list(network.input_shape),
    }
    with tempfile.TemporaryDirectory(prefix="mshub-export-") as folder:
        call("export_worker", job, Path(folder), what="the MINDIR export", timeout=timeout)
        return (Path(folder) / EXPORTED).read_bytes()
