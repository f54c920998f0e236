"""A network as a file holds it, in ONNX's terms: nodes, constants, inputs and outputs, whoever produced them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..tensors import TensorRef

# What an attribute can be: nested graphs (of If and Loop) are told by their name only.
Value = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | TensorRef


@dataclass(frozen=True, slots=True)
class ForeignNode:
    """One operator; empty names stand for optional inputs and outputs left out."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Value] = field(default_factory=dict)
    domain: str = ""

    @property
    def told(self) -> str:
        """The node as a message names it."""
        where = f"{self.domain}::" if self.domain else ""
        called = self.name or (self.outputs[0] if self.outputs else "")
        return f"{where}{self.op} {called!r}" if called else f"{where}{self.op}"


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: its dimensions are numbers where they are fixed, None where they are not."""

    name: str
    dtype: str
    dims: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class ForeignGraph:
    """A whole file. ``inputs`` are those without a constant of the same name, which old files list too."""

    nodes: tuple[ForeignNode, ...]
    constants: Mapping[str, TensorRef]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    opset: int
    producer: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
