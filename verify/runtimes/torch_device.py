"""Devices of torch: is one there, and does it compute float32 in float32."""

import importlib
from typing import Any

import torch

from ...converters.errors import EnvironmentError_
from ..errors import MissingPackageError
from .where import CPU

_OR_CPU = "or leave the device out to run on the CPU."


def named(device: str, index: int) -> torch.device:
    """The device as torch knows it."""
    return torch.device(CPU) if device == CPU else torch.device(device, index)


def set_up(device: str, index: int) -> dict[str, str]:
    """Switch off what computes float32 in less or differs from run to run, and see that the device is there."""
    settings: dict[str, str] = {}
    torch.set_float32_matmul_precision("highest")
    settings["float32_matmul_precision"] = torch.get_float32_matmul_precision()
    # Source: "TensorFloat-32 (TF32) on Ampere (and later) devices" and "Reproducibility" in torch's notes. They can be
    # set without the device, so that the CPU runs the same code.
    _switch(settings, torch.backends.cuda.matmul, "cuda.matmul", allow_tf32=False)
    _switch(settings, torch.backends.cudnn, "cudnn", allow_tf32=False, deterministic=True, benchmark=False)
    if device == "cuda":
        _check(torch.cuda, "CUDA", index, _no_cuda())
    elif device == "npu":
        _import_npu()
        npu: Any = torch.npu
        _check(npu, "NPU", index, "Check the driver with `npu-smi info`, and that CANN's set_env.sh was sourced")
        # Source: torch.npu.conv.allow_hf32 and torch.npu.matmul.allow_hf32 in the documentation of torch_npu.
        _switch(settings, npu.conv, "npu.conv", allow_hf32=False)
        _switch(settings, npu.matmul, "npu.matmul", allow_hf32=False)
    return settings


def _switch(settings: dict[str, str], on: Any, title: str, **values: bool) -> None:
    """Set flags, and note what they are then."""
    for name, value in values.items():
        setattr(on, name, value)
        settings[f"{title}.{name}"] = str(getattr(on, name))


def _check(module: Any, title: str, index: int, remedy: str) -> None:
    count = module.device_count() if module.is_available() else 0
    if not count:
        raise EnvironmentError_(f"torch {torch.__version__} has no {title} device here", remedy=f"{remedy}, {_OR_CPU}")
    if index >= count:
        device = title.lower()
        raise EnvironmentError_(
            f"torch has {count} {title} device{'s' if count > 1 else ''} here, and no {device}:{index}",
            remedy=f"The last is {device}:{count - 1}.",
        )


def _no_cuda() -> str:
    if torch.version.cuda is None:
        return "Install a torch that is built for CUDA"
    return "Check the driver with `nvidia-smi`"


def _import_npu() -> None:
    """torch_npu, which is not loaded with torch here, since it breaks that where CANN is missing."""
    remedy = f"Install the torch_npu of this torch and CANN, source its set_env.sh, {_OR_CPU}"
    try:
        importlib.import_module("torch_npu")
    except Exception as error:  # whatever its start-up meets: ImportError, OSError, RuntimeError
        if isinstance(error, ModuleNotFoundError) and error.name == "torch_npu":
            raise MissingPackageError("torch_npu is not installed, which gives torch its NPU", remedy=remedy) from None
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MissingPackageError(f"torch_npu is installed but cannot be imported: {said}", remedy=remedy) from None
