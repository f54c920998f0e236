"""Find a network of ours in a foreign graph, by structure: names are a hint at most.

The graph is brought into our terms, its blocks say which architecture with which traits it would be, and that
network's own graph is then walked beside it. Every tensor of ours is found once, and what nothing uses is listed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ...mappings.architectures import Architecture, architecture, infer, known
from ...mappings.chains import Chain, NestingError, chain
from ...mappings.graph import Graph, Module, Parameter, Shape
from ...mappings.names import collapse, counted, listed
from ...mappings.traits import Traits
from ..findings import Finding, folded_notice
from ..folding import identity_norm, mean_under_bias
from ..tensors import FLOATS, TensorRef
from .blocks import read_blocks
from .constants import Constants
from .errors import ForeignGraphError
from .foreign import ForeignGraph
from .match import Layer, Match, Matcher
from .own import recover_own
from .recovered import Recovered
from .simplify import Simplified, simplify

_NEAREST = "It was compared with {}, the nearest of ours; `mshub-convert list` names the networks."
_COMMONEST = "resnet50"
_OWN_ALONE = "Of detectors and backbones an ONNX file is read as mshub-convert wrote it, with its record."


def recover(graph: ForeignGraph, *, norm_eps: float | None = None) -> Recovered:
    """The network of a graph; raises ForeignGraphError, which says at which node it stops being one of ours.

    ``norm_eps`` is the epsilon to take where every BatchNorm was folded away and none is left to tell it.
    """
    own = recover_own(graph)
    if own is not None:
        return own
    simple = simplify(graph)
    theirs = _chain(simple, _OWN_ALONE if len(graph.outputs) > 1 else "")
    shapes = {name: ref.spec.shape for name, ref in simple.constants.refs.items()}
    blocks = read_blocks(theirs, shapes)
    # Where nothing fits, walking beside the commonest of ours tells where theirs parts from it.
    network = infer(blocks.lookup) or architecture(_COMMONEST)
    traits = blocks.traits
    if norm_eps is not None and not any(node.op == "BatchNormalization" for node in simple.nodes):
        traits = traits.with_values({"norm_eps": norm_eps})
    ours = network.graph(traits)
    parameters = {parameter.key: parameter.shape for parameter in ours.parameters}
    try:
        found = Matcher({**shapes, **parameters}, simple.told).match(chain(ours), theirs)
    except ForeignGraphError as error:
        # What was made of a foreign graph may have a name that nobody knows.
        remedy = error.remedy or (_NEAREST.format(network.name) if network.name in known() else "")
        raise ForeignGraphError(f"it is none of our networks: {error.message}", remedy=remedy) from None
    return _Assembly(graph, simple, network, traits, parameters, found).recovered()


def _chain(simple: Simplified, remedy: str) -> Chain:
    """Their nodes as one chain, with constants as its parameters; ``remedy`` is for graphs that are none."""
    names = {name for node in simple.nodes for name in node.inputs if name in simple.constants.refs}
    parameters = tuple(Parameter(name, "", "", simple.constants.refs[name].spec.shape) for name in sorted(names))
    module = Module("", "", {}, "", parameters)
    try:
        return chain(Graph((module,), tuple(simple.nodes), simple.input, {"head": simple.output}, 3, {}))
    except NestingError as error:
        where = f" at {simple.told[error.value]}" if error.value in simple.told else ""
        raise ForeignGraphError(f"it is no chain of residual blocks{where}: {error.message}", remedy=remedy) from None
    except RecursionError:
        raise ForeignGraphError("it is no chain of residual blocks: it nests too deeply") from None


@dataclass(slots=True)
class _Assembly:
    graph: ForeignGraph
    simple: Simplified
    network: Architecture
    traits: Traits
    shapes: Mapping[str, Shape]
    found: Match
    tensors: dict[str, TensorRef] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notices: list[Finding] = field(default_factory=list)
    folded: int = 0
    biased: dict[str, tuple[TensorRef, str]] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)

    def recovered(self) -> Recovered:
        """Everything, once all tensors are assigned."""
        for layer in self.found.layers:
            self._assign(layer)
        self._check()
        size, batch = self._input()
        self._tell()
        return Recovered(
            self.network, self.traits, self.tensors, self.names, self.folded, batch, size,
            self.simple.input, {"head": self.simple.output}, self.values, (*self.simple.notices, *self.notices),
        )  # fmt: skip

    @property
    def constants(self) -> Constants:
        return self.simple.constants

    def _assign(self, layer: Layer) -> None:
        ours, theirs = layer.ours, layer.theirs
        keys = list(ours.inputs[1:])
        if theirs is None:
            # What the convolution before it gives is what the BatchNorm would.
            self.values[ours.output] = self.values.pop(ours.inputs[0])
            self._identity(keys, layer)
            return
        self.values[ours.output] = theirs.output
        held = [name for name in theirs.inputs if name in self.constants.refs]
        for key, name in zip(keys, held, strict=False):
            self.tensors[key] = self.constants.refs[name]
            self.names[key] = self.constants.origins.get(name, (name,))
        if ours.op == "Gemm" and len(held) < len(keys):
            rows = self.tensors[keys[0]].spec
            zeros = identity_norm(None, rows.shape[0], 0.0, rows.dtype)["shift"]
            self.tensors[keys[1]], self.names[keys[1]] = zeros, ()
            self.notices.append(Finding("bias", "its classifier has no bias: zeros are written for it"))
        if ours.op == "Conv" and len(held) > len(keys):
            self.biased[ours.output] = (self.constants.refs[held[-1]], held[-1])
        if ours.op == "BatchNormalization" and ours.inputs[0] in self.biased:
            bias, name = self.biased.pop(ours.inputs[0])
            del self.values[ours.inputs[0]]  # theirs has the bias, ours has not
            self.tensors[keys[2]] = mean_under_bias(self.tensors[keys[2]], bias)
            self.names[keys[2]] += self.constants.origins.get(name, (name,))

    def _identity(self, keys: list[str], layer: Layer) -> None:
        """A BatchNorm that was folded into the convolution before it."""
        before = layer.ours.inputs[0]
        bias = self.constants.refs[layer.bias] if layer.bias else None
        self.biased.pop(before, None)
        dtype = bias.spec.dtype if bias is not None else "float32"
        made = identity_norm(bias, self.shapes[keys[0]][0], self.traits.norm_eps, dtype)
        for key, leaf in zip(keys, ("scale", "shift", "mean", "var"), strict=True):
            self.tensors[key] = made[leaf]
            used = leaf == "shift" and layer.bias
            self.names[key] = self.constants.origins.get(layer.bias, (layer.bias,)) if used else ()
        self.folded += 1

    def _check(self) -> None:
        """Every parameter was found, in its shape, and of floats."""
        for parameter in self.network.graph(self.traits).parameters:
            if parameter.leaf == "count":
                continue
            ref = self.tensors.get(parameter.key)
            if ref is None or ref.spec.shape != parameter.shape:
                raise ForeignGraphError(f"nothing in it is {parameter.key} of {self.network.name}")
            if ref.spec.dtype not in FLOATS:
                raise ForeignGraphError(f"{ref.spec.name} ({parameter.key}) is {ref.spec.dtype}, not a float")

    def _input(self) -> tuple[tuple[int, int] | None, int | None]:
        """What the file fixes of its input; raises where it is no picture, or fixed pads do not fit it."""
        dims = next((port.dims for port in self.graph.inputs if port.name == self.simple.input), None)
        batch, channels, height, width = dims if dims is not None and len(dims) == 4 else (None,) * 4
        if (dims is not None and len(dims) != 4) or channels not in (None, 3):
            raise ForeignGraphError(f"its input {self.simple.input} is {list(dims or ())}, no pictures (N, 3, H, W)")
        size = (height, width) if height is not None and width is not None else None
        pool = self.found.pool
        if pool is not None:
            size = self._pooled(pool, size)
        if self.found.even and (size is None or any(side % 32 for side in size)):
            raise ForeignGraphError(
                f"{self.found.even} pads by fixed numbers on one side: that is stem_pool=same or padding=same at even"
                f" sizes only, and it takes {_by(size) if size else 'any size'}",
                remedy="Export it with a fixed input of a multiple of 32, such as 224x224.",
            )
        return size, batch

    def _pooled(self, pool: tuple[int, ...], size: tuple[int, int] | None) -> tuple[int, int]:
        """The input size at which an average pool is a global one."""
        last = self.network.graph(self.traits)
        height, width = size or (pool[0] * 32, pool[1] * 32)
        before = next(node for node in last.nodes if node.op == "GlobalAveragePool" and node.name == "head.pool")
        shape = last.shapes(height, width)[before.inputs[0]]
        if shape[1:] != pool:
            fact = f"its last average pool covers {_by(pool)} of {_by(shape[1:])} pixels"
            raise ForeignGraphError(fact, remedy="Our networks average over everything; export it so.")
        if size is None:
            fact = f"its average pool of {_by(pool)} is a global one at {_by((height, width))} only: taken as that"
            self.notices.append(Finding("pool", fact))
        return height, width

    def _tell(self) -> None:
        """What the user should know of how it was read."""
        if self.folded:
            self.notices.append(folded_notice(self.folded))
        moved = [key for key in self.names if key.endswith(".mean") and len(self.names[key]) > 1]
        if moved:
            worst = max(_residual(self.tensors[key]) for key in moved)
            fact = (
                f"{counted(len(moved), 'convolution')} had a bias before BatchNorm: taken off running_mean in float64,"
                f" rounded once (at most {worst:.1e} off)"
            )
            self.notices.append(Finding("conv-bias", fact))
        used = {name for names in self.names.values() for name in names}
        made = {
            name for node in self.simple.nodes for part in node.inputs for name in self.constants.origins.get(part, ())
        }
        left = [
            name for name, ref in self.graph.constants.items()
            if name not in used | made and ref.spec.dtype in FLOATS and ref.spec.size > 1
        ]  # fmt: skip
        if left:
            self.notices.append(Finding(
                "leftover", f"{counted(len(left), 'tensor')} of the file are used by nothing, and left out", tuple(left)
            ))  # fmt: skip
        if self.simple.unused:
            told = listed(collapse(self.simple.unused)[:4])
            self.notices.append(Finding("dead", f"left out nodes that do not lead to the logits: {told}"))


def _residual(ref: TensorRef) -> float:
    """How far rounding may have moved a value: half the distance to the next one."""
    return float(np.abs(np.spacing(ref.read().astype(np.float64).astype(np.float32))).max() / 2)


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
