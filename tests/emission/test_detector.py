"""The module of the detector is its network bit for bit, loads what the original loads, and decodes as we do."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters import detection
from mshub_convert.converters.emission.emit import Emitted, emit
from mshub_convert.converters.errors import UsageError
from mshub_convert.mappings.architectures.ssd_anchors import anchors
from mshub_convert.mappings.architectures.ssd_resnet50 import SsdResNet50
from mshub_convert.mappings.dialects import dialect

from .conftest import DETECTORS, OWN_DETECTOR, SIZES, run

OUTPUTS = ("loc", "scores")


def outputs(folder: Path, mode: str, place: int) -> list[np.ndarray]:
    held = np.load(folder / f"{mode}_{place}.npz")
    return [held[name] for name in held.files]


def differences(one: list[np.ndarray], other: list[np.ndarray]) -> dict[str, float]:
    """The greatest difference of each output."""
    pairs = zip(OUTPUTS, one, other, strict=True)
    return {name: float(np.abs(first - second).max()) for name, first, second in pairs}


def ours(file: Path, pictures: Path) -> list[list[np.ndarray]]:
    import mindspore

    network = mc.load_mindspore(file)
    batches = np.load(pictures).values()
    return [[value.asnumpy() for value in network(mindspore.Tensor(batch))] for batch in batches]


@pytest.fixture(scope="module")
def made(written: Callable[[str], Path]) -> Callable[[str], Path]:
    """The folder of a case, which is made once."""
    folders: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in folders:
            folders[name] = written(name)
        return folders[name]

    return get


def imported(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"emitted_{folder.name}", folder / "network.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_modules_compute_exactly_what_our_network_does(made: Callable[[str], Path], pictures: Path) -> None:
    folders = {name: made(name) for name in DETECTORS}
    run("pynative", pictures, list(folders.values()))
    for name, folder in folders.items():
        # No dialect of ours has a user's own names: there it is compared with the weights that it came from.
        file = folder / ("source.safetensors" if "own" in name else "weights.ckpt")
        for place, expected in enumerate(ours(file, pictures)):
            assert differences(outputs(folder, "pynative", place), expected) == {"loc": 0.0, "scores": 0.0}, name


@pytest.mark.slow
def test_a_module_computes_the_same_compiled(made: Callable[[str], Path], pictures: Path) -> None:
    folder = made("detector")
    run("graph", pictures, [folder])
    for place, expected in enumerate(ours(folder / "weights.ckpt", pictures)):
        assert differences(outputs(folder, "graph", place), expected) == {"loc": 0.0, "scores": 0.0}


@pytest.mark.slow
def test_traits_make_another_function(made: Callable[[str], Path], pictures: Path, tmp_path: Path) -> None:
    """The comparison would see wrong ones: the same weights in the module of others."""
    (tmp_path / "weights.ckpt").symlink_to(made("detector") / "weights.ckpt")
    (tmp_path / "network.py").write_text((made("detector-even") / "network.py").read_text())
    run("pynative", pictures, [tmp_path])
    expected = ours(made("detector") / "weights.ckpt", pictures)[0]
    assert min(differences(outputs(tmp_path, "pynative", 0), expected).values()) > 1e-3


@pytest.mark.slow
def test_names_may_lack_what_the_original_has_before_them(made: Callable[[str], Path], tmp_path: Path) -> None:
    import mindspore

    folder = made("detector")
    create_network = imported(folder).create_network
    held = mindspore.load_checkpoint(str(folder / "weights.ckpt"))

    def loaded(names: list[str]) -> Any:
        named = zip(names, held.values(), strict=True)
        mindspore.save_checkpoint([{"name": n, "data": value} for n, value in named], str(tmp_path / "bare.ckpt"))
        return create_network(str(tmp_path / "bare.ckpt"))

    bare = [name.removeprefix("network.") for name in held]
    for name, value in loaded(bare).parameters_dict().items():
        assert np.array_equal(value.asnumpy(), held[name].asnumpy()), name
    # All or none: a file with both is no such file.
    with pytest.raises(ValueError, match=r"it lacks \['network\.multi_box"):
        loaded([*bare[:1], *list(held)[1:]])


@pytest.mark.slow
def test_a_file_without_the_prefix_is_left_as_it_is(made: Callable[[str], Path], tmp_path: Path) -> None:
    import mindspore

    held = mindspore.load_checkpoint(str(made("detector") / "weights.ckpt"))
    file = tmp_path / "bare.ckpt"
    mindspore.save_checkpoint(
        [{"name": name.removeprefix("network."), "data": value} for name, value in held.items()], str(file)
    )
    before = file.read_bytes()
    result = mc.convert(file, to="ckpt", out=file, emit_network=tmp_path / "network.py")
    assert result.path == tmp_path / "network.py"
    assert file.read_bytes() == before
    imported(tmp_path).create_network(str(file))


@pytest.mark.slow
def test_boxes_are_decoded_as_ours_are(made: Callable[[str], Path]) -> None:
    module = imported(made("detector"))
    draw = np.random.default_rng(1)
    for height, width in (*SIZES, (640, 640)):
        told = np.array(anchors(height, width))
        assert np.array_equal(module.anchors(height, width), told)
        loc = draw.normal(scale=3, size=(2, len(told), 4)).astype(np.float32)
        for values in (loc, loc.astype(np.float64)):
            boxes = module.decode(values, height, width)
            assert boxes.dtype == values.dtype
            assert np.array_equal(boxes, detection.decode(values, height, width))


@pytest.mark.slow
def test_heads_of_other_classes(made: Callable[[str], Path]) -> None:
    import mindspore

    network = imported(made("detector")).create_network(num_classes=5)
    loc, scores = network(mindspore.Tensor(np.zeros((1, 3, 64, 64), np.float32)))
    assert (loc.shape, scores.shape) == ((1, len(anchors(64, 64)), 4), (1, len(anchors(64, 64)), 5))


# What it looks like


def text_of(names: str) -> str:
    wanted = Emitted(dialect(names).ground(SsdResNet50()), dialect(names).traits, "float32", "a.ckpt", "tool 1")
    return emit(wanted)


def test_a_module_reads_as_a_person_would_write_it() -> None:
    text = text_of("modelzoo-ssd")
    for line in (
        "CLASSES = 81  # with the background, which is class 0",
        "        c3 = self.layer2(x)",
        "        f3 = self.network.feature_extractor.Channel_cover(c5)",
        "                    blocks=nn.CellList([extra(256, 256, 2), extra(256, 256, 2)]),",
        '    if not any(name.startswith("network.") for name in weights):',
    ):
        assert line in text.splitlines()
    imports = {line for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imports == {"import mindspore", "import numpy as np", "from mindspore import Tensor, nn, ops"}
    assert len(text.splitlines()) < 240


def test_what_a_dialect_has_no_use_for_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN_DETECTOR)
    text = text_of(str(tmp_path / "own.toml"))
    assert "class Group" not in text
    assert "startswith" not in text
    assert "        self.boxes = heads(4)" in text.splitlines()
    assert "Group(" in text_of("modelzoo-ssd")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"trunk.', '"', "the layers of the backbone are in no cell of their own"),
        ('"trunk.part{s+1}', '"trunk.parts.{s}', "all stages of the backbone are in trunk.parts, and the heads take"),
        ('"more.{b}.', '"trunk.{b}.', "trunk is the name of one cell and the beginning of another's"),
        ('"more.{b}.norm"', '"norm{b}"', "the layers of extras.0 are in no cell of their own"),
        (
            '"extras.{b}.conv" =', '"extras.0.conv" = "more.0.first"\n"extras.{b}.conv" =',
            "the layers of extras.1 are called otherwise than those of extras.0",
        ),
        ('"more.{b}.', '"more.{b+1}.', "more would hold a cell called '1', and those of a list are numbered from 0"),
        ('"more.{b}.', '"class.{b}.', "'class', which begins the name of a layer, can be no attribute of a cell"),
        ('"boxes.{k}.', '"boxes.{k+1}.', "boxes.5, the heads of the levels, are not numbered from 0 in one cell"),
        ('"boxes.{k}.', '"boxes{k}.', "boxes4, the heads of the levels, are not numbered from 0 in one cell"),
        ('kernel = "weight"\nbias = "bias"', 'kernel = "weight"\nbias = "beta"', "calls bias of a predictor 'beta'"),
    ],
)  # fmt: skip
def test_names_that_do_not_nest_are_refused(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert before in OWN_DETECTOR
    (tmp_path / "own.toml").write_text(OWN_DETECTOR.replace(before, after))
    with pytest.raises(UsageError) as raised:
        text_of(str(tmp_path / "own.toml"))
    assert said in raised.value.message
    assert "mshub-convert list" in raised.value.remedy
