"""MindSpore checkpoints (.ckpt): a protobuf ``Checkpoint`` message, read and written without MindSpore.

Source: mindspore/ccsrc/utils/checkpoint.proto and mindspore/python/mindspore/train/serialization.py.

    message Checkpoint  { message Value { required string tag=1; TensorProto tensor=2; } repeated Value value=1; }
    message TensorProto { repeated int64 dims=1; required string tensor_type=2; required bytes tensor_content=3; }

Our record is field 1000 of ``Checkpoint``, which MindSpore skips as unknown. A tensor of no elements is written with
its dims like any other; MindSpore itself leaves such tensors out when it saves, and reads dims of [0] as 0-d.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from ..errors import MalformedFileError, shown
from ..splice import Deferred, Literal, Moved, Piece, views
from ..tensors import Checkpoint, Extent, MappedFile, TensorRef, TensorSpec, is_possible_shape
from . import Described, EmbeddedRecord
from .pieces import tensor_piece
from .protobuf import BYTES, VARINT, Reader, WireFault, delimited, key, varint
from .record_text import parse_record

_DTYPES = {
    "Bool": "bool", "Int8": "int8", "UInt8": "uint8", "Int16": "int16", "UInt16": "uint16", "Int32": "int32",
    "UInt32": "uint32", "Int64": "int64", "UInt64": "uint64", "Float16": "float16", "BFloat16": "bfloat16",
    "Float32": "float32", "Float64": "float64",
}  # fmt: skip
_NAMES = {ours: theirs for theirs, ours in _DTYPES.items()}
_VALUE, _RECORD = 1, 1000
_CRC_MARK, _CRC_LENGTH = b"crc_num", 17
_DIMS_LIMIT = 64  # more than any tensor has; how many a hostile file may make us keep
# MindSpore cuts larger tensors into consecutive values with one tag.
SLICE = 512 << 20


@dataclass(frozen=True, slots=True)
class _Value:
    """A tensor, or a slice of one: then ``dims`` are those of the whole."""

    tag: str
    dims: tuple[int, ...]
    type: str
    content: Extent


class MindSporeCkpt:
    """The codec."""

    name = "ckpt"
    title = "MindSpore .ckpt"
    suffixes = (".ckpt",)
    dtypes = frozenset(_NAMES)
    holds_graph = False
    exported_by = ""

    def sniff(self, head: bytes) -> bool:
        """A first ``Value`` whose first field is its tag, or a leading record."""
        reader = Reader(memoryview(head), 0, len(head))
        try:
            first = reader.key()
            reader.varint()
            return first == (_RECORD, BYTES) or (first == (_VALUE, BYTES) and reader.key() == (1, BYTES))
        except WireFault:
            return False

    def open(self, file: MappedFile) -> Checkpoint:
        """Walk the messages, skipping the contents."""
        end, check = file.size, None
        if bytes(file.view[-_CRC_LENGTH:]).startswith(_CRC_MARK) and end > _CRC_LENGTH:
            end -= _CRC_LENGTH
            check = _crc_check(file, end)
        values: list[_Value] = []
        record: bytes | None = None
        reader = Reader(file.view, 0, end)
        try:
            while reader.more:
                field, wire = reader.key()
                if (field, wire) == (_VALUE, BYTES):
                    values.append(_value(file, reader.message()))
                elif (field, wire) == (_RECORD, BYTES):
                    offset, length = reader.span()
                    record = bytes(file.view[offset : offset + length])
                else:
                    reader.skip(wire)
        except WireFault as fault:
            after = f" (after {values[-1].tag})" if values else ""
            raise _malformed(file, f"{fault}{after}") from None
        tensors, notes = _joined(file, values)
        return Checkpoint(file.path, self.name, tensors, record=parse_record(record), notes=notes, check=check)

    def layout(
        self,
        tensors: Sequence[TensorRef],
        record: EmbeddedRecord,
        *,
        framework: str,
        network: Described | None = None,
    ) -> list[Piece]:
        """One ``Value`` a tensor (several for one of a file's that is over 512 MiB), the record last."""
        pieces: list[Piece] = []
        for ref in tensors:
            spec = ref.spec
            if ref.extents is None or spec.nbytes <= SLICE:
                pieces += [Literal(_value_head(spec, spec.nbytes)), tensor_piece(ref)]
                continue
            for extents in _sliced(ref.extents, SLICE):
                pieces += [Literal(_value_head(spec, sum(e.length for e in extents))), Moved(extents)]
        length = len(record.draft)
        pieces += [Literal(key(_RECORD, BYTES) + varint(length)), Deferred(length, record.final)]
        return pieces

    def beside(self, tensors: Sequence[TensorRef]) -> Mapping[str, list[Piece]]:
        """Nothing: all is in one file."""
        return {}


def _crc_check(file: MappedFile, end: int) -> Callable[[], None]:
    """A function that compares the crc32 of all before the footer with what the footer says."""

    def check() -> None:
        stated = int.from_bytes(bytes(file.view[-10:]), "big")
        actual = 0
        for view in views([Extent(file, 0, end)]):
            actual = zlib.crc32(view, actual)
        if actual != stated:
            raise _malformed(file, f"its crc32 is {actual:08x}, its footer says {stated:08x}: corrupt")

    return check


def _value(file: MappedFile, fields: Reader) -> _Value:
    start = fields.position
    tag: str | None = None
    tensor: Reader | None = None
    while fields.more:
        match fields.key():
            case 1, 2:
                tag = fields.text()
            case 2, 2:
                tensor = fields.message()
            case 3, 2:
                raise _malformed(file, f"{tag or 'a value'} is a MapParameter (hash table), which no target can hold")
            case _, wire:
                fields.skip(wire)
    if tag is None or tensor is None:
        raise _malformed(file, f"the value at byte {start} has no {'name' if tag is None else 'tensor'}")
    return _tensor(file, tag, tensor)


def _tensor(file: MappedFile, tag: str, fields: Reader) -> _Value:
    dims: list[int] = []
    kind, content = "", Extent(file, fields.position, 0)
    while fields.more:
        match fields.key():
            case 1, 0:
                dims.append(fields.varint())
            case 1, 2:  # packed, as proto3 writers have it
                packed = fields.message()
                while packed.more and len(dims) <= _DIMS_LIMIT:
                    dims.append(packed.varint())
            case 2, 2:
                kind = fields.text()
            case 3, 2:
                content = Extent(file, *fields.span())
            case _, wire:
                fields.skip(wire)
        if len(dims) > _DIMS_LIMIT:
            raise _malformed(file, f"{tag} has more than {_DIMS_LIMIT} dimensions")
    return _Value(tag, tuple(dims), kind, content)


def _joined(file: MappedFile, values: Sequence[_Value]) -> tuple[dict[str, TensorRef], tuple[str, ...]]:
    """Tensors from values (adjacent ones of one tag are slices of one tensor), and notes on what is no tensor."""
    tensors: dict[str, TensorRef] = {}
    notes: list[str] = []
    for tag, group in groupby(values, key=lambda value: value.tag):
        run = list(group)
        if tag in tensors:
            raise _malformed(file, f"{tag} comes twice")
        if run[0].type not in _DTYPES:
            fact = f"left out {tag}: of type {run[0].type or '(none)'}, which is no tensor that can be converted"
            notes.append(shown(fact))
            continue
        tensors[tag] = _whole(file, tag, run)
    return tensors, tuple(notes)


def _whole(file: MappedFile, tag: str, run: Sequence[_Value]) -> TensorRef:
    """The tensor that slices (most often one) make."""
    first = run[0]
    if any((value.dims, value.type) != (first.dims, first.type) for value in run):
        raise _malformed(file, f"the slices of {tag} differ in dims or type")
    length = sum(value.content.length for value in run)
    dims = () if first.dims == (0,) and length else first.dims  # old writers put 0-d tensors as [0]
    if not is_possible_shape(dims):
        raise _malformed(file, f"{tag} has the dims {list(dims)}")
    spec = TensorSpec(tag, dims, _DTYPES[first.type])
    if length != spec.nbytes:
        raise _malformed(file, f"{tag} has {length} bytes where {list(dims)} {spec.dtype} needs {spec.nbytes}")
    return TensorRef(spec, tuple(value.content for value in run))


def _sliced(extents: tuple[Extent, ...], limit: int) -> Iterator[tuple[Extent, ...]]:
    """Cut a run of extents into runs of at most ``limit`` bytes."""
    run: list[Extent] = []
    room = limit
    for extent in extents:
        start = 0
        while start < extent.length:
            step = min(room, extent.length - start)
            run.append(extent.part(start, step))
            start, room = start + step, room - step
            if not room:
                yield tuple(run)
                run, room = [], limit
    if run:
        yield tuple(run)


def _value_head(spec: TensorSpec, length: int) -> bytes:
    """Everything of a ``Value`` message before the ``length`` bytes of content."""
    dims = b"".join(key(1, VARINT) + varint(size) for size in spec.shape)
    tensor = dims + delimited(2, _NAMES[spec.dtype].encode()) + key(3, BYTES) + varint(length)
    head = delimited(1, spec.name.encode()) + key(2, BYTES) + varint(len(tensor) + length) + tensor
    return key(_VALUE, BYTES) + varint(len(head) + length) + head


def _malformed(file: MappedFile, fact: str) -> MalformedFileError:
    return MalformedFileError(
        f"{file.path} is not a valid MindSpore checkpoint: {shown(fact)}", remedy="Download or save it again."
    )


CODEC = MindSporeCkpt()
