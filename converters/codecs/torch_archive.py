"""The zip format of torch.save, since PyTorch 1.6: ``<name>/data.pkl``, and ``<name>/data/<key>`` for each storage."""

from collections.abc import Mapping

from ..tensors import DTYPES, MappedFile
from .pickle_machine import PickleMachine
from .torch_faults import TorchFault
from .torch_tensors import Storage
from .torch_world import TorchWorld
from .torch_zip import Entry, read_directory

_PICKLE = "data.pkl"
_WEIGHTS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".tar")


class TorchArchive:
    """An archive whose directory has been read."""

    def __init__(self, file: MappedFile) -> None:
        self.entries = read_directory(file)
        self._root = _root(self.entries)
        self._check_kind()

    def value(self) -> object:
        """The saved object, its tensors unread."""
        return PickleMachine(self.entries[self._root + _PICKLE].extent.view, TorchWorld(self._storage)).run()

    def content(self, name: str) -> bytes | None:
        """The content of an entry beside ``data.pkl``."""
        entry = self.entries.get(self._root + name)
        return bytes(entry.extent.view) if entry else None

    def _check_kind(self) -> None:
        root = self._root
        if f"{root}constants.pkl" in self.entries or any(name.startswith(f"{root}code/") for name in self.entries):
            raise TorchFault(
                "it is a TorchScript archive: a program with weights",
                remedy="Save its weights alone: torch.save(torch.jit.load(path).state_dict(), other).",
            )
        for entry in self.entries.values():
            if entry.packing:
                raise TorchFault(
                    f"its entry {entry.name} is {entry.packing}, which torch.save never does",
                    remedy="Unpack it and pack it again with `zip -0 -r`, or torch.load and torch.save it.",
                )
        order = self.content("byteorder") or b"little"
        if order != b"little":
            raise TorchFault(
                f"its numbers are {order[:10].decode('ascii', 'replace')}-endian, which is not read",
                remedy="Load and save it again with PyTorch on a little-endian machine.",
            )

    def _storage(self, key: str, dtype: str, length: int) -> Storage:
        name = f"{self._root}data/{key}"
        entry = self.entries.get(name)
        if entry is None:
            raise TorchFault(f"it lacks the entry {name}, which its pickle refers to")
        needed = length * (DTYPES[dtype].itemsize if dtype in DTYPES else 1)
        if needed > entry.extent.length:
            raise TorchFault(f"its entry {name} has {entry.extent.length} bytes where its pickle needs {needed}")
        return Storage(dtype, length, lambda: entry.extent)


def _root(entries: Mapping[str, Entry]) -> str:
    """The folder of ``data.pkl`` within the archive, with a slash."""
    roots = [name.removesuffix(_PICKLE) for name in entries if name.endswith(f"/{_PICKLE}")]
    if len(roots) == 1:
        return roots[0]
    inside = [name for name in entries if name.endswith(_WEIGHTS)]
    if roots:
        fact = (
            f"it is a zip archive with {len(roots)} pickles ({', '.join(roots[:3])}...), which torch.save did not write"
        )
    elif entries and all(name.endswith(".npy") for name in entries):
        fact = "it is a NumPy .npz archive, which is not read"
    else:
        fact = f"it is a zip archive without {_PICKLE}, which torch.save did not write"
    raise TorchFault(
        fact, remedy=f"Unpack it and give {inside[0]}." if inside else "Give a .ckpt, .safetensors or .pth file."
    )
