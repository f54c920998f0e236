"""From the tensors of a file to those of a network, whatever framework read them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converters.codecs import open_checkpoint
from ...converters.graphs.errors import ForeignGraphError
from ...converters.graphs.recover import recover
from ...converters.tensors import FLOATS, Checkpoint, TensorRef
from ...mappings.graph import Shape
from ...mappings.names import closest
from ..errors import LoadError
from .job import Weights

Array = npt.NDArray[Any]

_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Tensors of a file by name, the loader that read them, and what it read that is no tensor."""

    tensors: Mapping[str, Array]
    loader: str
    others: tuple[str, ...] = ()

    @property
    def hashes(self) -> dict[str, str]:
        """The sha256 of each tensor's little-endian, row-major bytes."""
        return {name: sha256(array) for name, array in self.tensors.items()}


def sha256(array: Array) -> str:
    """The sha256 of an array's little-endian, row-major bytes."""
    return hashlib.sha256(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()).hexdigest()


def read_ourselves(weights: Weights, reason: str) -> Loaded:
    """Read a file with the package's own codecs, where no loader of the framework does.

    The tensors of a file that holds a graph are found by its structure and go by canonical key.
    """
    with open_checkpoint(weights.file) as checkpoint:
        # Copies, because the file is closed before the arrays are used.
        tensors = {name: np.array(ref.read()) for name, ref in _refs(checkpoint, weights).items()}
    return Loaded(tensors, f"mshub-convert's own reader ({reason})")


def _refs(checkpoint: Checkpoint, weights: Weights) -> Mapping[str, TensorRef]:
    if checkpoint.graph is not None:
        try:
            return recover(checkpoint.graph, norm_eps=weights.norm_eps).tensors
        except ForeignGraphError as error:
            raise LoadError(f"{weights.file}: {error.message}", remedy=error.remedy) from None
    if not checkpoint.sets:
        return checkpoint.tensors
    path = weights.select or "."
    if path not in checkpoint.sets:
        raise LoadError(f"{weights.file}: there are no weights at {path} in it, only at {', '.join(checkpoint.sets)}")
    return checkpoint.sets[path]


def for_network(
    loaded: Loaded, weights: Weights, shapes: Mapping[str, Shape]
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The network's tensors, and the names in the file that none of them uses.

    Without slots everything in the file goes to the network, whose strict loading then judges.
    """
    absent = {name: np.zeros(shapes[name], np.int64) for name in weights.absent if _may_be_absent(name, shapes)}
    if not weights.slots:
        return {**loaded.tensors, **absent}, loaded.others
    lacking = [part for parts in weights.slots.values() for part in parts if part not in loaded.tensors]
    if lacking:
        near = closest(lacking[0], list(loaded.tensors))
        raise LoadError.of(f"{weights.file} (nearest to {lacking[0]}: {', '.join(near) or 'nothing'})", missing=lacking)
    whole = {name: _joined(name, parts, loaded.tensors) for name, parts in weights.slots.items()}
    wrong = [name for name, array in whole.items() if name in shapes and _long(array.shape) != _long(shapes[name])]
    if wrong:
        given = {*whole, *absent}
        raise LoadError.of(
            str(weights.file), missing=[name for name in shapes if name not in given],
            unexpected=[name for name in whole if name not in shapes],
            shapes=[f"{name}: {whole[name].shape} in the weights, {shapes[name]} in the network" for name in wrong],
        )  # fmt: skip
    # A name that the network does not know is for the strict loading to report.
    tensors = {name: array.reshape(shapes.get(name, array.shape)) for name, array in whole.items()}
    used = {part for parts in weights.slots.values() for part in parts}
    return {**tensors, **absent}, (*(name for name in loaded.tensors if name not in used), *loaded.others)


def _may_be_absent(name: str, shapes: Mapping[str, Shape]) -> bool:
    if name not in shapes or not name.endswith(_COUNTER):
        raise LoadError(f"{name} cannot be filled with zeros: only a network's {_COUNTER} can")
    return True


def _long(shape: Shape) -> list[int]:
    """A shape without its axes of length 1, in which a Dense layer and a 1x1 convolution differ."""
    return [size for size in shape if size != 1]


def _joined(name: str, parts: tuple[str, ...], tensors: Mapping[str, Array]) -> Array:
    """Parts joined on axis 0."""
    found = [tensors[part] for part in parts]
    if len({(part.shape[1:], part.dtype) for part in found}) > 1:
        raise LoadError(f"the parts of {name} differ in shape or dtype: {', '.join(parts)}")
    return np.concatenate(found) if len(found) > 1 else found[0]


def in_precision(tensors: Mapping[str, Array], precision: str) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Floating-point tensors in a precision, and the names of those that a narrower one changed."""
    cast: dict[str, Array] = {}
    rounded: list[str] = []
    for name, array in tensors.items():
        if array.dtype.name not in FLOATS or array.dtype.name == precision:
            cast[name] = array
            continue
        with np.errstate(over="ignore"):
            cast[name] = array.astype(precision)
            if not np.array_equal(cast[name].astype(array.dtype), array, equal_nan=True):
                rounded.append(name)
    return cast, tuple(rounded)
