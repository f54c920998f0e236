"""Draw what SSD-ResNet50 detects in MindSpore and in torch on one picture, both from one checkpoint.

    python examples/ssd_detections.py out/ [PICTURE]

The weights are drawn, not trained: the boxes mean nothing, but both frameworks must find the same ones. With a
checkpoint of your own, give its path in place of the drawn one. Needs Pillow.
"""

import os
import sys
from pathlib import Path

# MindSpore's convolutions are ten times slower on some machines without it; before MindSpore is imported.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

import numpy as np
import torch
from PIL import Image, ImageDraw

import mshub_convert as mc
from mshub_convert.converters.detection import Detections, agreement, decode, detect
from mshub_convert.verify.inputs import MEAN, STD, pictures

SIDE = 640
SHOWN = 25


def read(file: str | None) -> Image.Image:
    """A picture of the user's, or a drawn one."""
    if file is not None:
        return Image.open(file).convert("RGB")
    drawn = pictures(1, 480, 640)[0].transpose(1, 2, 0) * STD + MEAN
    return Image.fromarray(np.uint8(np.round(255 * drawn.clip(0, 1))))


def prepared(picture: Image.Image) -> np.ndarray:
    """The picture as the network takes it: 640x640, normalised, (1, 3, 640, 640)."""
    resized = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32) / 255
    return ((resized - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)[None]


def found(loc: np.ndarray, scores: np.ndarray, picture: Image.Image) -> Detections:
    """The detections on the picture as it was."""
    return detect(decode(loc, SIDE, SIDE)[0], scores[0], picture.height, picture.width)


def draw(picture: Image.Image, sides: dict[str, Detections], file: Path) -> None:
    """Draw the surest boxes of each framework: one wide and pale, the other thin upon it."""
    canvas = ImageDraw.Draw(picture)
    for (name, detections), colour, width in zip(sides.items(), ("gold", "blue"), (5, 1), strict=True):
        for place in np.argsort(-detections.scores)[:SHOWN]:
            top, left, bottom, right = detections.boxes[place]
            canvas.rectangle((left, top, right, bottom), outline=colour, width=width)
        canvas.text((5, 5 if name == "MindSpore" else 20), f"{name}: {len(detections)} boxes", fill=colour)
    canvas.text((5, 35), "drawn weights, not trained", fill="white")
    picture.save(file)


def main(folder: Path, file: str | None = None) -> None:
    """Convert, run both frameworks, compare and draw."""
    import mindspore

    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = mc.convert("ssd_resnet50", init="calibrated:0", to="ckpt", out=folder, overwrite=True).path
    converted = mc.convert(checkpoint, to="safetensors", out=folder, overwrite=True).path
    picture = read(file)
    batch = prepared(picture)

    cell = mc.load_mindspore(checkpoint)
    loc, scores = (value.asnumpy() for value in cell(mindspore.Tensor(batch)))
    in_mindspore = found(loc, scores, picture)
    module = mc.load_torch(converted)
    with torch.inference_mode():
        loc, scores = (value.numpy() for value in module(torch.from_numpy(batch)))
    in_torch = found(loc, scores, picture)

    same = agreement(in_mindspore, in_torch)
    print("drawn weights, not trained: the boxes mean nothing")
    print(f"{len(in_mindspore)} detections in MindSpore, {len(in_torch)} in torch, {same.matched} are the same")
    print(f"smallest overlap {same.least_iou:.6f}, largest difference of scores {same.largest_difference:.1e}")
    output = folder / "detections.png"
    draw(picture, {"MindSpore": in_mindspore, "torch": in_torch}, output)
    print(output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
