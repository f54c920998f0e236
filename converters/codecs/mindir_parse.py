"""MindSpore's ``ModelProto`` on the wire: parameters, operators and what the model says of itself; no tensor is read.

Source: mindspore/core/proto/mind_ir.proto (field numbers). An operator's attributes stand in the primitive it refers
to (``REF::Conv2D:4``); files before IR version 2 have them in the node.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..tensors import MappedFile
from .protobuf import I32, I64, Reader, WireFault, signed

Value = int | float | str | tuple[int, ...]

_REFERENCE = "REF::"
_NESTING = 4  # of tuples in tuples; paddings have two levels
_DIMS_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Operator:
    """One node: what it computes of which values."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Value]


@dataclass(slots=True)
class Model:
    """What a file holds. ``parameters`` are the spans of the graph's ``TensorProto`` messages."""

    producer: str = ""
    version: str = ""
    little_endian: bool = True
    user_info: dict[str, str] = field(default_factory=dict)
    parameters: list[Reader] = field(default_factory=list)
    inputs: list[tuple[int, ...]] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)


@dataclass(slots=True)
class _Work:
    primitives: dict[str, tuple[str, Mapping[str, Value]]] = field(default_factory=dict)
    nodes: list[tuple[str, Operator]] = field(default_factory=list)


def parse(file: MappedFile) -> Model:
    """The model; raises WireFault where there is none."""
    model, work, graphs = Model(), _Work(), 0
    reader = Reader(file.view, 0, file.size)
    while reader.more:
        match reader.key():
            case 2, 2:
                model.producer = reader.text()
            case 5, 2:
                model.version = reader.text()
            case 7, 2:
                graphs += 1
                _graph(reader.message(), model, work)
            case 8, 2:  # functions that the graph calls; they have no parameters of their own
                _graph(reader.message(), Model(), work)
            case 10, 0:
                model.little_endian = bool(reader.varint())
            case 12, 2:
                name, op, attributes = _primitive(reader.message())
                work.primitives[name] = op, attributes
            case 14, 2:
                key, value = reader.message().entry()
                model.user_info[key] = value
            case _, wire:
                reader.skip(wire)
    if graphs != 1:
        raise WireFault(f"it holds {graphs} graphs")
    model.operators = [_resolved(reference, node, work.primitives) for reference, node in work.nodes]
    return model


def _resolved(reference: str, node: Operator, primitives: Mapping[str, tuple[str, Mapping[str, Value]]]) -> Operator:
    if not reference.startswith(_REFERENCE):
        return node
    op, attributes = primitives.get(reference.removeprefix(_REFERENCE), (node.op, {}))
    return Operator(op, node.inputs, node.output, {**node.attributes, **attributes})


def _graph(graph: Reader, model: Model, work: _Work) -> None:
    while graph.more:
        match graph.key():
            case 1, 2:
                work.nodes.append(_node(graph.message()))
            case 3, 2:
                model.parameters.append(graph.message())
            case 5, 2:
                model.inputs += [_dims(port) for number, port in graph.message().messages() if number == 2]
            case 10, 2:
                raise WireFault("it has a MapParameter (hash table), which no target can hold")
            case _, wire:
                graph.skip(wire)


def _node(message: Reader) -> tuple[str, Operator]:
    inputs: list[str] = []
    op = output = ""
    attributes: dict[str, Value] = {}
    for number, part in message.messages():
        match number:
            case 1:
                inputs.append(part.whole_text())
            case 2:
                output = part.whole_text()
            case 4:
                op = part.whole_text()
            case 5:
                name, value = _attribute(part)
                attributes[name] = value
    plain = op.removeprefix(_REFERENCE).partition(":")[0]
    return op, Operator(plain, tuple(inputs), output, attributes)


def _primitive(message: Reader) -> tuple[str, str, dict[str, Value]]:
    name = op = ""
    attributes: dict[str, Value] = {}
    for number, part in message.messages():
        match number:
            case 1:
                name = part.whole_text()
            case 2:
                op = part.whole_text()
            case 3:
                key, value = _attribute(part)
                attributes[key] = value
    return name, op, attributes


def _attribute(message: Reader) -> tuple[str, Value]:
    """Name and value: a number, a text, or all integers of a (nested) tuple in order."""
    name = ""
    single: Value | None = None
    numbers = tuple(_integers(Reader(message.view, message.position, message.end), 0))
    while message.more:
        match message.key():
            case 1, 2:
                name = message.text()
            case 2, 5:
                single = _float(message, I32, "<f4")
            case 3, 0:
                single = signed(message.varint())
            case 4, 1:
                single = _float(message, I64, "<f8")
            case 5, 2:
                offset, length = message.span()
                single = bytes(message.view[offset : offset + length]).decode(errors="replace")
            case _, wire:
                message.skip(wire)
    return name, numbers if single is None else single


def _integers(message: Reader, level: int) -> Iterator[int]:
    """Integers in lists (field 10) and in nested values (field 17)."""
    while message.more:
        match message.key():
            case 10, 0:
                yield signed(message.varint())
            case 10, 2:
                packed = message.message()
                while packed.more:
                    yield signed(packed.varint())
            case 3, 0 if level:
                yield signed(message.varint())
            case 17, 2 if level < _NESTING:
                yield from _integers(message.message(), level + 1)
            case _, wire:
                message.skip(wire)


def _dims(tensor: Reader) -> tuple[int, ...]:
    """Dimensions of an input, -1 where any size will do."""
    dims: list[int] = []
    while tensor.more:
        match tensor.key():
            case 1, 0:
                dims.append(signed(tensor.varint()))
            case 1, 2:
                packed = tensor.message()
                while packed.more and len(dims) <= _DIMS_LIMIT:
                    dims.append(signed(packed.varint()))
            case _, wire:
                tensor.skip(wire)
        if len(dims) > _DIMS_LIMIT:
            raise WireFault(f"an input has more than {_DIMS_LIMIT} dimensions")
    return tuple(dims)


def _float(reader: Reader, wire: int, dtype: str) -> float:
    """A number of this dtype; as the shortest decimal that gives it, so that a float of 1e-5 is 1e-5."""
    start = reader.position
    reader.skip(wire)
    return float(str(np.frombuffer(reader.view[start : reader.position], dtype)[0]))
