"""Where a network runs: a runtime, one of its devices, and which of those; read from texts such as ``torch:cuda:1``."""

from collections.abc import Mapping
from dataclasses import dataclass

from ...converters.errors import UsageError
from ...mappings.names import did_you_mean, listed

CPU = "cpu"
# Runtime → its devices by our name, as the runtime itself spells them; the first is the default.
DEVICES: Mapping[str, Mapping[str, str]] = {
    "torch": {CPU: "cpu", "cuda": "cuda", "npu": "npu"},
    "mindspore": {CPU: "CPU", "ascend": "Ascend", "gpu": "GPU"},
    "mindir": {CPU: "CPU", "ascend": "Ascend", "gpu": "GPU"},
    "onnxruntime": {CPU: "CPU", "cuda": "CUDA", "cann": "CANN"},
    "om": {"ascend": "Ascend"},
    "reference": {CPU: "CPU"},
}
# What runs it, where that is not the runtime of the same name: a .mindir is run by MindSpore.
_ENGINES = {"mindir": "mindspore"}


@dataclass(frozen=True, slots=True)
class Where:
    """A runtime and a device; ``index`` tells which, where a machine has several.

    >>> Where.parse("MindSpore:ascend:1")
    Where(runtime='mindspore', device='ascend', index=1)
    >>> str(Where.parse("mindspore:ascend:1")), str(Where.parse("torch:cuda")), str(Where.parse("reference"))
    ('mindspore:Ascend:1', 'torch:cuda:0', 'reference')
    """

    runtime: str
    device: str = CPU
    index: int = 0

    @classmethod
    def parse(cls, text: str) -> "Where":
        """Read ``RUNTIME[:DEVICE[:INDEX]]``, in any case; an .om runs on Ascend only: ``om[:INDEX]``."""
        runtime, *rest = text.strip().lower().split(":")
        if runtime not in DEVICES:
            raise UsageError(f"no runtime {text!r}", remedy=did_you_mean(runtime, tuple(DEVICES)))
        devices = DEVICES[runtime]
        if runtime == "om" and rest[:1] != ["ascend"]:
            rest = ["ascend", *rest]
        device = rest[0] if rest else next(iter(devices))
        if device not in devices:
            # Among all there are, for "torch:ascend" is a mistake about torch, not about spelling.
            known = [f"{runtime}:{name}" for name in devices.values()]
            raise UsageError(
                f"{runtime} runs on {listed(tuple(devices.values()), 'or')}, and {text!r} was asked for",
                remedy=did_you_mean(f"{runtime}:{device}", known),
            )
        return cls(runtime, device, _index(text, device, rest[1:]))

    @property
    def on_device(self) -> bool:
        """Whether it is anything but the CPU, and so may compute in another precision, or not be there at all."""
        return self.device != CPU

    @property
    def engine(self) -> str:
        """The runtime that does it: MindSpore for a .mindir."""
        return _ENGINES.get(self.runtime, self.runtime)

    @property
    def title(self) -> str:
        """The device for a person to read: ``CPU``, ``CUDA:1``."""
        if not self.on_device:
            return "CPU"
        title = DEVICES[self.runtime][self.device]
        return f"{title if title[0].isupper() else title.upper()}:{self.index}"

    def __str__(self) -> str:
        if not self.on_device:
            return self.runtime
        return f"{self.runtime}:{DEVICES[self.runtime][self.device]}:{self.index}"


def _index(text: str, device: str, rest: list[str]) -> int:
    if not rest:
        return 0
    if len(rest) > 1 or device == CPU or not (rest[0].isascii() and rest[0].isdigit() and len(rest[0]) < 4):
        remedy = "Say RUNTIME:DEVICE:INDEX, such as torch:cuda:1; a CPU has no index."
        raise UsageError(f"{text!r} does not say which device", remedy=remedy)
    return int(rest[0])


def where(asked: "str | Where | None") -> Where | None:
    """What was asked for, read if it is a text."""
    return Where.parse(asked) if isinstance(asked, str) else asked
