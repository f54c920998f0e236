"""Convert a live torch module, without writing its weights to a file first.

    python examples/live_module.py out/

Also shows `translate`, which renames a state dict in memory, for migration scripts of your own.
"""

import sys
from pathlib import Path

import timm

import mshub_convert as mc


def convert_module(folder: Path) -> Path:
    """Convert a timm model as it stands in memory."""
    model = timm.create_model("resnext50_32x4d", num_classes=10)
    arrays = mc.translate(model.state_dict(), to="mindcv")
    print(f"{len(arrays)} arrays in mindcv's names, such as {next(iter(arrays))}")
    result = mc.convert(model, to="ckpt", out=folder / "live.ckpt", overwrite=True)
    print(f"{result.path}: {result.record.architecture['name']}, {result.record.architecture['classes']} classes")
    return result.path


if __name__ == "__main__":
    convert_module(Path(sys.argv[1]))
