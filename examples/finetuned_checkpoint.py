"""Convert what a training run leaves behind: wrapped, prefixed, with EMA weights, optimizer state and 37 classes.

    python examples/finetuned_checkpoint.py out/

The script makes such a checkpoint with torch, looks into it, sees what would be done, and converts it.
"""

import argparse
import sys
from pathlib import Path

import timm
import torch

import mshub_convert as mc


def train_a_little(path: Path) -> None:
    """Save a checkpoint as timm's training script and DistributedDataParallel write it."""
    model = timm.create_model("resnext50_32x4d", num_classes=37)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    optimizer.step()
    torch.save(
        {
            "epoch": 3,
            "arch": "resnext50_32x4d",
            "state_dict": {f"module.{name}": tensor for name, tensor in model.state_dict().items()},
            "optimizer": optimizer.state_dict(),
            "args": argparse.Namespace(lr=0.1, dataset="birds"),
        },
        path,
    )


def convert_checkpoint(folder: Path) -> Path:
    """Inspect, plan and convert the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "finetuned.pth"
    train_a_little(checkpoint)
    found = mc.inspect(checkpoint)
    network = found.network
    print(f"{checkpoint.name}: {network['name']} with {network['classes']} classes, {network['dialect']} names")
    for finding in mc.plan(checkpoint, to="ckpt:modelzoo").notices:
        print(f"note: {finding.line}")
    return mc.convert(checkpoint, to="ckpt:modelzoo", out=folder, overwrite=True).path


if __name__ == "__main__":
    print(convert_checkpoint(Path(sys.argv[1])))
