"""Pre-activation ResNets (v2): norm and ReLU stand before each convolution, and a norm stands before all.

Sources: He et al. 2016 (arXiv:1603.05027); structure, widths and names as MXNet Gluon's ``resnet50_v2`` has them
(gluon/model_zoo/vision/resnet.py). timm's ``resnetv2_*`` are other networks.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ..errors import MappingError
from ..graph import Graph
from ..names import listed
from ..traits import Traits
from .builder import Builder
from .resnet_names import EXPANSION, Block

# Four: a norm, a stem convolution, its norm, ReLU and pool go before the stages and count in Gluon's names, so that
# the number of stages is part of them. The limit on blocks keeps a hostile shape from asking for millions.
STAGES, MAX_BLOCKS = 4, 512
FAMILY = "resnet_v2"

_PUBLISHED: Mapping[str, tuple[tuple[int, ...], Block]] = {
    "18": ((2, 2, 2, 2), "basic"),
    "34": ((3, 4, 6, 3), "basic"),
    "50": ((3, 4, 6, 3), "bottleneck"),
    "101": ((3, 4, 23, 3), "bottleneck"),
    "152": ((3, 8, 36, 3), "bottleneck"),
}
NAMES = tuple(f"resnet{depth}_v2" for depth in _PUBLISHED)

_NAME = re.compile(r"resnet(?:(?P<depth>[0-9]{2,3})|_(?P<depths>[0-9]{1,3}(?:-[0-9]{1,3}){3})_(?P<block>[a-z]+))_v2")


@dataclass(frozen=True, slots=True)
class ResNetV2:
    """A pre-activation ResNet of four stages; ``depths`` are the blocks of each, ``block`` what they are."""

    depths: tuple[int, ...]
    block: Block = "bottleneck"
    classes: int = 1000

    def __post_init__(self) -> None:
        wrong = []
        if len(self.depths) != STAGES or not all(1 <= depth <= MAX_BLOCKS for depth in self.depths):
            wrong.append(f"depths={self.depths}")
        if self.block not in EXPANSION:
            wrong.append(f"block={self.block}")
        if self.classes < 1:
            wrong.append(f"classes={self.classes}")
        if wrong:
            raise MappingError(
                f"no pre-activation ResNet has {listed(wrong)}",
                remedy=f"{STAGES} stages of up to {MAX_BLOCKS} basic or bottleneck blocks, at least one class.",
            )

    @property
    def name(self) -> str:
        """Gluon's name where it has the network; other depths are spelt out. ``parse`` reads it back."""
        spelt_out = f"_{'-'.join(map(str, self.depths))}_{self.block}"
        said = next((key for key, value in _PUBLISHED.items() if value == (self.depths, self.block)), spelt_out)
        return f"resnet{said}_v2"

    def channels(self, stage: int) -> int:
        """Channels that the blocks of a stage hand on."""
        return (64 << stage) * EXPANSION[self.block]

    @property
    def side(self) -> int:
        """Pixels of a side of the pictures that it is made for."""
        return 224

    def with_classes(self, classes: int) -> "ResNetV2":
        """The same network with another classifier."""
        return replace(self, classes=classes)

    @property
    def backbone(self) -> None:
        """None: what comes before the classifier ends in a BatchNorm of its own."""

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "family": FAMILY, "name": self.name, "depths": list(self.depths), "block": self.block,
            "classes": self.classes,
        }  # fmt: skip

    def graph(self, traits: Traits | None = None) -> Graph:
        """The graph with these traits."""
        return _graph(self, traits or Traits())

    def build(self, traits: Traits) -> Graph:
        """Build the graph afresh."""
        builder = Builder(traits)
        value = builder.norm("input.norm", "input", 3)
        value = builder.conv("stem.conv", value, 3, 64, kernel=7, stride=2)
        value = builder.norm("stem.norm", value, 64)
        value = builder.node("Relu", "stem.relu", value)
        value = builder.stem_pool("stem.pool", value)
        taps = {"stem": value}
        channels = 64
        for stage, depth in enumerate(self.depths):
            for block in range(depth):
                stride = 2 if block == 0 and stage > 0 else 1
                value = self._block(builder, value, stage, block, channels, stride)
                channels = self.channels(stage)
            taps[f"stages.{stage}"] = value
        value = builder.norm("final.norm", value, channels)
        value = builder.node("Relu", "final.relu", value)
        value = builder.node("GlobalAveragePool", "head.pool", value)
        taps["head.pool"] = value
        value = builder.node("Flatten", "head.flatten", value, axis=1)
        value = builder.linear("head", value, channels, self.classes)
        taps["head"] = value
        return builder.graph({"head": value}, taps)

    def _block(self, builder: Builder, value: str, stage: int, block: int, channels: int, stride: int) -> str:
        """Norm, ReLU and convolution, two or three times; the shortcut convolves what the first ReLU gives."""
        place, here, out = f"stages.{stage}.{block}", {"s": stage, "b": block}, self.channels(stage)
        layers = self._layers(builder.traits, stage, channels, stride)
        branch, activated = value, ""
        for k, (before, after, kernel, step) in enumerate(layers, start=1):
            at = {**here, "k": k}
            branch = builder.norm("stages.{s}.{b}.norm{k}", branch, before, at=at)
            branch = builder.node("Relu", f"{place}.relu{k}", branch)
            activated = activated or branch
            branch = builder.conv("stages.{s}.{b}.conv{k}", branch, before, after, kernel=kernel, stride=step, at=at)
        # No norm follows the branch: its last convolution says how loud it is.
        builder.modules[-1] = replace(builder.modules[-1], closes_branch=True)
        if stride != 1 or channels != out:
            pattern = "stages.{s}.{b}.shortcut.conv"
            value = builder.conv(pattern, activated, channels, out, kernel=1, stride=stride, at=here)
        return builder.node("Add", f"{place}.add", branch, value)

    def _layers(self, traits: Traits, stage: int, before: int, stride: int) -> tuple[tuple[int, int, int, int], ...]:
        """Channels before and after, kernel size and stride of the convolutions of a block."""
        width = 64 << stage
        if self.block == "basic":
            return (before, width, 3, stride), (width, width, 3, 1)
        strides = (stride, 1) if traits.bottleneck_stride == "1x1" else (1, stride)
        return (before, width, 1, strides[0]), (width, width, 3, strides[1]), (width, self.channels(stage), 1, 1)


@lru_cache(maxsize=16)
def _graph(network: ResNetV2, traits: Traits) -> Graph:
    return network.build(traits)


# It has every module of every published network: its stages are the deepest, and basic blocks have no others.
SAMPLES = (ResNetV2((3, 8, 36, 3)),)


def parse(name: str) -> ResNetV2 | None:
    """Read a name such as ``resnet50_v2``; None if it is none of ours.

    >>> parse("resnet18_v2")
    ResNetV2(depths=(2, 2, 2, 2), block='basic', classes=1000)
    >>> parse("resnet_1-2-1-1_bottleneck_v2").depths
    (1, 2, 1, 1)
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    if found["depth"]:
        said = _PUBLISHED.get(found["depth"])
        return ResNetV2(*said) if said else None
    depths = tuple(map(int, found["depths"].split("-")))
    try:
        network = ResNetV2(depths, found["block"])  # type: ignore[arg-type]
    except MappingError:  # a number or a block that no such network has
        return None
    return network if network.name == name else None


def why_not(name: str) -> str:
    """Why a pre-activation ResNet of another kind is none of these; empty for a name that is none."""
    if name.startswith("resnetv2"):
        return (
            "timm's pre-activation ResNets have no norm on the picture and none after the stem (resnet50_v2 has both)"
        )
    if _NAME.fullmatch(name) or re.fullmatch(r"(se_)?resnet[0-9]+_v[12]b?", name):
        return f"of Gluon's networks, {listed(NAMES)} are described"
    return ""


def from_dict(data: Mapping[str, Any]) -> ResNetV2:
    """The inverse of ``ResNetV2.as_dict``."""
    return ResNetV2(tuple(int(depth) for depth in data["depths"]), data["block"], int(data["classes"]))
