"""Derive SSD-ResNet50 from what a file has, and tell the detectors that look like it."""

from collections import Counter
from collections.abc import Iterable

from ..graph import Lookup
from .relatives import Relative, told_by
from .ssd_anchors import PER_CELL
from .ssd_resnet50 import COCO_CLASSES, FEATURES, MAX_CLASSES, NAME, SsdResNet50

_HEADS = ("boxes", "classes")

# What a tensor is called that a relative has and the detector has not, or has with much else.
_OF_TENSOR: tuple[tuple[str, Relative], ...] = (
    (r"(^|\.)multi_box\.(addition_layer\w*|loc_layers|cls_layers)\.|\.fpn_convs", Relative(
        f"model_zoo's {NAME}_fpn or another detector with a feature pyramid: its shared heads are another network than"
        f" {NAME}"
    )),
    (r"(^|\.)multi_box\.multi_loc_layers\.0\.0\.", Relative(
        f"an SSD of model_zoo on another backbone than {NAME}'s"
    )),
    (r"(^|\.)feature_extractor\.resnet\.conv1\.weight$", Relative(
        f"a part of {NAME}: neither all of it nor its whole backbone alone",
        "Give the file of the whole detector, which has multi_box.multi_loc_layers and multi_box.multi_cls_layers too.",
    )),
    (r"(^|\.)head\.classification_head\.", Relative("an SSD or RetinaNet of torchvision, which is another network")),
)  # fmt: skip
# One of these is in every such name: looking for them first spares a hostile file's many names the patterns.
_WORDS = ("multi_box", "fpn_convs", "feature_extractor", "classification_head")


def infer(lookup: Lookup) -> SsdResNet50 | None:
    """The detector, if most of its heads are there; the class count is what most of them say."""
    found = sum(
        lookup(f"heads.{{k}}.{what}.depthwise", "kernel", k=level) == (channels, 1, 3, 3)
        for what in _HEADS
        for level, channels in enumerate(FEATURES)
    )
    if found <= len(FEATURES):
        return None
    said = Counter(_classes(lookup))
    return SsdResNet50(said.most_common(1)[0][0] if said else COCO_CLASSES)


def _classes(lookup: Lookup) -> Iterable[int]:
    for level in range(len(FEATURES)):
        for leaf in ("kernel", "bias"):
            shape = lookup("heads.{k}.classes.conv", leaf, k=level)
            if shape and shape[0] % PER_CELL == 0 and 2 <= shape[0] // PER_CELL <= MAX_CLASSES:
                yield shape[0] // PER_CELL


def why_not_file(_: Lookup) -> str:
    """Relatives are told by their names alone."""
    return ""


def why_not_tensors(names: Iterable[str]) -> Relative | None:
    """Which other detector a file of these names holds; ``names`` are those that our networks do not explain."""
    return told_by((name for name in names if any(word in name for word in _WORDS)), _OF_TENSOR)
