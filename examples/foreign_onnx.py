"""An ONNX file from torch's own exporter, BatchNorm folded away, as a named checkpoint for MindSpore.

    python examples/foreign_onnx.py out/

The exporter keeps no name but those of the classifier; the network is found by its structure. For further training the
folded BatchNorms get statistics again.
"""

import sys
from pathlib import Path

import torch

import mshub_convert as mc


def convert_export(folder: Path) -> tuple[mc.Conversion, mc.Conversion]:
    """Export drawn weights with torch, then convert for inference and for training."""
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "exported.onnx"
    network = mc.load_torch("timm:resnet18", init="calibrated:0")
    torch.onnx.export(network, (torch.zeros(1, 3, 224, 224),), str(model), dynamo=False)

    found = mc.inspect(model)
    print(f"{model.name}: {found.network['name']}, {found.network['classes']} classes")
    inference = mc.convert(model, to="ckpt", out=folder / "inference.ckpt", overwrite=True, verify=True)
    training = mc.convert(model, to="pth", out=folder / "training.pth", overwrite=True, bn="calibrated")
    for result in (inference, training):
        print(result.path.name)
        for notice in result.notices:
            print(f"  {notice}")
    return inference, training


if __name__ == "__main__":
    inference, _ = convert_export(Path(sys.argv[1]))
    print(inference.proof.reason if inference.proof else "not verified")
