"""What all codecs need to lay out a tensor."""

import numpy as np

from ..splice import Computed, Deferred, Literal, Moved, Piece, Watch
from ..tensors import TensorRef
from . import EmbeddedRecord
from .protobuf import BYTES, delimited, key, varint

# What the record is called in a map of texts, of a model that has one (ONNX, MINDIR).
RECORD_KEY = "mshub_convert.record"
# What is added to a model's name for the file beside it that its tensors are in.
DATA_SUFFIX = ".data"


def tensor_piece(ref: TensorRef, *watch: Watch) -> Piece:
    """The bytes of a tensor: moved where a file holds them, computed otherwise."""
    if ref.extents is not None:
        return Moved(ref.extents, watch)

    def produce() -> memoryview:
        return memoryview(ref.read().reshape(-1).view(np.uint8).data)

    return Computed(ref.spec.nbytes, produce, watch)


def record_entry(field: int, record: EmbeddedRecord) -> list[Piece]:
    """The record as an entry of the map of texts that is this field of a protobuf message."""
    size = len(record.draft)
    entry = delimited(1, RECORD_KEY.encode()) + key(2, BYTES) + varint(size)
    return [Literal(key(field, BYTES) + varint(len(entry) + size) + entry), Deferred(size, record.final)]
