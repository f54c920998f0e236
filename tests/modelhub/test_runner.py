"""The runner of a published repository: in a process of its own, against our network and torchvision's transforms."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.modelhub import preprocessing

pytestmark = pytest.mark.slow

STATED: dict[str, Any] = {
    "input_size": [3, 224, 224], "resize_size": 256, "crop_size": 224, "interpolation": "bicubic",
    "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
}  # fmt: skip


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Waves of several lengths, wider than high, in colours: every step of the preprocessing matters to it."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    y, x = np.mgrid[0:301, 0:401]
    waves = [np.sin(x / 7 + y / 31), np.cos(x / 53 - y / 3), np.sin(x * y / 9000)]
    path = tmp_path / "picture.png"
    image.fromarray((127.5 + 127.5 * np.stack(waves, -1)).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def repository(weights_file: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    def make(said: dict[str, Any] | None = None, **options: Any) -> Path:
        pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
        folder = mc.convert(weights_file(), to="modelhub", out=tmp_path / "repository", **options).path
        if said is not None:
            (folder / preprocessing.PATH).write_text(json.dumps(preprocessing.from_facts(said).as_dict()))
        return Path(folder)

    return make


def call(folder: Path, *arguments: str) -> str:
    command = [sys.executable, str(folder / "contrib_src/run.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def expected(folder: Path, picture: Path) -> np.ndarray:
    """The probabilities of our own network in torch, of the picture as torchvision prepares it."""
    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    transforms = pytest.importorskip("torchvision.transforms", reason="the torch extra is not installed")
    from PIL import Image

    steps = transforms.Compose([
        transforms.Resize(256, interpolation=transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(224),
        transforms.ToTensor(), transforms.Normalize(STATED["mean"], STATED["std"]),
    ])  # fmt: skip
    network = mc.load_torch(str(folder)).eval()
    with torch.no_grad():
        logits = network(steps(Image.open(picture).convert("RGB"))[None])
    return torch.softmax(logits.double(), 1)[0].numpy()


@pytest.mark.parametrize("options", [{}, {"input_shape": (2, 3, 224, 224)}, {"fold_bn": True}], ids=str)
def test_the_five_likeliest_classes(repository: Callable[..., Path], picture: Path, options: dict[str, Any]) -> None:
    folder = repository(STATED, **options)
    found = json.loads(call(folder, str(picture), "--json"))
    shares = expected(folder, picture)
    assert [one["label"] for one in found] == [str(index) for index in np.argsort(-shares)[:5]]
    np.testing.assert_allclose([one["probability"] for one in found], np.sort(shares)[::-1][:5], rtol=1e-4)


def test_another_preprocessing_gives_another_answer(repository: Callable[..., Path], picture: Path) -> None:
    """What the comparison above could fail by."""
    folder = repository(STATED | {"interpolation": "nearest", "resize_edges": "both"})
    found = [one["probability"] for one in json.loads(call(folder, str(picture), "--json"))]
    right = np.sort(expected(folder, picture))[::-1][:5]
    assert not np.allclose(found, right, rtol=1e-3)


def test_float16(repository: Callable[..., Path], picture: Path) -> None:
    folder = repository(STATED, dtype="float16")
    found = json.loads(call(folder, str(picture), "--json", "--top", "10"))
    assert len(found) == 10
    assert abs(sum(one["probability"] for one in found) - 1) < 1e-6


def test_lines_for_people(repository: Callable[..., Path], picture: Path) -> None:
    lines = call(repository(), str(picture), "--top", "3").splitlines()
    assert len(lines) == 3
    assert all(0 <= float(line.split()[0]) <= 1 for line in lines)


def test_as_modelhubs_engine_calls_it(repository: Callable[..., Path], picture: Path) -> None:
    """It imports ``inference`` with contrib_src on the path and as the current folder, and calls ``Model().infer``."""
    code = "import json, sys; from inference import Model; print(json.dumps(Model().infer(sys.argv[1])))"
    folder = repository() / "contrib_src"
    done = subprocess.run(
        [sys.executable, "-c", code, str(picture)], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["label"] for one in found] == [str(index) for index in range(10)]
    assert sum(one["probability"] for one in found) == pytest.approx(1)


def test_opencvs_resize_is_met(repository: Callable[..., Path], picture: Path) -> None:
    """``antialias: false`` looks pixels up at their centres, as OpenCV and torch's plain interpolation do."""
    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    from PIL import Image

    folder = repository(STATED | {"interpolation": "bilinear", "resize_edges": "both", "antialias": False})
    code = "import sys; import numpy; from processing import ImageProcessor as P; numpy.save(sys.argv[2], P().load_and_preprocess(sys.argv[1]))"  # noqa: E501
    out = folder / "array.npy"
    subprocess.run(
        [sys.executable, "-c", code, str(picture), str(out)], cwd=folder / "contrib_src", timeout=120, check=True
    )
    pixels = torch.from_numpy(np.array(Image.open(picture))).permute(2, 0, 1)[None].float()
    whole = torch.nn.functional.interpolate(pixels, (256, 256), mode="bilinear", align_corners=False)
    cut = whole[:, :, 16:240, 16:240].numpy() / 255
    right = (cut - np.reshape(STATED["mean"], (3, 1, 1))) / np.reshape(STATED["std"], (3, 1, 1))
    # Pillow rounds the resized pixels to whole numbers: half a step, and a little for its fixed-point weights.
    assert np.abs(np.load(out) - right).max() <= 1.01 / 255 / min(STATED["std"])
