"""Measure conversions beside `cp` and beside the frameworks' own way, in one run, as whole processes.

    python benchmarks/conversion.py [--rounds 5] [--model resnext101_32x8d] [--memory] [--out FOLDER]

Every round runs each route once, in turn, so that noise hits all alike; medians are compared. "Beyond start-up" is the
whole process less the same process on a network of two blocks (ours) or less its imports (the frameworks).
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.architectures.resnet import ResNet

ROUTES = (
    ("safetensors", "ckpt"), ("pth", "ckpt"), ("ckpt", "safetensors"), ("ckpt", "pth"),
    ("safetensors", "onnx"), ("onnx", "ckpt"),
)  # fmt: skip
CONVERT = (sys.executable, "-m", "mshub_convert")
BY_HAND = (sys.executable, str(Path(__file__).with_name("framework_route.py")))
TINY = ResNet((1, 1), classes=10)
# Weights of about 100 MB, 356 MB and 2.5 GB.
SIZES = ("resnext50_32x4d", "resnext101_32x8d", "resnext101_32x38d")


def main() -> None:
    """Parse the arguments, measure, print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="resnext101_32x8d")
    parser.add_argument("--memory", action="store_true", help="measure peak memory at three sizes as well")
    parser.add_argument("--out", type=Path, default=None, help="folder for the files (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        speed(Path(folder), options.model, options.rounds)
        if options.memory:
            memory(Path(folder))


def speed(folder: Path, model: str, rounds: int) -> None:
    """Wall time of every route, whole process and beyond start-up."""
    sources = make_sources(folder, architecture(model), "big")
    tiny = make_sources(folder, TINY, "tiny")
    size = sources["ckpt"].stat().st_size
    help_time = statistics.median(timed((*CONVERT, "--help")) for _ in range(rounds))
    imports = statistics.median(timed(BY_HAND) for _ in range(rounds))
    print(f"\n{model}, {size / 1e6:.0f} MB, medians of {rounds} rounds, seconds. "
          f"`--help`: {help_time:.2f}. Imports of the frameworks: {imports:.2f}.\n")  # fmt: skip
    print(
        "| route | cp | cp + fsync | bare | start-up | beyond ÷ cp "
        "| default | beyond ÷ cp | by hand | ÷ bare | ÷ default |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for source, target in ROUTES:
        print(row(source, target, sources, tiny, folder / "out", rounds))


def row(source: str, target: str, big: dict[str, Path], tiny: dict[str, Path], out: Path, rounds: int) -> str:
    """One line of the table."""
    file = big[source]
    ours = ("--to", target, "-q", "-o", f"{out}/")
    routes: dict[str, tuple[str, ...]] = {
        "cp": ("cp", str(file), f"{out}/copy"),
        "cp+fsync": ("dd", f"if={file}", f"of={out}/copy", "bs=4M", "conv=fsync", "status=none"),
        "start": (*CONVERT, str(tiny[source]), *ours, "--no-check"),
        "start-check": (*CONVERT, str(tiny[source]), *ours),
        "bare": (*CONVERT, str(file), *ours, "--no-check"),
        "default": (*CONVERT, str(file), *ours),
        "by hand": (*BY_HAND, str(file), f"{out}/by-hand.{target}"),
    }
    times: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(rounds):
        for name, command in routes.items():
            warm(file)
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            times[name].append(timed(command))
    shutil.rmtree(out, ignore_errors=True)
    t = {name: statistics.median(values) for name, values in times.items()}
    bare, full = t["bare"] - t["start"], t["default"] - t["start-check"]
    return (
        f"| {source} → {target} | {t['cp']:.2f} | {t['cp+fsync']:.2f} "
        f"| {t['bare']:.2f} | {t['start']:.2f} | {bare / t['cp']:.1f} "
        f"| {t['default']:.2f} | {full / t['cp']:.1f} | {t['by hand']:.2f} | {t['by hand'] / t['bare']:.1f} "
        f"| {t['by hand'] / t['default']:.1f} |"
    )


def memory(folder: Path) -> None:
    """Peak anonymous memory at three sizes, above an interpreter with numpy."""
    base = peak((sys.executable, "-c", "import numpy, time; time.sleep(0.3)"))
    print(
        f"\nPeak private memory (RssAnon) above an interpreter with numpy ({base / 1e6:.0f} MB), "
        "and peak RSS with mapped pages:\n"
    )
    print("| file | safetensors → ckpt | ckpt → pth | ckpt → onnx | ckpt → pth, peak RSS |")
    print("|---|---|---|---|---|")
    for model in SIZES:
        files = make_sources(folder, architecture(model), "memory", containers=("ckpt",))
        out = folder / "memory-out"
        first = peak((*CONVERT, str(files["safetensors"]), "--to", "ckpt", "-q", "-o", f"{out}/")) - base
        command = (*CONVERT, str(files["ckpt"]), "--to", "pth", "-q", "-o", f"{out}/", "--overwrite")
        second = peak(command) - base
        third = peak((*CONVERT, str(files["ckpt"]), "--to", "onnx", "-q", "-o", f"{out}/")) - base
        whole = peak(command, field="VmHWM")
        size = files["ckpt"].stat().st_size
        parts = " | ".join(f"{value / 1e6:.0f} MB" for value in (size, first, second, third, whole))
        print(f"| {parts} |")
        for path in [*files.values(), *out.iterdir()]:
            path.unlink()


def make_sources(
    folder: Path, network: ResNet | object, name: str, containers: tuple[str, ...] = ("ckpt", "pth", "onnx")
) -> dict[str, Path]:
    """The same drawn weights in each container."""
    files = {"safetensors": folder / f"{name}.safetensors"}
    calibrated.write(network, "timm", 0, files["safetensors"])  # type: ignore[arg-type]
    for container in containers:
        files[container] = folder / f"{name}.{container}"
        command = (*CONVERT, str(files["safetensors"]), "--to", container, "-q", "-o", str(files[container]))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=600)
    return files


def warm(file: Path) -> None:
    """Bring a file into the page cache, and leave no dirty pages of others."""
    subprocess.run(("sync",), check=True, timeout=300)
    with file.open("rb") as stream:
        while stream.read(1 << 24):
            pass


def timed(command: tuple[str, ...]) -> float:
    """Seconds of a whole process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600)
    return time.perf_counter() - started


def peak(command: tuple[str, ...], field: str = "RssAnon") -> int:
    """Highest value of a line of /proc/PID/status while a command runs, in bytes, sampled every millisecond."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    highest = 0
    stop = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not stop.is_set():
            highest = max(highest, _status(process.pid, field))
            stop.wait(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        if process.wait(timeout=600):
            raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}")
    finally:
        stop.set()
        watcher.join()
    return highest


def _status(pid: int, field: str) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    line = next((line for line in text.splitlines() if line.startswith(f"{field}:")), "")
    return int(line.split()[1]) * 1024 if line else 0


if __name__ == "__main__":
    main()
