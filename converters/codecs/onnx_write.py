"""A network of ours as the bytes of an ONNX model: everything around the tensors, which stay where they are.

Source: onnx/onnx.proto (field numbers), docs/Versioning.md (IR versions). No operator that we use changed what it
computes between opsets 13 and 21.
"""

import struct
from collections.abc import Sequence

import numpy as np

from ..splice import Literal, Piece
from ..tensors import TensorRef, TensorSpec
from . import Described, EmbeddedRecord
from .onnx_detection import Ports, detection_nodes, outputs, picture
from .onnx_nodes import INPUT, OnnxNode, Value, network_nodes, ports
from .onnx_tensors import DTYPE_NUMBERS
from .pieces import DATA_SUFFIX, record_entry, tensor_piece
from .protobuf import BYTES, I32, delimited, key, number_field, varint

# opset → the IR version that came with it.
IR_VERSIONS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10}
DEFAULT_OPSET = 13
# Two picture sizes: where the shape of an output differs between them, it follows that of the picture.
_SIZES = ((256, 256), (512, 320))
# A protobuf message ends at 2 GiB; what is around the tensors is far below a tenth of this margin.
LIMIT = (1 << 31) - (16 << 20)
_DATA_ALIGNMENT = 4096  # so that a runtime can map each tensor

_FLOAT, _INT, _STRING, _TENSOR, _INTS = 1, 2, 3, 4, 7
_EXTERNAL = 1
_METADATA = 14


def model_pieces(tensors: Sequence[TensorRef], record: EmbeddedRecord, network: Described) -> list[Piece]:
    """The pieces of the model file; tensors beyond 2 GB are only pointed to."""
    external = is_external(tensors)
    offsets = data_offsets(tensors) if external else {}
    initializers: list[Piece] = []
    for ref in tensors:
        spec = ref.spec
        if external:
            initializers.append(Literal(_external_initializer(spec, network.file + DATA_SUFFIX, offsets[spec.name])))
        else:
            initializers += [Literal(_initializer_head(spec)), tensor_piece(ref)]
    half = any(ref.spec.dtype == "float16" for ref in tensors)
    nodes = [*network_nodes(network, half=half), *detection_nodes(network)]
    graph = b"".join(delimited(1, _node(node)) for node in nodes)
    name = delimited(2, network.architecture.encode())
    said = delimited(11, _port(INPUT, "float32", _input(network)))
    for output, (dtype, dims) in _outputs(network).items():
        said += delimited(12, _port(output, dtype, dims))
    length = len(graph) + len(name) + sum(piece.length for piece in initializers) + len(said)
    producer, _, version = network.tool.partition(" ")
    head = (
        number_field(1, IR_VERSIONS[network.opset]) + delimited(2, producer.encode()) + delimited(3, version.encode())
    )
    opset = delimited(8, delimited(1, b"") + number_field(2, network.opset))
    return [
        Literal(head + key(7, BYTES) + varint(length) + graph + name),
        *initializers,
        Literal(said + opset),
        *record_entry(_METADATA, record),
    ]


def _input(network: Described) -> tuple[int | str, ...]:
    """The sizes of the input; anchors are for one size of picture, whatever the number of pictures."""
    if network.input_shape:
        return network.input_shape
    sides = ("height", "width") if network.heads == "raw" else picture(network)
    return ("batch", network.graph.channels, *sides)


def _outputs(network: Described) -> Ports:
    """Name of each output, its dtype and sizes; what follows the picture's size has a name."""
    if network.heads != "raw":
        return outputs(network)
    sizes = (network.input_shape[2:],) if network.input_shape else _SIZES
    found = [network.graph.shapes(height, width) for height, width in sizes]
    given: dict[str, tuple[str, tuple[int | str, ...]]] = {}
    for value, port in ports(network).items():
        shapes = zip(*(shapes[value] for shapes in found), strict=True)
        dims = [size[0] if len(set(size)) == 1 else f"{port}_{axis}" for axis, size in enumerate(shapes, start=1)]
        given[port] = "float32", (_input(network)[0], *dims)
    return given


def is_external(tensors: Sequence[TensorRef]) -> bool:
    """Whether the tensors are too many bytes for one protobuf message."""
    return sum(ref.spec.nbytes for ref in tensors) > LIMIT


def data_pieces(tensors: Sequence[TensorRef]) -> list[Piece]:
    """The file of external data: every tensor at a multiple of the page size."""
    pieces: list[Piece] = []
    position = 0
    for ref, offset in zip(tensors, data_offsets(tensors).values(), strict=True):
        if offset > position:
            pieces.append(Literal(bytes(offset - position)))
        pieces.append(tensor_piece(ref))
        position = offset + ref.spec.nbytes
    return pieces


def data_offsets(tensors: Sequence[TensorRef]) -> dict[str, int]:
    """Where each tensor starts in that file."""
    offsets: dict[str, int] = {}
    position = 0
    for ref in tensors:
        position += -position % _DATA_ALIGNMENT
        offsets[ref.spec.name] = position
        position += ref.spec.nbytes
    return offsets


def _node(node: OnnxNode) -> bytes:
    parts = [delimited(1, value.encode()) for value in node.inputs]
    parts += [delimited(2, value.encode()) for value in node.outputs]
    parts += [delimited(3, node.name.encode()), delimited(4, node.op.encode())]
    parts += [delimited(5, _attribute(name, value)) for name, value in node.attributes.items()]
    return b"".join(parts)


def _attribute(name: str, value: Value) -> bytes:
    start = delimited(1, name.encode())
    if isinstance(value, np.ndarray):
        spec = TensorSpec("", value.shape, value.dtype.name)
        return start + delimited(5, _described_tensor(spec) + delimited(9, value.tobytes())) + number_field(20, _TENSOR)
    if isinstance(value, tuple):
        return start + b"".join(number_field(8, item) for item in value) + number_field(20, _INTS)
    if isinstance(value, str):
        return start + delimited(4, value.encode()) + number_field(20, _STRING)
    if isinstance(value, float):
        return start + key(2, I32) + struct.pack("<f", value) + number_field(20, _FLOAT)
    return start + number_field(3, value) + number_field(20, _INT)


def _initializer_head(spec: TensorSpec) -> bytes:
    """Everything of an initializer before the bytes of its tensor."""
    head = _described_tensor(spec) + key(9, BYTES) + varint(spec.nbytes)
    return key(5, BYTES) + varint(len(head) + spec.nbytes) + head


def _external_initializer(spec: TensorSpec, location: str, offset: int) -> bytes:
    entries = (("location", location), ("offset", str(offset)), ("length", str(spec.nbytes)))
    told = b"".join(delimited(13, delimited(1, k.encode()) + delimited(2, v.encode())) for k, v in entries)
    return delimited(5, _described_tensor(spec) + told + number_field(14, _EXTERNAL))


def _described_tensor(spec: TensorSpec) -> bytes:
    dims = b"".join(number_field(1, size) for size in spec.shape)
    return dims + number_field(2, DTYPE_NUMBERS[spec.dtype]) + delimited(8, spec.name.encode())


def _port(name: str, dtype: str, sizes: Sequence[int | str]) -> bytes:
    """A ``ValueInfoProto``; dimensions with a name are dynamic."""
    dims = b"".join(
        delimited(1, number_field(1, size) if isinstance(size, int) else delimited(2, size.encode())) for size in sizes
    )
    tensor = number_field(1, DTYPE_NUMBERS[dtype]) + delimited(2, dims)
    return delimited(1, name.encode()) + delimited(2, delimited(1, tensor))
