"""Tensors in a PyTorch file: strided views of storages, checked to lie within them, and read when asked for."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..tensors import DTYPES, Array, Extent, TensorRef, TensorSpec
from .pickle_values import Persistent
from .torch_faults import TorchFault

_DIMENSIONS_LIMIT = 32  # NumPy's
_EXPANDED_LIMIT = 64 << 20
_NUMBER_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True)
class Storage(Persistent):
    """A run of ``length`` elements, from element ``start`` of what ``extent`` gives.

    ``dtype`` is ours, or PyTorch's where we have none, or "" for plain bytes. ``extent`` is a function because the
    older format says only at its end where the storages are.
    """

    dtype: str
    length: int
    extent: Callable[[], Extent]
    start: int = 0


@dataclass(frozen=True, slots=True)
class Tensor(Persistent):
    """A view of a storage; offset and strides count elements."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    conjugated: bool = False
    negated: bool = False


@dataclass(frozen=True, slots=True)
class OddTensor(Persistent):
    """A tensor that no other container can hold; ``kind`` says what it is."""

    kind: str


def view_of(
    storage: object, dtype: str, offset: object, shape: object, strides: object, metadata: object = None
) -> Tensor | OddTensor:
    """The tensor that a pickle describes by these arguments, which may be anything; raises ``TorchFault``."""
    if not isinstance(storage, Storage):
        raise TorchFault("its pickle has a tensor without a storage")
    if dtype not in DTYPES:
        return OddTensor(dtype or "untyped")
    sizes, steps, starts = _naturals("shape", shape), _naturals("strides", strides), _naturals("offset", (offset,))
    if len(sizes) != len(steps) or len(sizes) > _DIMENSIONS_LIMIT:
        raise TorchFault(f"its pickle has a tensor of {len(sizes)} dimensions and {len(steps)} strides")
    flags = metadata if isinstance(metadata, dict) else {}
    return Tensor(storage, dtype, starts[0], sizes, steps, bool(flags.get("conj")), bool(flags.get("neg")))


def _naturals(what: str, numbers: object) -> tuple[int, ...]:
    if not isinstance(numbers, (tuple, list)):
        raise TorchFault(f"its pickle has a tensor whose {what} is a {type(numbers).__name__}")
    for number in numbers:
        if type(number) is not int or not 0 <= number < _NUMBER_LIMIT:
            shown = number if type(number) is int and abs(number) < _NUMBER_LIMIT else f"a {type(number).__name__}"
            raise TorchFault(f"its pickle has a tensor whose {what} has {shown} for a size")
    return tuple(numbers)


def named(tensor: Tensor, name: str) -> TensorRef:
    """The reference of a tensor; raises ``TorchFault`` if it lies outside its storage."""
    spec = TensorSpec(name, tensor.shape, tensor.dtype)
    item = DTYPES[tensor.dtype].itemsize
    storage = tensor.storage
    whole = storage.extent()
    if not spec.size:
        return TensorRef(spec, (whole.part(0, 0),))
    unit = item if storage.dtype else 1
    reach = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    start = storage.start * unit + tensor.offset * item
    end = start + reach * item
    limit = min((storage.start + storage.length) * unit, whole.length)
    if end > limit:
        raise TorchFault(f"{name} reaches to byte {end} of a storage that ends at {limit}")
    if _is_contiguous(tensor):
        return TensorRef(spec, (whole.part(start, spec.nbytes),))
    if spec.nbytes > max(_EXPANDED_LIMIT, whole.file.size):
        raise TorchFault(f"{name} is {spec.size} elements made of {reach}, more than any weights need")
    return TensorRef(spec, compute=_gathered(tensor, whole.part(start, end - start)))


def _is_contiguous(tensor: Tensor) -> bool:
    """Whether the bytes in the file are the tensor in C order."""
    step = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return not (tensor.conjugated or tensor.negated)


def _gathered(tensor: Tensor, extent: Extent) -> Callable[[], Array]:
    dtype = DTYPES[tensor.dtype]

    def compute() -> Array:
        strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
        array: Array = np.ndarray(tensor.shape, dtype, buffer=extent.view, strides=strides)
        # PyTorch conjugates and negates lazily: a flag on the view.
        array = np.conjugate(array) if tensor.conjugated else array
        return np.negative(array) if tensor.negated else array

    return compute
