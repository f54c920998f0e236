"""mmpretrain's own classifiers, built from a configuration as its users write one."""

import re
from collections.abc import Mapping
from typing import Any

from ..errors import NetworkError

_NAME = re.compile(
    r"(?P<se>se)?(?P<wide>wide_)?(?P<family>resnet|resnext)(?P<depth>[0-9]+)(?P<stem>[cd]?)"
    r"(?:_(?P<groups>[0-9]+)x(?P<width>[0-9]+)d|_(?P<factor>[0-9]+))?"
)
# Channels of the last stage; those of the basic blocks of the shallow networks are a quarter.
_FEATURES, _SHALLOW = 2048, ("18", "34")
# A trait's values → the argument's. mmpretrain calls Caffe's place of the stride a style.
_STYLES = {"3x3": "pytorch", "1x1": "caffe"}


def build(name: str, classes: int, traits: Mapping[str, str | float]) -> Any:
    """The ImageClassifier of this architecture (``resnext50_32x4d``), without weights; called, it gives the logits.

    With no ``classes`` it has neither neck nor head, and gives its stages: the last one alone.
    """
    import mmpretrain.models  # noqa: F401 - registers the classes
    from mmpretrain.registry import MODELS

    try:
        return MODELS.build(configuration(name, classes, traits))
    except (AssertionError, KeyError) as error:  # what its classes raise for depths they do not have
        raise NetworkError(f"mmpretrain builds no {name}: {error}") from None


def configuration(name: str, classes: int, traits: Mapping[str, str | float]) -> dict[str, Any]:
    """mmpretrain's configuration of an architecture, with ``bottleneck_stride`` and ``norm_eps`` as asked for.

    >>> configuration("resnet50d", 10, {"bottleneck_stride": "1x1"})["backbone"]
    {'type': 'ResNet', 'depth': 50, 'deep_stem': True, 'avg_down': True, 'style': 'caffe'}
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise NetworkError(f"mmpretrain has no configuration of {name}", remedy="Use a network that it can build.")
    backbone: dict[str, Any] = {
        "type": ("SE" if found["se"] else "") + {"resnet": "ResNet", "resnext": "ResNeXt"}[found["family"]],
        "depth": int(found["depth"]),
    }
    if found["groups"]:
        backbone |= {"groups": int(found["groups"]), "width_per_group": int(found["width"])}
    if found["factor"]:
        # Channels of the 3x3 convolutions times the factor, those between the blocks as ever.
        factor = int(found["factor"])
        backbone |= {"base_channels": 64 * factor, "expansion": 4 // factor}
    if found["stem"]:
        backbone |= {"deep_stem": True, "avg_down": found["stem"] == "d"}
    if "bottleneck_stride" in traits:
        backbone["style"] = _STYLES[str(traits["bottleneck_stride"])]
    if "norm_eps" in traits:
        backbone["norm_cfg"] = {"type": "BN", "eps": traits["norm_eps"]}
    features = _FEATURES // 4 if found["depth"] in _SHALLOW else _FEATURES
    if not classes:
        return {"type": "ImageClassifier", "backbone": backbone}
    return {
        "type": "ImageClassifier", "backbone": backbone, "neck": {"type": "GlobalAveragePooling"},
        "head": {"type": "LinearClsHead", "num_classes": classes, "in_channels": features},
    }  # fmt: skip
