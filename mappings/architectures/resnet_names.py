"""How the field spells ResNets, ``seresnext50d_32x4d``: written from the numbers and read back."""

import re
from collections.abc import Mapping
from typing import Literal, TypedDict

Block = Literal["bottleneck", "basic"]
Shortcut = Literal["conv", "avg"]

# How many times its planes (64 in the first stage) a block puts out.
EXPANSION: Mapping[str, int] = {"bottleneck": 4, "basic": 1}
PLAIN_STEM = (64,)

_DEPTHS: dict[str, tuple[Block, tuple[int, ...]]] = {
    "10": ("basic", (1, 1, 1, 1)),
    "14": ("bottleneck", (1, 1, 1, 1)),
    "18": ("basic", (2, 2, 2, 2)),
    "26": ("bottleneck", (2, 2, 2, 2)),
    "34": ("basic", (3, 4, 6, 3)),
    "50": ("bottleneck", (3, 4, 6, 3)),
    "101": ("bottleneck", (3, 4, 23, 3)),
    "152": ("bottleneck", (3, 8, 36, 3)),
    "200": ("bottleneck", (3, 24, 36, 3)),
    "269": ("bottleneck", (3, 30, 48, 8)),
}

# Stem and shortcut by the letter after the depth (He et al. 2018; t and s are timm's).
_VARIANTS: dict[str, tuple[tuple[int, ...], Shortcut]] = {
    "": (PLAIN_STEM, "conv"),
    "c": ((32, 32, 64), "conv"),
    "d": ((32, 32, 64), "avg"),
    "t": ((24, 32, 64), "avg"),
    "s": ((64, 64, 128), "conv"),
}

NAMES = (
    "resnet10t", "resnet14t", "resnet18", "resnet18d", "resnet26", "resnet26d", "resnet26t", "resnet34", "resnet34d",
    "resnet50", "resnet50c", "resnet50d", "resnet50s", "resnet50t", "resnet101", "resnet101c", "resnet101d",
    "resnet101s", "resnet152", "resnet152c", "resnet152d", "resnet152s", "resnet200", "resnet200d",
    "wide_resnet50_2", "wide_resnet101_2",
    "resnext50_32x4d", "resnext50d_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_64x4d",
    "resnext101_32x16d", "resnext101_32x32d", "resnext101_32x48d", "resnext152_32x4d", "resnext152_64x4d",
    "seresnet18", "seresnet34", "seresnet50", "seresnet50t", "seresnet101", "seresnet152", "seresnet152d",
    "seresnet200d", "seresnet269d",
    "seresnext26_32x4d", "seresnext26d_32x4d", "seresnext26t_32x4d", "seresnext50_32x4d", "seresnext101_32x4d",
    "seresnext101_32x8d", "seresnext101d_32x8d", "seresnext101_64x4d",
)  # fmt: skip

_NUMBER = "[1-9][0-9]{0,3}"
_NUMBERS = f"{_NUMBER}(?:-{_NUMBER})*"
_NAME = re.compile(
    rf"(?P<se>se)?(?P<family>wide_resnet|resnext|resnet)(?P<depth>[0-9]{{2,3}}|_{_NUMBERS})(?P<variant>[cdts]?)"
    rf"(?:_(?P<cardinality>{_NUMBER})x(?P<base_width>{_NUMBER})d|_(?P<factor>{_NUMBER}))?(?P<basic>_basic)?"
    rf"(?:_stem(?P<stem>{_NUMBERS})_(?P<shortcut>conv|avg))?(?:_squeeze(?P<squeeze>{_NUMBERS}))?"
)


class Parts(TypedDict):
    """What a name says of a network."""

    depths: tuple[int, ...]
    block: Block
    cardinality: int
    base_width: int
    stem: tuple[int, ...]
    shortcut: Shortcut
    squeeze: tuple[int, ...]


def usual_squeeze(block: Block, stages: int) -> tuple[int, ...]:
    """What libraries squeeze to: a sixteenth of what a block puts out, and 8 at least.

    >>> usual_squeeze("bottleneck", 4), usual_squeeze("basic", 4)
    ((16, 32, 64, 128), (8, 8, 16, 32))
    """
    return tuple(max(8, (64 * EXPANSION[block] << stage) // 16) for stage in range(stages))


def spell(parts: Parts) -> str:
    """The name of a network; depths, stems and squeezed widths without a name of their own are spelt out.

    >>> spell(Parts(depths=(3, 4), block="bottleneck", cardinality=8, base_width=4, stem=(24, 24, 64),
    ...             shortcut="avg", squeeze=(16, 32)))
    'seresnext_3-4_8x4d_stem24-24-64_avg'
    """
    block, depths, cardinality, base_width = parts["block"], parts["depths"], parts["cardinality"], parts["base_width"]
    depth = next((key for key, value in _DEPTHS.items() if value == (block, depths)), None)
    variant = next((key for key, value in _VARIANTS.items() if value == (parts["stem"], parts["shortcut"])), None)
    middle = (depth or f"_{_joined(depths)}") + (variant or "")
    end = "_basic" if block == "basic" and depth is None else ""
    if variant is None:
        end += f"_stem{_joined(parts['stem'])}_{parts['shortcut']}"
    squeeze = parts["squeeze"]
    if squeeze and squeeze != usual_squeeze(block, len(depths)):
        end += f"_squeeze{_joined(squeeze)}"
    se = "se" if squeeze else ""
    if cardinality == 1 and base_width == 64:
        return f"{se}resnet{middle}{end}"
    if cardinality == 1 and base_width % 64 == 0:
        return f"{se}wide_resnet{middle}_{base_width // 64}{end}"
    return f"{se}resnext{middle}_{cardinality}x{base_width}d{end}"


def read(name: str) -> Parts | None:
    """What a name says, or None for a name of another form."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    family, depth = found["family"], found["depth"]
    # Each family has its own widths: none, a factor, or cardinality and base width.
    if (family == "resnext") != bool(found["cardinality"]) or (family == "wide_resnet") != bool(found["factor"]):
        return None
    # Nothing is said twice: a letter says the stem, a depth the block, and only SE squeezes.
    if (found["stem"] and found["variant"]) or (found["squeeze"] and not found["se"]):
        return None
    block: Block = "basic" if found["basic"] else "bottleneck"
    if depth[0] == "_":
        depths = _split(depth[1:])
    elif depth in _DEPTHS and not found["basic"]:
        block, depths = _DEPTHS[depth]
    else:
        return None
    stem, shortcut = _VARIANTS[found["variant"]]
    if found["stem"]:
        stem, shortcut = _split(found["stem"]), "avg" if found["shortcut"] == "avg" else "conv"
    usual = usual_squeeze(block, len(depths)) if found["se"] else ()
    return Parts(
        depths=depths, block=block, cardinality=int(found["cardinality"] or 1),
        base_width=int(found["base_width"] or 64 * int(found["factor"] or 1)),
        stem=stem, shortcut=shortcut, squeeze=_split(found["squeeze"]) if found["squeeze"] else usual,
    )  # fmt: skip


def _joined(numbers: tuple[int, ...]) -> str:
    return "-".join(map(str, numbers))


def _split(numbers: str) -> tuple[int, ...]:
    return tuple(map(int, numbers.split("-")))
