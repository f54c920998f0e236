"""Measure what verifying costs: time and peak memory of a proof in every CPU runtime, and of a failure with its cause.

    python benchmarks/verification.py [--models resnext50_32x4d resnext101_32x8d] [--count 8]

Weights are drawn. One source is proven in MindSpore (.ckpt), ONNX Runtime (.onnx) and torch (.pth), beside float64 in
torch and NumPy; then a .ckpt with scale and shift of one BatchNorm in each other's place fails and is diagnosed. Memory
is the largest resident set of all processes together, sampled ten times a second.
"""

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import mshub_convert as mc
from mshub_convert.converters.codecs import open_checkpoint
from mshub_convert.request import SourceRequest
from mshub_convert.verify.inputs import Inputs
from mshub_convert.verify.prover import Prover

TARGETS = ("ckpt", "onnx", "pth")
SWAPPED = ("layer2.1.bn2.gamma", "layer2.1.bn2.beta")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Parse the arguments, measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["resnext50_32x4d", "resnext101_32x8d"])
    parser.add_argument("--count", type=int, default=8)
    options = parser.parse_args()
    print("| model | step | verdict | seconds | peak memory |\n|---|---|---|---|---|")
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            measure_model(model, options.count, Path(folder))


def measure_model(model: str, count: int, folder: Path) -> None:
    """All proofs of one model."""
    address = f"timm:{model}"
    files = {to: mc.convert(address, init="calibrated:0", to=to, out=folder / to).path for to in TARGETS}
    wrong = mixed_up(files["ckpt"], folder / "wrong.ckpt")
    total = 0.0
    with SourceRequest(address, init="calibrated:0").open() as source:
        prover = Prover(source, inputs=Inputs(count))
        steps = {f"proof, .{to}": file for to, file in files.items()} | {"failure and its cause, .ckpt": wrong}
        for step, file in steps.items():
            proof, seconds, peak = measured(lambda file=file: proven(prover, file))
            total += seconds
            print(f"| {model} | {step} | {proof.verdict.value} | {seconds:.0f} | {peak / 1e9:.1f} GB |", flush=True)
            for line in proof.diagnosis.lines if proof.diagnosis is not None else ():
                print(f"<!-- {line} -->")
    print(f"| {model} | all of it | | {total:.0f} | |", flush=True)


def proven(prover: Prover, file: Path) -> Any:
    """A proof of one file; the source's runs are kept for the next."""
    with SourceRequest(file).open() as target:
        return prover.prove(target)


def mixed_up(file: Path, out: Path) -> Path:
    """The file with two tensors in each other's place."""
    with open_checkpoint(file) as checkpoint:
        tensors = {name: np.array(ref.read()) for name, ref in checkpoint.tensors.items()}
    first, second = SWAPPED
    tensors[first], tensors[second] = tensors[second], tensors[first]
    traits = {"stem_pool": "symmetric"}
    return mc.convert(tensors, to="ckpt", out=out, traits=traits).path


def measured(work: Callable[[], Any]) -> tuple[Any, float, int]:
    """What it gives, its seconds, and the largest resident set of this process and all that it starts."""
    done = threading.Event()
    peak = 0

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.1):
            peak = max(peak, resident(os.getpid()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        return work(), time.perf_counter() - started, peak
    finally:
        done.set()
        watcher.join()


def resident(pid: int) -> int:
    """Bytes that a process and its children hold in memory."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0
    return pages * _PAGE + sum(resident(int(child)) for child in children)


if __name__ == "__main__":
    main()
