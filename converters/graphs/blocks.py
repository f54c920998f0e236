"""Read a chain of foreign nodes as stem, residual blocks and head: what shapes and traits it has, as far as it fits."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ...mappings.chains import Branches, Chain
from ...mappings.graph import Node, Shape, ints
from ...mappings.traits import Traits

_Key = tuple[str, str, tuple[tuple[str, int], ...]]


@dataclass(slots=True)
class Blocks:
    """Shapes by canonical pattern, leaf and indices, as ``infer`` looks them up, and the traits that nodes tell."""

    shapes: dict[_Key, Shape] = field(default_factory=dict)
    traits: Traits = field(default_factory=Traits)

    def lookup(self, pattern: str, leaf: str, **indices: int) -> Shape | None:
        """The shape of a canonical parameter, or None."""
        return self.shapes.get((pattern, leaf, tuple(sorted(indices.items()))))


def read_blocks(steps: Chain, shapes: Mapping[str, Shape]) -> Blocks:
    """What a chain says; nothing is refused here, the matching does that."""
    found = Blocks(traits=_traits(steps))

    def put(pattern: str, node: Node, **indices: int) -> None:
        leaves = ("scale", "shift", "mean", "var") if node.op == "BatchNormalization" else ("kernel", "bias")
        for leaf, name in zip(leaves, node.inputs[1:], strict=False):
            if name in shapes:
                found.shapes[pattern, leaf, tuple(sorted(indices.items()))] = shapes[name]

    stem: list[Node] = []
    blocks: list[Branches] = []
    tail: list[Node] = []
    for step in steps:
        if isinstance(step, Branches):
            blocks.append(step)
        else:
            (tail if blocks else stem).append(step)
    convs = [node for node in stem if node.op == "Conv"]
    for k, node in enumerate(convs, start=1):
        if len(convs) == 1:
            put("stem.conv", node)
        else:
            put("stem.conv{k}", node, k=k)
    if stem and stem[0].op == "BatchNormalization":
        put("input.norm", stem[0])
    norms = [node for node in tail if node.op == "BatchNormalization"]
    # Norms between pre-activation blocks stand in the same chain; the one after the last block is the last.
    if norms and tail.index(norms[-1]) >= len(tail) - 6:
        put("final.norm", norms[-1])
    for node in tail:
        if node.op == "Gemm":
            put("head", node)
    branches = [sorted(block.chains, key=lambda chain: len(list(nodes(chain))))[::-1][:2] for block in blocks]
    # Where some shortcuts pool, the one of the first stage only has nothing to pool.
    pooled = any(node.op == "AveragePool" for _, shortcut in branches for node in nodes(shortcut))
    stage, number = 0, -1
    for main, shortcut in branches:
        stage, number = (stage + 1, 0) if shortcut and number >= 0 else (stage, number + 1)
        _put_block(put, main, shortcut, "avg_shortcut" if pooled else "shortcut", s=stage, b=number)
    return found


def _put_block(put: "_Put", main: Chain, shortcut: Chain, called: str, **here: int) -> None:
    k = 0
    for step in main:
        if isinstance(step, Branches):
            gates = [node for chain in step.chains for node in nodes(chain) if node.op == "Conv"]
            for position, node in enumerate(gates, start=1):
                put("stages.{s}.{b}.squeeze{k}", node, **here, k=position)
        elif step.op == "Conv":
            k += 1
            put("stages.{s}.{b}.conv{k}", step, **here, k=k)
    for node in nodes(shortcut):
        if node.op == "Conv":
            put(f"stages.{{s}}.{{b}}.{called}.conv", node, **here)


def nodes(steps: Chain) -> Iterator[Node]:
    """All nodes of a chain, those of its branches too."""
    for step in steps:
        if isinstance(step, Branches):
            for chain in step.chains:
                yield from nodes(chain)
            yield step.node
        else:
            yield step


def _traits(steps: Chain) -> Traits:
    """What most nodes say; one that says otherwise will not match."""
    said: dict[str, Counter[str | float]] = {name: Counter() for name in Traits().as_dict()}
    for node in nodes(steps):
        if node.op == "BatchNormalization":
            epsilon = node.attributes["epsilon"]
            said["norm_eps"][epsilon] += 1  # type: ignore[index]
        elif node.op == "MaxPool":
            said["stem_pool"][padding_style(node)] += 1
        elif node.op == "Conv" and ints(node, "strides") != (1, 1):
            kernel = ints(node, "kernel_shape")
            if kernel != (1, 1):
                said["padding"][padding_style(node)] += 1
    for step in steps:
        if isinstance(step, Branches):
            main = max(step.chains, key=lambda chain: len(list(nodes(chain))))
            convs = [node for node in main if isinstance(node, Node) and node.op == "Conv"]
            strided = [ints(node, "kernel_shape") for node in convs if ints(node, "strides") != (1, 1)]
            if len(convs) == 3 and strided:
                said["bottleneck_stride"]["1x1" if strided[0] == (1, 1) else "3x3"] += 1
    values = {name: counts.most_common(1)[0][0] for name, counts in said.items() if counts}
    return Traits().with_values(values)


def padding_style(node: Node) -> str:
    """``same`` for SAME_UPPER, and for fixed pads that equal it at even sizes; else ``symmetric``."""
    if "auto_pad" in node.attributes:
        return "same"
    top, left, bottom, right = ints(node, "pads")
    kernel = ints(node, "kernel_shape")
    if node.op == "MaxPool" and node.attributes.get("ceil_mode") and not (top or left or bottom or right):
        return "same"
    after = (kernel[0] - 1) // 2, (kernel[1] - 1) // 2
    before = (kernel[0] - 2) // 2, (kernel[1] - 2) // 2
    return "same" if (top, left) == before and (bottom, right) == after else "symmetric"


class _Put(Protocol):
    def __call__(self, pattern: str, node: Node, **indices: int) -> None: ...
