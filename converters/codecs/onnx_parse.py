"""ONNX's ``ModelProto`` on the wire → a foreign graph; no tensor is read, and the onnx package is not needed.

Source: onnx/onnx.proto (field numbers) and docs/IR.md.
"""

import struct

from ..graphs.foreign import ForeignGraph, ForeignNode, Port, Value
from ..tensors import MappedFile, TensorRef
from .onnx_tensors import NUMBERS, ExternalFiles, read_tensor
from .protobuf import I32, VARINT, Reader, WireFault, signed

_STANDARD = ("", "ai.onnx")


class Parser:
    """Reads one file. ``external`` collects the files beside it that its tensors are in."""

    def __init__(self, file: MappedFile, external: ExternalFiles) -> None:
        self.file = file
        self.external = external
        self.producer = ""
        self.opset = 0
        self.metadata: dict[str, str] = {}
        self.nodes: list[ForeignNode] = []
        self.constants: dict[str, TensorRef] = {}
        self.inputs: list[Port] = []
        self.outputs: list[Port] = []

    def parse(self) -> ForeignGraph:
        """The graph of the whole file; raises WireFault where it is none."""
        graphs = 0
        for number, message in Reader(self.file.view, 0, self.file.size).messages():
            match number:
                case 2:
                    self.producer = message.whole_text()
                case 7:
                    graphs += 1
                    self._graph(message)
                case 8:
                    self._opset(message)
                case 14:
                    key, value = message.entry()
                    self.metadata[key] = value
        if graphs != 1:
            raise WireFault(f"it holds {graphs} graphs")
        inputs = tuple(port for port in self.inputs if port.name not in self.constants)
        return ForeignGraph(
            tuple(self.nodes), self.constants, inputs, tuple(self.outputs), self.opset, self.producer, self.metadata
        )

    def _opset(self, message: Reader) -> None:
        domain, version = "", 0
        while message.more:
            match message.key():
                case 1, 2:
                    domain = message.text()
                case 2, 0:
                    version = message.varint()
                case _, wire:
                    message.skip(wire)
        if domain in _STANDARD:
            self.opset = version

    def _graph(self, graph: Reader) -> None:
        for number, message in graph.messages():
            match number:
                case 1:
                    self.nodes.append(self._node(message))
                case 5:
                    ref = read_tensor(self.file, message, self.external)
                    if ref.spec.name in self.constants:
                        raise WireFault(f"the initializer {ref.spec.name} comes twice")
                    self.constants[ref.spec.name] = ref
                case 11:
                    self.inputs.append(_port(message))
                case 12:
                    self.outputs.append(_port(message))
                case 15:
                    raise WireFault("it has sparse initializers, which no weights of ours are")

    def _node(self, message: Reader) -> ForeignNode:
        texts: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: [], 7: []}
        attributes: dict[str, Value] = {}
        for number, part in message.messages():
            if number in texts:
                texts[number].append(part.whole_text())
            elif number == 5:
                name, value = self._attribute(part)
                attributes[name] = value
        domain = "".join(texts[7][-1:])
        return ForeignNode(
            "".join(texts[4][-1:]), "".join(texts[3][-1:]), tuple(texts[1]), tuple(texts[2]), attributes,
            "" if domain in _STANDARD else domain,
        )  # fmt: skip

    def _attribute(self, message: Reader) -> tuple[str, Value]:
        name = ""
        value: Value | None = None
        floats: list[float] = []
        numbers: list[int] = []
        strings: list[str] = []
        while message.more:
            match message.key():
                case 1, 2:
                    name = message.text()
                case 2, 5:
                    value = _float(message)
                case 3, 0:
                    value = signed(message.varint())
                case 4, 2:
                    value = message.message().whole_text(errors="replace")
                case 5, 2:
                    value = read_tensor(self.file, message.message(), self.external)
                case 7, 5:
                    floats.append(_float(message))
                case 7, 2:
                    packed = message.message()
                    while packed.more:
                        floats.append(_float(packed))
                case 8, 0:
                    numbers.append(signed(message.varint()))
                case 8, 2:
                    packed = message.message()
                    while packed.more:
                        numbers.append(signed(packed.varint()))
                case 9, 2:
                    strings.append(message.message().whole_text(errors="replace"))
                case 20, 0:
                    # The kind tells an empty list from nothing.
                    value = () if (kind := message.varint()) in (6, 7, 8) and value is None else value
                    value = "(a graph)" if kind in (5, 10) else value
                case _, wire:
                    message.skip(wire)
        if floats or numbers or strings:
            return name, tuple(floats) or tuple(numbers) or tuple(strings)
        # proto3 leaves out zeros and empty texts.
        return name, 0 if value is None else value


def _float(reader: Reader) -> float:
    start = reader.position
    reader.skip(I32)
    return float(struct.unpack("<f", bytes(reader.view[start : start + 4]))[0])


def _port(message: Reader) -> Port:
    """A ``ValueInfoProto`` of a tensor."""
    name, dtype, dims = "", "", None
    for number, part in message.messages():
        if number == 1:
            name = part.whole_text()
        elif number == 2:
            for kind, tensor in part.messages():
                if kind == 1:
                    dtype, dims = _tensor_type(tensor)
    return Port(name, dtype, dims)


def _tensor_type(message: Reader) -> tuple[str, tuple[int | None, ...] | None]:
    dtype, dims = "", None
    while message.more:
        match message.key():
            case 1, 0:
                dtype = NUMBERS.get(message.varint(), "")
            case 2, 2:
                dims = tuple(_dim(dim) for number, dim in message.message().messages() if number == 1)
            case _, wire:
                message.skip(wire)
    return dtype, dims


def _dim(message: Reader) -> int | None:
    while message.more:
        number, wire = message.key()
        if (number, wire) == (1, VARINT):
            size = signed(message.varint())
            return size if size > 0 else None
        message.skip(wire)
    return None
