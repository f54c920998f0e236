"""The pieces of a PyTorch file: the zip archive of torch.save, byte for byte where a reader may rely on it.

``torch.load(mmap=True)`` with ``config.load.calculate_storage_offsets`` computes where a storage must be instead of
looking: so each entry is stored, 64-byte aligned by an extra field "FB", and followed by a data descriptor, as
torch/csrc's caffe2/serialize/inline_container.cc and its miniz write them.
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..splice import Deferred, Literal, Piece
from ..tensors import TensorRef
from . import EmbeddedRecord, torch_zip
from .pieces import tensor_piece
from .torch_magic import LOCAL_MAGIC
from .torch_pickle_writer import pickled_state_dict

ARCHIVE = "archive"
RECORD_NAME = "mshub_convert.json"
# Sizes and offsets from here on are written as 64-bit numbers.
ZIP64_FROM = torch_zip.IN_ZIP64
_ALIGNMENT = 64
_STREAMED = 1 << 3  # the checksum follows the data
_UTF8 = 1 << 11
_VERSION = 45  # of the format: with zip64
_1980 = 1 << 5 | 1  # the first day of DOS time


def archive_pieces(tensors: Sequence[TensorRef], record: EmbeddedRecord) -> list[Piece]:
    """The whole file; the record is the last entry, which torch.load never asks for."""
    archive = _Archive()
    archive.add_bytes("data.pkl", pickled_state_dict([ref.spec for ref in tensors]))
    archive.add_bytes(".format_version", b"1")
    archive.add_bytes(".storage_alignment", b"%d" % _ALIGNMENT)
    archive.add_bytes("byteorder", b"little")
    for key, ref in enumerate(tensors):
        entry = archive.begin(f"data/{key}", ref.spec.nbytes)
        archive.end(entry, tensor_piece(ref, entry.see))
    archive.add_bytes("version", b"3\n")
    archive.add_late(RECORD_NAME, len(record.draft), record.final)
    return archive.finish()


@dataclass(slots=True)
class _Entry:
    """One entry; its checksum grows while its bytes are written."""

    name: bytes
    offset: int
    length: int
    crc: int = 0

    def see(self, data: memoryview | bytes) -> None:
        self.crc = zlib.crc32(data, self.crc)

    @property
    def flags(self) -> int:
        return _UTF8 | (_STREAMED if self.length else 0)

    @property
    def zip64(self) -> bytes:
        """The extra field for what is too large for 32 bits, or nothing."""
        body = b""
        if self.length >= ZIP64_FROM:
            body += struct.pack("<2Q", self.length, self.length)
        if self.offset >= ZIP64_FROM:
            body += struct.pack("<Q", self.offset)
        return struct.pack("<2H", torch_zip.ZIP64_EXTRA, len(body)) + body if body else b""

    def local(self) -> bytes:
        """The header before the data, padded so that the data is aligned."""
        zip64 = self.zip64
        start = self.offset + torch_zip.LOCAL.size + len(self.name) + len(zip64) + 4
        padding = -start % _ALIGNMENT
        extra = zip64 + struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        head = torch_zip.LOCAL.pack(LOCAL_MAGIC, _VERSION, self.flags, 0, 0, _1980, 0, 0, 0, len(self.name), len(extra))
        return head + self.name + extra

    @property
    def descriptor_length(self) -> int:
        if not self.length:
            return 0
        return 24 if self.zip64 else 16

    def descriptor(self) -> bytes:
        """Checksum and lengths, after the data."""
        form = "<4sL2Q" if self.zip64 else "<4s3L"
        return struct.pack(form, torch_zip.DESCRIPTOR_MAGIC, self.crc, self.length, self.length)

    def central(self) -> bytes:
        """The entry of the directory."""
        zip64 = self.zip64
        length = torch_zip.IN_ZIP64 if self.length >= ZIP64_FROM else self.length
        offset = torch_zip.IN_ZIP64 if self.offset >= ZIP64_FROM else self.offset
        head = torch_zip.CENTRAL.pack(
            torch_zip.CENTRAL_MAGIC, _VERSION, _VERSION, self.flags, 0, 0, _1980, self.crc, length, length,
            len(self.name), len(zip64), 0, 0, 0, 0, offset,
        )  # fmt: skip
        return head + self.name + zip64


class _Archive:
    """Pieces and entries as they accumulate."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._entries: list[_Entry] = []
        self._position = 0

    def add_bytes(self, name: str, data: bytes) -> None:
        entry = self.begin(name, len(data))
        entry.see(data)
        self.end(entry, Literal(data))

    def add_late(self, name: str, length: int, produce: Callable[[], bytes]) -> None:
        """An entry whose bytes are known after all tensors are written, before the directory is."""
        entry = self.begin(name, length)

        def resolve() -> bytes:
            data = produce()
            entry.see(data)
            return data

        self.end(entry, Deferred(length, resolve))

    def begin(self, name: str, length: int) -> _Entry:
        entry = _Entry(f"{ARCHIVE}/{name}".encode(), self._position, length)
        self._entries.append(entry)
        self._put(Literal(entry.local()))
        return entry

    def end(self, entry: _Entry, data: Piece) -> None:
        self._put(data)
        if entry.descriptor_length:
            self._put(Deferred(entry.descriptor_length, entry.descriptor))

    def finish(self) -> list[Piece]:
        size = sum(len(entry.central()) for entry in self._entries)
        start, count = self._position, len(self._entries)
        self._put(Deferred(size, lambda: b"".join(entry.central() for entry in self._entries)))
        end64 = torch_zip.END64.pack(
            torch_zip.END64_MAGIC, torch_zip.END64.size - 12, _VERSION, _VERSION, 0, 0, count, count, size, start
        )
        locator = torch_zip.LOCATOR.pack(torch_zip.LOCATOR_MAGIC, 0, self._position, 1)
        few, small, near = min(count, 0xFFFF), min(size, torch_zip.IN_ZIP64), min(start, torch_zip.IN_ZIP64)
        end = torch_zip.END.pack(torch_zip.END_MAGIC, 0, 0, few, few, small, near, 0)
        self._put(Literal(end64 + locator + end))
        return self._pieces

    def _put(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self._position += piece.length
