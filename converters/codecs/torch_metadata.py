"""What a PyTorch file says besides its tensors, as plain JSON values of bounded size."""

import math
from collections.abc import Mapping

import numpy as np

from .pickle_values import Global, Stub
from .torch_tensors import OddTensor, Tensor

_VALUES_LIMIT = 10_000  # of one entry: ImageNet has a thousand class names
_TEXT_LIMIT = 100_000
_DEPTH_LIMIT = 8
_SCALARS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


class _TooLarge(Exception):  # noqa: N818 - never leaves this file
    pass


def plain(entries: Mapping[str, object]) -> dict[str, object]:
    """The entries that are small, with the name of its class for each object; the others are not there."""
    made: dict[str, object] = {}
    for name, value in entries.items():
        try:
            made[name] = _Writer().value(value, 0)
        except _TooLarge:
            continue
    return made


class _Writer:
    """One entry."""

    def __init__(self) -> None:
        self._left = _VALUES_LIMIT

    def value(self, value: object, depth: int) -> object:
        self._left -= 1
        if self._left < 0 or depth > _DEPTH_LIMIT:
            raise _TooLarge
        match value:
            case None | bool():
                return value
            case int():
                return value if abs(value) < 1 << 63 else "int"
            case float():
                return value if math.isfinite(value) else str(value)
            case str():
                if len(value) > _TEXT_LIMIT:
                    raise _TooLarge
                return value
            case list() | tuple():
                return [self.value(item, depth + 1) for item in value]
            case dict():
                return {self._key(key): self.value(item, depth + 1) for key, item in value.items()}
            case Stub(kind=kind):
                number = _scalar(value)
                return str(kind) if number is None else self.value(number, depth)
            case Global():
                return str(value)
            case Tensor() | OddTensor():
                return "tensor"
        return type(value).__name__

    def _key(self, key: object) -> str:
        text = self.value(key, _DEPTH_LIMIT)
        return text if isinstance(text, str) else str(text)


def _scalar(stub: Stub) -> object:
    """The number in ``numpy.core.multiarray.scalar(dtype, bytes)``, as a best accuracy often is."""
    match stub:
        case Stub(kind=Global(name="scalar"), args=(Stub(args=(str(code), *_), state=state), bytes(data))):
            order = state[1] if isinstance(state, tuple) and len(state) > 1 else "<"
            if code in _SCALARS and len(data) == int(code[1:]):
                return np.frombuffer(data, (">" if order == ">" else "<") + code)[0].item()
    return None
