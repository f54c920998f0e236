"""ResNet and ResNeXt as a MindSpore module: what its template is filled with."""

from typing import Any

from ...mappings.architectures.resnet import ResNet
from ...mappings.dialects import Grounding
from ...mappings.traits import Traits
from .cells import Step, arrange
from .errors import EmissionError
from .naming import Names, Path, names_of
from .steps import (
    AVERAGE_POOL,
    BLOCKS,
    MAX_POOL,
    RELU,
    SIGMOID,
    convolution,
    convolutions,
    figures,
    head,
    stages,
)


def context(network: ResNet, grounding: Grounding, traits: Traits) -> dict[str, Any]:
    """Names and expressions for the template, by what it calls them."""
    names = names_of(grounding)
    return {
        "network": "ResNet",
        **blocks(network, names, traits, dense="squeeze" in grounding.dialect.dense),
        "root": arrange([*trunk(network, names), *head(names)]),
        "constants": _figures(network, traits),
    }


def blocks(network: ResNet, names: Names, traits: Traits, *, dense: bool = False) -> dict[str, Any]:
    """What the template says of blocks and stages; ``dense`` where squeeze-and-excitation has dense layers."""
    return {
        "branch": arrange(_branch(network, names, traits)),
        "shortcut": arrange(_shortcut(network, names)),
        "gate": arrange(_gate(names, dense=dense)) if network.squeeze else (),
        "dense": dense,
        "split": next((path[-2] for path in names.inside.values() if path[-1] == "{g}"), ""),
        "bottleneck": network.block == "bottleneck",
        "block": BLOCKS[network.block],
        "block_name": names.block_name,
        "stem": network.stem[-1],
    }


def _figures(network: ResNet, traits: Traits) -> dict[str, str]:
    indices = range(len(network.depths))
    widths = map(network.width, indices) if network.block == "bottleneck" else ()
    found = figures(network.classes, traits, network.depths, widths, map(network.channels, indices))
    if network.squeeze:
        found["SQUEEZED"] = repr(network.squeeze)
    if network.cardinality > 1:
        found["GROUPS"] = str(network.cardinality)
    return found


def trunk(network: ResNet, names: Names) -> list[Step]:
    """What the network does before its head, one step after the other."""
    before, steps = 3, []
    for index, width in enumerate(network.stem, start=1):
        key, size = (str(index), 3) if len(network.stem) > 1 else ("", 7)
        stride = ", stride=2" if index == 1 else ""
        steps += [
            Step(f"conv({before}, {width}, {size}{stride})", names.outside[f"stem.conv{key}"], begins=True),
            Step(f"norm({width})", names.outside[f"stem.norm{key}"]),
            RELU,
        ]
        before = width
    return [*steps, MAX_POOL, *stages(names, len(network.depths))]


def _branch(network: ResNet, names: Names, traits: Traits) -> list[Step]:
    """The convolutions of a block with their norms, and squeeze-and-excitation."""
    steps: list[Step] = []
    for k, (_, after, arguments) in enumerate(convolutions(network.block, traits, network.cardinality), start=1):
        steps += [RELU] if k > 1 else []
        steps.append(convolution(arguments, names.inside[f"conv{k}"], begins=True))
        steps.append(Step(f"norm({after})", names.inside[f"norm{k}"]))
    if network.squeeze:
        steps.append(Step("SqueezeExcitation(after, squeezed)", _gate_path(names), begins=True))
    return steps


def _shortcut(network: ResNet, names: Names) -> list[Step]:
    """The layers of a shortcut; none where every block hands on what it gets."""
    role = "shortcut" if network.shortcut == "conv" else "avg_shortcut"
    if f"{role}.conv" not in names.inside:
        return []
    strides = any(depth > 0 for depth in network.depths[1:])
    pool = [AVERAGE_POOL] if role == "avg_shortcut" and strides else []
    stride = "" if role == "avg_shortcut" else ", stride"
    return [
        *pool, Step(f"conv(before, after, 1{stride})", names.inside[f"{role}.conv"]),
        Step("norm(after)", names.inside[f"{role}.norm"]),
    ]  # fmt: skip


def _gate_path(names: Names) -> Path:
    """Where a block has its squeeze-and-excitation."""
    first, second = names.inside["squeeze1"], names.inside["squeeze2"]
    if len(first) < 2 or first[:-1] != second[:-1]:
        both = f"{'.'.join(first)} and {'.'.join(second)}"
        raise EmissionError(f"{both}, the layers of squeeze-and-excitation, are not in one cell of a block")
    return first[:-1]


def _gate(names: Names, *, dense: bool) -> list[Step]:
    layer = "nn.Dense({})" if dense else "nn.Conv2d({}, 1, has_bias=True)"
    first, second = (names.inside[role][-1:] for role in ("squeeze1", "squeeze2"))
    reduce, expand = Step(layer.format("channels, squeezed"), first), Step(layer.format("squeezed, channels"), second)
    return [reduce, RELU, expand, SIGMOID]
