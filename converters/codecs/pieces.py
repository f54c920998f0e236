"""What all codecs need to lay out a tensor."""

import numpy as np

from ..splice import Computed, Moved, Piece, Watch
from ..tensors import TensorRef


def tensor_piece(ref: TensorRef, *watch: Watch) -> Piece:
    """The bytes of a tensor: moved where a file holds them, computed otherwise."""
    if ref.extents is not None:
        return Moved(ref.extents, watch)

    def produce() -> memoryview:
        return memoryview(ref.read().reshape(-1).view(np.uint8).data)

    return Computed(ref.spec.nbytes, produce, watch)
