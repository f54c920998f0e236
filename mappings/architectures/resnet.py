"""ResNet and ResNeXt, with squeeze-and-excitation or without: any blocks, depth, cardinality, width, stem and classes.

Sources: He et al. 2015 (arXiv:1512.03385), Xie et al. 2016 (arXiv:1611.05431), Hu et al. 2017 for squeeze-and-
excitation (arXiv:1709.01507), He et al. 2018 for the deep stem and the average-pool shortcut (arXiv:1812.01187); names
and shapes as timm's and torchvision's own networks have them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ..errors import MappingError
from ..graph import Graph
from ..names import listed
from ..traits import Traits
from .builder import Builder
from .resnet_names import EXPANSION, PLAIN_STEM, Block, Parts, Shortcut, read, spell, usual_squeeze

# What a ResNet may have: far more than any published one has, few enough that a hostile shape asks for no millions.
MAX_STAGES, MAX_BLOCKS, LIMIT = 8, 512, 4096
_SHORTCUTS: tuple[Shortcut, ...] = ("conv", "avg")


@dataclass(frozen=True, slots=True)
class ResNet:
    """A ResNet.

    ``depths`` are the blocks of each stage; ``block`` is ``bottleneck`` (1x1, 3x3, 1x1) or ``basic`` (3x3, 3x3);
    ``cardinality`` are the groups and ``base_width`` the channels a group of a bottleneck's 3x3 convolutions at 64
    planes. ``stem`` holds the channels of the stem's convolutions: one of 7x7, or three of 3x3 (a deep stem).
    ``shortcut`` strides in its 1x1 convolution or in an average pool before it. ``squeeze`` are the channels that
    squeeze-and-excitation squeezes each stage's blocks to; it is empty for a network without. With no ``classes`` it is
    a backbone: it has no classifier, and gives what its last stage does.
    """

    depths: tuple[int, ...]
    cardinality: int = 1
    base_width: int = 64
    classes: int = 1000
    stem: tuple[int, ...] = PLAIN_STEM
    shortcut: Shortcut = "conv"
    block: Block = "bottleneck"
    squeeze: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        widths = {"cardinality": self.cardinality, "base_width": self.base_width}
        wrong = [f"{name}={width}" for name, width in widths.items() if not _fits(width)]
        if self.classes < 0:
            wrong.append(f"classes={self.classes}")
        if not 1 <= len(self.depths) <= MAX_STAGES or not all(1 <= depth <= MAX_BLOCKS for depth in self.depths):
            wrong.append(f"depths={self.depths}")
        if len(self.stem) not in (1, 3) or not all(map(_fits, self.stem)):
            wrong.append(f"stem={self.stem}")
        if self.shortcut not in _SHORTCUTS:
            wrong.append(f"shortcut={self.shortcut}")
        if len(self.squeeze) not in (0, len(self.depths)) or not all(map(_fits, self.squeeze)):
            wrong.append(f"squeeze={self.squeeze}")
        if self.block not in EXPANSION:
            wrong.append(f"block={self.block}")
        elif self.block == "basic" and (self.cardinality, self.base_width) != (1, 64):
            wrong.append(f"basic blocks with cardinality={self.cardinality} and base_width={self.base_width}")
        if wrong:
            raise MappingError(
                f"no ResNet has {listed(wrong)}",
                remedy=f"Up to {MAX_STAGES} stages of {MAX_BLOCKS} blocks, widths up to {LIMIT}; no class for a"
                " backbone; a stem of one or three convolutions; groups and widths in bottlenecks only; one squeeze"
                " width a stage.",
            )

    @property
    def name(self) -> str:
        """The field's name, as timm and torchvision spell it; other shapes are spelt out. ``parse`` reads it back."""
        return spell(Parts(
            depths=self.depths, block=self.block, cardinality=self.cardinality, base_width=self.base_width,
            stem=self.stem, shortcut=self.shortcut, squeeze=self.squeeze,
        ))  # fmt: skip

    def channels(self, stage: int) -> int:
        """Channels that leave a stage."""
        return 64 * EXPANSION[self.block] << stage

    def width(self, stage: int) -> int:
        """Channels of the 3x3 convolutions of a stage."""
        return self.cardinality * self.base_width << stage

    @property
    def side(self) -> int:
        """Pixels of a side of the pictures that it is made for."""
        return 224

    def with_classes(self, classes: int) -> "ResNet":
        """The same network with another classifier."""
        return replace(self, classes=classes)

    @property
    def backbone(self) -> "ResNet":
        """The same network without its classifier."""
        return replace(self, classes=0)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "name": self.name, "depths": list(self.depths), "block": self.block, "cardinality": self.cardinality,
            "base_width": self.base_width, "classes": self.classes, "stem": list(self.stem),
            "shortcut": self.shortcut, "squeeze": list(self.squeeze),
        }  # fmt: skip

    def graph(self, traits: Traits | None = None) -> Graph:
        """The graph with these traits: its output is ``head``, the logits (N, classes).

        Of a backbone it is ``features``, what the last stage gives: (N, channels, height / 32, width / 32) of four
        stages, rounded up.
        """
        return _graph(self, traits or Traits())

    def build(self, traits: Traits) -> Graph:
        """Build the graph afresh."""
        builder = Builder(traits)
        taps = self.body(builder)
        value = taps[f"stages.{len(self.depths) - 1}"]
        if not self.classes:
            return builder.graph({"features": value}, taps)
        value = builder.node("GlobalAveragePool", "head.pool", value)
        taps["head.pool"] = value
        value = builder.node("Flatten", "head.flatten", value, axis=1)
        value = builder.linear("head", value, self.channels(len(self.depths) - 1), self.classes)
        taps["head"] = value
        return builder.graph({"head": value}, taps)

    def body(self, builder: Builder) -> dict[str, str]:
        """Stem and stages, and what each of them gives: ``stem``, ``stages.0`` and so on."""
        value = self._stem(builder)
        taps = {"stem": value}
        channels = self.stem[-1]
        for stage, depth in enumerate(self.depths):
            for block in range(depth):
                stride = 2 if block == 0 and stage > 0 else 1
                value = self._block(builder, value, stage, block, channels, stride)
                channels = self.channels(stage)
            taps[f"stages.{stage}"] = value
        return taps

    def _stem(self, builder: Builder) -> str:
        value = "input"
        if len(self.stem) == 1:
            value = builder.conv("stem.conv", value, 3, self.stem[0], kernel=7, stride=2)
            value = builder.norm("stem.norm", value, self.stem[0])
            value = builder.node("Relu", "stem.relu", value)
        else:
            before = 3
            for k, width in enumerate(self.stem, start=1):
                stride, at = 2 if k == 1 else 1, {"k": k}
                value = builder.conv("stem.conv{k}", value, before, width, kernel=3, stride=stride, at=at)
                value = builder.norm("stem.norm{k}", value, width, at=at)
                value = builder.node("Relu", f"stem.relu{k}", value)
                before = width
        return builder.stem_pool("stem.pool", value)

    def _block(self, builder: Builder, value: str, stage: int, block: int, channels: int, stride: int) -> str:
        place, here = f"stages.{stage}.{block}", {"s": stage, "b": block}
        width, out = self.width(stage), self.channels(stage)
        branch, before = value, channels
        layers = self._layers(builder.traits, width, out, stride)
        for k, (after, kernel, step, groups) in enumerate(layers, start=1):
            at, last = {**here, "k": k}, k == len(layers)
            branch = builder.conv(
                "stages.{s}.{b}.conv{k}", branch, before, after, kernel=kernel, stride=step, groups=groups, at=at
            )
            branch = builder.norm("stages.{s}.{b}.norm{k}", branch, after, closes_branch=last, at=at)
            if not last:
                branch = builder.node("Relu", f"{place}.relu{k}", branch)
            before = after
        if self.squeeze:
            branch = self._excited(builder, branch, out, self.squeeze[stage], here)
        if stride != 1 or channels != out:
            value = self._shortcut(builder, value, channels, out, stride, here)
        value = builder.node("Add", f"{place}.add", branch, value)
        return builder.node("Relu", f"{place}.relu{len(layers)}", value)

    def _layers(self, traits: Traits, width: int, out: int, stride: int) -> tuple[tuple[int, int, int, int], ...]:
        """Channels, kernel, stride and groups of a block's convolutions."""
        if self.block == "basic":  # the first one strides, whatever bottleneck_stride says
            return (out, 3, stride, 1), (out, 3, 1, 1)
        first, second = (stride, 1) if traits.bottleneck_stride == "1x1" else (1, stride)
        return (width, 1, first, 1), (width, 3, second, self.cardinality), (out, 1, 1, 1)

    def _excited(self, builder: Builder, value: str, channels: int, squeezed: int, at: dict[str, int]) -> str:
        """Squeeze-and-excitation: every channel times a gate made of the means of all."""
        place = "stages.{s}.{b}".format(**at)
        gate = builder.node("GlobalAveragePool", f"{place}.squeeze.pool", value)
        gate = builder.squeeze("stages.{s}.{b}.squeeze{k}", gate, channels, squeezed, at={**at, "k": 1})
        gate = builder.node("Relu", f"{place}.squeeze.relu", gate)
        gate = builder.squeeze("stages.{s}.{b}.squeeze{k}", gate, squeezed, channels, at={**at, "k": 2})
        gate = builder.node("Sigmoid", f"{place}.squeeze.sigmoid", gate)
        return builder.node("Mul", f"{place}.squeeze.mul", value, gate)

    def _shortcut(self, builder: Builder, value: str, channels: int, out: int, stride: int, at: dict[str, int]) -> str:
        prefix = "stages.{s}.{b}.shortcut"
        if self.shortcut == "avg":
            prefix = "stages.{s}.{b}.avg_shortcut"
            if stride != 1:
                # timm's: windows that stick out at odd sizes average over the pixels they have.
                value = builder.node(
                    "AveragePool", prefix.format(**at) + ".pool", value,
                    kernel_shape=(2, 2), strides=(2, 2), pads=(0, 0, 0, 0), ceil_mode=1, count_include_pad=0,
                )  # fmt: skip
                stride = 1
        value = builder.conv(prefix + ".conv", value, channels, out, kernel=1, stride=stride, at=at)
        return builder.norm(prefix + ".norm", value, out, at=at)


@lru_cache(maxsize=64)
def _graph(network: ResNet, traits: Traits) -> Graph:
    return network.build(traits)


def _fits(width: int) -> bool:
    return 1 <= width <= LIMIT


# Between them they have every module of every published network: the depths of stages are the greatest there are, where
# more than the first blocks differ.
_DEEPEST, _SQUEEZED = (3, 30, 48, 8), usual_squeeze("bottleneck", 4)
SAMPLES = tuple(
    replace(network, cardinality=32, base_width=4, squeeze=squeeze)
    for network in (ResNet(_DEEPEST), ResNet((2, 2, 2, 2), stem=(32, 32, 64), shortcut="avg"))
    for squeeze in ((), _SQUEEZED)
)
SHALLOW = (ResNet((1,), squeeze=(16,)), ResNet((1,), stem=(32, 32, 64), shortcut="avg"))


def parse(name: str) -> ResNet | None:
    """Read a name such as ``resnext101_32x8d``, ``wide_resnet50_2`` or ``seresnet18``; None if it is none of ours.

    >>> found = parse("seresnext50d_32x4d")
    >>> found.depths, found.cardinality, found.base_width, found.stem, found.shortcut, found.squeeze
    ((3, 4, 6, 3), 32, 4, (32, 32, 64), 'avg', (16, 32, 64, 128))
    """
    parts = read(name)
    try:
        return ResNet(**parts) if parts else None
    except MappingError:  # a number beyond what any ResNet has
        return None


def from_dict(data: Mapping[str, Any]) -> ResNet:
    """The inverse of ``ResNet.as_dict``."""
    return ResNet(
        tuple(map(int, data["depths"])), int(data["cardinality"]), int(data["base_width"]), int(data["classes"]),
        tuple(map(int, data["stem"])), data["shortcut"], data["block"], tuple(map(int, data["squeeze"])),
    )  # fmt: skip
