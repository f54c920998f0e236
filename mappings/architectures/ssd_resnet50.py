"""SSD-ResNet50, the detector of MindSpore's model_zoo (research/cv/ssd_resnet50, r1.2 and later).

Five levels of features, each with two heads: a depthwise convolution and a 1x1 convolution for boxes and for classes.
Sources: Liu et al. 2016 (arXiv:1512.02325); structure, widths and names as model_zoo's own network has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ..errors import MappingError
from ..graph import Graph
from ..traits import Traits
from .builder import Builder
from .resnet import ResNet
from .ssd_anchors import PER_CELL

FAMILY, NAME = "ssd", "ssd_resnet50"
COCO_CLASSES = 81  # with the background, which is class 0
MAX_CLASSES = 4096
BACKBONE = ResNet((3, 4, 6, 3), classes=0)

# The layers after the backbone: channels before and after, stride. Their norms have MindSpore's own epsilon, whatever
# those of backbone and heads have (the trait norm_eps).
EXTRAS = ((2048, 512, 1), (512, 256, 1), (256, 256, 2), (256, 256, 2))
EXTRA_EPSILON = 1e-5
# Channels of the features: two stages of the backbone, then the extra layers but the second.
FEATURES = (512, 1024, 512, 256, 256)
_FEATURE_STAGES, _FEATURE_EXTRAS = (1, 2), (0, 2, 3)
# Training starts from one object in a hundred anchors (focal loss).
_PRIOR = 0.01


@dataclass(frozen=True, slots=True)
class SsdResNet50:
    """The detector; ``classes`` counts the background, which is class 0."""

    classes: int = COCO_CLASSES

    def __post_init__(self) -> None:
        if not 2 <= self.classes <= MAX_CLASSES:
            raise MappingError(
                f"no {NAME} has {self.classes} classes", remedy=f"From 2, with the background, to {MAX_CLASSES}."
            )

    @property
    def name(self) -> str:
        """model_zoo's name."""
        return NAME

    @property
    def side(self) -> int:
        """Pixels of a side of the pictures that it is made for."""
        return 640

    def with_classes(self, classes: int) -> "SsdResNet50":
        """The same network for other classes."""
        return replace(self, classes=classes)

    @property
    def backbone(self) -> ResNet:
        """The ResNet-50 inside."""
        return BACKBONE

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"family": FAMILY, "name": NAME, "classes": self.classes}

    def graph(self, traits: Traits | None = None) -> Graph:
        """The graph with these traits. Its outputs are ``loc`` (N, anchors, 4) and ``scores`` (N, anchors, classes)."""
        return _graph(self, traits or Traits())

    def build(self, traits: Traits) -> Graph:
        """Build the graph afresh."""
        builder = Builder(traits)
        taps = BACKBONE.body(builder)
        value = taps[f"stages.{len(BACKBONE.depths) - 1}"]
        backbone = len(builder.modules)
        for number, (before, after, stride) in enumerate(EXTRAS):
            at = {"b": number}
            value = builder.conv("extras.{b}.conv", value, before, after, kernel=3, stride=stride, at=at)
            value = builder.norm("extras.{b}.norm", value, after, epsilon=EXTRA_EPSILON, at=at)
            value = _relu6(builder, f"extras.{number}.relu", value)
            taps[f"extras.{number}"] = value
        extras = len(builder.modules)
        features = [taps[f"stages.{stage}"] for stage in _FEATURE_STAGES]
        features += [taps[f"extras.{number}"] for number in _FEATURE_EXTRAS]
        loc = _heads(builder, "boxes", features, 4)
        logits = _heads(builder, "classes", features, self.classes)
        # In model_zoo's order: heads, backbone, the extra layers but the first, and that one (a conv and a norm) last.
        made = builder.modules
        builder.modules = made[extras:] + made[:backbone] + made[backbone + 2 : extras] + made[backbone : backbone + 2]
        taps |= {"loc": loc, "logits": logits}
        scores = builder.node("Sigmoid", "scores", logits)
        return builder.graph({"loc": loc, "scores": scores}, {**taps, "scores": scores})


def _heads(builder: Builder, what: str, features: list[str], values: int) -> str:
    """What the heads of all levels give, an anchor a row: level by level, row by row of the picture."""
    levels = []
    for level, (feature, channels) in enumerate(zip(features, FEATURES, strict=True)):
        at, place = {"k": level}, f"heads.{level}.{what}"
        pattern = f"heads.{{k}}.{what}"
        value = builder.conv(
            f"{pattern}.depthwise", feature, channels, channels, kernel=3, stride=1, groups=channels, at=at
        )
        value = builder.norm(f"{pattern}.norm", value, channels, at=at)
        value = _relu6(builder, f"{place}.relu", value)
        prior = _PRIOR if what == "classes" else 0.5
        value = builder.predictor(f"{pattern}.conv", value, channels, PER_CELL * values, prior=prior, at=at)
        value = builder.node("Transpose", f"{place}.transpose", value, perm=(0, 2, 3, 1))
        levels.append(builder.node("Reshape", f"{place}.rows", value, shape=(0, -1, values)))
    return builder.node("Concat", f"heads.{what}", *levels, axis=1)


def _relu6(builder: Builder, name: str, value: str) -> str:
    return builder.node("Clip", name, value, min=0.0, max=6.0)


@lru_cache(maxsize=16)
def _graph(network: SsdResNet50, traits: Traits) -> Graph:
    return network.build(traits)


NAMES = (NAME,)
SAMPLES = (SsdResNet50(),)


def parse(name: str) -> SsdResNet50 | None:
    """Read ``ssd_resnet50``; None for any other name.

    >>> parse("ssd_resnet50").graph().shapes(640, 640)["heads.boxes"]
    (51150, 4)
    """
    return SsdResNet50() if name == NAME else None


def why_not(name: str) -> str:
    """Why another detector is none of these; empty for a name that is none."""
    if name == f"{NAME}_fpn":
        return f"its feature pyramid and shared heads (476 tensors, official/cv/ssd) make another network than {NAME}"
    if name.startswith(("ssd", "retinanet", "fasterrcnn", "faster_rcnn", "maskrcnn", "mask_rcnn", "yolo")):
        return f"of detectors only {NAME} is described"
    return ""


def from_dict(data: Mapping[str, Any]) -> SsdResNet50:
    """The inverse of ``SsdResNet50.as_dict``."""
    return SsdResNet50(int(data["classes"]))
