"""A MINDIR from what MindSpore exported: its graph as it is, our tensors in it, and our record.

MindSpore exports the network without weights (``verify/export.py``); their bytes go from file to file. So an export
needs little memory, and equal conversions give equal bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..splice import Literal, Piece
from ..tensors import TensorRef
from . import EmbeddedRecord
from .mindir_tensors import DATA_ALIGNMENT, DATA_HEADER
from .mindir_traits import parameter_name
from .pieces import DATA_SUFFIX, record_entry, tensor_piece
from .protobuf import BYTES, Reader, delimited, key, number_field, varint

# Where MindSpore itself begins to keep tensors beside the model; a protobuf message ends at 2 GiB.
LIMIT = 1 << 30

_GRAPH, _USER_INFO = 7, 14
_PARAMETER, _NAME, _RAW, _EXTERNAL = 3, 7, 9, 12


def model_pieces(exported: bytes, tensors: Sequence[TensorRef], record: EmbeddedRecord, file: str) -> list[Piece]:
    """The pieces of the model; tensors beyond 1 GB are only pointed to, in the file beside it."""
    reader = Reader(memoryview(exported), 0, len(exported))
    places = data_places(tensors) if is_external(tensors) else {}
    pieces: list[Piece] = []
    while reader.more:
        start = reader.position
        number, wire = reader.key()
        if (number, wire) != (_GRAPH, BYTES):
            reader.skip(wire)
            pieces.append(Literal(exported[start : reader.position]))
            continue
        graph = _graph_pieces(reader.message(), {ref.spec.name: ref for ref in tensors}, places, file + DATA_SUFFIX)
        length = sum(piece.length for piece in graph)
        pieces += [Literal(key(_GRAPH, BYTES) + varint(length)), *graph]
    return [*pieces, *record_entry(_USER_INFO, record)]


def is_external(tensors: Sequence[TensorRef]) -> bool:
    """Whether the tensors are too many bytes for one protobuf message."""
    return sum(ref.spec.nbytes for ref in tensors) > LIMIT


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor is in the file beside the model."""

    offset: int
    length: int


def data_places(tensors: Sequence[TensorRef]) -> dict[str, _Place]:
    """Where each tensor goes in the file beside the model."""
    places: dict[str, _Place] = {}
    position = len(DATA_HEADER)
    for ref in tensors:
        places[ref.spec.name] = _Place(position, ref.spec.nbytes)
        position += ref.spec.nbytes + -ref.spec.nbytes % DATA_ALIGNMENT
    return places


def data_pieces(tensors: Sequence[TensorRef]) -> list[Piece]:
    """That file: a header, then every tensor at a multiple of 64 bytes."""
    pieces: list[Piece] = [Literal(DATA_HEADER)]
    for ref in tensors:
        pieces += [tensor_piece(ref), Literal(bytes(-ref.spec.nbytes % DATA_ALIGNMENT))]
    return pieces


def _graph_pieces(
    graph: Reader, tensors: Mapping[str, TensorRef], places: Mapping[str, _Place], location: str
) -> list[Piece]:
    """The graph with the tensors at their parameters."""
    pieces: list[Piece] = []
    filled: set[str] = set()
    while graph.more:
        start = graph.position
        number, wire = graph.key()
        if (number, wire) != (_PARAMETER, BYTES):
            graph.skip(wire)
            pieces.append(Literal(bytes(graph.view[start : graph.position])))
            continue
        offset, length = graph.span()
        described = bytes(graph.view[offset : offset + length])
        name = _name(described)
        if name not in tensors or name in filled:
            raise AssertionError(f"the export has a parameter {name} too many")
        filled.add(name)
        if places:
            place = places[name]
            data = delimited(1, location.encode()) + number_field(2, place.offset) + number_field(3, place.length)
            pieces.append(Literal(delimited(_PARAMETER, described + delimited(_EXTERNAL, data))))
        else:
            nbytes = tensors[name].spec.nbytes
            head = described + key(_RAW, BYTES) + varint(nbytes)
            pieces.append(Literal(key(_PARAMETER, BYTES) + varint(len(head) + nbytes) + head))
            pieces.append(tensor_piece(tensors[name]))
    if lacking := tensors.keys() - filled:
        raise AssertionError(f"the export has no parameter {min(lacking)}")
    return _merged(pieces)


def _merged(pieces: Sequence[Piece]) -> list[Piece]:
    """The same with literals that follow one another in one piece: nodes are thousands."""
    merged: list[Piece] = []
    literals: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, Literal):
            literals.append(piece.data)
        else:
            merged += [Literal(b"".join(literals)), piece]
            literals.clear()
    return [*merged, Literal(b"".join(literals))]


def _name(described: bytes) -> str:
    fields = Reader(memoryview(described), 0, len(described)).messages()
    return parameter_name("".join(part.whole_text() for number, part in fields if number == _NAME))
