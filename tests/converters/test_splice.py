"""Writing a file from pieces: every kind of piece, the order of late ones, watchers, and everything that can fail."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshub_convert.converters import splice as module
from mshub_convert.converters.errors import EnvironmentError_
from mshub_convert.converters.splice import Computed, Deferred, Literal, Moved, Piece, splice
from mshub_convert.converters.tensors import Extent, MappedFile

SOURCE = bytes(range(256)) * 40


@pytest.fixture
def source(tmp_path: Path) -> MappedFile:
    path = tmp_path / "source"
    path.write_bytes(SOURCE)
    return MappedFile(path)


def test_pieces_of_every_kind(tmp_path: Path, source: MappedFile) -> None:
    pieces: list[Piece] = [
        Deferred(3, lambda: b"LEN"),
        Literal(b"literal"),
        Moved((Extent(source, 10, 20), Extent(source, 300, 5), Extent(source, 0, 0))),
        Computed(4, lambda: memoryview(b"calc")),
        Literal(b""),
        Moved(()),
        Computed(0, lambda: memoryview(b"")),
        Deferred(0, bytes),
        Deferred(3, lambda: b"end"),
    ]
    out = tmp_path / "out"
    assert splice(out, pieces) == out.stat().st_size
    assert out.read_bytes() == b"LEN" + b"literal" + SOURCE[10:30] + SOURCE[300:305] + b"calc" + b"end"


def test_no_pieces(tmp_path: Path) -> None:
    assert splice(tmp_path / "out", []) == 0
    assert (tmp_path / "out").read_bytes() == b""


@given(
    st.lists(
        st.tuples(st.sampled_from("lmc"), st.integers(0, 500), st.integers(0, 300)), max_size=12
    )
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_any_pieces(tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, int, int]]) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "source").write_bytes(SOURCE)
    seen: list[bytes] = []

    def see(view: memoryview) -> None:
        seen.append(bytes(view))

    with MappedFile(folder / "source") as file:
        pieces: list[Piece] = []
        for kind, start, length in drawn:
            data = SOURCE[start : start + length]
            match kind:
                case "l":
                    pieces.append(Literal(data))
                case "m":
                    pieces.append(Moved((Extent(file, start, length),), (see,)))
                case "c":
                    pieces.append(
                        Computed(length, lambda data=data: memoryview(data), (lambda view: seen.append(bytes(view)),))
                    )
        moved: list[int] = []
        splice(folder / "out", pieces, sync=False, progress=moved.append)
    assert (folder / "out").read_bytes() == b"".join(SOURCE[start : start + length] for _, start, length in drawn)
    watched = [SOURCE[start : start + length] for kind, start, length in drawn if kind != "l" and length]
    assert seen == watched
    assert sum(moved) == sum(map(len, watched))


def test_late_pieces_are_made_when_all_before_them_was_watched(tmp_path: Path, source: MappedFile) -> None:
    events: list[Any] = []
    main = threading.get_ident()

    def watch(view: memoryview) -> None:
        assert threading.get_ident() != main
        events.append(bytes(view))

    def late(data: bytes) -> Any:
        return lambda: events.append(data) or data

    pieces = [
        Deferred(1, late(b"A")),
        Moved((Extent(source, 0, 3), Extent(source, 7, 2)), (watch, watch)),
        Computed(2, lambda: memoryview(b"xy"), (watch,)),
        Deferred(1, late(b"B")),
    ]
    final: list[bytes] = []
    splice(tmp_path / "out", pieces, in_order=lambda view: final.append(bytes(view)))
    assert events == [b"A"] + [SOURCE[0:3]] * 2 + [SOURCE[7:9]] * 2 + [b"xy", b"B"]
    assert b"".join(final) == (tmp_path / "out").read_bytes()


def test_a_failing_watcher_fails_the_splice(tmp_path: Path, source: MappedFile) -> None:
    def watch(_: memoryview) -> None:
        raise ZeroDivisionError("watcher")

    late: list[str] = []
    pieces = [Moved((Extent(source, 0, 9),), (watch,)), Deferred(1, lambda: late.append("made") or b"x")]  # type: ignore[func-returns-value]
    with pytest.raises(ZeroDivisionError, match="watcher"):
        splice(tmp_path / "out", pieces)
    assert late == []


def test_a_failure_does_not_wait_for_watchers(tmp_path: Path, source: MappedFile) -> None:
    waiting = threading.Event()

    def produce() -> memoryview:
        raise ZeroDivisionError("first")

    pieces = [Moved((Extent(source, 0, 9),), (lambda _: waiting.wait() and None,)), Computed(1, produce)]
    with pytest.raises(ZeroDivisionError, match="first"):
        splice(tmp_path / "out", pieces)
    waiting.set()


@pytest.mark.parametrize("piece", [Computed(3, lambda: memoryview(b"ab")), Deferred(3, lambda: b"abcd")])
def test_bytes_of_another_length_are_a_bug(tmp_path: Path, piece: Piece) -> None:
    with pytest.raises(AssertionError, match="bytes made where 3 were planned"):
        splice(tmp_path / "out", [piece])


def test_an_existing_file_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(EnvironmentError_, match="cannot write in"):
        splice(tmp_path / "out", [Literal(b"new")])
    assert (tmp_path / "out").read_bytes() == b"old"


@pytest.mark.parametrize("code", ["EXDEV", "EINVAL", "ENOSYS", "EOPNOTSUPP", "EPERM", "EIO", ""])
def test_where_the_kernel_cannot_copy(
    tmp_path: Path, source: MappedFile, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def cannot(*_: int) -> int:
        if code:
            raise OSError(getattr(errno, code), code)
        return 0  # as some kernels say between file systems

    monkeypatch.setattr(os, "copy_file_range", cannot)
    monkeypatch.setattr(module, "_STEP", 1000)
    seen: list[bytes] = []
    moved = Moved((Extent(source, 5, 4000), Extent(source, 1, 1)), (lambda view: seen.append(bytes(view)),))
    splice(tmp_path / "out", [Literal(b"ab"), moved])
    assert (tmp_path / "out").read_bytes() == b"ab" + SOURCE[5:4005] + SOURCE[1:2]
    assert seen == [SOURCE[5:4005], SOURCE[1:2]]


def test_between_file_systems(tmp_path: Path, source: MappedFile) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    out = memory / f"mshub-convert-test-{os.getpid()}"
    try:
        splice(out, [Moved((Extent(source, 3, 5000),))])
        assert out.read_bytes() == SOURCE[3:5003]
    finally:
        out.unlink(missing_ok=True)


@pytest.mark.parametrize("in_kernel", [True, False])
def test_a_source_that_became_shorter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_kernel: bool) -> None:
    path = tmp_path / "source"
    path.write_bytes(bytes(20_000))
    with MappedFile(path) as file:
        os.truncate(path, 9_000)
        if not in_kernel:
            monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
        with pytest.raises(EnvironmentError_, match="source became shorter while it was read") as caught:
            splice(tmp_path / "out", [Moved((Extent(file, 0, 20_000),))])
    assert caught.value.exit_code == 5


def test_pages_that_cannot_be_read(tmp_path: Path, source: MappedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> int:
        raise OSError(errno.EFAULT, "Bad address")

    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    monkeypatch.setattr(os, "pwrite", broken)
    with pytest.raises(EnvironmentError_, match=r"cannot read .*source at byte 7"):
        splice(tmp_path / "out", [Moved((Extent(source, 7, 10),))])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ENOSPC", "no room to write in"),
        ("EDQUOT", "no room to write in"),
        ("EFBIG", "takes no file of this size"),
        ("EROFS", "cannot write in"),
    ],
)
@pytest.mark.parametrize("call", ["posix_fallocate", "copy_file_range", "pwrite", "fsync"])
def test_what_the_system_refuses(
    tmp_path: Path, source: MappedFile, monkeypatch: pytest.MonkeyPatch, call: str, code: str, message: str
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(EnvironmentError_, match=message) as caught:
        splice(tmp_path / "out", [Literal(b"a"), Moved((Extent(source, 7, 10),))])
    assert caught.value.exit_code == 5
    assert str(tmp_path) in caught.value.message
    assert caught.value.remedy


def test_where_space_cannot_be_taken_ahead(tmp_path: Path, source: MappedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    splice(tmp_path / "out", [Moved((Extent(source, 7, 10),))])
    assert (tmp_path / "out").read_bytes() == SOURCE[7:17]


def test_a_limit_on_file_sizes(tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from mshub_convert.converters.errors import EnvironmentError_
from mshub_convert.converters.splice import Literal, splice
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    splice(Path(sys.argv[1]), [Literal(bytes(10_000))])
except EnvironmentError_ as error:
    print(error.message, error.remedy)
"""
    out = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "out")], capture_output=True, text=True, check=True
    )
    assert "takes no file of this size" in out.stdout
    assert "ulimit -f" in out.stdout
