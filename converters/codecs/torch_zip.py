"""The zip archive around a PyTorch file: its directory, read without touching the entries, and their checksums.

Format: PKWARE APPNOTE.TXT 6.3.10. PyTorch stores its entries uncompressed, so that each is a range of the file.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from ..splice import views
from ..tensors import Extent, MappedFile
from .torch_faults import TorchFault
from .torch_magic import LOCAL_MAGIC

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
CENTRAL_MAGIC, END_MAGIC = b"PK\x01\x02", b"PK\x05\x06"
END64_MAGIC, LOCATOR_MAGIC, DESCRIPTOR_MAGIC = b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08"
ZIP64_EXTRA = 1
IN_ZIP64 = 0xFFFFFFFF
_ENCRYPTED = 1
_COMMENT_LIMIT = 0xFFFF
_ENTRIES_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: where its bytes are, and their checksum (0 where torch.save was told to take none).

    ``packing`` is "compressed" or "encrypted" where the bytes are not the content itself.
    """

    name: str
    extent: Extent
    crc: int
    packing: str = ""


def read_directory(file: MappedFile) -> dict[str, Entry]:
    """All entries by name, in the directory's order; raises ``TorchFault``."""
    count, start, size = _end(file)
    if start + size > file.size:
        raise TorchFault(f"its directory should end at byte {start + size}, the file at {file.size}: it is truncated")
    if count > _ENTRIES_LIMIT or count * CENTRAL.size > size:
        raise TorchFault(f"its directory of {size} bytes cannot hold {count} entries")
    directory = file.view[start : start + size]
    entries: dict[str, Entry] = {}
    spans: list[tuple[int, int, str]] = []
    at = 0
    for _ in range(count):
        line = _line(directory, at)
        at = line.after
        if line.name in entries:
            raise TorchFault(f"its entry {line.name} comes twice")
        extent = _data(file, line)
        entries[line.name] = Entry(line.name, extent, line.crc, line.packing)
        spans.append((line.offset, extent.offset + extent.length, line.name))
    _check_apart(spans, start)
    return entries


def check_sums(entries: Mapping[str, Entry]) -> None:
    """Read all entries; raises ``TorchFault`` on the first checksum that does not fit."""
    for entry in entries.values():
        crc = 0
        for view in views([entry.extent]) if entry.crc else ():
            crc = zlib.crc32(view, crc)
        if crc != entry.crc:
            raise TorchFault(
                f"the crc32 of {entry.name} is {crc:08x}, its directory says {entry.crc:08x}: it is corrupt"
            )


def _end(file: MappedFile) -> tuple[int, int, int]:
    """Number of entries, and offset and size of the directory."""
    floor = max(0, file.size - END.size - _COMMENT_LIMIT)
    at = bytes(file.view[floor:]).rfind(END_MAGIC)
    if at < 0 or floor + at + END.size > file.size:
        raise TorchFault(f"no zip directory before its end at byte {file.size}: it is truncated")
    at += floor
    _, _, _, _, count, size, start, _ = END.unpack_from(file.view, at)
    locator = at - LOCATOR.size
    if locator >= 0 and file.view[locator : locator + 4] == LOCATOR_MAGIC:
        _, _, at64, _ = LOCATOR.unpack_from(file.view, locator)
        if at64 + END64.size > locator or file.view[at64 : at64 + 4] != END64_MAGIC:
            raise TorchFault(f"its zip64 directory end is not at byte {at64}")
        count, size, start = END64.unpack_from(file.view, at64)[-3:]
    return count, start, size


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the directory; ``after`` is where the next one begins."""

    name: str
    crc: int
    offset: int
    length: int
    packing: str
    after: int


def _line(directory: memoryview, at: int) -> _Line:
    if at + CENTRAL.size > len(directory) or directory[at : at + 4] != CENTRAL_MAGIC:
        raise TorchFault(f"no directory entry where one is due, {at} bytes into the directory")
    _, _, _, flags, method, _, _, crc, packed, length, name_size, extra_size, comment_size, _, _, _, offset = (
        CENTRAL.unpack_from(directory, at)
    )
    at += CENTRAL.size
    extra = at + name_size
    after = extra + extra_size + comment_size
    if after > len(directory):
        raise TorchFault("its directory ends within an entry")
    raw = bytes(directory[at:extra])
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise TorchFault(f"an entry has the name {raw[:80]!r}, which is not UTF-8") from None
    length, packed, offset = _widened(name, bytes(directory[extra : extra + extra_size]), length, packed, offset)
    packing = "encrypted" if flags & _ENCRYPTED else "compressed" if method or packed != length else ""
    return _Line(name, crc, offset, packed, packing, after)


def _widened(name: str, extra: bytes, *numbers: int) -> list[int]:
    """Length, packed length and offset, taken from the zip64 extra field where the 32-bit ones say so."""
    wide: list[int] = []
    at = 0
    while at + 4 <= len(extra):
        tag, size = struct.unpack_from("<2H", extra, at)
        if tag == ZIP64_EXTRA:
            body = extra[at + 4 : at + 4 + size]
            wide = [value for (value,) in struct.iter_unpack("<Q", body[: len(body) // 8 * 8])]
        at += 4 + size
    rest = iter(wide)
    try:
        return [next(rest) if number == IN_ZIP64 else number for number in numbers]
    except StopIteration:
        raise TorchFault(f"its entry {name} lacks the zip64 field that its size refers to") from None


def _data(file: MappedFile, line: _Line) -> Extent:
    """Where the bytes of an entry are: its local header has a name and extra fields of its own length."""
    if line.offset + LOCAL.size > file.size:
        raise TorchFault(f"its entry {line.name} should start at byte {line.offset}, of {file.size}: it is truncated")
    magic, *_, name_size, extra_size = LOCAL.unpack_from(file.view, line.offset)
    name = line.offset + LOCAL.size
    start = name + name_size + extra_size
    if magic != LOCAL_MAGIC or file.view[name : name + name_size] != line.name.encode():
        raise TorchFault(
            f"its entry {line.name} is not at byte {line.offset}, where the directory has it: it is corrupt"
        )
    if start + line.length > file.size:
        raise TorchFault(
            f"its entry {line.name} should end at byte {start + line.length}, of {file.size}: it is truncated"
        )
    return Extent(file, start, line.length)


def _check_apart(spans: list[tuple[int, int, str]], end: int) -> None:
    """Entries that share bytes are the mark of a crafted archive."""
    spans.sort()
    for (_, before, name), (start, _, after) in zip(spans, [*spans[1:], (end, 0, "the directory")], strict=True):
        if before > start:
            raise TorchFault(f"its entry {name} ends at byte {before}, within {after}, which starts at {start}")
