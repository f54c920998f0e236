"""ONNX's ``TensorProto``: raw bytes, typed fields and external data as references that read lazily.

Source: onnx/onnx.proto. Raw and packed float data are little-endian and row-major; half precision in ``int32_data``
is its bits.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import EnvironmentError_, MalformedFileError
from ..tensors import DTYPES, Array, Extent, FilesBeside, MappedFile, TensorRef, TensorSpec, is_possible_shape
from .protobuf import I32, Reader, WireFault, signed

# Number of the data type → our name of the dtype.
NUMBERS = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
}  # fmt: skip
DTYPE_NUMBERS = {name: number for number, name in NUMBERS.items()}

_FLOAT, _INT32, _INT64, _RAW, _DOUBLE, _UINT64 = 4, 5, 7, 9, 10, 11
_PACKED = (_FLOAT, _DOUBLE)
_VARINTS = (_INT32, _INT64, _UINT64)
# Dtypes whose values stand in int32_data; of floats the bits do.
_BITS = {"float16": np.uint16, "bfloat16": np.uint16}
_EXTERNAL = 1


class ExternalFiles(FilesBeside):
    """The files beside a model that hold its tensors, opened when first asked for; closed with the model."""

    def __init__(self, model: Path) -> None:
        super().__init__()
        self.model = model

    def extent(self, location: str, offset: int, length: int | None) -> Extent:
        """A range of a file beside the model; raises where there is no such file, or it is too short."""
        if location not in self.files:
            self.files[location] = self._opened(location)
        file = self.files[location]
        length = file.size - offset if length is None else length
        if offset < 0 or length < 0 or offset + length > file.size:
            fact = f"{file.path} ends at byte {file.size}, {self.model.name} needs it to {offset + length}: truncated"
            raise MalformedFileError(fact, remedy="Copy it again with the model.")
        return Extent(file, offset, length)

    def _opened(self, location: str) -> MappedFile:
        path = Path(location)
        if not location or path.is_absolute() or ".." in path.parts or "\0" in location:
            raise MalformedFileError(
                f"{self.model} keeps tensors in {location!r}, which is no file beside it: not read",
                remedy="Save the model with its external data in its own folder.",
            )
        full = self.model.parent / path
        if not full.is_file():
            raise EnvironmentError_(
                f"{self.model} keeps its tensors in {location}, which is not there",
                remedy=f"Copy {path.name} to {full.parent} too: the two belong together.",
            )
        if not full.resolve().is_relative_to(self.model.parent.resolve()):
            raise MalformedFileError(
                f"{full} is a link out of the folder of {self.model.name}: not read", remedy="Copy the file itself."
            )
        return MappedFile(full)


@dataclass(slots=True)
class _Fields:
    """What the message says, before it is known to make sense."""

    dims: list[int] = field(default_factory=list)
    number: int = 0
    name: str = ""
    data: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    single: dict[int, list[int]] = field(default_factory=dict)
    location: dict[str, str] = field(default_factory=dict)
    external: bool = False


def read_tensor(file: MappedFile, message: Reader, external: ExternalFiles) -> TensorRef:
    """The tensor of a message; raises WireFault where it makes none."""
    fields = _fields(message)
    called = fields.name or "an attribute"
    if fields.number not in NUMBERS:
        raise WireFault(f"{called} is of the ONNX data type {fields.number}, which no weights have")
    dtype = NUMBERS[fields.number]
    if not is_possible_shape(fields.dims):
        raise WireFault(f"{called} has the dims {fields.dims}")
    spec = TensorSpec(fields.name, tuple(fields.dims), dtype)
    if fields.external:
        extents = _external(fields, external, spec.nbytes)
    elif any(kind in fields.data or kind in fields.single for kind in _VARINTS):
        return TensorRef(spec, None, partial(_from_varints, file, fields, spec))
    elif fields.single:
        return TensorRef(spec, None, partial(_from_singles, fields, spec))
    else:
        spans = [span for kind in (_RAW, *_PACKED) for span in fields.data.get(kind, [])]
        extents = tuple(Extent(file, offset, length) for offset, length in spans if length)
    length = sum(extent.length for extent in extents)
    if length != spec.nbytes:
        raise WireFault(f"{called} has {length} bytes where {list(spec.shape)} {dtype} needs {spec.nbytes}")
    return TensorRef(spec, extents)


def _fields(message: Reader) -> _Fields:
    found = _Fields()
    while message.more:
        number, wire = message.key()
        match number, wire:
            case 1, 0:
                found.dims.append(signed(message.varint()))
            case 1, 2:
                packed = message.message()
                while packed.more:
                    found.dims.append(signed(packed.varint()))
            case 2, 0:
                found.number = message.varint()
            case 8, 2:
                found.name = message.text()
            case 13, 2:
                key, value = message.message().entry()
                found.location[key] = value
            case 14, 0:
                found.external = message.varint() == _EXTERNAL
            case ((4 | 5 | 7 | 9 | 10 | 11), 2):
                found.data.setdefault(number, []).append(message.span())
            case ((4 | 10), (5 | 1)):
                width = 4 if wire == I32 else 8
                offset = message.position
                message.skip(wire)
                found.single.setdefault(number, []).append(
                    int.from_bytes(bytes(message.view[offset : offset + width]), "little")
                )
            case ((5 | 7 | 11), 0):
                found.single.setdefault(number, []).append(message.varint())
            case _:
                message.skip(wire)
        if len(found.dims) > 64:
            raise WireFault(f"{found.name or 'a tensor'} has more than 64 dimensions")
    return found


def _external(fields: _Fields, external: ExternalFiles, nbytes: int) -> tuple[Extent, ...]:
    numbers = {}
    for key in ("offset", "length"):
        text = fields.location.get(key)
        if text is not None and not (text.isascii() and text.isdigit() and len(text) < 19):
            raise WireFault(f"{fields.name} has the external {key} {text!r}")
        numbers[key] = None if text is None else int(text)
    length = nbytes if numbers["length"] is None else numbers["length"]
    extent = external.extent(fields.location.get("location", ""), numbers["offset"] or 0, length)
    return (extent,) if extent.length else ()


def _from_varints(file: MappedFile, fields: _Fields, spec: TensorSpec) -> Array:
    """The values of packed or single varints, in the spec's dtype."""
    parts = []
    for kind in _VARINTS:
        parts += [_varints(file, offset, length) for offset, length in fields.data.get(kind, [])]
        parts += [np.array(fields.single[kind], np.uint64)] if kind in fields.single else []
    values = np.concatenate(parts)
    if len(values) != spec.size:
        raise MalformedFileError(
            f"{file.path}: {spec.name} has {len(values)} values where {list(spec.shape)} needs {spec.size}",
            remedy="Download or save it again.",
        )
    bits = _BITS.get(spec.dtype)
    if bits is not None:
        return values.astype(bits).view(DTYPES[spec.dtype])
    return values.view(np.int64).astype(DTYPES[spec.dtype])


def _varints(file: MappedFile, offset: int, length: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    """All varints of a range at once."""
    data = np.frombuffer(file.view[offset : offset + length], np.uint8)
    ends = np.flatnonzero(data < 0x80)
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    lengths = ends - starts + 1
    values = np.zeros(len(ends), np.uint64)
    for position in range(min(int(lengths.max(initial=0)), 10)):
        has = lengths > position
        digits = (data[starts[has] + position] & 0x7F).astype(np.uint64)
        values[has] |= digits << np.uint64(7 * position)
    return values


def _from_singles(fields: _Fields, spec: TensorSpec) -> Array:
    """Floats that were written one by one, each with its key."""
    kind, bits = (_FLOAT, np.uint32) if _FLOAT in fields.single else (_DOUBLE, np.uint64)
    values = np.array(fields.single[kind], bits)
    if len(values) != spec.size or values.nbytes != spec.nbytes:
        raise MalformedFileError(
            f"{spec.name} has {len(values)} values where {list(spec.shape)} {spec.dtype} needs {spec.size}",
            remedy="Download or save it again.",
        )
    return values.view(DTYPES[spec.dtype])
