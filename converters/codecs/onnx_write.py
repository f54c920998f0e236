"""A network of ours as the bytes of an ONNX model: everything around the tensors, which stay where they are.

Source: onnx/onnx.proto (field numbers), docs/Versioning.md (IR versions). No operator that we use changed what it
computes between opsets 13 and 21.
"""

import struct
from collections.abc import Mapping, Sequence

from ...mappings.graph import Attribute, Node
from ..splice import Literal, Piece
from ..tensors import TensorRef, TensorSpec
from . import Described, EmbeddedRecord
from .onnx_tensors import DTYPE_NUMBERS
from .pieces import DATA_SUFFIX, record_entry, tensor_piece
from .protobuf import BYTES, I32, delimited, key, number_field, varint

# opset → the IR version that came with it.
IR_VERSIONS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10}
DEFAULT_OPSET = 13
INPUT = "input"
# What outputs are called where not as in the graph.
_PORTS = {"head": "logits"}
# Two picture sizes: where the shape of an output differs between them, it follows that of the picture.
_SIZES = ((256, 256), (512, 320))
# A protobuf message ends at 2 GiB; what is around the tensors is far below a tenth of this margin.
LIMIT = (1 << 31) - (16 << 20)
_DATA_ALIGNMENT = 4096  # so that a runtime can map each tensor

# Operators whose attributes are inputs in ONNX, in their order, and the kind of constant.
_AS_CONSTANTS: Mapping[str, Mapping[str, str]] = {
    "Clip": {"min": "value_float", "max": "value_float"}, "Reshape": {"shape": "value_ints"},
}  # fmt: skip
_TO_HALF: Mapping[str, Attribute] = {"to": DTYPE_NUMBERS["float16"]}

_FLOAT, _INT, _STRING, _INTS = 1, 2, 3, 7
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
    nodes = b"".join(delimited(1, node) for node in _nodes(network, half=half))
    name = delimited(2, network.architecture.encode())
    sizes = network.input_shape or ("batch", network.graph.channels, "height", "width")
    ports = delimited(11, _port(INPUT, sizes))
    for output, dims in _outputs(network).items():
        ports += delimited(12, _port(output, (sizes[0], *dims)))
    length = len(nodes) + len(name) + sum(piece.length for piece in initializers) + len(ports)
    producer, _, version = network.tool.partition(" ")
    head = (
        number_field(1, IR_VERSIONS[network.opset]) + delimited(2, producer.encode()) + delimited(3, version.encode())
    )
    opset = delimited(8, delimited(1, b"") + number_field(2, network.opset))
    return [
        Literal(head + key(7, BYTES) + varint(length) + nodes + name),
        *initializers,
        Literal(ports + opset),
        *record_entry(_METADATA, record),
    ]


def _outputs(network: Described) -> dict[str, tuple[int | str, ...]]:
    """Name of each output, and its sizes without the first; what follows the picture's size has a name."""
    sizes = (network.input_shape[2:],) if network.input_shape else _SIZES
    found = [network.graph.shapes(height, width) for height, width in sizes]
    outputs: dict[str, tuple[int | str, ...]] = {}
    for name, value in network.graph.outputs.items():
        port = _PORTS.get(name, name)
        shapes = zip(*(shapes[value] for shapes in found), strict=True)
        outputs[port] = tuple(
            size[0] if len(set(size)) == 1 else f"{port}_{axis}" for axis, size in enumerate(shapes, start=1)
        )
    return outputs


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


def value_names(network: Described) -> dict[str, str]:
    """What the model calls the output of each node of the graph."""
    called = node_names(network)
    ports = {value: _PORTS.get(name, name) for name, value in network.graph.outputs.items()}
    return {node.output: ports.get(node.output, called[node.name]) for node in network.graph.nodes}


def _nodes(network: Described, *, half: bool) -> list[bytes]:
    """All nodes, in the graph's order, with names of the dialect; for half precision between two casts."""
    graph, slots = network.graph, network.grounding.slots
    called = node_names(network)
    values = {graph.input: INPUT}
    ports = {value: _PORTS.get(name, name) for name, value in graph.outputs.items()}
    nodes: list[bytes] = []
    if half:
        values[graph.input] = f"{INPUT}_half"
        nodes.append(_node("Cast", "cast_input", [INPUT], f"{INPUT}_half", _TO_HALF))
    for node in graph.nodes:
        inputs = []
        for name in node.inputs:
            slot = slots.get(name)
            if slot is None:
                inputs.append(values[name])
            elif len(slot.names) == 1:
                inputs.append(slot.names[0])
            else:  # a kernel that the dialect splits is joined again, which any runtime does once
                joined = f"{called[node.name]}.joined_{slot.parameter.leaf}"
                nodes.append(_node("Concat", joined, slot.names, joined, {"axis": 0}))
                inputs.append(joined)
        port = ports.get(node.output)
        values[node.output] = (f"{port}_half" if half else port) if port else called[node.name]
        nodes += _computed(node, called[node.name], inputs, values[node.output], half=half)
    if half:
        for port in ports.values():
            nodes.append(_node("Cast", f"cast_{port}", [f"{port}_half"], port, {"to": DTYPE_NUMBERS["float32"]}))
    return nodes


def _computed(node: Node, name: str, inputs: list[str], output: str, *, half: bool) -> list[bytes]:
    """A node, after the constants that ONNX has where we have attributes."""
    attributes = dict(node.attributes)
    made: list[bytes] = []
    for key_, kind in _AS_CONSTANTS.get(node.op, {}).items():
        constant = f"{name}.{key_}"
        made.append(_node("Constant", constant, [], constant, {kind: attributes.pop(key_)}))
        if half and kind == "value_float":
            made.append(_node("Cast", f"{constant}_half", [constant], f"{constant}_half", _TO_HALF))
            constant = f"{constant}_half"
        inputs.append(constant)
    return [*made, _node(node.op, name, inputs, output, attributes)]


def node_names(network: Described) -> dict[str, str]:
    """What each node is called: as its layer in the dialect; what has no layer, under the name of its block."""
    own: dict[str, str] = {}
    folders: dict[str, str] = {}
    for module in network.graph.modules:
        slot = next(
            (network.grounding.slots[p.key] for p in module.parameters if p.key in network.grounding.slots), None
        )
        if slot is None:
            continue
        layer = slot.names[0].rpartition(".")[0]
        own[module.path] = layer if len(slot.names) == 1 else layer.rpartition(".")[0]
        folders.setdefault(module.path.rpartition(".")[0], own[module.path].rpartition(".")[0])
    names: dict[str, str] = {}
    taken = {INPUT, *(_PORTS.get(name, name) for name in network.graph.outputs)}
    for node in network.graph.nodes:
        folder, _, last = node.name.rpartition(".")
        inside = folders.get(folder) if folder.startswith("stages.") else None
        wanted = own.get(node.name) or (f"{inside}.{last}" if inside else node.name)
        # A dialect may call a layer as another node is called; then that one keeps our name.
        names[node.name] = wanted if wanted not in taken else f"{node.name}:{node.op}"
        taken.add(names[node.name])
    return names


def _node(op: str, name: str, inputs: Sequence[str], output: str, attributes: Mapping[str, Attribute]) -> bytes:
    parts = [delimited(1, value.encode()) for value in inputs]
    parts += [delimited(2, output.encode()), delimited(3, name.encode()), delimited(4, op.encode())]
    parts += [delimited(5, _attribute(key_, value)) for key_, value in attributes.items()]
    return b"".join(parts)


def _attribute(name: str, value: Attribute) -> bytes:
    start = delimited(1, name.encode())
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


def _port(name: str, sizes: Sequence[int | str]) -> bytes:
    """A ``ValueInfoProto`` of float32; dimensions with a name are dynamic."""
    dims = b"".join(
        delimited(1, number_field(1, size) if isinstance(size, int) else delimited(2, size.encode())) for size in sizes
    )
    tensor = number_field(1, DTYPE_NUMBERS["float32"]) + delimited(2, dims)
    return delimited(1, name.encode()) + delimited(2, delimited(1, tensor))
