"""How far apart libraries are on photographs: the table of docs/preprocessing.md.

``python benchmarks/preprocessing.py``; the photographs are those of ``benchmarks/pictures.py``.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from pictures import photographs

import mshub_convert as mc

SOURCE = "torchvision:resnet50.IMAGENET1K_V1"
PILLOW = {"antialias": "true"}
ROWS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("the same settings in timm", "timm", {"resize": "256", "interpolation": "bilinear"}),
    ("the same in mmpretrain, by Pillow", "mmpretrain", PILLOW),
    ("the same in modelhub's runner", "modelhub", {}),
    ("mmpretrain's resnet50, by OpenCV", "mmpretrain", {}),
    ("mindcv's create_transforms()", "mindcv", {}),
    ("bicubic", "torchvision", {"interpolation": "bicubic"}),
    ("resize to 255", "torchvision", {"resize": "255"}),
    ("resize to 235", "torchvision", {"resize": "235"}),
    ("both edges to 256", "torchvision", {"edges": "both"}),
    ("BGR", "mmpretrain", PILLOW | {"channels": "BGR"}),
    ("mean and deviation 0.5", "torchvision", {"mean": "0.5,0.5,0.5", "std": "0.5,0.5,0.5"}),
)


def main() -> None:
    """Print one row for each difference from torchvision's resize to 256, bilinear, crop 224."""
    print("| target | mean over the pictures | worst picture | over 1 level, worst | named |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for path in photographs():
            shutil.copy(path, scratch)
        for name, to, settings in ROWS:
            found = mc.preprocessing_parity(SOURCE, to=to, settings=settings, images=Path(scratch))
            means = [picture.mean for picture in found.pictures]
            share = max(picture.share for picture in found.pictures)
            named = ", ".join(f"{cause.name} {cause.levels:.1f}" for cause in found.causes) or "-"
            print(
                f"| {name} | {np.mean(means):.2f} | {max(means):.2f} | {share:.1%} | {named} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
