"""Bottleneck ResNet and ResNeXt: any depth, cardinality, width and class count; plain and 'd' stems and shortcuts.

Sources: He et al. 2015 (arXiv:1512.03385), Xie et al. 2016 (arXiv:1611.05431), He et al. 2018 for the deep stem
and the average-pool shortcut (arXiv:1812.01187); names and shapes as timm's and torchvision's own networks have them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from ..errors import MappingError
from ..graph import Graph
from ..names import listed
from ..traits import Traits
from .builder import Builder
from .resnet_names import Parts, Shortcut, Stem, read, spell

# What a ResNet may have: far more than any published one has, few enough that a hostile shape asks for no millions.
MAX_STAGES, MAX_BLOCKS, LIMIT = 8, 512, 4096
_EXPANSION = 4


@dataclass(frozen=True, slots=True)
class ResNet:
    """A bottleneck ResNet.

    ``depths`` are the blocks of each stage; ``cardinality`` the groups and ``base_width`` the channels a group of
    the 3x3 convolutions at 64 planes; ``stem`` is one 7x7 convolution or ``deep`` (three 3x3 of ``stem_width``,
    ``stem_width`` and 64 channels); ``shortcut`` strides in its 1x1 convolution or in an average pool before it.
    """

    depths: tuple[int, ...]
    cardinality: int = 1
    base_width: int = 64
    classes: int = 1000
    stem: Stem = "7x7"
    stem_width: int = 32
    shortcut: Shortcut = "conv"

    def __post_init__(self) -> None:
        wrong = [
            f"{name}={getattr(self, name)}"
            for name, limit in (("cardinality", LIMIT), ("base_width", LIMIT), ("stem_width", LIMIT), ("classes", None))
            if getattr(self, name) < 1 or (limit is not None and getattr(self, name) > limit)
        ]
        if not 1 <= len(self.depths) <= MAX_STAGES or not all(1 <= depth <= MAX_BLOCKS for depth in self.depths):
            wrong.append(f"depths={self.depths}")
        if self.stem not in ("7x7", "deep") or self.shortcut not in ("conv", "avg"):
            wrong.append(f"stem={self.stem} with shortcut={self.shortcut}")
        elif self.stem == "7x7" and self.stem_width != 32:
            wrong.append(f"stem_width={self.stem_width}, which only a deep stem has,")
        if wrong:
            raise MappingError(
                f"no ResNet has {listed(wrong)}",
                remedy=f"Up to {MAX_STAGES} stages of {MAX_BLOCKS} blocks, widths up to {LIMIT}, at least one class.",
            )

    @property
    def name(self) -> str:
        """The field's name, as timm and torchvision spell it; other shapes are spelt out. ``parse`` reads it back."""
        return spell(Parts(
            depths=self.depths, cardinality=self.cardinality, base_width=self.base_width,
            stem=self.stem, stem_width=self.stem_width, shortcut=self.shortcut,
        ))  # fmt: skip

    def width(self, stage: int) -> int:
        """Channels of the 3x3 convolutions of a stage."""
        return self.cardinality * self.base_width * (1 << stage)

    def with_classes(self, classes: int) -> "ResNet":
        """The same network with another classifier."""
        return replace(self, classes=classes)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "name": self.name, "depths": list(self.depths), "cardinality": self.cardinality,
            "base_width": self.base_width, "classes": self.classes, "stem": self.stem,
            "stem_width": self.stem_width, "shortcut": self.shortcut,
        }  # fmt: skip

    def graph(self, traits: Traits | None = None) -> Graph:
        """The graph with these traits."""
        return _graph(self, traits or Traits())

    def build(self, traits: Traits) -> Graph:
        """Build the graph afresh."""
        builder = Builder(traits)
        value = self._stem(builder)
        taps = {"stem": value}
        channels = 64
        for stage, depth in enumerate(self.depths):
            out = 64 * 2**stage * _EXPANSION
            for block in range(depth):
                stride = 2 if block == 0 and stage > 0 else 1
                value = self._bottleneck(builder, value, stage, block, channels, out, stride)
                channels = out
            taps[f"stages.{stage}"] = value
        value = builder.node("GlobalAveragePool", "head.pool", value)
        taps["head.pool"] = value
        value = builder.node("Flatten", "head.flatten", value, axis=1)
        value = builder.linear("head", value, channels, self.classes)
        taps["head"] = value
        return Graph(
            modules=tuple(builder.modules), nodes=tuple(builder.nodes), input="input", output=value,
            channels=3, taps=MappingProxyType(taps),
        )  # fmt: skip

    def _stem(self, builder: Builder) -> str:
        value = "input"
        if self.stem == "7x7":
            value = builder.conv("stem.conv", value, 3, 64, kernel=7, stride=2)
            value = builder.norm("stem.norm", value, 64)
            value = builder.node("Relu", "stem.relu", value)
        else:
            widths = (3, self.stem_width, self.stem_width, 64)
            for k in (1, 2, 3):
                stride = 2 if k == 1 else 1
                value = builder.conv(
                    "stem.conv{k}", value, widths[k - 1], widths[k], kernel=3, stride=stride, at={"k": k}
                )
                value = builder.norm("stem.norm{k}", value, widths[k], at={"k": k})
                value = builder.node("Relu", f"stem.relu{k}", value)
        return builder.stem_pool("stem.pool", value)

    def _bottleneck(
        self, builder: Builder, value: str, stage: int, block: int, channels: int, out: int, stride: int
    ) -> str:
        place = f"stages.{stage}.{block}"
        width = self.width(stage)
        first = builder.traits.bottleneck_stride == "1x1"
        strides = (stride, 1, 1) if first else (1, stride, 1)
        sizes = ((channels, width, 1, 1), (width, width, 3, self.cardinality), (width, out, 1, 1))
        branch, here = value, {"s": stage, "b": block}
        for k, ((before, after, kernel, groups), step) in enumerate(zip(sizes, strides, strict=True), start=1):
            at = {**here, "k": k}
            branch = builder.conv(
                "stages.{s}.{b}.conv{k}", branch, before, after, kernel=kernel, stride=step, groups=groups, at=at
            )
            branch = builder.norm("stages.{s}.{b}.norm{k}", branch, after, closes_branch=k == 3, at=at)
            if k < 3:
                branch = builder.node("Relu", f"{place}.relu{k}", branch)
        if stride != 1 or channels != out:
            value = self._shortcut(builder, value, channels, out, stride, here)
        value = builder.node("Add", f"{place}.add", branch, value)
        return builder.node("Relu", f"{place}.relu3", value)

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


# Between them they have every module of every published network: the depths of stages are the greatest there are.
SAMPLES = (
    ResNet((3, 24, 36, 3), cardinality=32, base_width=4),
    ResNet((3, 24, 36, 3), cardinality=32, base_width=4, stem="deep", shortcut="avg"),
)


def parse(name: str) -> ResNet | None:
    """Read a name such as ``resnext101_32x8d``, ``wide_resnet50_2`` or ``resnet50d``; None if it is none of ours.

    >>> parse("resnext50d_32x4d")
    ResNet(depths=(3, 4, 6, 3), cardinality=32, base_width=4, classes=1000, stem='deep', stem_width=32, shortcut='avg')
    """
    parts = read(name)
    try:
        return ResNet(**parts) if parts else None
    except MappingError:  # a number beyond what any ResNet has
        return None


def from_dict(data: Mapping[str, Any]) -> ResNet:
    """The inverse of ``ResNet.as_dict``."""
    return ResNet(
        tuple(int(depth) for depth in data["depths"]), int(data["cardinality"]), int(data["base_width"]),
        int(data["classes"]), data["stem"], int(data["stem_width"]), data["shortcut"],
    )  # fmt: skip
