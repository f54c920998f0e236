"""MindSpore's ``TensorProto`` in a MINDIR: where the bytes of a parameter are, in the file or in one beside it.

Source: mindspore/core/proto/mind_ir.proto and ``_split_save`` of mindspore/python/mindspore/train/serialization.py:
a model of more than 1 GB is ``<name>_graph.mindir`` with its data in ``<name>_variables/data_0`` and on. Such a data
file starts with 64 bytes, the first of which is 1 where the data are little-endian.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import MalformedFileError, shown
from ..tensors import Extent, MappedFile, TensorRef, TensorSpec, is_possible_shape
from .mindir_traits import parameter_name
from .onnx_tensors import ExternalFiles
from .protobuf import Reader, WireFault, signed

DATA_HEADER = b"\x01" + bytes(63)
DATA_ALIGNMENT = 64

# Number of the data type → our name of the dtype.
NUMBERS = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16", 17: "float64",
}  # fmt: skip
_DIMS_LIMIT = 64
# Fields that hold values one by one: no writer of parameters uses them, and MindSpore reads none from there.
_VALUES = (3, 4, 5, 6, 10, 11)


@dataclass(slots=True)
class _Fields:
    """What the message says, before it is known to make sense."""

    dims: list[int] = field(default_factory=list)
    number: int = 0
    name: str = ""
    raw: Extent | None = None
    location: str = ""
    offset: int = 0
    length: int = 0
    compression: int = 0
    values: bool = False


def read_parameters(
    file: MappedFile, messages: Sequence[Reader], external: ExternalFiles
) -> tuple[dict[str, TensorRef], tuple[str, ...]]:
    """Tensors by name without scope, and notes on what is no tensor; raises WireFault where there is none to make."""
    tensors: dict[str, TensorRef] = {}
    notes: list[str] = []
    for message in messages:
        fields = _fields(file, message)
        name = parameter_name(fields.name)
        if name in tensors:
            raise WireFault(f"the parameter {name} comes twice")
        if fields.number not in NUMBERS:
            notes.append(shown(f"left out {name}: of the data type {fields.number}, which no weights have"))
            continue
        tensors[name] = _tensor(name, fields, external)
    return tensors, tuple(notes)


def _tensor(name: str, fields: _Fields, external: ExternalFiles) -> TensorRef:
    if fields.compression:
        raise WireFault(f"{name} is compressed (type {fields.compression}); export the model without compression")
    if fields.values:
        raise WireFault(f"{name} holds values one by one, which MindSpore itself does not read")
    if not is_possible_shape(fields.dims):
        raise WireFault(f"{name} has the dims {fields.dims}")
    spec = TensorSpec(name, tuple(fields.dims), NUMBERS[fields.number])
    extent = _external(name, fields, external) if fields.location else fields.raw
    length = extent.length if extent is not None else 0
    if length != spec.nbytes:
        raise WireFault(f"{name} has {length} bytes where {list(spec.shape)} {spec.dtype} needs {spec.nbytes}")
    return TensorRef(spec, (extent,) if extent is not None and length else ())


def _external(name: str, fields: _Fields, external: ExternalFiles) -> Extent:
    extent = external.extent(fields.location, fields.offset, fields.length)
    if fields.offset < len(DATA_HEADER):
        raise WireFault(f"{name} starts at byte {fields.offset} of {fields.location}, within the header of that file")
    if extent.file.view[0] != DATA_HEADER[0]:
        raise MalformedFileError(
            f"{extent.file.path} is big-endian, encrypted or no data of a MINDIR",
            remedy="Export the model again on a little-endian machine, without enc_key.",
        )
    return extent


def _fields(file: MappedFile, message: Reader) -> _Fields:
    found = _Fields()
    while message.more:
        match message.key():
            case 1, 0:
                found.dims.append(signed(message.varint()))
            case 1, 2:
                packed = message.message()
                while packed.more and len(found.dims) <= _DIMS_LIMIT:
                    found.dims.append(signed(packed.varint()))
            case 2, 0:
                found.number = message.varint()
            case 7, 2:
                found.name = message.text()
            case 9, 2:
                found.raw = Extent(file, *message.span())
            case 12, 2:
                _location(message.message(), found)
            case 16, 0:
                found.compression = message.varint()
            case number, wire:
                found.values = found.values or number in _VALUES
                message.skip(wire)
        if len(found.dims) > _DIMS_LIMIT:
            raise WireFault(f"{found.name or 'a parameter'} has more than {_DIMS_LIMIT} dimensions")
    return found


def _location(message: Reader, found: _Fields) -> None:
    """An ``ExternalDataProto``."""
    while message.more:
        match message.key():
            case 1, 2:
                found.location = message.text()
            case 2, 0:
                found.offset = signed(message.varint())
            case 3, 0:
                found.length = signed(message.varint())
            case _, wire:
                message.skip(wire)
