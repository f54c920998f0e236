"""How the field spells ResNets, ``resnext50d_32x4d``: written from the numbers and read back."""

import re
from typing import Literal, TypedDict

Stem = Literal["7x7", "deep"]
Shortcut = Literal["conv", "avg"]

_DEPTHS: dict[str, tuple[int, ...]] = {
    "26": (2, 2, 2, 2),
    "50": (3, 4, 6, 3),
    "101": (3, 4, 23, 3),
    "152": (3, 8, 36, 3),
    "200": (3, 24, 36, 3),
}

# Stem, its width, and shortcut by the letter after the depth (He et al. 2018).
_VARIANTS: dict[str, tuple[Stem, int, Shortcut]] = {
    "": ("7x7", 32, "conv"),
    "c": ("deep", 32, "conv"),
    "d": ("deep", 32, "avg"),
}

NAMES = (
    "resnet26", "resnet26d", "resnet50", "resnet50c", "resnet50d", "resnet101", "resnet101c", "resnet101d",
    "resnet152", "resnet152c", "resnet152d", "resnet200", "resnet200d",
    "wide_resnet50_2", "wide_resnet101_2",
    "resnext50_32x4d", "resnext50d_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_64x4d",
    "resnext101_32x16d", "resnext101_32x32d", "resnext101_32x48d", "resnext152_32x4d", "resnext152_64x4d",
)  # fmt: skip

_NUMBER = "[1-9][0-9]{0,3}"
_NAME = re.compile(
    rf"(?P<family>wide_resnet|resnext|resnet)(?P<depth>[0-9]{{2,3}}|_{_NUMBER}(?:-{_NUMBER})*)(?P<variant>[cd]?)"
    rf"(?:_(?P<cardinality>{_NUMBER})x(?P<base_width>{_NUMBER})d|_(?P<factor>{_NUMBER}))?"
    rf"(?:_(?P<stem>7x7|deep(?P<stem_width>{_NUMBER}))_(?P<shortcut>conv|avg))?"
)


class Parts(TypedDict):
    """What a name says of a network."""

    depths: tuple[int, ...]
    cardinality: int
    base_width: int
    stem: Stem
    stem_width: int
    shortcut: Shortcut


def spell(parts: Parts) -> str:
    """The name of a network; depths and stems without a name of their own are spelt out.

    >>> spell(Parts(depths=(3, 4), cardinality=8, base_width=4, stem="deep", stem_width=24, shortcut="avg"))
    'resnext_3-4_8x4d_deep24_avg'
    """
    cardinality, base_width = parts["cardinality"], parts["base_width"]
    stem, stem_width, shortcut = parts["stem"], parts["stem_width"], parts["shortcut"]
    depth = next((key for key, depths in _DEPTHS.items() if depths == parts["depths"]), None)
    variant = next((key for key, value in _VARIANTS.items() if value == (stem, stem_width, shortcut)), None)
    middle = (depth or "_" + "-".join(map(str, parts["depths"]))) + (variant or "")
    end = f"_{stem}{stem_width if stem == 'deep' else ''}_{shortcut}" if variant is None else ""
    if cardinality == 1 and base_width == 64:
        return f"resnet{middle}{end}"
    if cardinality == 1 and base_width % 64 == 0:
        return f"wide_resnet{middle}_{base_width // 64}{end}"
    return f"resnext{middle}_{cardinality}x{base_width}d{end}"


def read(name: str) -> Parts | None:
    """What a name says, or None for a name of another form."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    family, depth = found["family"], found["depth"]
    # Each family has its own widths: none, a factor, or cardinality and base width.
    if (family == "resnext") != bool(found["cardinality"]) or (family == "wide_resnet") != bool(found["factor"]):
        return None
    if found["stem"] and found["variant"]:
        return None
    depths = tuple(int(blocks) for blocks in depth[1:].split("-")) if depth[0] == "_" else _DEPTHS.get(depth)
    if depths is None:
        return None
    stem, stem_width, shortcut = _VARIANTS[found["variant"]]
    if found["stem"]:
        stem = "deep" if found["stem_width"] else "7x7"
        stem_width = int(found["stem_width"] or 32)
        shortcut = "avg" if found["shortcut"] == "avg" else "conv"
    return Parts(
        depths=depths, cardinality=int(found["cardinality"] or 1),
        base_width=int(found["base_width"] or 64 * int(found["factor"] or 1)),
        stem=stem, stem_width=stem_width, shortcut=shortcut,
    )  # fmt: skip


_ANTI_ALIASED = "anti-aliased down-sampling has the same names and shapes but another function"
_RELATIVES = (
    ("resnetv2", "a pre-activation ResNet is another network"),
    ("resnetaa", _ANTI_ALIASED),
    ("resnetblur", _ANTI_ALIASED),
    ("seresnetaa", _ANTI_ALIASED),
    ("seresnextaa", _ANTI_ALIASED),
    ("resnetrs", "ResNet-RS has squeeze-and-excitation and another stem"),
    ("seresne", "squeeze-and-excitation blocks are not described yet"),
    ("legacy_seresne", "it is another class with other names"),
    ("ecaresne", "efficient channel attention is another function"),
    ("skresne", "selective kernels are another network"),
    ("gcresne", "global context blocks are another network"),
    ("cspresne", "cross-stage partial networks are another architecture"),
    ("resnet10t", "basic blocks are not described yet"),
    ("resnet18", "basic blocks are not described yet"),
    ("resnet34", "basic blocks are not described yet"),
    ("resnest", "split attention is another network"),
    ("res2ne", "multi-scale blocks are another network"),
)


def why_not(name: str) -> str:
    """Why a relative of these networks is not one of them; empty for a name that is nothing like ours."""
    for start, reason in _RELATIVES:
        if name.startswith(start):
            return reason
    if name.startswith(("resnet", "resnext", "wide_resnet")):
        return "its depth, stem, width or norm is none that we describe"
    return ""
