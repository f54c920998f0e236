"""SSD-ResNet50: seconds and memory of conversions and of one picture in each runtime, and detections compared.

    python benchmarks/ssd.py [FOLDER]

Weights are drawn, so the detections mean nothing; two runtimes must still find the same ones. Every measurement is a
process of its own; memory is its peak of what is resident, mapped files included.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 640
CARD = "mshub:mindspore/ascend/1.3/ssdresnet50_v1.3_coco2017"
TARGETS = ("safetensors", "pth", "onnx", "mindir")
RUNTIMES = ("torch", "mindspore", "onnxruntime")
# MindSpore's convolutions are ten times slower on some machines without it.
ENVIRONMENT = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "GLOG_v": "3"}


def main(folder: Path) -> None:
    """Print two tables in Markdown."""
    checkpoint = folder / "ssd.ckpt"
    measured(["convert", CARD, "--init", "calibrated:0", "--to", "ckpt", "-o", str(checkpoint), "--overwrite", "-q"])
    print("| conversion | seconds | of the processor | peak MB |\n|---|---|---|---|")
    for target in TARGETS:
        output = folder / f"ssd.{target}"
        arguments = ["convert", str(checkpoint), "--to", target, "-o", str(output), "--overwrite", "-q"]
        seconds, busy, memory = measured(arguments)
        print(f"| ckpt → {target} | {seconds:.2f} | {busy:.2f} | {memory:.0f} |")
    photographs = folder / "photographs.npy"
    names = write_photographs(photographs)
    print("\n| runtime | seconds, first | seconds, others | of the processor | peak MB |\n|---|---|---|---|---|")
    for runtime in RUNTIMES:
        told = in_process(runtime, folder)
        numbers = " | ".join(f"{told[key]:.2f}" for key in ("first", "next", "processor"))
        print(f"| {runtime} | {numbers} | {told['memory']:.0f} |")
    print(f"\n{len(names)} photographs: {', '.join(names)}\n")
    print("| photograph | detections | matched | least IoU | largest score difference |\n|---|---|---|---|---|")
    for pair in (("mindspore", "torch"), ("mindspore", "onnxruntime")):
        compare(pair, names, folder)


def measured(arguments: list[str]) -> tuple[float, float, float]:
    """Seconds, seconds of the processor and peak megabytes of a command of ours and what it starts."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "mshub_convert", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    # The peak is that of the process or of one that it waited for, such as MindSpore's for a MINDIR.
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(command)}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def write_photographs(file: Path) -> list[str]:
    """The photographs that scikit-learn, scikit-image and matplotlib come with, as the network takes them."""
    import matplotlib
    import skimage
    import sklearn.datasets
    from PIL import Image

    from mshub_convert.verify.inputs import MEAN, STD

    images = Path(skimage.__file__).parent / "data"
    files = [images / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg")]
    files += [images / name for name in ("motorcycle_left.png", "hubble_deep_field.jpg")]
    files += [Path(sklearn.datasets.__file__).parent / "images" / name for name in ("china.jpg", "flower.jpg")]
    files.append(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    batch = []
    for path in files:
        picture = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        array = (np.asarray(picture, np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
        batch.append(array.transpose(2, 0, 1))
    np.save(file, np.stack(batch))
    return [path.stem for path in files]


def in_process(runtime: str, folder: Path) -> dict[str, Any]:
    """What a runtime makes of the photographs, saved to files, and how long it took."""
    command = [sys.executable, __file__, str(folder), runtime]
    result = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=ENVIRONMENT)
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    told: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return told


def run(runtime: str, folder: Path) -> None:
    """Run the photographs, one at a time; prints what in_process reads."""
    batch = np.load(folder / "photographs.npy")
    network = _network(runtime, folder)
    seconds: list[float] = []
    busy: list[float] = []
    outputs = []
    for picture in batch:
        started, before = time.perf_counter(), time.process_time()
        outputs.append(network(picture[None]))
        seconds.append(time.perf_counter() - started)
        busy.append(time.process_time() - before)
    for index, name in enumerate(("loc", "scores")):
        np.save(folder / f"{runtime}-{name}.npy", np.concatenate([output[index] for output in outputs]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {"first": seconds[0], "next": float(np.median(seconds[1:])), "processor": float(np.median(busy[1:]))}
    print(json.dumps({**told, "memory": peak}))


def _network(runtime: str, folder: Path) -> Any:
    """Something to call with a picture, that gives loc and scores."""
    if runtime == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        session = onnxruntime.InferenceSession(str(folder / "ssd.onnx"), options, providers=["CPUExecutionProvider"])
        return lambda picture: session.run(None, {"input": picture})
    import mshub_convert as mc

    if runtime == "torch":
        import torch

        torch.set_num_threads(2)
        module = mc.load_torch(folder / "ssd.safetensors")

        def in_torch(picture: Any) -> Any:
            with torch.inference_mode():
                return [value.numpy() for value in module(torch.from_numpy(picture))]

        return in_torch
    import mindspore

    cell = mc.load_mindspore(folder / "ssd.ckpt")
    return lambda picture: [value.asnumpy() for value in cell(mindspore.Tensor(picture))]


def compare(pair: tuple[str, str], names: list[str], folder: Path) -> None:
    """A row for each photograph."""
    from mshub_convert.converters.detection import agreement, decode, detect

    sides = []
    for runtime in pair:
        loc, scores = (np.load(folder / f"{runtime}-{name}.npy") for name in ("loc", "scores"))
        sides.append(
            [detect(box, score, SIDE, SIDE) for box, score in zip(decode(loc, SIDE, SIDE), scores, strict=True)]
        )
    for name, first, second in zip(names, *sides, strict=True):
        same = agreement(first, second)
        counts = f"{len(first)} {pair[0]}, {len(second)} {pair[1]}"
        print(f"| {name} | {counts} | {same.matched} | {same.least_iou:.6f} | {same.largest_difference:.1e} |")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        run(sys.argv[2], Path(sys.argv[1]))
    elif len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
