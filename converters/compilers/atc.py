"""ATC, of CANN: compiles an .onnx to an .om for an Ascend device.

Source: "ATC command-line options" in CANN's documentation. It was never run by us: no machine of ours has CANN.
"""

from dataclasses import dataclass
from pathlib import Path

from ..codecs.onnx_nodes import INPUT

_ONNX = 5


@dataclass(frozen=True, slots=True)
class Atc:
    """The compiler of .om files. It computes in float16 unless it is told to keep the precision of the graph."""

    name: str = "om"
    title: str = "Ascend offline model"
    container: str = "onnx"
    suffix: str = ".om"
    program: str = "atc"
    device: str = "Ascend310P3"
    remedy: str = "Run it where CANN is installed, after `source set_env.sh` of its toolkit"

    def command(self, file: Path, compiled: Path, *, device: str, input_shape: tuple[int, ...]) -> list[str]:
        """The command line; ``device`` is a --soc_version as ``npu-smi info`` gives it, with ``Ascend`` before."""
        return [
            self.program, f"--framework={_ONNX}", f"--model={file}", f"--output={compiled.with_suffix('')}",
            "--input_format=NCHW", f"--input_shape={INPUT}:{','.join(map(str, input_shape))}",
            f"--soc_version={device}", "--precision_mode_v2=origin",
        ]  # fmt: skip


COMPILER = Atc()
