"""Safetensors: laws of our writer and reader, the reference implementation both ways, hostile headers, MindSpore."""

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
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from mshub_convert.converters.codecs import EmbeddedRecord, open_checkpoint
from mshub_convert.converters.codecs.safetensors import CODEC
from mshub_convert.converters.errors import MalformedFileError
from mshub_convert.converters.splice import splice
from mshub_convert.converters.tensors import DTYPES, MappedFile, TensorRef, TensorSpec

RECORD = b'{"schema":1}'
Arrays = Mapping[str, np.ndarray]
ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def reference(name: str, array: np.ndarray) -> TensorRef:
    return TensorRef(TensorSpec(name, array.shape, str(array.dtype)), compute=lambda: array)


def write(path: Path, arrays: Arrays, record: bytes = RECORD, framework: str = "torch") -> Path:
    tensors = [reference(name, array) for name, array in arrays.items()]
    splice(path, CODEC.layout(tensors, EmbeddedRecord(record, lambda: record), framework=framework), sync=False)
    return path


def read(path: Path) -> dict[str, np.ndarray]:
    with open_checkpoint(path) as checkpoint:
        return {name: ref.read().copy() for name, ref in checkpoint.tensors.items()}


def same(left: Arrays, right: Arrays) -> bool:
    """Equal bit for bit; the order is the container's own."""
    return left.keys() == right.keys() and all(
        (left[name].shape, left[name].dtype, left[name].tobytes())
        == (right[name].shape, right[name].dtype, right[name].tobytes())
        for name in left
    )


def made(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def make(header: Any, body: bytes = b"") -> Path:
        path = tmp_path / "made.safetensors"
        path.write_bytes(made(header, body))
        return path

    return make


# --- our writer, our reader, the reference implementation

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
arrays = st.tuples(st.sampled_from(sorted(CODEC.dtypes)), shapes, st.randoms(use_true_random=False)).map(
    lambda drawn: np.frombuffer(
        drawn[2].randbytes(int(np.prod(drawn[1])) * DTYPES[drawn[0]].itemsize), DTYPES[drawn[0]]
    ).reshape(drawn[1])
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda name: name != "__metadata__")


@given(st.dictionaries(names, arrays, max_size=5))
@settings(deadline=None, max_examples=60)
def test_what_is_written_is_read(held: dict[str, np.ndarray]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.safetensors", held)
        assert same(read(path), held)
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.record == {"schema": 1}
            assert checkpoint.metadata == {"format": "pt"}


@given(st.dictionaries(names, arrays, max_size=5))
@settings(deadline=None, max_examples=60)
def test_the_reference_implementation_reads_ours_and_we_its(held: dict[str, np.ndarray]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ours = write(Path(folder) / "ours.safetensors", held)
        # Its NumPy flavour has no bfloat16; its bytes can be had all the same.
        theirs = {name: bytes(entry["data"]) for name, entry in safetensors.deserialize(ours.read_bytes())}
        assert theirs == {name: array.tobytes() for name, array in held.items()}
        plain = {name: array for name, array in held.items() if array.dtype != ml_dtypes.bfloat16}
        path = Path(folder) / "theirs.safetensors"
        safetensors.numpy.save_file(plain, path, metadata={"format": "np", "höhe": "ß"})
        assert same(read(path), plain)
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.metadata == {"format": "np", "höhe": "ß"}
            assert checkpoint.record is None


def test_lazily_by_the_reference_implementation(tmp_path: Path) -> None:
    held = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(3, np.int64)}
    with safetensors.safe_open(write(tmp_path / "a.safetensors", held), "numpy") as theirs:
        assert same({name: theirs.get_tensor(name) for name in theirs.keys()}, held)  # noqa: SIM118
        assert theirs.metadata() == {"format": "pt", "mshub_convert": '{"schema":1}'}


def test_tensors_are_aligned_and_bytes_deterministic(tmp_path: Path) -> None:
    held = {dtype: np.ones(3, DTYPES[dtype]) for dtype in sorted(CODEC.dtypes)}
    first, second = (write(tmp_path / name, held) for name in ("1.safetensors", "2.safetensors"))
    assert first.read_bytes() == second.read_bytes()
    with open_checkpoint(first) as checkpoint:
        for ref in checkpoint.tensors.values():
            assert ref.extents is not None
            assert ref.extents[0].offset % DTYPES[ref.spec.dtype].itemsize == 0


@pytest.mark.parametrize(("framework", "flavour"), [("torch", "pt"), ("mindspore", "ms")])
def test_the_flavour_is_the_framework_of_the_names(tmp_path: Path, framework: str, flavour: str) -> None:
    path = write(tmp_path / "a.safetensors", {"a": np.ones(1, np.int8)}, framework=framework)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.metadata == {"format": flavour}


def test_a_record_that_comes_late_and_is_not_ascii(tmp_path: Path) -> None:
    draft, final = (json.dumps({"schema": 1, "höhe": mark * 9}, ensure_ascii=False).encode() for mark in ("0", "7"))
    path = tmp_path / "a.safetensors"
    splice(
        path, CODEC.layout([reference("a", np.ones(2, np.float32))], EmbeddedRecord(draft, lambda: final), framework="")
    )
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.record == {"schema": 1, "höhe": "7" * 9}


def test_order_is_that_of_the_file(file: Callable[..., Path]) -> None:
    places = {"z": [2, 3], "a": [0, 2], "none": [2, 2]}
    entries = {name: {"dtype": "U8", "shape": [b - a], "data_offsets": [a, b]} for name, (a, b) in places.items()}
    path = file(entries, b"abc")
    assert list(read(path)) == ["a", "none", "z"]


# --- headers: those the reference implementation takes, and those nobody should

FINE = {
    "no tensors": made({}),
    "metadata null": made({"__metadata__": None, "a": ONE}, bytes(4)),
    "more keys": made({"a": {**ONE, "more": 1}}, bytes(4)),
    "spaces": made(b'  {"a":' + json.dumps(ONE).encode() + b"}   ", bytes(4)),
    "nothing at the end": made({"a": ONE, "z": {"dtype": "F32", "shape": [0, 3], "data_offsets": [4, 4]}}, bytes(4)),
}
HOSTILE = {
    "truncated": (made({"a": ONE}, bytes(3)), "a should end at byte .* it is truncated"),
    "trailing bytes": (made({"a": ONE}, bytes(5)), "the last tensor ends at byte"),
    "header beyond the end": ((1000).to_bytes(8, "little") + b"{}", "the header should end at byte 1008"),
    "not JSON": (made(b'{"a":}'), "not JSON"),
    "trailing zeros": (made(b"{}\0\0"), "not JSON"),
    "deeply nested": (made(b'{"a":' + b"[" * 100_000), "not JSON"),
    "long numbers": (made(b'{"a":' + b"9" * 5000 + b"}"), "not JSON"),
    "not UTF-8": (made(b'{"\xff":1}'), "not JSON in UTF-8"),
    "UTF-16": (made('{"a":1}'.encode("utf-16-le")), "not JSON in UTF-8"),
    "half a character": (made(b'{"\\ud800":' + json.dumps(ONE).encode() + b"}", bytes(4)), "a name is not UTF-8"),
    "a name twice": (made(b'{"a":%b,"a":%b}' % ((json.dumps(ONE).encode(),) * 2), bytes(4)), "a name comes twice"),
    "a key twice": (made(b'{"a":{"dtype":"F32","dtype":"F32"}}'), "a name comes twice"),
    "metadata a list": (made({"__metadata__": []}), "__metadata__ is no object of texts"),
    "metadata of numbers": (made({"__metadata__": {"a": 1}}), "__metadata__ is no object of texts"),
    "metadata NaN": (made(b'{"__metadata__":{"a":NaN}}'), "__metadata__ is no object of texts"),
    "metadata half a character": (made(b'{"__metadata__":{"a":"\\udfff"}}'), "__metadata__ is no object of texts"),
    "an entry that is text": (made({"a": "b"}), "the entry of a is not dtype, shape and data_offsets"),
    "an entry that is empty": (made({"a": {}}), "the entry of a is not"),
    "one offset": (made({"a": {**ONE, "data_offsets": [4]}}, bytes(4)), "the entry of a is not"),
    "offsets of booleans": (made({"a": {**ONE, "data_offsets": [False, 4]}}, bytes(4)), "the entry of a is not"),
    "offsets of floats": (made({"a": {**ONE, "data_offsets": [0.0, 4]}}, bytes(4)), "the entry of a is not"),
    "offsets of NaN": (made({"a": {**ONE, "data_offsets": [float("nan"), 4]}}, bytes(4)), "the entry of a is not"),
    "huge offsets": (made({"a": {**ONE, "data_offsets": [0, 10**4299]}}, bytes(4)), "the entry of a is not"),
    "a shape of booleans": (made({"a": {**ONE, "shape": [True]}}, bytes(4)), "the entry of a is not"),
    "a shape that is text": (made({"a": {**ONE, "shape": "1"}}, bytes(4)), "the entry of a is not"),
    "a nested shape": (made({"a": {**ONE, "shape": [[1]]}}, bytes(4)), "the entry of a is not"),
    "a negative shape": (made({"a": {**ONE, "shape": [-1, -1]}}, bytes(4)), "a has an impossible shape"),
    "a shape that overflows": (made({"a": {**ONE, "shape": [1 << 40] * 2}}, bytes(4)), "a has an impossible shape"),
    "a shape that overflows but for 0": (
        made({"a": {"dtype": "F32", "shape": [0, 1 << 62], "data_offsets": [0, 0]}}), "a has an impossible shape",
    ),
    "too many dimensions": (made({"a": {**ONE, "shape": [1] * 33}}, bytes(4)), "a has an impossible shape"),
    "another size": (made({"a": {**ONE, "shape": [2]}}, bytes(4)), r"a has 4 bytes where \[2\] float32 needs 8"),
    "negative offsets": (made({"a": {**ONE, "data_offsets": [-4, 0]}}, bytes(4)), "impossible data_offsets -4, 0"),
    "backward offsets": (made({"a": {**ONE, "data_offsets": [4, 0]}}, bytes(4)), "impossible data_offsets 4, 0"),
    "a hole": (made({"a": ONE, "b": {**ONE, "data_offsets": [8, 12]}}, bytes(12)), "b starts at byte"),
    "an overlap": (made({"a": ONE, "b": {**ONE, "data_offsets": [2, 6]}}, bytes(6)), "b starts at byte"),
    "the same bytes": (made({"a": ONE, "b": ONE}, bytes(4)), "b starts at byte .*, the tensor before ends"),
    "nothing within another": (
        made({"a": ONE, "b": {"dtype": "F32", "shape": [0], "data_offsets": [2, 2]}}, bytes(4)), "b starts at byte",
    ),
    "unknown dtype": (made({"a": {**ONE, "dtype": "F8_E4M3"}}, bytes(4)), "a is of dtype F8_E4M3, which no target"),
}  # fmt: skip
# What the reference implementation reads: its specification forbids it, or no NumPy array can be it.
STRICTER = {"a name twice", "unknown dtype", "too many dimensions", "a shape that overflows but for 0"}


@pytest.mark.parametrize("kind", FINE)
def test_odd_but_fine(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(FINE[kind])
    assert {name for name, _ in safetensors.deserialize(FINE[kind])} == set(read(path))


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile(tmp_path: Path, kind: str) -> None:
    data, message = HOSTILE[kind]
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(MalformedFileError, match=message) as caught:
        open_checkpoint(path)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 3
    if kind not in STRICTER:
        with pytest.raises(safetensors.SafetensorError):
            safetensors.deserialize(data)


@pytest.mark.parametrize("header", [b"[]", b"[1]", b"7", b'"a"'])
def test_a_header_that_is_no_object(file: Callable[..., Path], header: bytes) -> None:
    path = file(header)
    with pytest.raises(MalformedFileError, match="of no container we know"):
        open_checkpoint(path)
    with MappedFile(path) as mapped, pytest.raises(MalformedFileError, match="no JSON object"):
        CODEC.open(mapped)


def test_a_huge_header_length_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(((1 << 64) - 1).to_bytes(8, "little") + b'{"a":1}')
    with pytest.raises(MalformedFileError, match="of no container we know"):
        open_checkpoint(path)
    with MappedFile(path) as mapped, pytest.raises(MalformedFileError, match="the header should end at byte"):
        CODEC.open(mapped)


@pytest.mark.parametrize("record", ["", "{", "[]", "NaN", '{"schema":1e999}', '{"a":"\\ud800"}'])
def test_a_record_that_cannot_be_read_is_empty(file: Callable[..., Path], record: str) -> None:
    with open_checkpoint(file({"__metadata__": {"mshub_convert": record}})) as checkpoint:
        assert checkpoint.record == {}
        assert checkpoint.metadata == {}


def test_mindspores_crc(file: Callable[..., Path]) -> None:
    entries = {"b": ONE, "a": {**ONE, "data_offsets": [4, 8]}}
    crc = zlib.crc32(b"a" + b"5678" + b"b" + b"1234")

    def check(stated: int) -> None:
        with open_checkpoint(file({"__metadata__": {"crc_num": str(stated)}, **entries}, b"12345678")) as checkpoint:
            assert checkpoint.check is not None
            checkpoint.check()

    check(crc)
    with pytest.raises(MalformedFileError, match=f"the crc32 of its tensors is {crc}, its header says {crc + 1}"):
        check(crc + 1)


def parses_or_is_malformed(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    try:
        with MappedFile(path) as mapped:
            checkpoint = CODEC.open(mapped)
            for ref in checkpoint.tensors.values():
                assert ref.read().shape == ref.spec.shape
    except MalformedFileError as error:
        return error.message
    return ""


def small(tmp_path: Path) -> bytes:
    held = {"conv.weight": np.ones((2, 3), np.float32), "höhe": np.ones(3, np.int8)}
    return write(tmp_path / "small.safetensors", held).read_bytes()


def test_truncated_anywhere(tmp_path: Path) -> None:
    whole = small(tmp_path)
    assert all(parses_or_is_malformed(tmp_path / "t.safetensors", whole[:end]) for end in range(1, len(whole)))
    assert not parses_or_is_malformed(tmp_path / "t.safetensors", whole)


def test_flipped_bits(tmp_path: Path) -> None:
    whole, draw = small(tmp_path), random.Random(0)
    found = set()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << draw.randrange(8)
        found.add(bool(parses_or_is_malformed(tmp_path / "t.safetensors", bytes(changed))))
    assert found == {True, False}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["F32", "BOOL", "a"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "a"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@given(json_values, st.binary(max_size=8))
@settings(deadline=None, max_examples=200)
def test_any_header(header: object, body: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        parses_or_is_malformed(Path(folder) / "t.safetensors", made(header, body))


# --- MindSpore itself


@pytest.fixture(scope="module")
def ms() -> Any:
    import mindspore

    return mindspore


@pytest.mark.slow
def test_files_of_mindspore(ms: Any, tmp_path: Path) -> None:
    held = {"conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bn.gamma": np.ones(3, np.float16)}
    path = tmp_path / "a.safetensors"
    tensors = [{"name": name, "data": ms.Tensor(array)} for name, array in held.items()]
    ms.save_checkpoint(tensors, str(path), format="safetensors", crc_check=True)
    assert same(read(path), held)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.metadata["format"] == "ms"
        assert checkpoint.check is not None
        checkpoint.check()
    broken = bytearray(path.read_bytes())
    broken[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(broken)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.check is not None
        with pytest.raises(MalformedFileError, match=r"the crc32 of its tensors is .*, its header says .*: corrupt"):
            checkpoint.check()


@pytest.mark.slow
def test_loaded_strictly_by_mindspore(ms: Any, tmp_path: Path) -> None:
    network = ms.nn.SequentialCell(ms.nn.Conv2d(3, 4, 3, has_bias=True), ms.nn.BatchNorm2d(4), ms.nn.Dense(4, 2))
    draw = np.random.default_rng(1)
    held = {p.name: draw.standard_normal(p.shape, np.float32) for p in network.get_parameters()}
    path = write(tmp_path / "a.safetensors", held, framework="mindspore")
    loaded = ms.load_checkpoint(str(path), format="safetensors")
    assert ms.load_param_into_net(network, loaded, strict_load=True) == ([], [])
    assert same({p.name: p.asnumpy() for p in network.get_parameters()}, held)
