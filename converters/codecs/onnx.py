"""ONNX models (.onnx): the network and its weights, read and written without the onnx package.

Source: onnx/onnx.proto. Reading gives every initializer under its own name, and the graph for whoever looks for a
network of ours in it.
"""

from collections.abc import Mapping, Sequence

from ..errors import MalformedFileError, shown
from ..splice import Piece
from ..tensors import Checkpoint, MappedFile, TensorRef
from . import Described, EmbeddedRecord
from .onnx_parse import Parser
from .onnx_tensors import ExternalFiles
from .onnx_write import data_pieces, is_external, model_pieces
from .pieces import DATA_SUFFIX, RECORD_KEY
from .protobuf import BYTES, VARINT, Reader, WireFault
from .record_text import parse_record

# Fields of a ModelProto that may come second, and their wire type.
_FIELDS = {2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES, 25: BYTES}
_IR_LIMIT = 1000


class Onnx:
    """The codec."""

    name = "onnx"
    title = "ONNX"
    suffixes = (".onnx",)
    dtypes = frozenset({"float32", "float16"})
    holds_graph = True
    exported_by = ""

    def sniff(self, head: bytes) -> bool:
        """A ``ModelProto`` that starts with its IR version, as every producer writes it."""
        reader = Reader(memoryview(head), 0, len(head))
        try:
            if reader.key() != (1, VARINT) or not 0 < reader.varint() < _IR_LIMIT:
                return False
            number, wire = reader.key()
            return _FIELDS.get(number) == wire
        except WireFault:
            return False

    def open(self, file: MappedFile) -> Checkpoint:
        """Walk nodes and initializers; tensors in files beside the model are found there."""
        external = ExternalFiles(file.path)
        try:
            graph = Parser(file, external).parse()
        except WireFault as fault:
            external.close()
            raise MalformedFileError(
                f"{file.path} is not a valid ONNX model: {shown(str(fault))}", remedy="Download or save it again."
            ) from None
        except BaseException:
            external.close()
            raise
        return Checkpoint(
            file.path, self.name, graph.constants, record=parse_record(graph.metadata.get(RECORD_KEY)),
            metadata={"producer": graph.producer, "opset": graph.opset, **_plain(graph.metadata)},
            graph=graph, beside=external,
        )  # fmt: skip

    def layout(
        self,
        tensors: Sequence[TensorRef],
        record: EmbeddedRecord,
        *,
        framework: str,
        network: Described | None = None,
    ) -> list[Piece]:
        """The graph, then the tensors (or where they are in the file beside), then the record."""
        if network is None:
            raise TypeError("an ONNX file holds a network: give one")
        return model_pieces(tensors, record, network)

    def beside(self, tensors: Sequence[TensorRef]) -> Mapping[str, list[Piece]]:
        """The tensors, where they are too many for one protobuf message."""
        return {DATA_SUFFIX: data_pieces(tensors)} if is_external(tensors) else {}


def _plain(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key != RECORD_KEY}


CODEC = Onnx()
