"""Opening a source: which weights, which network, whose traits."""

import gc
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mshub_convert.converters.codecs import EmbeddedRecord, codec
from mshub_convert.converters.errors import EnvironmentError_, MalformedFileError, PlanError, UsageError
from mshub_convert.converters.opened import Opened
from mshub_convert.converters.record import sidecar_path
from mshub_convert.converters.sources import Origin, Source, calibrated
from mshub_convert.converters.splice import splice
from mshub_convert.converters.tensors import TensorRef
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.errors import MshubConvertError
from mshub_convert.mappings.traits import Traits

Arrays = dict[str, np.ndarray]
Open = Callable[..., Opened]
SYMMETRIC, SAME = Traits(), Traits(stem_pool="same")
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def small_arrays(weights_file: Callable[..., Path], arrays: Callable[[Path], Arrays]) -> Arrays:
    """The small network under mindcv's names."""
    return arrays(weights_file(dialect="mindcv", name="drawn.safetensors"))


@pytest.fixture
def save(tmp_path: Path, reference: Callable[[str, np.ndarray], TensorRef]) -> Callable[..., Path]:
    """Writes tensors, with a record or with none that is ours: ``save(arrays, "a.ckpt", record)``."""

    def make(held: Arrays, name: str, record: Any = None) -> Path:
        path = tmp_path / name
        text = b"" if record is None else json.dumps(record).encode()
        refs = [reference(key, array) for key, array in held.items()]
        pieces = codec(path.suffix).layout(refs, EmbeddedRecord(text, lambda: text), framework="")
        # Without a record the container ends, or begins, with an empty one: leave that out.
        splice(path, pieces if record is not None or path.suffix != ".ckpt" else pieces[:-2], sync=False)
        return path

    return make


# --- traits: what is said, else the record in the file, else the one beside it, else the dialect's own


def test_the_dialects_own_traits(opened: Open, save: Callable[..., Path], small_arrays: Arrays) -> None:
    found = opened(save(small_arrays, "a.ckpt"))
    assert found.found.dialect.name == "mindcv"
    assert found.traits == SAME
    assert found.traits_from == "the default of the dialect mindcv; no record says otherwise"
    (notice,) = found.notices
    assert notice.code == "traits"
    assert "stem_pool=same" in notice.line
    assert "--trait stem_pool=symmetric" in notice.remedy


def test_no_word_on_traits_where_pytorch_has_one_answer(opened: Open, weights_file: Callable[..., Path]) -> None:
    found = opened(weights_file())
    assert found.traits == SYMMETRIC
    assert found.notices == ()


def test_the_embedded_record(opened: Open, save: Callable[..., Path], small_arrays: Arrays) -> None:
    path = save(small_arrays, "a.ckpt", {"schema": 1, "traits": SYMMETRIC.as_dict()})
    # One beside it that says something else is not asked.
    sidecar_path(path).write_text(json.dumps({"schema": 1, "output": {"sha256": "0" * 64}}))
    found = opened(path)
    assert found.traits == SYMMETRIC
    assert found.traits_from == "the record in a.ckpt"
    assert found.notices == ()


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_sidecar(opened: Open, save: Callable[..., Path], small_arrays: Arrays) -> None:
    path = save(small_arrays, "a.ckpt")
    record = {"schema": 1, "traits": SYMMETRIC.as_dict(), "output": {"sha256": sha256_of(path)}}
    sidecar_path(path).write_text(json.dumps(record))
    found = opened(path)
    assert found.traits == SYMMETRIC
    assert found.traits_from == "the record in the sidecar of a.ckpt"
    assert found.notices == ()


def test_a_stale_sidecar(opened: Open, save: Callable[..., Path], small_arrays: Arrays) -> None:
    path = save(small_arrays, "a.ckpt")
    record = {"schema": 1, "traits": SYMMETRIC.as_dict(), "output": {"sha256": "0" * 64}}
    sidecar_path(path).write_text(json.dumps(record))
    found = opened(path)
    assert found.traits == SAME
    assert [notice.code for notice in found.notices] == ["record", "traits"]
    assert found.notices[0].line == "a.ckpt.mshub.json belongs to another a.ckpt (its sha256 differs): ignored"


def test_a_damaged_record_is_told_and_the_sidecar_asked(
    opened: Open, save: Callable[..., Path], small_arrays: Arrays
) -> None:
    path = save(small_arrays, "a.ckpt", {"schema": 1, "traits": 3})
    record = {"schema": 1, "traits": SYMMETRIC.as_dict(), "output": {"sha256": sha256_of(path)}}
    sidecar_path(path).write_text(json.dumps(record))
    found = opened(path)
    assert found.traits == SYMMETRIC
    assert [notice.line.partition(" (")[0] for notice in found.notices] == ["the record in a.ckpt is damaged"]


def test_a_record_that_cannot_be_read(opened: Open, save: Callable[..., Path], small_arrays: Arrays) -> None:
    found = opened(save(small_arrays, "a.ckpt", [1]))
    assert found.traits == SAME
    assert found.notices[0].line == "the record in a.ckpt cannot be read: ignored"


def test_what_is_said_goes_first(opened: Open, save: Callable[..., Path], small_arrays: Arrays) -> None:
    path = save(small_arrays, "a.ckpt", {"schema": 1, "traits": SYMMETRIC.as_dict() | {"norm_eps": 1e-3}})
    found = opened(path, traits={"stem_pool": "same"})
    assert found.traits == Traits(stem_pool="same", norm_eps=1e-3)
    assert found.traits_from == "what you say, else the record in a.ckpt"


def test_what_is_said_needs_no_remark(opened: Open, save: Callable[..., Path], small_arrays: Arrays) -> None:
    found = opened(save(small_arrays, "a.ckpt"), traits={"stem_pool": "symmetric"})
    assert (found.traits, found.notices) == (SYMMETRIC, ())


def test_a_record_is_not_overridden_in_silence(opened: Open, save: Callable[..., Path], small_arrays: Arrays) -> None:
    path = save(small_arrays, "a.ckpt", {"schema": 1, "traits": SYMMETRIC.as_dict()})
    found = opened(path, traits={"stem_pool": "same"})
    assert found.traits == SAME
    (notice,) = found.notices
    assert notice.line == "stem_pool=same as you say; the record in a.ckpt says symmetric"


@pytest.mark.parametrize("traits", [{"stem_poll": "same"}, {"stem_pool": "odd"}, {"norm_eps": "zero"}])
def test_traits_that_there_are_not(opened: Open, weights_file: Callable[..., Path], traits: dict[str, str]) -> None:
    with pytest.raises(MshubConvertError) as caught:
        opened(weights_file(), traits=traits)
    assert caught.value.exit_code == 2


def test_drawn_weights_are_carried_without_complaint(opened: Open, weights_file: Callable[..., Path]) -> None:
    found = opened(weights_file(seed=3))
    assert found.carried.text("origin") == "calibrated:3"
    assert found.notices == ()


# --- what the address promises


def test_a_file_that_is_another_network(opened: Open, weights_file: Callable[..., Path]) -> None:
    path = weights_file()
    source = Source("timm:resnext50_32x4d", path, "x", Origin("stated"), architecture="resnext50_32x4d", dialect="timm")
    found = opened(source)
    assert [problem.code for problem in found.problems] == ["architecture", "origin"]
    assert found.problems[0].line == (
        "timm:resnext50_32x4d is resnext50_32x4d, the file small.safetensors holds resnext_1-1_4x2d"
    )


@pytest.mark.slow
def test_a_file_that_keeps_the_promise_but_for_the_classes(opened: Open, weights_file: Callable[..., Path]) -> None:
    network = architecture("resnext50_32x4d", classes=7)
    path = weights_file(network, name="seven.safetensors")
    source = Source("timm:resnext50_32x4d", path, "x", Origin("file"), "resnext50_32x4d", "timm")
    assert opened(source).problems == ()


@pytest.mark.parametrize("name", ["resnetblur50-84f4748f.pth", "my_seresnextaa101d_32x8d.safetensors"])
def test_a_file_called_as_a_network_with_the_same_tensors(
    opened: Open, save: Callable[..., Path], small_arrays: Arrays, name: str
) -> None:
    path = save(small_arrays, name)
    (problem,) = opened(path).problems
    assert problem.message.startswith(f"{name} is of ")
    assert "by its name: anti-aliased down-sampling has the same names and shapes" in problem.message
    assert "timm:resnet50 --weights FILE" in problem.remedy
    said = Source("timm:small", path, "small", Origin("stated"))
    assert opened(said).problems == (), "who says what it is, is believed"


@pytest.mark.slow
def test_a_file_that_says_it_was_trained_as_another_network(
    opened: Open, tmp_path: Path, weights_file: Callable[..., Path], arrays: Callable[[Path], Arrays]
) -> None:
    import torch

    state = {name: torch.from_numpy(array) for name, array in arrays(weights_file()).items()}
    for arch, told in (("resnetaa50d", 1), ("resnet50d", 0), (50, 0)):
        torch.save({"state_dict": state, "arch": arch}, tmp_path / "model_best.pth.tar")
        problems = opened(tmp_path / "model_best.pth.tar").problems
        assert ["of resnetaa50d, by its entry arch" in problem.message for problem in problems] == [True] * told


def test_drawn_weights_said_to_be_a_models(opened: Open, weights_file: Callable[..., Path]) -> None:
    path = weights_file(seed=2)
    found = opened(Source("timm:x", path, "x", Origin("stated")))
    (problem,) = found.problems
    assert "drawn weights (calibrated:2)" in problem.line


def test_notices_of_the_source_and_the_file(opened: Open, save: Callable[..., Path], small_arrays: Arrays) -> None:
    path = save(small_arrays, "a.ckpt", {"schema": 1, "traits": SYMMETRIC.as_dict()})
    found = opened(Source("a", path, "x", Origin("file"), notices=("from far away",)))
    assert [notice.line for notice in found.notices] == ["from far away"]


# --- which network, which names


def test_the_names_can_be_said(opened: Open, weights_file: Callable[..., Path]) -> None:
    found = opened(weights_file(), dialect="torchvision")
    assert found.found.dialect.name == "torchvision"


def test_names_that_do_not_fit(opened: Open, weights_file: Callable[..., Path]) -> None:
    with pytest.raises(PlanError, match=r"small\.safetensors: ") as caught:
        opened(weights_file(), dialect="mindcv")
    assert caught.value.remedy


def test_an_unknown_dialect(opened: Open, weights_file: Callable[..., Path]) -> None:
    with pytest.raises(MshubConvertError, match="unknown dialect") as caught:
        opened(weights_file(), dialect="mindvc")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("golden", "said"),
    [("timm_skresnet18", "selective kernels"), ("timm_vit_tiny_patch16_224", "a vision transformer")],
)
def test_other_networks(opened: Open, save: Callable[..., Path], golden: str, said: str) -> None:
    content = json.loads((GOLDEN / f"{golden}.json").read_text(encoding="utf-8"))
    held = {name: np.zeros(shape, np.int8) for name, shape in content["tensors"]}
    with pytest.raises(PlanError, match=said) as caught:
        opened(save(held, "other.safetensors", {}))
    assert caught.value.exit_code == 3
    assert caught.value.remedy


# --- which weights


@pytest.fixture
def with_average(save: Callable[..., Path], small_arrays: Arrays) -> Path:
    """Raw weights and averaged ones in one file."""
    averaged = {f"ema.{name}": array + 1 if array.dtype.kind == "f" else array for name, array in small_arrays.items()}
    return save(small_arrays | averaged, "both.ckpt", {"schema": 1, "traits": SYMMETRIC.as_dict()})


def test_raw_weights_are_taken(opened: Open, with_average: Path, small_arrays: Arrays) -> None:
    found = opened(with_average)
    assert found.found.prefix == ""
    assert len(found.found.copies) == len(small_arrays)


@pytest.mark.parametrize("select", ["ema", "ema."])
def test_averaged_weights_are_selected(opened: Open, with_average: Path, select: str) -> None:
    found = opened(with_average, select=select)
    assert found.found.prefix == "ema."
    assert all(name.startswith("ema.") for name in found.found.names.values())


def test_weights_that_are_not_there(opened: Open, with_average: Path) -> None:
    with pytest.raises(UsageError, match=r"both\.ckpt has no weights called 'emma'") as caught:
        opened(with_average, select="emma")
    assert caught.value.remedy == "It holds ema."


def test_there_is_nothing_to_select(opened: Open, weights_file: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="has no weights called") as caught:
        opened(weights_file(), select="model")
    assert caught.value.remedy == "Leave out --select: it holds one set."


@pytest.mark.slow
def test_a_dictionary_in_a_pth(opened: Open, tmp_path: Path, weights_file: Callable[..., Path]) -> None:
    import torch

    plain = opened(weights_file())
    state = {name: torch.from_numpy(ref.read().copy()) for name, ref in plain.tensors.items()}
    path = tmp_path / "training.pth"
    torch.save({"state_dict": state, "state_dict_ema": {n: t + 1 for n, t in state.items()}, "epoch": 3}, path)
    raw, averaged = (opened(path, select=name) for name in ("state_dict", "state_dict_ema"))
    assert (raw.selected, averaged.selected) == ("state_dict", "state_dict_ema")
    assert np.array_equal(raw.tensors["fc.bias"].read() + 1, averaged.tensors["fc.bias"].read())
    with pytest.raises(UsageError, match="has no weights called 'model'") as caught:
        opened(path, select="model")
    assert "state_dict_ema" in caught.value.remedy


# --- what cannot be opened


def test_no_file(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentError_, match="no file") as caught:
        opened(tmp_path / "none.ckpt")
    assert caught.value.exit_code == 5


def test_a_folder(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        opened(tmp_path)


def test_a_pipe_does_not_wait_for_ever(opened: Open, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is a pipe or device"):
        opened(tmp_path / "pipe")


def test_a_name_too_long(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentError_, match=r"cannot read .*: File name too long"):
        opened(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\xd8\x5e\x3a\x7f....", r"an encrypted MindSpore checkpoint \(AES-GCM\)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"<html>", "a web page"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"\x1f\x8b\x08", "gzip-compressed"),
        (b"\x08\x07\x12\x04", "is not a valid ONNX model"),
        (b"\n\x031.1\x12\tMindSpore*\x062.10.0:", "is not a valid MINDIR"),
        (b"\0" * 257 + b"ustar\x00" + b"\0" * 300, "a tar archive"),
        (b"hello", r"of no container we know \(first bytes 68 65 6c 6c 6f\)"),
    ],
)
def test_files_that_are_no_weights(opened: Open, tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(data)
    with pytest.raises(MalformedFileError, match=message) as caught:
        opened(path)
    assert caught.value.exit_code == 3
    assert caught.value.remedy


def test_a_file_that_fails_is_closed_again(opened: Open, tmp_path: Path, weights_file: Callable[..., Path]) -> None:
    good = weights_file()
    (tmp_path / "bad.ckpt").write_bytes(b"hello")
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path, options in ((tmp_path / "bad.ckpt", {}), (good, {"select": "none"})):
        with pytest.raises(MshubConvertError):
            opened(path, **options)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_calibrated_is_a_whole_network(small: ResNet, tmp_path: Path, opened: Open) -> None:
    calibrated.write(small, "timm", 0, tmp_path / "a.safetensors")
    assert opened(tmp_path / "a.safetensors").found.architecture == small
