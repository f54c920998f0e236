"""Memory of a conversion: a few tensors above an interpreter with NumPy, and no more for a larger file."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures import architecture

pytestmark = pytest.mark.slow

LIMIT = 64 << 20

# Mapped pages of files are the page cache's and come and go as it likes; what counts is memory of the process's own.
PROGRAM = """
import json, sys, threading
import ml_dtypes, numpy

def own():
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["RssAnon"].split()[0]) << 10

base, peak, done = own(), 0, threading.Event()

def sample():
    global peak
    while not done.is_set():
        peak = max(peak, own())
        done.wait(0.002)

sampler = threading.Thread(target=sample)
sampler.start()
from mshub_convert import convert
source, to, out, options = sys.argv[1:]
convert(source, to=to, out=out, **json.loads(options))
done.set()
sampler.join()
print(peak - base)
"""


def peak(source: Path, to: str, out: Path, **options: object) -> int:
    """Bytes of its own that a process takes to convert; the output, too large to keep, is removed."""
    command = [sys.executable, "-c", PROGRAM, str(source), to, f"{out}/", json.dumps(options)]
    try:
        return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    finally:
        shutil.rmtree(out)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Files of 100 MB and 356 MB."""
    folder = tmp_path_factory.mktemp("large")
    made = {name: folder / f"{name}.safetensors" for name in ("resnext50_32x4d", "resnext101_32x8d")}
    for name, path in made.items():
        calibrated.write(architecture(name), "timm", 0, path)
    yield made
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("to", "options"),
    [
        ("ckpt", {}),
        ("ckpt:modelzoo", {}),
        ("safetensors:mindcv", {}),
        ("pth", {}),
        ("ckpt", {"check": False}),
        ("ckpt", {"dtype": "bfloat16"}),
    ],
)
def test_memory_does_not_grow_with_the_file(
    files: dict[str, Path], tmp_path: Path, to: str, options: dict[str, object]
) -> None:
    small, large = (peak(path, to, tmp_path / name, **options) for name, path in files.items())
    assert large < LIMIT
    # Largest tensors of the two: 8 MB and 9 MB, which a cast makes as a whole.
    assert abs(large - small) < 16 << 20


def test_other_containers_as_sources(files: dict[str, Path], tmp_path: Path, convert: Callable[..., Path]) -> None:
    for through in ("ckpt:modelzoo", "pth"):
        path = convert(files["resnext101_32x8d"], through, tmp_path / f"{through}/", check=False)
        assert peak(path, "safetensors", tmp_path / "out") < LIMIT
        path.unlink()
