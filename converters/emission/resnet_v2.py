"""Pre-activation ResNets as a MindSpore module: what its template is filled with."""

from typing import Any

from ...mappings.architectures.resnet_v2 import ResNetV2
from ...mappings.dialects import Grounding
from ...mappings.traits import Traits
from .cells import Step, arrange
from .errors import EmissionError
from .naming import Names, names_of
from .steps import BLOCKS, MAX_POOL, RELU, convolution, convolutions, figures, head, stages


def context(network: ResNetV2, grounding: Grounding, traits: Traits) -> dict[str, Any]:
    """Names and expressions for the template, by what it calls them."""
    names = names_of(grounding)
    if len(names.inside["norm1"]) > 1:
        said = ".".join(names.inside["norm1"])
        raise EmissionError(f"{said}, the first norm of a block, is not a cell of the block itself")
    bottleneck, indices = network.block == "bottleneck", range(len(network.depths))
    widths = [64 << index for index in indices] if bottleneck else ()
    return {
        "network": "ResNet",
        "root": arrange(_root(network, names)),
        "branch": arrange(_branch(network, names, traits)),
        "shortcut": arrange(_shortcut(names)),
        "bottleneck": bottleneck,
        "block": BLOCKS[network.block],
        "block_name": names.block_name,
        "stem": 64,
        "constants": figures(network.classes, traits, network.depths, widths, map(network.channels, indices)),
    }


def _root(network: ResNetV2, names: Names) -> list[Step]:
    """What the whole network does, one step after the other."""
    return [
        Step("norm(3)", names.outside["input.norm"]),
        Step("conv(3, 64, 7, stride=2)", names.outside["stem.conv"]),
        Step("norm(64)", names.outside["stem.norm"]), RELU, MAX_POOL,
        *stages(names, len(network.depths)),
        Step("norm(CHANNELS[-1])", names.outside["final.norm"], begins=True), RELU, *head(names),
    ]  # fmt: skip


def _branch(network: ResNetV2, names: Names, traits: Traits) -> list[Step]:
    """Norm, ReLU and convolution, two or three times."""
    steps: list[Step] = []
    for k, (before, _, arguments) in enumerate(convolutions(network.block, traits), start=1):
        steps.append(Step(f"norm({before})", names.inside[f"norm{k}"], begins=k > 1))
        steps += [RELU, convolution(arguments, names.inside[f"conv{k}"])]
    return steps


def _shortcut(names: Names) -> list[Step]:
    path = names.inside.get("shortcut.conv")
    return [convolution("before, after, 1, stride", path)] if path else []
