"""MindSpore checkpoints: laws of our writer and reader, files made by hand, hostile files, and MindSpore itself."""

import json
import random
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshub_convert.converters.codecs import EmbeddedRecord, mindspore_ckpt, open_checkpoint
from mshub_convert.converters.codecs.mindspore_ckpt import CODEC
from mshub_convert.converters.errors import MalformedFileError
from mshub_convert.converters.splice import splice
from mshub_convert.converters.tensors import DTYPES, Checkpoint, Extent, MappedFile, TensorRef, TensorSpec

RECORD = b'{"schema":1}'
Arrays = Mapping[str, np.ndarray]


def reference(name: str, array: np.ndarray) -> TensorRef:
    return TensorRef(TensorSpec(name, array.shape, str(array.dtype)), compute=lambda: array)


def write(path: Path, arrays: Arrays, record: bytes = RECORD) -> Path:
    path.unlink(missing_ok=True)
    tensors = [reference(name, array) for name, array in arrays.items()]
    splice(path, CODEC.layout(tensors, EmbeddedRecord(record, lambda: record), framework="mindspore"), sync=False)
    return path


def read(path: Path) -> dict[str, np.ndarray]:
    with open_checkpoint(path) as checkpoint:
        return {name: ref.read().copy() for name, ref in checkpoint.tensors.items()}


def same(left: Arrays, right: Arrays) -> bool:
    return list(left) == list(right) and all(
        (a.shape, a.dtype, a.tobytes()) == (b.shape, b.dtype, b.tobytes())
        for a, b in zip(left.values(), right.values(), strict=True)
    )


# A second, independent writer of the wire format.
def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + varint(number // 128)


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number * 8) + varint(value)
    return varint(number * 8 + 2) + varint(len(value)) + value


def entry(tag: str, dims: list[int], kind: str, content: bytes, extra: bytes = b"") -> bytes:
    tensor = b"".join(field(1, size) for size in dims) + field(2, kind.encode()) + field(3, content) + extra
    return field(1, field(1, tag.encode()) + field(2, tensor))


@pytest.fixture
def ckpt(tmp_path: Path) -> Callable[[bytes], Path]:
    def make(data: bytes) -> Path:
        path = tmp_path / "made.ckpt"
        path.write_bytes(data)
        return path

    return make


def opened(path: Path) -> Checkpoint:
    with open_checkpoint(path) as checkpoint:
        return checkpoint


# --- our writer, our reader

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
arrays = st.tuples(st.sampled_from(sorted(CODEC.dtypes)), shapes, st.randoms(use_true_random=False)).map(
    lambda drawn: np.frombuffer(
        drawn[2].randbytes(int(np.prod(drawn[1])) * DTYPES[drawn[0]].itemsize), DTYPES[drawn[0]]
    ).reshape(drawn[1])
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.dictionaries(names, arrays, max_size=5))
@settings(deadline=None, max_examples=60)
def test_what_is_written_is_read(held: dict[str, np.ndarray]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.ckpt", held)
        assert same(read(path), held)
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.record == {"schema": 1}
            assert checkpoint.notes == ()
            assert checkpoint.check is None


def test_every_dtype_and_shape(tmp_path: Path) -> None:
    held = {
        f"{dtype}{shape}": np.zeros(shape, DTYPES[dtype])
        for dtype in CODEC.dtypes
        for shape in ((), (0,), (3, 0), (1,), (2, 3), (1, 1, 1, 1, 1))
    }
    assert same(read(write(tmp_path / "a.ckpt", held)), held)


def test_bytes_are_deterministic(tmp_path: Path) -> None:
    held = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(3, np.int64)}
    first, second = (write(tmp_path / name, held).read_bytes() for name in ("1.ckpt", "2.ckpt"))
    assert first == second
    assert first == (
        entry("b", [2, 3], "Float32", held["b"].tobytes())
        + entry("a", [], "Int64", (3).to_bytes(8, "little"))
        + field(1000, RECORD)
    )


def test_large_tensors_are_written_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"small": np.arange(4, dtype=np.uint8), "large": np.arange(50, dtype=np.int16).reshape(5, 10)}
    source = write(tmp_path / "whole.ckpt", held)
    monkeypatch.setattr(mindspore_ckpt, "SLICE", 16)
    sliced = tmp_path / "sliced.ckpt"
    with open_checkpoint(source) as checkpoint:
        splice(
            sliced, CODEC.layout([*checkpoint.tensors.values()], EmbeddedRecord(RECORD, lambda: RECORD), framework="")
        )
    content = held["large"].tobytes()
    assert sliced.read_bytes() == (
        entry("small", [4], "UInt8", held["small"].tobytes())
        + b"".join(entry("large", [5, 10], "Int16", content[at : at + 16]) for at in range(0, 100, 16))
        + field(1000, RECORD)
    )
    assert same(read(sliced), held)
    with open_checkpoint(sliced) as checkpoint:
        assert len(checkpoint.tensors["large"].extents or ()) == 7


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 50))
def test_slices_are_a_partition(lengths: list[int], limit: int) -> None:
    file: Any = None
    extents = tuple(Extent(file, sum(lengths[:n]), length) for n, length in enumerate(lengths))
    runs = list(mindspore_ckpt._sliced(extents, limit))
    assert [sum(part.length for part in run) for run in runs[:-1]] == [limit] * (len(runs) - 1)
    covered = [place for run in runs for part in run for place in range(part.offset, part.offset + part.length)]
    assert covered == list(range(sum(lengths)))


# --- files of other writers


def test_old_zero_dimensional_tensors_have_dims_0(ckpt: Callable[[bytes], Path]) -> None:
    path = ckpt(entry("step", [0], "Int32", b"\7\0\0\0") + entry("none", [0], "Int32", b""))
    held = read(path)
    assert (held["step"].shape, int(held["step"])) == ((), 7)
    assert held["none"].shape == (0,)


def test_packed_dims(ckpt: Callable[[bytes], Path]) -> None:
    tensor = field(1, varint(2) + varint(300)) + field(2, b"Int8") + field(3, bytes(600))
    assert read(ckpt(field(1, field(1, b"a") + field(2, tensor))))["a"].shape == (2, 300)


def test_unknown_fields_are_skipped(ckpt: Callable[[bytes], Path]) -> None:
    unknown = field(77, 5) + field(78, b"text") + varint(79 * 8 + 1) + bytes(8) + varint(80 * 8 + 5) + bytes(4)
    inner = field(1, b"a") + unknown + field(2, field(2, b"Int8") + unknown + field(3, b"\1") + unknown) + unknown
    assert int(read(ckpt(field(1, inner) + unknown))["a"]) == 1


@pytest.mark.parametrize("leading", [True, False])
def test_the_record_leads_or_trails(ckpt: Callable[[bytes], Path], leading: bool) -> None:
    record, tensor = field(1000, b'{"schema":1,"tool":"h\xc3\xb6he"}'), entry("a", [1], "Int8", b"\1")
    checkpoint = opened(ckpt(record + tensor if leading else tensor + record))
    assert checkpoint.record == {"schema": 1, "tool": "höhe"}
    assert list(checkpoint.tensors) == ["a"]


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b"7", b"\xff", b'{"a":NaN}', b'{"a":1e999}', b"[" * 10000])
def test_a_record_that_cannot_be_read_is_empty(ckpt: Callable[[bytes], Path], record: bytes) -> None:
    assert opened(ckpt(entry("a", [1], "Int8", b"\1") + field(1000, record))).record == {}


def test_no_record(ckpt: Callable[[bytes], Path]) -> None:
    assert opened(ckpt(entry("a", [1], "Int8", b"\1"))).record is None


def test_what_is_no_tensor_is_left_out_and_noted(ckpt: Callable[[bytes], Path]) -> None:
    checkpoint = opened(ckpt(
        entry("a", [1], "Int8", b"\1") + entry("name", [0], "str", "höhe".encode("utf-32-le"))
        + entry("q", [2], "Int4", b"\1") + entry("c", [], "Complex64", bytes(8))
    ))  # fmt: skip
    assert list(checkpoint.tensors) == ["a"]
    assert [note.partition(",")[0] for note in checkpoint.notes] == [
        "left out name: of type str", "left out q: of type Int4", "left out c: of type Complex64",
    ]  # fmt: skip


# --- what is wrong with a file is said


def crc_footer(data: bytes) -> bytes:
    return data + b"crc_num" + zlib.crc32(data).to_bytes(10, "big")


def test_the_crc_footer_is_checked_when_asked(ckpt: Callable[[bytes], Path]) -> None:
    data = crc_footer(entry("a", [2], "Int8", b"\1\2"))
    with open_checkpoint(ckpt(data)) as checkpoint:
        assert checkpoint.check is not None
        checkpoint.check()
        assert checkpoint.tensors["a"].read().tolist() == [1, 2]
    broken = data.replace(b"\1\2", b"\1\3")
    with open_checkpoint(ckpt(broken)) as checkpoint:
        assert checkpoint.check is not None
        with pytest.raises(MalformedFileError, match=r"its crc32 is [0-9a-f]{8}, its footer says [0-9a-f]{8}: corrupt"):
            checkpoint.check()


MALFORMED = {
    "hash table": (field(1, field(1, b"m") + field(3, b"")), "m is a MapParameter"),
    "no tensor": (field(1, field(1, b"m")), "has no tensor"),
    "no name": (entry("a", [], "Int8", b"\1") + field(1, field(2, b"")), "has no name"),
    "a name twice": (b"".join(entry(name, [], "Int8", b"\1") for name in "aba"), "a comes twice"),
    "short content": (entry("a", [2], "Int16", b"\1\2\3"), r"a has 3 bytes where \[2\] int16 needs 4"),
    "no dims": (entry("a", [], "Float32", bytes(8)), r"a has 8 bytes where \[\] float32 needs 4"),
    "slices that differ": (entry("a", [4], "Int8", b"\1\2") + entry("a", [4], "UInt8", b"\1\2"), "slices of a differ"),
    "negative dims": (entry("a", [(1 << 64) - 1, 0], "Int8", b""), "a has the dims"),
    "too many dims": (entry("a", [1] * 33, "Int8", b"\1"), "a has the dims"),
    "far too many dims": (entry("a", [1] * 1000, "Int8", b"\1"), "more than 64 dimensions"),
    "dims that overflow": (entry("a", [1 << 40] * 3, "Int8", b"\1"), "a has the dims"),
    "a name that is not UTF-8": (field(1, field(1, b"\xff") + field(2, b"")), "is not UTF-8"),
    "field 0": (entry("a", [], "Int8", b"\1") + bytes(1), "no field starts at byte 16 .after a."),
    "a group": (entry("a", [], "Int8", b"\1") + varint(9 * 8 + 3), "unknown wire type 3"),
    "a long number": (entry("a", [], "Int8", b"\1") + varint(9 * 8) + b"\xff" * 11, "more than 64 bits"),
    "an inner end beyond the outer": (field(1, field(1, b"a") + b"\x12\x7f") + bytes(200), "beyond the end at 7"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed(ckpt: Callable[[bytes], Path], kind: str) -> None:
    data, message = MALFORMED[kind]
    path = ckpt(data)
    with pytest.raises(MalformedFileError, match=message) as caught:
        open_checkpoint(path)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 3


def test_names_cannot_control_a_terminal_or_flood_it(ckpt: Callable[[bytes], Path]) -> None:
    name = "\x1b[31m\n" + "x" * 9000
    with pytest.raises(MalformedFileError) as caught:
        open_checkpoint(ckpt(entry(name, [2], "Int8", b"")))
    assert r"\x1b[31m\nxxx" in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 600
    (note,) = opened(ckpt(entry(name, [0], "str", b"abcd"))).notes
    assert note.isprintable()
    assert len(note) < 400


def small() -> bytes:
    return crc_footer(
        field(1000, b'{"schema":1}')
        + entry("conv.weight", [2, 3], "Float32", bytes(range(24)))
        + entry("bn.gamma", [130], "BFloat16", bytes(260))
        + entry("bn.gamma.half", [3], "Float16", bytes(2))
        + entry("bn.gamma.half", [3], "Float16", bytes(4))
        + entry("epoch", [], "Int64", bytes(8))
        + entry("name", [0], "str", b"h\0\0\0")
    )


def parses_or_is_malformed(file: Path, data: bytes) -> str:
    file.write_bytes(data)
    try:
        with MappedFile(file) as mapped:
            checkpoint = CODEC.open(mapped)
            for ref in checkpoint.tensors.values():
                assert ref.read().shape == ref.spec.shape
            if checkpoint.check is not None:
                checkpoint.check()
    except MalformedFileError as error:
        return error.message
    return ""


def test_truncated_anywhere(tmp_path: Path) -> None:
    whole = small()
    unnoticed = [end for end in range(1, len(whole)) if not parses_or_is_malformed(tmp_path / "t.ckpt", whole[:end])]
    # Only where one message ends and the next begins; what is missing then shows as missing tensors.
    assert len(unnoticed) == 6


@pytest.mark.slow
def test_flipped_bits(tmp_path: Path) -> None:
    whole, draw = small(), random.Random(0)
    found = set()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << draw.randrange(8)
        found.add(bool(parses_or_is_malformed(tmp_path / "t.ckpt", bytes(changed))))
    for _ in range(500):
        changed = bytearray(whole[:-17])
        for _ in range(draw.randrange(1, 6)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        found.add(bool(parses_or_is_malformed(tmp_path / "t.ckpt", bytes(changed))))
    assert found == {True, False}


@given(st.binary(max_size=80))
@settings(deadline=None, max_examples=200)
def test_any_bytes(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        parses_or_is_malformed(Path(folder) / "t.ckpt", b"\n" + data)


# --- MindSpore itself


@pytest.fixture(scope="module")
def ms() -> Any:
    import mindspore

    return mindspore


@pytest.mark.slow
def test_files_of_mindspore(ms: Any, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    held = {
        dtype: draw.integers(0, 2, (2, 3)).astype(DTYPES[dtype])
        if dtype == "bool"
        else (draw.standard_normal((2, 3)) * 50).astype(DTYPES[dtype])
        for dtype in sorted(CODEC.dtypes)
    }
    held["nan"] = np.array([0x7FC00001, 0xFF800000, 1, 0x80000000], np.uint32).view(np.float32)
    held["zero dimensions"] = np.array(2.5, np.float32)
    # MindSpore takes no bfloat16 of ml_dtypes; every bfloat16 is a float32.
    tensors = [
        {"name": name, "data": ms.Tensor(array.astype(np.float32)).astype(ms.bfloat16)}
        if array.dtype == ml_dtypes.bfloat16
        else {"name": name, "data": ms.Tensor(array)}
        for name, array in held.items()
    ]
    for crc in (False, True):
        path = tmp_path / f"{crc}.ckpt"
        ms.save_checkpoint(tensors, str(path), crc_check=crc)
        assert same(read(path), held)
        with open_checkpoint(path) as checkpoint:
            assert (checkpoint.check is not None) == crc
            if checkpoint.check is not None:
                checkpoint.check()


@pytest.mark.slow
def test_training_state_of_mindspore(ms: Any, tmp_path: Path) -> None:
    network = ms.nn.Dense(3, 2)
    optimizer = ms.nn.Momentum(network.trainable_params(), learning_rate=0.1, momentum=0.9)
    path = tmp_path / "a.ckpt"
    state = {"epoch_num": 3, "lr": 0.25, "run": "höhe", "ok": True}
    ms.save_checkpoint(ms.nn.TrainOneStepCell(network, optimizer), str(path), append_dict=state)
    held = read(path)
    assert np.array_equal(held["weight"], network.weight.asnumpy())
    assert (int(held["epoch_num"]), held["lr"].tolist(), bool(held["ok"])) == (3, 0.25, True)
    assert "moments.weight" in held
    assert [note for note in opened(path).notes if "run" in note] == [
        "left out run: of type str, which is no tensor that can be converted"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["AES-GCM", "AES-CBC", "SM4-CBC"])
def test_encrypted_files_are_called_encrypted(ms: Any, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.ckpt"
    ms.save_checkpoint(
        [{"name": "a", "data": ms.Tensor(np.ones(4, np.float32))}], str(path), enc_key=b"0" * 16, enc_mode=mode
    )
    with pytest.raises(MalformedFileError, match=rf"an encrypted MindSpore checkpoint \({mode}\)") as caught:
        open_checkpoint(path)
    assert caught.value.exit_code == 3
    assert "dec_key" in caught.value.remedy


class TestLoadedByMindSpore:
    """Ours, read by its loader and put into a network with nothing left over on either side."""

    pytestmark = pytest.mark.slow

    def network(self, ms: Any) -> Any:
        return ms.nn.SequentialCell(ms.nn.Conv2d(3, 4, 3, has_bias=True), ms.nn.BatchNorm2d(4), ms.nn.Dense(4, 2))

    def held(self, ms: Any) -> dict[str, np.ndarray]:
        draw = np.random.default_rng(1)
        shapes = {parameter.name: parameter.shape for parameter in self.network(ms).get_parameters()}
        return {name: draw.standard_normal(shape, np.float32) for name, shape in shapes.items()}

    def check(self, ms: Any, path: Path, held: Arrays, **options: Any) -> None:
        network = self.network(ms)
        loaded = ms.load_checkpoint(str(path), **options)
        assert ms.load_param_into_net(network, loaded, strict_load=True) == ([], [])
        assert same({p.name: p.asnumpy() for p in network.get_parameters()}, held)

    @pytest.mark.parametrize("options", [{}, {"crc_check": True}])
    def test_strictly(self, ms: Any, tmp_path: Path, options: dict[str, bool]) -> None:
        held = self.held(ms)
        record = json.dumps({"schema": 1, "facts": {"name": "höhe", "text": "x" * 300}}).encode()
        self.check(ms, write(tmp_path / "a.ckpt", held, record), held, **options)

    def test_a_leading_record(self, ms: Any, tmp_path: Path) -> None:
        held = self.held(ms)
        path = tmp_path / "a.ckpt"
        entries = [entry(name, list(array.shape), "Float32", array.tobytes()) for name, array in held.items()]
        path.write_bytes(crc_footer(field(1000, RECORD) + b"".join(entries)))
        self.check(ms, path, held, crc_check=True)
        assert same(read(path), held)

    def test_slices(self, ms: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        held = self.held(ms)
        source, sliced = write(tmp_path / "a.ckpt", held), tmp_path / "b.ckpt"
        monkeypatch.setattr(mindspore_ckpt, "SLICE", 50)  # not a whole number of elements
        with open_checkpoint(source) as checkpoint:
            splice(sliced, CODEC.layout([*checkpoint.tensors.values()], EmbeddedRecord(b"", bytes), framework=""))
        assert sliced.stat().st_size > source.stat().st_size
        self.check(ms, sliced, held)

    def test_every_dtype(self, ms: Any, tmp_path: Path) -> None:
        held = {dtype: np.arange(6).reshape(2, 3).astype(DTYPES[dtype]) for dtype in CODEC.dtypes}
        held["zero dimensions"] = np.array(5, np.int32)
        loaded = ms.load_checkpoint(str(write(tmp_path / "a.ckpt", held)))
        assert list(loaded) == list(held)
        for name, array in held.items():
            theirs = loaded[name].float().asnumpy() if name == "bfloat16" else loaded[name].asnumpy()
            assert theirs.shape == array.shape
            assert np.array_equal(theirs, array.astype(theirs.dtype))
