"""SSD-ResNet50 as a MindSpore module: what its template is filled with."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...mappings.architectures import ssd_anchors
from ...mappings.architectures.ssd_resnet50 import BACKBONE, EXTRA_EPSILON, EXTRAS, FEATURES, SsdResNet50
from ...mappings.dialects import Grounding
from ...mappings.traits import Traits
from ..detection import VARIANCES
from .cells import Step, arrange, contained
from .errors import EmissionError
from .expressions import Call
from .naming import Names, Path, names_of
from .nested import common, nested, place
from .resnet import blocks, trunk
from .steps import RELU6, figures

_EXTRA = ("conv", "norm")
_HEAD = ("depthwise", "norm", "conv")


def context(network: SsdResNet50, grounding: Grounding, traits: Traits) -> dict[str, Any]:
    """Names and expressions for the template, by what it calls them."""
    names = names_of(grounding)
    backbone, inside = _backbone(names)
    extras, extra = _alike(names, {f"extras.{number}": _EXTRA for number in range(len(EXTRAS))})
    boxes, classes, head = _heads(names)
    made: dict[Path, str | Call] = {
        backbone: "Backbone()",
        **{path: f"extra({', '.join(map(str, layer))})" for path, layer in zip(extras, EXTRAS, strict=True)},
        boxes: "heads(4)",
        classes: "heads(num_classes)",
    }
    return {
        "network": "SsdResNet50",
        **blocks(BACKBONE, inside, traits),
        "root": arrange(trunk(BACKBONE, inside)),
        "extra": contained("an extra layer", _extra(extra)),
        "head": contained("a head", _head(head)),
        "cells": nested(made),
        "at": {"backbone": place(backbone), "extras": [*map(place, extras)], "boxes": place(boxes),
               "classes": place(classes)},
        "constants": _figures(network, traits),
    }  # fmt: skip


def _figures(network: SsdResNet50, traits: Traits) -> dict[str, str]:
    indices = range(len(BACKBONE.depths))
    of_backbone = figures(
        network.classes, traits, BACKBONE.depths, map(BACKBONE.width, indices), map(BACKBONE.channels, indices)
    )
    return {
        **of_backbone,
        "CLASSES": f"{network.classes}  # with the background, which is class 0",
        "EXTRA_EPS": repr(EXTRA_EPSILON),
        "FEATURES": f"{FEATURES}  # channels of the levels that boxes are told from",
        "STEPS": f"{ssd_anchors.STEPS}  # pixels of the picture to one of a level",
        "RATIOS": f"{ssd_anchors.RATIOS}  # of an anchor's width to its height",
        "SCALES": f"{ssd_anchors.SCALES}  # steps to a side of a square anchor",
        "VARIANCES": f"{VARIANCES}  # units of loc for centres and for sizes",
    }


def _backbone(names: Names) -> tuple[Path, Names]:
    """The cell of the backbone, and its layers' names in it."""
    stem = {role: names.outside[role] for role in ("stem.conv", "stem.norm")}
    path = common([*stem.values(), names.stage])
    if not path:
        raise EmissionError("the layers of the backbone are in no cell of their own")
    depth = len(path)
    if len(names.stage) > depth + 1:
        within = ".".join(names.stage[: depth + 1])
        raise EmissionError(f"all stages of the backbone are in {within}, and the heads take what is between them")
    return path, replace(
        names, outside={role: whole[depth:] for role, whole in stem.items()}, stage=names.stage[depth:]
    )  # fmt: skip


def _alike(names: Names, roles: Mapping[str, tuple[str, ...]]) -> tuple[list[Path], dict[str, Path]]:
    """The cells that have these layers each, and the names of the layers in them, which must be the same in all."""
    cells: list[Path] = []
    found: dict[str, Path] = {}
    for role, layers in roles.items():
        whole = {layer: names.outside[f"{role}.{layer}"] for layer in layers}
        path = common(whole.values())
        if not path:
            raise EmissionError(f"the layers of {role} are in no cell of their own")
        inside = {layer: name[len(path) :] for layer, name in whole.items()}
        if found and inside != found:
            raise EmissionError(f"the layers of {role} are called otherwise than those of {next(iter(roles))}")
        found = inside
        cells.append(path)
    return cells, found


def _heads(names: Names) -> tuple[Path, Path, dict[str, Path]]:
    """The lists of heads for boxes and for classes, and the names of the layers in a head."""
    levels = range(len(FEATURES))
    roles = {f"heads.{level}.{what}": _HEAD for what in ("boxes", "classes") for level in levels}
    cells, inside = _alike(names, roles)
    return _list(cells[: len(levels)]), _list(cells[len(levels) :]), inside


def _list(cells: list[Path]) -> Path:
    """The list that cells are numbered in."""
    path = cells[0][:-1]
    if not path or any(cell != (*path, str(number)) for number, cell in enumerate(cells)):
        said = ", ".join(".".join(cell) for cell in cells)
        raise EmissionError(f"{said}, the heads of the levels, are not numbered from 0 in one cell")
    return path


def _extra(inside: dict[str, Path]) -> list[Step]:
    return [
        Step("conv(before, after, 3, stride)", inside["conv"]),
        Step("nn.BatchNorm2d(after, eps=EXTRA_EPS)", inside["norm"]),
        RELU6,
    ]


def _head(inside: dict[str, Path]) -> list[Step]:
    return [
        Step("conv(channels, channels, 3, groups=channels)", inside["depthwise"]),
        Step("norm(channels)", inside["norm"]),
        RELU6,
        Step("nn.Conv2d(channels, anchors_of_pixel * values, 1, has_bias=True)", inside["conv"]),
    ]
