"""The om runtime: an .om that was compiled from an .onnx file for an Ascend device, run with ais_bench.

Source: "benchmark API" in the documentation of ais_bench (InferSession). None of it was ever run on a device by us.
"""

import importlib
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converters.errors import EnvironmentError_
from ...mappings.graph import Shape
from ..errors import MissingPackageError, RuntimeRefusedError
from .job import FileNetwork, Job, Network, Values, Watch, Weights
from .weights import Loaded

Array = npt.NDArray[Any]

_REMEDY = (
    "Install ais_bench and aclruntime (Ascend's msit, components/benchmark) where the device is, and CANN;"
    " source its set_env.sh."
)
_ASK = "Take the .onnx in ONNX Runtime."


@dataclass(frozen=True, slots=True)
class OmNetwork:
    """An .om that is loaded on its device, and the names of the outputs that are looked at."""

    session: Any
    file: Path
    outputs: Mapping[str, str]


def compiled(file: Path) -> Path:
    """The .om of an .onnx file: beside it, under its name."""
    return file.with_suffix(".om")


def keeps_precision(file: Path) -> bool:
    """Whether an .om says that it was compiled with ``precision_mode_v2=origin``: it keeps the command line of ATC.

    Without that ATC computes in float16.
    """
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"precision_mode_v2=origin") >= 0


def set_up(device: str, index: int) -> dict[str, str]:
    """See that ais_bench can be imported. The device itself is first taken when an .om is loaded."""
    try:
        importlib.import_module("ais_bench.infer.interface")
    except Exception as error:  # whatever its start-up meets: ImportError, OSError, RuntimeError
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == "ais_bench":
            raise MissingPackageError("ais_bench is not installed, which runs an .om", remedy=_REMEDY) from None
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise MissingPackageError(f"ais_bench is installed but cannot be imported: {said}", remedy=_REMEDY) from None
    # Its command line would run on zeros if it were given no input; this one is always given the pictures.
    return {"device_id": str(index), "mode": "static"}


def versions(network: Network) -> dict[str, str]:
    """The version of ais_bench, where it was installed as a package."""
    try:
        return {"ais_bench": metadata.version("ais_bench")}
    except metadata.PackageNotFoundError:
        return {"ais_bench": "unknown"}


def open_file(job: Job) -> tuple[OmNetwork, Loaded]:
    """The .om beside an .onnx file; its weights are the device's own, and cannot be read back."""
    if job.weights.container != "onnx" or not isinstance(job.network, FileNetwork):
        raise RuntimeRefusedError(f"an .om is compiled from an .onnx, {job.weights.file} is none", remedy=_ASK)
    if job.precision != "float32":
        raise RuntimeRefusedError(f"the om runtime has no {job.precision}", remedy=f"Run {job.precision} in torch.")
    file = compiled(job.weights.file)
    if not file.is_file():
        remedy = "Compile it with `mshub-convert SOURCE --to om`; it stands beside the .onnx, under its name."
        raise EnvironmentError_(f"no file {file}", remedy=remedy)
    interface: Any = importlib.import_module("ais_bench.infer.interface")
    try:
        session = interface.InferSession(job.index, str(file))
    except Exception as error:  # aclruntime's errors have no base of their own
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        remedy = "Check the device with `npu-smi info`, and that the .om was compiled for it (--soc-version)."
        raise EnvironmentError_(f"{file} cannot be loaded on device {job.index}: {said}", remedy=remedy) from None
    return OmNetwork(session, file, job.network.outputs or {"head": ""}), Loaded({}, "ais_bench.InferSession")


def build(job: Job) -> Any:
    """No network of ours: it would have to be compiled first."""
    raise RuntimeRefusedError("the om runtime builds no networks", remedy=_ASK)


def shapes(network: OmNetwork) -> dict[str, Shape]:
    """Tensors of an .om have no names of ours."""
    return {}


def read(weights: Weights, scratch: Path) -> Loaded:
    """An .om takes no weights."""
    raise RuntimeRefusedError("the om runtime reads no weights", remedy=_ASK)


def load(network: OmNetwork, tensors: Mapping[str, Array]) -> None:
    """An .om takes no weights."""
    raise RuntimeRefusedError("the om runtime loads no weights", remedy=_ASK)


def forward(network: OmNetwork, pictures: Array, *, watch: Watch) -> tuple[Values, Values]:
    """Float32 outputs, in the order of the file's."""
    if watch != "outputs":
        raise RuntimeRefusedError("an .om has no taps", remedy=_ASK)
    try:
        results = network.session.infer([np.ascontiguousarray(pictures)], mode="static")
    except Exception as error:  # aclruntime's errors have no base of their own
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        remedy = "It takes the shape it was compiled for (--input-shape), and no other."
        raise RuntimeRefusedError(f"{network.file} does not run on {pictures.shape}: {said}", remedy=remedy) from None
    if len(results) != len(network.outputs):
        raise RuntimeRefusedError(
            f"{network.file} gives {len(results)} outputs, its .onnx {len(network.outputs)}",
            remedy="Compile it again from that .onnx.",
        )
    found = (np.asarray(array).astype(np.float32, copy=False) for array in results)
    outputs = dict(zip(network.outputs, found, strict=True))
    if "head" in outputs:
        outputs["head"] = outputs["head"].reshape(len(pictures), -1)
    return outputs, {}
