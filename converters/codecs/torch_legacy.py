"""The format of torch.save before PyTorch 1.6: four pickles, a list of storage keys, then the storages one by one.

Each storage is an int64 count of elements and as many elements. A switch of torch.save still writes it.
"""

from typing import NoReturn

from ..tensors import DTYPES, Extent, MappedFile
from .pickle_machine import PickleMachine
from .torch_dtypes import ODD_STORAGES
from .torch_faults import TorchFault
from .torch_tensors import Storage
from .torch_world import TorchWorld

_MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_OPCODE = b"\x8a\x0a" + _MAGIC.to_bytes(10, "little")
_MAGIC_WITHIN = 64
_PROTOCOL = 1001
_COUNT = 8
_ODD_SIZES = dict(ODD_STORAGES.values())
_SAVE_AGAIN = "Load it with the program that wrote it, and torch.save the state dict."


def refuse_old_tar() -> NoReturn:
    """Always raises ``TorchFault``."""
    raise TorchFault(
        "it is a tar archive: either of files, or what torch.save wrote before 2017",
        remedy="Unpack it and give the file inside; or torch.load and torch.save it with PyTorch.",
    )


def read_legacy(file: MappedFile) -> object:
    """The saved object, its tensors unread."""
    if _MAGIC_OPCODE not in bytes(file.view[:_MAGIC_WITHIN]):
        raise TorchFault("it is a pickle, but not one that torch.save wrote", remedy=_SAVE_AGAIN)
    reader = _Legacy(file)
    if reader.pickle() != _MAGIC:
        raise TorchFault("it does not start with the magic number of torch.save")
    protocol = reader.pickle()
    if protocol != _PROTOCOL:
        raise TorchFault(f"it is of the unknown version {protocol!r:.20}", remedy=_SAVE_AGAIN)
    match reader.pickle():
        case {"little_endian": True}:
            pass
        case _:
            raise TorchFault(
                "its numbers are not little-endian, which is not read",
                remedy="Load and save it again with PyTorch on a little-endian machine.",
            )
    value = reader.pickle()
    reader.place_storages()
    return value


class _Legacy:
    """A cursor over the file, and the storages that its pickles have named."""

    def __init__(self, file: MappedFile) -> None:
        self._file = file
        self._position = 0
        self._storages: dict[str, tuple[int, int]] = {}  # elements, and bytes of one
        self._places: dict[str, Extent] = {}

    def pickle(self) -> object:
        """The next value."""
        machine = PickleMachine(self._file.view, TorchWorld(self._storage), self._position)
        value = machine.run()
        self._position = machine.position
        return value

    def place_storages(self) -> None:
        """Find where each storage is; the list of their keys is next."""
        keys = self.pickle()
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise TorchFault("it has no list of storages after its pickle")
        for key in keys:
            if key not in self._storages:
                raise TorchFault(f"it has a storage {key[:40]!r}, which its pickle does not name")
            length, item = self._storages[key]
            start = self._position + _COUNT
            stated = int.from_bytes(self._file.view[self._position : start], "little", signed=True)
            end = start + length * item
            if end > self._file.size:
                raise TorchFault(
                    f"its storage {key[:40]} should end at byte {end}, of {self._file.size}: it is truncated"
                )
            if stated != length:
                raise TorchFault(f"its storage {key[:40]} has {stated} elements, its pickle says {length}")
            self._places[key] = Extent(self._file, start, end - start)
            self._position = end

    def _storage(self, key: str, dtype: str, length: int) -> Storage:
        item = DTYPES[dtype].itemsize if dtype in DTYPES else _ODD_SIZES.get(dtype, 1)
        self._storages.setdefault(key, (length, item))
        return Storage(dtype, length, lambda: self._place(key))

    def _place(self, key: str) -> Extent:
        if key not in self._places:
            raise TorchFault(f"it lacks the storage {key[:40]!r}, which its pickle refers to")
        return self._places[key]
