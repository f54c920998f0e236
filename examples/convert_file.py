"""Convert one file of PyTorch weights to a MindSpore checkpoint, and use it.

    python examples/convert_file.py resnext50_32x4d.pth out/

Network and names are found out from the file; the output has mindcv's names. Needs no framework for the conversion.
"""

import sys
from pathlib import Path

import mshub_convert as mc


def convert_file(weights: Path, folder: Path) -> Path:
    """Convert, say what was done, and return the path of the checkpoint."""
    result = mc.convert(weights, to="ckpt", out=folder, overwrite=True)
    print(f"{result.path}: {result.record.architecture['name']}, sha256 {result.sha256[:16]}")
    for notice in result.notices:
        print(f"note: {notice}")
    return result.path


if __name__ == "__main__":
    convert_file(Path(sys.argv[1]), Path(sys.argv[2]))
