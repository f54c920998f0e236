"""Conversions as a whole: every container and dialect there and back, and everything that can go wrong on the way."""

import errno
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from mshub_convert.converters import pipeline, staging
from mshub_convert.converters.codecs import EmbeddedRecord, codec, open_checkpoint
from mshub_convert.converters.codecs.safetensors import CODEC as SAFETENSORS
from mshub_convert.converters.errors import (
    EnvironmentError_,
    MalformedFileError,
    PlanError,
    ReadBackError,
    UsageError,
)
from mshub_convert.converters.opened import Opened
from mshub_convert.converters.pipeline import Prepared, refuse_problems, write
from mshub_convert.converters.record import sidecar_path
from mshub_convert.converters.sources import Origin, Source
from mshub_convert.converters.splice import splice
from mshub_convert.converters.tensors import TensorRef
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import dialect, dialects_for

Arrays = dict[str, np.ndarray]
Convert = Callable[..., Path]
Prepare = Callable[..., Prepared]
Read = Callable[[Path], Arrays]

SMALL = ResNet((1, 1), cardinality=4, base_width=2, classes=10)
TARGETS = [
    f"{container}:{name}"
    for container, framework in (("ckpt", "mindspore"), ("pth", "torch"), ("safetensors", None))
    for name in dialects_for(SMALL)
    if framework in (None, dialect(name).framework)
] + ["onnx:timm", "onnx:mindcv", "onnx:modelzoo"]
CONTAINERS = ["ckpt", "onnx", "pth", "safetensors"]


def same(left: Arrays, right: Arrays) -> bool:
    return left.keys() == right.keys() and all(
        (left[name].shape, left[name].dtype, left[name].tobytes())
        == (right[name].shape, right[name].dtype, right[name].tobytes())
        for name in left
    )


def embedded(path: Path) -> dict[str, Any]:
    with open_checkpoint(path) as checkpoint:
        return dict(checkpoint.record or {})


def sidecar(path: Path) -> dict[str, Any]:
    return json.loads(sidecar_path(path).read_bytes())


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do without the disk's word for it."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def save(tmp_path: Path, reference: Callable[[str, np.ndarray], TensorRef]) -> Callable[[Arrays], Path]:
    """Writes arrays to a safetensors file without a record of ours."""

    def make(held: Arrays, name: str = "made.safetensors") -> Path:
        path = tmp_path / name
        refs = [reference(key, array) for key, array in held.items()]
        text = b'{"schema":1}'
        splice(path, SAFETENSORS.layout(refs, EmbeddedRecord(text, lambda: text), framework=""), sync=False)
        return path

    return make


# --- there and back


def test_the_small_network_is_the_one_of_the_targets(small: ResNet) -> None:
    assert small == SMALL


@pytest.mark.slow
@pytest.mark.usefixtures("unsynced")
def test_all_there_is_to_all_there_is(
    convert: Convert, arrays: Read, weights_file: Callable[..., Path], tmp_path: Path
) -> None:
    source = weights_file(seed=5)
    direct = {to: convert(source, to, tmp_path / f"direct-{n}/") for n, to in enumerate(TARGETS)}
    held = {to: arrays(path) for to, path in direct.items()}
    assert same(held["safetensors:timm"], arrays(source))
    for over, path in direct.items():
        sidecar_path(path).unlink()  # the record in the file is enough, for the counters too
        for to in TARGETS:
            assert same(arrays(convert(path, to, tmp_path / "on/", overwrite=True)), held[to]), f"{over} to {to}"


@pytest.mark.usefixtures("unsynced")
@pytest.mark.parametrize("over", ["ckpt:mindcv", "pth:mmcls", "safetensors:modelzoo"])
def test_a_deep_stem_there_and_back(
    convert: Convert, arrays: Read, weights_file: Callable[..., Path], tmp_path: Path, over: str
) -> None:
    network = ResNet((1, 2), cardinality=2, base_width=4, classes=3, stem=(32, 32, 64), shortcut="avg")
    names = dialects_for(network)
    if over.partition(":")[2] not in names:
        over = f"safetensors:{next(name for name in names if name != 'timm')}"
    source = weights_file(network)
    there = convert(source, over, tmp_path / "there/")
    assert same(arrays(convert(there, "safetensors:timm", tmp_path / "back/")), arrays(source))


@pytest.mark.parametrize("to", CONTAINERS)
def test_equal_conversions_give_equal_bytes(
    convert: Convert, weights_file: Callable[..., Path], tmp_path: Path, to: str
) -> None:
    source = weights_file(name="same.safetensors")
    elsewhere = tmp_path / "elsewhere" / source.name
    elsewhere.parent.mkdir()
    shutil.copy(source, elsewhere)
    suffix = codec(to).suffixes[0]
    first = convert(source, to, tmp_path / "1" / f"one{suffix}")
    second = convert(elsewhere, to, tmp_path / "2" / f"another{suffix}")
    assert first.read_bytes() == second.read_bytes()
    assert str(tmp_path).encode() not in first.read_bytes()


def test_names_that_are_not_ascii(convert: Convert, arrays: Read, weights_file: Callable[..., Path], out: Path) -> None:
    odd = os.fsdecode(b"h\xf6he")  # a name in Latin-1, which is not UTF-8
    source = weights_file(name=f"größe-{odd}.safetensors")
    for to in CONTAINERS:
        made = convert(source, to, out / f"é-{odd}{codec(to).suffixes[0]}")
        assert embedded(made)["sources"][0]["name"] == "größe-h?he.safetensors"
        assert sidecar(made)["output"]["name"].startswith("é-h?he")
        assert arrays(made)


# --- the record


def test_the_record_in_the_file_and_beside_it(convert: Convert, weights_file: Callable[..., Path], out: Path) -> None:
    source = weights_file()
    for to in CONTAINERS:
        made = convert(source, to, out / to / "")
        record, beside = embedded(made), sidecar(made)
        assert record["sources"] == [{
            "name": source.name, "container": "safetensors", "bytes": source.stat().st_size,
            "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        }]  # fmt: skip
        assert record["read_back"] == "bit-exact"
        assert "output" not in record
        assert beside == {**record, "output": {
            "name": made.name, "bytes": made.stat().st_size, "sha256": hashlib.sha256(made.read_bytes()).hexdigest(),
        }}  # fmt: skip
        assert (record["container"], record["architecture"]["classes"]) == (to, 10)


def test_a_chain_keeps_what_the_first_source_said(
    convert: Convert,
    arrays: Read,
    weights_file: Callable[..., Path],
    save: Any,
    opened: Callable[..., Opened],
    out: Path,
) -> None:
    path = save(arrays(weights_file()))
    facts = {"licence": "apache-2.0", "accuracy": {"top1": 79.8}}
    source = Source("timm:small.a1_in1k", path, "small", Origin("pretrained"), dialect="timm", facts=facts)
    first = convert(source, "ckpt:mindcv", out / "1.ckpt", dtype="bfloat16")
    second = convert(first, "pth", out / "2.pth", dtype="float32")
    third = convert(second, "ckpt:modelzoo", out / "3.ckpt", dtype="float16")
    record = embedded(third)
    assert (record["address"], record["origin"], record["pretrained"]) == ("timm:small.a1_in1k", "pretrained", True)
    assert record["facts"] == facts
    assert [entry["name"] for entry in record["sources"]] == ["made.safetensors", "1.ckpt", "2.pth"]
    assert [entry["container"] for entry in record["sources"]] == ["safetensors", "ckpt", "pth"]
    assert all(len(entry["sha256"]) == 64 for entry in record["sources"])
    assert record["operations"] == ["float32 → bfloat16", "bfloat16 → float32", "float32 → float16"]
    assert opened(third).traits == opened(path).traits
    assert len(record["dropped"]) == len(embedded(first)["dropped"])
    # An address of its own goes before what the record says.
    restated = Source("timm:other", first, "other", Origin("stated"), dialect="mindcv", facts={"licence": "mit"})
    record = embedded(convert(restated, "pth", out / "4.pth"))
    assert (record["address"], record["origin"], record["facts"]) == ("timm:other", "stated", {"licence": "mit"})
    assert len(record["sources"]) == 2


def test_what_goes_into_the_sidecar_only(prepared: Prepare, weights_file: Callable[..., Path], out: Path) -> None:
    with write(prepared(weights_file(), "ckpt", out / "a.ckpt")) as staged:
        made = staged.commit({"proof": {"verdict": "pass"}})
    assert sidecar(made)["proof"] == {"verdict": "pass"}
    assert "proof" not in embedded(made)


def test_traits_other_than_the_librarys_are_told(
    convert: Convert, weights_file: Callable[..., Path], prepared: Prepare, out: Path
) -> None:
    network = ResNet((3, 4, 6, 3), cardinality=1, base_width=64, classes=2)
    plan = prepared(weights_file(network), "ckpt:mindcv", out).plan
    (notice,) = plan.notices
    assert notice.code == "library-stem_pool"
    assert "these weights need stem_pool=symmetric, mindcv's own resnet50 has same" in notice.line
    assert "load_mindspore" in notice.remedy


def test_where_several_dialects_have_names_the_one_taken_is_told(
    prepared: Prepare, weights_file: Callable[..., Path], out: Path
) -> None:
    squeezed = ResNet((1, 1), cardinality=4, base_width=2, squeeze=(16, 32))
    told = {notice.code: notice.line for notice in prepared(weights_file(squeezed), "ckpt", out).plan.notices}
    assert told["dialect"].endswith(": the tensors take those of mindcv-senet")
    assert told["dialect"].startswith("mindcv has no names for")


def test_a_librarys_own_network_with_other_names_is_not_denied(
    prepared: Prepare, weights_file: Callable[..., Path], out: Path
) -> None:
    (notice,) = prepared(weights_file(ResNet((3, 4, 6, 3), classes=2)), "ckpt:modelzoo", out).plan.notices
    assert notice.line == (
        "model_zoo's own resnet50 has the names of modelzoo-resnet: the names extend modelzoo's convention"
    )
    basic = ResNet((2, 2, 2, 2), block="basic", classes=2)
    (notice,) = prepared(weights_file(basic, name="basic.safetensors"), "ckpt:modelzoo-resnet", out).plan.notices
    assert notice.line.startswith("model_zoo's own resnet18 is another network: it calls the BatchNorms in its blocks")
    assert notice.line.endswith("the names extend modelzoo-resnet's convention")


def test_names_beyond_the_library_are_told(prepared: Prepare, weights_file: Callable[..., Path], out: Path) -> None:
    (notice,) = prepared(weights_file(), "pth:timm", out).plan.notices
    assert (notice.code, "timm has no resnext_1-1_4x2d" in notice.line) == ("extension", True)


@pytest.mark.parametrize("to", CONTAINERS)
def test_without_checks(convert: Convert, arrays: Read, weights_file: Callable[..., Path], out: Path, to: str) -> None:
    source = weights_file()
    made = convert(source, to, out, check=False)
    record = sidecar(made)
    assert record["read_back"] == "not done (--no-check)"
    assert record["output"]["sha256"] == ""
    assert "sha256" not in record["sources"][0]
    assert {name: array.tobytes() for name, array in arrays(made).items()} == {
        name: array.tobytes() for name, array in arrays(convert(source, to, out / "checked/")).items()
    }


def test_progress(prepared: Prepare, weights_file: Callable[..., Path], out: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    with write(prepared(weights_file(), "ckpt", out / "a.ckpt"), lambda *step: seen.append(step)) as staged:
        staged.commit()
    total = seen[0][2]
    for what in ("writing a.ckpt", "comparing weights"):
        steps = [done for said, done, _ in seen if said == what]
        assert steps == sorted(steps)
        assert steps[-1] == total


# --- what is refused


def test_problems_are_refused_together(
    convert: Convert, arrays: Read, weights_file: Callable[..., Path], save: Any, out: Path
) -> None:
    held = arrays(weights_file())
    del held["bn1.weight"]
    held["layer1.0.se.fc1.weight"] = np.ones(1, np.float32)
    with pytest.raises(PlanError) as caught:
        convert(save(held), "ckpt", out / "new" / "a.ckpt")
    assert caught.value.message.startswith("2 problems, nothing was written:\n  - ")
    assert "bn1.weight" in caught.value.message
    assert "squeeze-and-excitation" in caught.value.message
    assert caught.value.exit_code == 3
    assert left_in(out) == set()


def test_one_problem_reads_well(prepared: Prepare, weights_file: Callable[..., Path], out: Path) -> None:
    plan = prepared(weights_file(), "ckpt", out, strict=True, dtype="float16").plan
    with pytest.raises(PlanError, match="2 problems, nothing was written"):
        refuse_problems(plan)
    with pytest.raises(PlanError, match="1 problem, nothing was written"):
        refuse_problems(replace(plan, problems=plan.problems[:1]))


def test_a_container_that_cannot_hold_a_dtype(
    prepared: Prepare, weights_file: Callable[..., Path], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(codec("ckpt")), "dtypes", frozenset({"float16"}))
    (problem,) = prepared(weights_file(), "ckpt", out).plan.problems
    assert problem.line == "MindSpore .ckpt cannot hold float32 weights"


def test_an_existing_output(convert: Convert, weights_file: Callable[..., Path], out: Path) -> None:
    source, old = weights_file(), out / "a.ckpt"
    old.write_bytes(b"old")
    with pytest.raises(UsageError, match=r"a\.ckpt exists") as caught:
        convert(source, "ckpt", old)
    assert caught.value.exit_code == 2
    assert "--overwrite" in caught.value.remedy
    assert left_in(out) == {"a.ckpt"}
    assert old.read_bytes() == b"old"
    assert convert(source, "ckpt", old, overwrite=True).read_bytes() != b"old"
    assert left_in(out) == {"a.ckpt", "a.ckpt.mshub.json"}


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
@pytest.mark.parametrize("overwrite", [True, False])
def test_the_source_itself(
    convert: Convert, weights_file: Callable[..., Path], out: Path, link: Callable[..., None] | None, overwrite: bool
) -> None:
    source = weights_file()
    before = source.read_bytes()
    destination = source
    if link is not None:
        destination = out / "other.safetensors"
        link(source, destination)
    with pytest.raises(UsageError, match="is the source itself"):
        convert(source, "safetensors:mmcls", destination, overwrite=overwrite)
    assert source.read_bytes() == before


def test_a_link_to_nowhere(convert: Convert, weights_file: Callable[..., Path], out: Path) -> None:
    (out / "a.ckpt").symlink_to(out / "nothing")
    with pytest.raises(UsageError, match="exists"):
        convert(weights_file(), "ckpt", out / "a.ckpt")
    assert left_in(out) == {"a.ckpt"}
    made = convert(weights_file(name="b.safetensors"), "ckpt", out / "a.ckpt", overwrite=True)
    assert made.is_file()
    assert not made.is_symlink()


def test_a_device_is_no_output(convert: Convert, weights_file: Callable[..., Path], out: Path) -> None:
    os.mkfifo(out / "a.ckpt")
    with pytest.raises(UsageError, match="is not a regular file"):
        convert(weights_file(), "ckpt", out / "a.ckpt", overwrite=True)


def test_a_folder_where_the_record_goes(convert: Convert, weights_file: Callable[..., Path], out: Path) -> None:
    (out / "a.ckpt.mshub.json").mkdir()
    with pytest.raises(UsageError, match="is a folder, and the record goes there"):
        convert(weights_file(), "ckpt", out / "a.ckpt")
    assert left_in(out) == {"a.ckpt.mshub.json"}


def test_folders_are_made(convert: Convert, weights_file: Callable[..., Path], out: Path) -> None:
    assert convert(weights_file(), "ckpt", out / "a" / "b" / "c.ckpt").is_file()


def test_a_folder_that_cannot_be(convert: Convert, weights_file: Callable[..., Path], out: Path) -> None:
    (out / "file").write_text("")
    for destination in (out / "file" / "a.ckpt", out / "file" / "b" / "a.ckpt"):
        with pytest.raises(UsageError, match="is a file, not a folder") as caught:
            convert(weights_file(name=f"{len(str(destination))}.safetensors"), "ckpt", destination)
        assert caught.value.exit_code == 2
    assert left_in(out) == {"file"}


def test_a_folder_that_takes_no_files(
    convert: Convert, weights_file: Callable[..., Path], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *rest, **more)

    source = weights_file()
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(EnvironmentError_, match=r"cannot write in .*: Permission denied"):
        convert(source, "ckpt", out / "a.ckpt")


@pytest.mark.parametrize("length", [245, 255, 300])
def test_names_too_long(convert: Convert, weights_file: Callable[..., Path], out: Path, length: int) -> None:
    with pytest.raises(EnvironmentError_, match="File name too long"):
        convert(weights_file(), "ckpt", out / ("x" * (length - 5) + ".ckpt"))
    assert left_in(out) == set()


def test_no_room(
    convert: Convert, weights_file: Callable[..., Path], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(EnvironmentError_, match=r"has 0 MB free, the output needs \d+ MB"):
        convert(weights_file(), "ckpt", out / "a.ckpt")
    assert left_in(out) == set()


# --- what goes wrong while writing


@pytest.mark.slow
def test_the_disk_is_full(weights_file: Callable[..., Path], out: Path) -> None:
    source = weights_file()
    for name in ("a.ckpt", "a.pth", "a.safetensors"):
        run = subprocess.run(
            [sys.executable, "-m", "mshub_convert", source, "--to", name[2:], "-o", out / name, "-q"],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 5, run.stderr
        assert "takes no file of this size" in run.stderr
        assert left_in(out) == set()


@pytest.mark.parametrize("call", ["copy_file_range", "fsync", "link"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_nothing_is_left_when_the_system_refuses(
    convert: Convert,
    weights_file: Callable[..., Path],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: int,
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    source = weights_file()
    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(EnvironmentError_) as caught:
        convert(source, "ckpt", out / "a.ckpt")
    assert caught.value.exit_code == 5
    assert os.strerror(code) in caught.value.message
    assert left_in(out) == set()


def test_the_source_is_corrupt(convert: Convert, weights_file: Callable[..., Path], tmp_path: Path, out: Path) -> None:
    made = convert(weights_file(), "pth", tmp_path / "good.pth")
    data = bytearray(made.read_bytes())
    data[len(data) // 2] ^= 1
    bad = tmp_path / "bad.pth"
    bad.write_bytes(data)
    with pytest.raises(MalformedFileError, match="corrupt"):
        convert(bad, "ckpt", out / "a.ckpt")
    assert left_in(out) == set()


def corrupting(place: Callable[[bytes], int]) -> Callable[..., int]:
    """A splice that flips one bit of what it wrote."""

    def corrupt(path: Path, *rest: Any, **options: Any) -> int:
        size = splice(path, *rest, **options)
        data = path.read_bytes()
        # In place: the file is still mapped and must not become shorter.
        with path.open("r+b") as stream:
            stream.seek(place(data))
            stream.write(bytes([data[place(data)] ^ 1]))
        return size

    return corrupt


@pytest.mark.parametrize("to", CONTAINERS)
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_reading_back_finds_a_flipped_bit(
    convert: Convert,
    weights_file: Callable[..., Path],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    to: str,
    share: float,
) -> None:
    monkeypatch.setattr(pipeline, "splice", corrupting(lambda data: int(len(data) * share)))
    with pytest.raises(ReadBackError, match="differs from the source in"):
        convert(weights_file(), to, out / f"a{codec(to).suffixes[0]}")
    assert left_in(out) == set()


@pytest.mark.parametrize("to", CONTAINERS)
@pytest.mark.parametrize(
    ("place", "message"),
    [
        (lambda _: 0, "cannot be read back"),
        (lambda data: data.index(b"bit-exact"), "the record in the output is not the one meant for it"),
    ],
)
def test_reading_back_finds_a_flipped_bit_around_the_tensors(
    convert: Convert,
    weights_file: Callable[..., Path],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    to: str,
    place: Callable[[bytes], int],
    message: str,
) -> None:
    monkeypatch.setattr(pipeline, "splice", corrupting(place))
    with pytest.raises(ReadBackError, match=message):
        convert(weights_file(), to, out / f"a{codec(to).suffixes[0]}")
    assert left_in(out) == set()


def test_reading_back_finds_a_missing_and_a_surplus_tensor(
    convert: Convert, weights_file: Callable[..., Path], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = type(SAFETENSORS).layout
    source = weights_file()
    monkeypatch.setattr(
        type(SAFETENSORS), "layout", lambda self, tensors, *rest, **more: layout(self, tensors[1:], *rest, **more)
    )
    with pytest.raises(ReadBackError, match=r"differs from the source in conv1\.weight, as read back"):
        convert(source, "safetensors", out)
    assert left_in(out) == set()


# --- the final name


@pytest.fixture
def staged(prepared: Prepare, weights_file: Callable[..., Path], out: Path) -> Iterator[Callable[..., Any]]:
    made = []

    def make(seed: int = 0, **options: Any) -> Any:
        source = weights_file(seed=seed, name=f"{seed}.safetensors")
        made.append(write(prepared(source, "ckpt", out / "a.ckpt", **options)))
        return made[-1]

    yield make
    for one in made:
        one.__exit__()


@pytest.mark.parametrize("links", [True, False])
def test_the_first_of_two_takes_the_name(
    staged: Callable[..., Any], out: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:  # a file system such as FAT

        def cannot(*_: Any) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", cannot)
    first, second = staged(1), staged(2)
    with first, second:
        content = first.file.read_bytes()
        made = first.commit()
        with pytest.raises(UsageError, match="exists"):
            second.commit()
    assert made.read_bytes() == content
    assert left_in(out) == {"a.ckpt", "a.ckpt.mshub.json"}
    assert sidecar(made)["output"]["sha256"] == hashlib.sha256(content).hexdigest()


def test_the_last_of_two_takes_it_with_overwrite(staged: Callable[..., Any], out: Path) -> None:
    with staged(1, overwrite=True) as first, staged(2, overwrite=True) as second:
        content = second.file.read_bytes()
        first.commit()
        assert second.commit().read_bytes() == content
    assert left_in(out) == {"a.ckpt", "a.ckpt.mshub.json"}


def test_a_failure_is_kept_beside_an_old_file(staged: Callable[..., Any], out: Path) -> None:
    one = staged(1, overwrite=True)
    (out / "a.ckpt").write_bytes(b"old")
    with one:
        kept = one.fail({"proof": 1})
    assert kept == out / "a.ckpt.failed"
    assert (out / "a.ckpt").read_bytes() == b"old"
    assert left_in(out) == {"a.ckpt", "a.ckpt.failed", "a.ckpt.failed.mshub.json"}


def test_what_is_not_committed_is_removed(staged: Callable[..., Any], out: Path) -> None:
    with staged(1) as one:
        assert left_in(out) == {one.file.parent.name}
        assert one.file.parent.parent == out
    assert left_in(out) == set()


def test_outputs_have_the_users_permissions(convert: Convert, weights_file: Callable[..., Path], out: Path) -> None:
    old = os.umask(0o027)
    try:
        made = convert(weights_file(), "ckpt", out / "a.ckpt")
    finally:
        os.umask(old)
    assert {oct(path.stat().st_mode & 0o777) for path in (made, sidecar_path(made))} == {"0o640"}


# --- an end in the middle

PROGRAM = """
import signal, sys, time
from mshub_convert import convert
signal.signal(signal.SIGTERM, signal.default_int_handler)
source, out, stage = sys.argv[1:]
def progress(what, done, total):
    if what.startswith(stage) and done > total // 2:
        print("now", flush=True)
        time.sleep(60)
convert(source, to="ckpt", out=out, overwrite=True, progress=progress)
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["writing", "comparing"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_in_the_middle(
    weights_file: Callable[..., Path], out: Path, number: signal.Signals, stage: str
) -> None:
    old = out / "a.ckpt"
    old.write_bytes(b"old")
    command = [sys.executable, "-c", PROGRAM, str(weights_file()), str(old), stage]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(number)
        process.wait(20)
    assert old.read_bytes() == b"old"
    left = left_in(out) - {"a.ckpt"}
    if number == signal.SIGKILL:  # nobody is left to clean up; the name tells
        (temporary,) = left
        assert temporary.startswith(".mshub-convert-")
    else:
        assert left == set()


# --- NaN and Inf

FLOATS = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("to", ["ckpt", "safetensors:modelzoo"])
def test_nan_and_inf_are_found(
    prepared: Prepare, arrays: Read, weights_file: Callable[..., Path], save: Any, out: Path, dtype: str, to: str
) -> None:
    held = {
        name: array.astype(FLOATS[dtype]) if array.dtype == np.float32 else array
        for name, array in arrays(weights_file()).items()
    }
    held["layer2.0.conv2.weight"][-1, 0, 1, 1] = np.nan
    held["fc.bias"][0] = -np.inf
    held["bn1.bias"][:2] = [ml_dtypes.finfo(FLOATS[dtype]).max, ml_dtypes.finfo(FLOATS[dtype]).smallest_subnormal]
    with write(prepared(save(held), to, out)) as staged:
        found = set(staged.non_finite)
    assert found == (
        {"layer2.0.conv2.weight", "classifier.bias"}
        if to == "ckpt"
        else {"backbone.layer2.0.conv2.convs.3.weight", "head.fc.bias"}
    )


def test_what_overflows_when_rounded_is_found(
    prepared: Prepare, arrays: Read, weights_file: Callable[..., Path], save: Any, out: Path
) -> None:
    held = arrays(weights_file())
    held["fc.weight"] = held["fc.weight"].copy()
    held["fc.weight"][0, 0] = 70_000
    with write(prepared(save(held), "ckpt", out, dtype="float16")) as staged:
        assert staged.non_finite == ("classifier.weight",)
    with write(prepared(save(held, "2.safetensors"), "ckpt", out, dtype="bfloat16")) as staged:
        assert staged.non_finite == ()
