"""``data.pkl`` of a state dict, assembled opcode by opcode: an OrderedDict of tensors as torch.save pickles it."""

import struct
from collections.abc import Sequence

from ..tensors import TensorSpec
from .torch_dtypes import STORAGE_OF

_ORDERED_DICT, _REBUILD, _REBUILD_V3, _STORAGE, _CPU = range(5)
_FIRST_FREE = 5


def pickled_state_dict(specs: Sequence[TensorSpec]) -> bytes:
    """Protocol 2, whose opcodes are all that ``torch.load(weights_only=True)`` knows; storage ``i`` is tensor ``i``."""
    writer = _Writer()
    writer.put(b"\x80\x02")
    writer.remembered_global(_ORDERED_DICT, "collections", "OrderedDict")
    writer.put(b")R(")
    for key, spec in enumerate(specs):
        writer.text(spec.name)
        writer.tensor(key, spec)
    writer.put(b"u.")
    return bytes(writer.data)


class _Writer:
    def __init__(self) -> None:
        self.data = bytearray()
        self._known: set[int] = set()
        self._classes: dict[tuple[str, str], int] = {}

    def put(self, opcodes: bytes) -> None:
        self.data += opcodes

    def tensor(self, key: int, spec: TensorSpec) -> None:
        """``torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())``, or v3 with a dtype."""
        typed = spec.dtype in STORAGE_OF
        if typed:
            self.remembered_global(_REBUILD, "torch._utils", "_rebuild_tensor_v2")
        else:
            self.remembered_global(_REBUILD_V3, "torch._utils", "_rebuild_tensor_v3")
        self.put(b"((")
        self.remembered_text(_STORAGE, "storage")
        self._class("torch", STORAGE_OF[spec.dtype]) if typed else self._class("torch.storage", "UntypedStorage")
        self.text(str(key))
        self.remembered_text(_CPU, "cpu")
        self.integer(spec.size if typed else spec.nbytes)
        self.put(b"tQ")
        self.integer(0)
        self.integers(spec.shape)
        self.integers(_strides(spec.shape))
        self.put(b"\x89")
        self.remembered_global(_ORDERED_DICT, "collections", "OrderedDict")
        self.put(b")R")
        if not typed:
            self._class("torch", spec.dtype)
        self.put(b"tR")

    def text(self, text: str) -> None:
        data = text.encode()
        self.put(b"X" + struct.pack("<I", len(data)) + data)

    def integer(self, number: int) -> None:
        if number < 1 << 8:
            self.put(b"K" + struct.pack("<B", number))
        elif number < 1 << 31:
            self.put(b"J" + struct.pack("<i", number))
        else:
            data = number.to_bytes(number.bit_length() // 8 + 1, "little")  # signed: room for the sign
            self.put(b"\x8a" + struct.pack("<B", len(data)) + data)

    def integers(self, numbers: Sequence[int]) -> None:
        if not numbers:
            self.put(b")")
            return
        self.put(b"(")
        for number in numbers:
            self.integer(number)
        self.put(b"t")

    def remembered_global(self, slot: int, module: str, name: str) -> None:
        if not self._recall(slot):
            self.put(f"c{module}\n{name}\n".encode())
            self._remember(slot)

    def remembered_text(self, slot: int, text: str) -> None:
        if not self._recall(slot):
            self.text(text)
            self._remember(slot)

    def _class(self, module: str, name: str) -> None:
        slot = self._classes.setdefault((module, name), _FIRST_FREE + len(self._classes))
        self.remembered_global(slot, module, name)

    def _recall(self, slot: int) -> bool:
        if slot in self._known:
            self.put(b"h" + struct.pack("<B", slot))
        return slot in self._known

    def _remember(self, slot: int) -> None:
        self._known.add(slot)
        self.put(b"q" + struct.pack("<B", slot))


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Of a contiguous tensor, in elements; torch counts an empty dimension as one."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))
