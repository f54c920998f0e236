"""Sessions of ONNX Runtime: on the provider asked for or none, with errors that say what is wrong."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from ...converters.codecs.protobuf import delimited, number_field
from ...converters.errors import EnvironmentError_
from ...mappings.names import listed
from ..errors import LoadError, RuntimeRefusedError
from .where import CPU

# Device → its provider, and the options that keep float32 computations in float32.
# Source: the pages of these execution providers in ONNX Runtime's documentation.
PROVIDERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    CPU: ("CPUExecutionProvider", {}),
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
    "cann": ("CANNExecutionProvider", {"precision_mode": "must_keep_origin_dtype"}),
}
# Provider → the build that has it, and the libraries it loads when it is started.
_BUILDS = {
    "CUDAExecutionProvider": ("onnxruntime-gpu", "CUDA and cuDNN"),
    "CANNExecutionProvider": ("onnxruntime-cann", "CANN, its set_env.sh sourced"),
}
_LEVELS = {"disable": "DISABLE_ALL", "basic": "ENABLE_BASIC", "extended": "ENABLE_EXTENDED", "all": "ENABLE_ALL"}
_THREADS = 2
_ERRORS_ONLY = 3
# What ONNX Runtime raises when it opens a file that is wrong, not one that it cannot do.
_WRONG_FILE = ("InvalidGraph", "InvalidProtobuf", "InvalidArgument")


@dataclass(frozen=True, slots=True)
class Session:
    """An open model: one input, the outputs to look at, by what we call them, and all that it has."""

    model: Any
    file: Path
    outputs: Mapping[str, str]
    ports: tuple[str, ...]

    @property
    def input(self) -> Any:
        """Name, type and shape of the only input."""
        ports = self.model.get_inputs()
        if len(ports) != 1:
            told = ", ".join(port.name for port in ports) or "nothing"
            raise RuntimeRefusedError(f"{self.file} takes {told}, not one batch of pictures")
        return ports[0]

    def run(self, value: Any) -> dict[str, Any]:
        """The outputs for one input."""
        try:
            results = self.model.run(list(self.outputs.values()), {self.input.name: value})
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise _refusal(f"running {self.file}", error) from None
        return dict(zip(self.outputs, results, strict=True))


def open_session(
    file: Path,
    *,
    device: str,
    optimization: str,
    outputs: Mapping[str, str],
    model: bytes | None = None,
    index: int = 0,
) -> Session:
    """Open a file, or the ``model`` that was made of it; without ``outputs`` its only one is ``head``."""
    provider, given = _provider(device, index)
    _check(provider, onnxruntime.get_available_providers(), "is not in this build of onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = _THREADS
    options.graph_optimization_level = _level(optimization)
    for key, value in _session_settings(device).items():
        options.add_session_config_entry(key, value)
    if model is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(file.parent))
    try:
        opened = onnxruntime.InferenceSession(
            str(file) if model is None else model, options, providers=[(provider, given)], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        if type(error).__name__ in _WRONG_FILE:
            message = f"{file} is not valid for ONNX Runtime: {_said(error)}"
            raise LoadError(message, remedy="Export it again.") from None
        raise _refusal(f"opening {file}", error) from None
    # enable_fallback is not enough: a provider whose libraries are missing is left out without an error.
    _check(provider, opened.get_providers()[:1], "could not be started")
    ports = tuple(port.name for port in opened.get_outputs())
    if not outputs and len(ports) != 1:
        raise RuntimeRefusedError(f"{file} has the outputs {', '.join(ports)}: which one has the logits?")
    return Session(opened, file, outputs or {"head": ports[0]}, ports)


def set_up(device: str, index: int) -> dict[str, str]:
    """See that the provider of a device can be started, on a graph of one operator; what sessions on it are given.

    Being listed is not enough: a build lists the providers it was made with, whatever the machine has.
    """
    provider, given = _provider(device, index)
    if device != CPU:
        probe = Path("the probe")
        try:
            open_session(probe, device=device, index=index, optimization="all", outputs={}, model=_PROBE)
        except (RuntimeRefusedError, LoadError) as error:
            said = error.message.removeprefix(f"opening {probe}: ONNX Runtime refuses: ")
            message = f"ONNX Runtime's {provider} could not be started: {said}"
            raise EnvironmentError_(message, remedy=_remedy(provider)) from None
    return {"provider": provider, **given, **_session_settings(device), "intra_op_num_threads": str(_THREADS)}


def _provider(device: str, index: int) -> tuple[str, dict[str, str]]:
    """A provider and its options."""
    provider, given = PROVIDERS[device]
    return provider, {**given, **({} if device == CPU else {"device_id": str(index)})}


def _session_settings(device: str) -> dict[str, str]:
    # Otherwise operators that the provider lacks would run on the CPU, and nobody would know.
    return {} if device == CPU else {"session.disable_cpu_ep_fallback": "1"}


def _port(name: bytes) -> bytes:
    """A ValueInfoProto: one float."""
    shape = delimited(1, number_field(1, 1))
    return delimited(1, name) + delimited(2, delimited(1, number_field(1, 1) + delimited(2, shape)))


# A ModelProto of one Relu. Source: onnx/onnx.proto (field numbers).
_PROBE = (
    number_field(1, 7)
    + delimited(7, delimited(1, delimited(1, b"x") + delimited(2, b"y") + delimited(4, b"Relu"))
                + delimited(2, b"probe") + delimited(11, _port(b"x")) + delimited(12, _port(b"y")))
    + delimited(8, delimited(1, b"") + number_field(2, 13))
)  # fmt: skip


def _remedy(provider: str) -> str:
    build, libraries = _BUILDS.get(provider, ("onnxruntime", "nothing else"))
    return (
        f"{provider} needs {build}, in an environment without any other onnxruntime, and {libraries};"
        " or leave the device out to run on the CPU."
    )


def _check(provider: str, found: Sequence[str], fault: str) -> None:
    """Anything but the provider asked for would be another device, most often the CPU."""
    if provider not in found:
        raise EnvironmentError_(
            f"ONNX Runtime's {provider} {fault}; there is {listed(found) or 'none'}",
            remedy=_remedy(provider),
        )


def _level(optimization: str) -> Any:
    if optimization not in _LEVELS:
        raise RuntimeRefusedError(
            f"ONNX Runtime has no optimization level {optimization!r}", remedy=f"Use one of {', '.join(_LEVELS)}."
        )
    return getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{_LEVELS[optimization]}")


def _refusal(doing: str, error: Exception) -> RuntimeRefusedError:
    remedy = "A newer onnxruntime may know more operators and opsets."
    return RuntimeRefusedError(f"{doing}: ONNX Runtime refuses: {_said(error)}", remedy=remedy)


def _said(error: Exception) -> str:
    """The text after ``[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : `` or after the place in its sources, on one line."""
    text = re.sub(r"^\S+\.cc:\d+ .*\) (?=\w)", "", " ".join(str(error).split()))
    _, found, after = text.partition("[ONNXRuntimeError] : ")
    return after.split(" : ", 2)[-1] if found else text
