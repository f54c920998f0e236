"""Are drawn pictures like photographs? Spectrum, colours and exposure of both, beside those of other inputs.

``python benchmarks/pictures.py`` prints the table of docs/inputs.md. The photographs are those that matplotlib,
scikit-image and scikit-learn have in their wheels; nothing is downloaded. ``--save DIR`` copies them to a folder.
"""

import argparse
import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mshub_convert.verify.inputs import MEAN, STD, pictures

# Photographs in colour: what else is there is grey, drawn, of cells or of the sky.
PHOTOGRAPHS = {
    "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    "skimage": tuple(
        f"data/{name}" for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
    ),
}
SIDE = 224
COUNT = 64


def main() -> None:
    """Print one row for each kind of input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path, metavar="DIR", help="copy the photographs there")
    options = parser.parse_args()
    if options.save is not None:
        options.save.mkdir(parents=True, exist_ok=True)
        for path in photographs():
            shutil.copy(path, options.save)
    print("| inputs | pictures | spectrum slope | red and blue | brightness | contrast | clipped |")
    print("|---|---|---|---|---|---|---|")
    for name, batch in batches().items():
        told = [f"{low:.2f} to {high:.2f} ({middle:.2f})" for low, middle, high in statistics(batch).values()]
        print(f"| {name} | {len(batch)} | {' | '.join(told)} |")


def photographs() -> list[Path]:
    """The files in the installed wheels."""
    found = []
    for package, names in PHOTOGRAPHS.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise SystemExit(f"{package} is not installed: pip install 'mshub-convert[dev]'")
        found += [Path(spec.origin).parent / name for name in names]
    missing = [str(path) for path in found if not path.is_file()]
    if missing:
        raise SystemExit(f"not in these releases: {', '.join(missing)}")
    return found


def batches() -> Mapping[str, Any]:
    """Normalised pictures of each kind, float32 (N, 3, 224, 224)."""
    random = np.random.default_rng(0)
    shape = (8, 3, SIDE, SIDE)
    return {
        "photographs": np.stack(list(_photographs())),
        "drawn, the 8 of a verification": pictures(8, SIDE, SIDE),
        f"drawn, {COUNT}": pictures(COUNT, SIDE, SIDE),
        "normal noise": random.standard_normal(shape).astype(np.float32),
        "uniform noise": random.random(shape).astype(np.float32),
    }


def _photographs() -> Any:
    from mshub_convert.verify.inputs.photographs import pillow, read_photograph

    image = pillow("the benchmark")
    for path in photographs():
        yield read_photograph(path, (SIDE, SIDE), image)


def statistics(batch: Any) -> Mapping[str, tuple[float, float, float]]:
    """Lowest, median and highest picture of each figure; levels are 0..1."""
    unit = batch.astype(np.float64) * np.reshape(STD, (1, 3, 1, 1)) + np.reshape(MEAN, (1, 3, 1, 1))
    luminance = np.einsum("nchw,c->nhw", unit, (0.299, 0.587, 0.114))
    rows = {
        "slope": [slope(picture) for picture in luminance],
        "colours": [np.corrcoef(picture[0].ravel(), picture[2].ravel())[0, 1] for picture in unit],
        "brightness": luminance.mean(axis=(1, 2)),
        "contrast": luminance.std(axis=(1, 2)),
        "clipped": ((unit < 1.5 / 255) | (unit > 253.5 / 255)).mean(axis=(1, 2, 3)),
    }
    return {name: (min(values), float(np.median(values)), max(values)) for name, values in rows.items()}


def slope(luminance: Any) -> float:
    """How fast the amplitude falls with frequency: -1 is 1/f, as of natural scenes; 0 is white noise."""
    side = min(luminance.shape)
    window = np.outer(np.hanning(side), np.hanning(side))
    picture = luminance[:side, :side]
    amplitude = abs(np.fft.fft2((picture - picture.mean()) * window))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) * side
    rings = range(3, side // 3)
    means = [amplitude[(radius >= ring - 0.5) & (radius < ring + 0.5)].mean() for ring in rings]
    return float(np.polyfit(np.log(list(rings)), np.log(means), 1)[0])


if __name__ == "__main__":
    main()
