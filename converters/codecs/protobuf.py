"""Protocol buffers on the wire, as far as weights need them: varints, keys and length-delimited fields.

Format: protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator

VARINT, I64, BYTES, I32 = 0, 1, 2, 5
_FIXED = {I64: 8, I32: 4}


class WireFault(Exception):  # noqa: N818 - a codec turns it into a MalformedFileError that names the file
    """What is wrong, with the place of it."""


class Reader:
    """A cursor over the bytes from ``position`` to ``end`` of a view; no step goes beyond."""

    def __init__(self, view: memoryview, position: int, end: int) -> None:
        self.view = view
        self.position = position
        self.end = end

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self.position < self.end

    def varint(self) -> int:
        """The next number, unsigned, of at most 64 bits."""
        start, result = self.position, 0
        for shift in range(0, 70, 7):
            if self.position >= self.end:
                raise WireFault(f"a number at byte {start} goes beyond the end at {self.end}: truncated or corrupt")
            byte = self.view[self.position]
            self.position += 1
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result & 0xFFFFFFFFFFFFFFFF
        raise WireFault(f"the number at byte {start} has more than 64 bits")

    def key(self) -> tuple[int, int]:
        """Number and wire type of the next field."""
        start = self.position
        number = self.varint()
        if not number >> 3:
            raise WireFault(f"no field starts at byte {start}")
        return number >> 3, number & 7

    def span(self) -> tuple[int, int]:
        """Offset and length of a length-delimited field; the cursor goes behind it."""
        length = self.varint()
        offset = self.position
        self._advance(length)
        return offset, length

    def message(self) -> "Reader":
        """A cursor over a field that is a message itself; this cursor goes behind it."""
        offset, length = self.span()
        return Reader(self.view, offset, offset + length)

    def messages(self) -> Iterator[tuple[int, "Reader"]]:
        """Numbers of the length-delimited fields, and cursors over them; fields of other kinds are skipped."""
        while self.more:
            number, wire = self.key()
            if wire == BYTES:
                yield number, self.message()
            else:
                self.skip(wire)

    def text(self) -> str:
        """A field of text."""
        return self.message().whole_text()

    def whole_text(self, errors: str = "strict") -> str:
        """All that is left, as text; ``errors`` as ``bytes.decode`` has it."""
        try:
            return bytes(self.view[self.position : self.end]).decode(errors=errors)
        except UnicodeDecodeError:
            raise WireFault(f"the text at byte {self.position} is not UTF-8") from None

    def entry(self) -> tuple[str, str]:
        """All that is left, as an entry of a map of texts: key and value."""
        texts = {1: "", 2: ""}
        for number, part in self.messages():
            if number in texts:
                texts[number] = part.whole_text()
        return texts[1], texts[2]

    def skip(self, wire: int) -> None:
        """Go behind the value of a field of this wire type."""
        if wire == VARINT:
            self.varint()
        elif wire == BYTES:
            self.span()
        elif wire in _FIXED:
            self._advance(_FIXED[wire])
        else:
            raise WireFault(f"a field before byte {self.position} has the unknown wire type {wire}")

    def _advance(self, length: int) -> None:
        if self.position + length > self.end:
            raise WireFault(
                f"what starts at byte {self.position} should go on to {self.position + length}, beyond the end at"
                f" {self.end}: truncated or corrupt"
            )
        self.position += length


def key(field: int, wire: int) -> bytes:
    """The key that goes before a field."""
    return varint(field << 3 | wire)


def number_field(field: int, value: int) -> bytes:
    """A whole field that is a number."""
    return key(field, VARINT) + varint(value)


def varint(number: int) -> bytes:
    """A number in groups of seven bits; a negative one as the int64 that it is."""
    number &= (1 << 64) - 1
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def signed(number: int) -> int:
    """A varint read as an int64."""
    return number - (1 << 64) if number >> 63 else number


def delimited(field: int, data: bytes) -> bytes:
    """A whole length-delimited field."""
    return key(field, BYTES) + varint(len(data)) + data
