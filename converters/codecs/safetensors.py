"""Safetensors, PyTorch-flavoured (``format: pt``) and MindSpore-flavoured (``format: ms``).

Format: github.com/huggingface/safetensors. Eight bytes of header length, a JSON header, then the tensors.
"""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence

from ..errors import MalformedFileError, shown
from ..splice import Deferred, Piece, views
from ..tensors import DTYPES, Checkpoint, Extent, MappedFile, TensorRef, TensorSpec, is_possible_shape
from . import Described, EmbeddedRecord
from .pieces import tensor_piece
from .record_text import parse_record

_DTYPES = {
    "BOOL": "bool", "I8": "int8", "U8": "uint8", "I16": "int16", "U16": "uint16", "I32": "int32", "U32": "uint32",
    "I64": "int64", "U64": "uint64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
}  # fmt: skip
_NAMES = {ours: theirs for theirs, ours in _DTYPES.items()}
_HEADER_LIMIT = 100_000_000  # the reference implementation's
_NUMBER_LIMIT = 1 << 63
_METADATA = "__metadata__"
_RECORD_KEY = "mshub_convert"


class Safetensors:
    """The codec."""

    name = "safetensors"
    title = "safetensors"
    suffixes = (".safetensors",)
    dtypes = frozenset(_NAMES)
    holds_graph = False
    exported_by = ""

    def sniff(self, head: bytes) -> bool:
        """A plausible header length, then a JSON object."""
        return len(head) > 8 and head[8:9] in (b"{", b" ") and int.from_bytes(head[:8], "little") <= _HEADER_LIMIT

    def open(self, file: MappedFile) -> Checkpoint:
        """Read the header and check it against the file's size."""
        base = 8 + int.from_bytes(bytes(file.view[:8]), "little")
        if base > file.size or base - 8 > _HEADER_LIMIT:
            raise _malformed(file, f"the header should end at byte {base}, the file at {file.size}: it is truncated")
        header = _parsed(file, bytes(file.view[8:base]))
        metadata = _metadata(file, header.pop(_METADATA, None))
        places = [_place(file, name, entry, base) for name, entry in header.items()]
        places.sort(key=lambda place: (place[1].offset, place[1].length))
        _check_cover(file, places, base)
        record = parse_record(metadata.pop(_RECORD_KEY, None))
        tensors = {spec.name: TensorRef(spec, (extent,)) for spec, extent in places}
        check = _crc_check(file, tensors, metadata["crc_num"]) if "crc_num" in metadata else None
        return Checkpoint(file.path, self.name, tensors, record=record, metadata=metadata, check=check)

    def layout(
        self,
        tensors: Sequence[TensorRef],
        record: EmbeddedRecord,
        *,
        framework: str,
        network: Described | None = None,
    ) -> list[Piece]:
        """Header with the record in ``__metadata__``, then the tensors, widest dtype first so that all are aligned."""
        ordered = sorted(tensors, key=lambda ref: -DTYPES[ref.spec.dtype].itemsize)
        entries: dict[str, object] = {}
        position = 0
        for ref in ordered:
            spec = ref.spec
            offsets = [position, position := position + spec.nbytes]
            entries[spec.name] = {"dtype": _NAMES[spec.dtype], "shape": list(spec.shape), "data_offsets": offsets}

        def header(text: bytes) -> bytes:
            metadata = {"format": "ms" if framework == "mindspore" else "pt", _RECORD_KEY: text.decode()}
            data = json.dumps({_METADATA: metadata, **entries}, separators=(",", ":")).encode()
            data += b" " * (-len(data) % 8)
            return len(data).to_bytes(8, "little") + data

        length = len(header(record.draft))
        pieces: list[Piece] = [Deferred(length, lambda: header(record.final()))]
        pieces += [tensor_piece(ref) for ref in ordered]
        return pieces

    def beside(self, tensors: Sequence[TensorRef]) -> Mapping[str, list[Piece]]:
        """Nothing: all is in one file."""
        return {}


def _parsed(file: MappedFile, text: bytes) -> dict[str, object]:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise _malformed(file, "a name comes twice in the header")
        return found

    try:
        header = json.loads(text.decode(), object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise _malformed(file, "the header is not JSON in UTF-8") from None
    if not isinstance(header, dict):
        raise _malformed(file, "the header is no JSON object")
    if not all(_is_text(name) for name in header):
        raise _malformed(file, "a name is not UTF-8")
    return header


def _is_text(text: object) -> bool:
    """Whether it is text that can be written again: JSON can escape half a character (a lone surrogate)."""
    try:
        return isinstance(text, str) and text.encode() is not None
    except UnicodeEncodeError:
        return False


def _metadata(file: MappedFile, value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(map(_is_text, (*value, *value.values()))):
        raise _malformed(file, "its __metadata__ is no object of texts")
    return dict(value)


def _place(file: MappedFile, name: str, entry: object, base: int) -> tuple[TensorSpec, Extent]:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [start, end]} if all(
            type(number) is int and abs(number) < _NUMBER_LIMIT for number in (*shape, start, end)
        ):
            pass
        case _:
            raise _malformed(file, f"the entry of {name} is not dtype, shape and data_offsets")
    if dtype not in _DTYPES:
        raise _malformed(file, f"{name} is of dtype {dtype}, which no target can hold")
    if not is_possible_shape(shape):
        raise _malformed(file, f"{name} has an impossible shape")
    spec = TensorSpec(name, tuple(shape), _DTYPES[dtype])
    if not 0 <= start <= end:
        raise _malformed(file, f"{name} has the impossible data_offsets {start}, {end}")
    if base + end > file.size:
        raise _malformed(file, f"{name} should end at byte {base + end}, the file ends at {file.size}: it is truncated")
    if end - start != spec.nbytes:
        raise _malformed(file, f"{name} has {end - start} bytes where {list(shape)} {spec.dtype} needs {spec.nbytes}")
    return spec, Extent(file, base + start, end - start)


def _check_cover(file: MappedFile, places: Sequence[tuple[TensorSpec, Extent]], base: int) -> None:
    """Tensors must tile the rest of the file: no hole, no overlap, nothing behind."""
    position = base
    for spec, extent in places:
        if extent.offset != position:
            raise _malformed(file, f"{spec.name} starts at byte {extent.offset}, the tensor before ends at {position}")
        position += extent.length
    if position != file.size:
        raise _malformed(file, f"the last tensor ends at byte {position}, the file at {file.size}")


def _crc_check(file: MappedFile, tensors: Mapping[str, TensorRef], stated: str) -> Callable[[], None]:
    """A function that compares MindSpore's crc32, of names and contents sorted by name, with what the header says."""

    def check() -> None:
        actual = 0
        for name in sorted(tensors):
            actual = zlib.crc32(name.encode(), actual)
            for view in views(tensors[name].extents or ()):
                actual = zlib.crc32(view, actual)
        if str(actual) != stated:
            raise _malformed(file, f"the crc32 of its tensors is {actual}, its header says {stated}: corrupt")

    return check


def _malformed(file: MappedFile, fact: str) -> MalformedFileError:
    return MalformedFileError(
        f"{file.path} is not valid safetensors: {shown(fact)}", remedy="Download or save it again."
    )


CODEC = Safetensors()
