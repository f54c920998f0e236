"""What a PyTorch file says besides its tensors, as plain JSON values of bounded size."""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress

import numpy as np

from .pickle_values import Global, Stub
from .torch_tensors import OddTensor, Tensor

_VALUES_LIMIT = 10_000  # of one entry: ImageNet has a thousand class names
# Of an entry that is too large the small items are kept: of how many entries, items, and values of an item.
_PARTLY_LIMIT, _ITEMS_LIMIT, _ITEM_LIMIT = 8, 64, 2500
_TEXT_LIMIT = 100_000
_DEPTH_LIMIT = 8
_SCALARS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


class _TooLarge(Exception):  # noqa: N818 - never leaves this file
    pass


def plain(entries: Mapping[str, object]) -> dict[str, object]:
    """The entries that are small, with the name of its class for each object; the others are not there.

    Of an entry that is a dictionary and too large (a training file's ``meta`` with all that was logged), the small
    items are.
    """
    made: dict[str, object] = {}
    tried = 0
    for name, value in entries.items():
        try:
            made[name] = _Writer(_VALUES_LIMIT).value(value, 0)
        except _TooLarge:
            if isinstance(value, dict) and len(value) <= _ITEMS_LIMIT and tried < _PARTLY_LIMIT:
                tried += 1
                small = dict(_small_items(value))
                made |= {name: small} if small else {}
    return made


def _small_items(entry: Mapping[object, object]) -> Iterator[tuple[str, object]]:
    for key, item in entry.items():
        with suppress(_TooLarge):
            writer = _Writer(_ITEM_LIMIT)
            yield writer.key(key), writer.value(item, 1)


class _Writer:
    """One entry."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def value(self, value: object, depth: int) -> object:
        """The value in JSON's terms; raises ``_TooLarge``."""
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
                return {self.key(key): self.value(item, depth + 1) for key, item in value.items()}
            case Stub(kind=kind):
                number = _scalar(value)
                return str(kind) if number is None else self.value(number, depth)
            case Global():
                return str(value)
            case Tensor() | OddTensor():
                return "tensor"
        return type(value).__name__

    def key(self, key: object) -> str:
        """The key of a dictionary as text."""
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
