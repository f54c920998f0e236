"""Derive a ResNet from what a file has: damaged files count too, since most blocks say the same."""

from collections import Counter
from collections.abc import Iterator
from typing import TypeGuard

from ..graph import Lookup, Shape
from .resnet import LIMIT, MAX_BLOCKS, MAX_STAGES, ResNet

_CONV, _NORM = "stages.{s}.{b}.conv{k}", "stages.{s}.{b}.norm{k}"


def infer(lookup: Lookup) -> ResNet | None:
    """The network whose tensors ``lookup`` finds, or None.

    A few missing or misshapen tensors do not matter: depths count blocks of which anything is there, and sizes
    are what most blocks say.
    """
    depths = _depths(lookup)
    blocks = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    sizes = Counter(size for stage, block in blocks for size in _block_sizes(lookup, stage, block))
    if not sizes or _is_basic(lookup, blocks):
        return None
    (cardinality, base_width), _ = sizes.most_common(1)[0]
    stem_width = _deep_stem_width(lookup)
    return ResNet(
        depths, cardinality, base_width,
        classes=_classes(lookup, 256 * 2 ** (len(depths) - 1)),
        stem="deep" if stem_width else "7x7",
        stem_width=stem_width or 32,
        shortcut="avg" if _shortcuts(lookup, len(depths), "avg_") > _shortcuts(lookup, len(depths), "") else "conv",
    )  # fmt: skip


def why_not_file(lookup: Lookup) -> str:
    """Why the network that a file holds is a relative of these but none of them; empty if it is no relative."""
    depths = _depths(lookup)
    blocks = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    if _is_basic(lookup, blocks):
        return "a ResNet with basic blocks (such as resnet18 or resnet34), which are not described yet"
    return ""


def _depths(lookup: Lookup) -> tuple[int, ...]:
    depths: list[int] = []
    for stage in range(MAX_STAGES):
        depth = 0
        while depth < MAX_BLOCKS and _has_block(lookup, stage, depth):
            depth += 1
        if not depth:
            break
        depths.append(depth)
    return tuple(depths)


def _has_block(lookup: Lookup, stage: int, block: int) -> bool:
    return any(
        lookup(pattern, leaf, s=stage, b=block, k=k) is not None
        for pattern, leaf in ((_CONV, "kernel"), (_NORM, "scale"))
        for k in (1, 2, 3)
    )


def _block_sizes(lookup: Lookup, stage: int, block: int) -> Iterator[tuple[int, int]]:
    """What a block says about (cardinality, base width), if anything."""
    shape = lookup(_CONV, "kernel", s=stage, b=block, k=2)
    if not _is_kernel(shape, 3) or shape[0] % shape[1]:
        return
    groups = shape[0] // shape[1]
    if shape[0] % (2**stage * groups) == 0:
        base_width = shape[0] // (2**stage * groups)
        if groups <= LIMIT and base_width <= LIMIT:
            yield groups, base_width


def _is_basic(lookup: Lookup, blocks: list[tuple[int, int]]) -> bool:
    """Whether most blocks begin with a 3x3 convolution and have no third one."""
    basic = 0
    for stage, block in blocks:
        third = lookup(_CONV, "kernel", s=stage, b=block, k=3) or lookup(_NORM, "scale", s=stage, b=block, k=3)
        basic += third is None and _is_kernel(lookup(_CONV, "kernel", s=stage, b=block, k=1), 3)
    return basic > len(blocks) // 2


def _is_kernel(shape: Shape | None, size: int) -> TypeGuard[Shape]:
    return shape is not None and len(shape) == 4 and 0 not in shape and shape[2:] == (size, size)


def _deep_stem_width(lookup: Lookup) -> int:
    """Channels of the first convolutions of a deep stem, 0 for a stem of one convolution."""
    kernels = [lookup("stem.conv{k}", "kernel", k=k) for k in (1, 2, 3)]
    if sum(kernel is not None for kernel in kernels) <= (lookup("stem.conv", "kernel") is not None):
        return 0
    first, second, third = kernels
    said = Counter(
        [shape[0] for shape in (first, second) if _is_kernel(shape, 3)]
        + [shape[1] for shape in (second, third) if _is_kernel(shape, 3)]
    )
    widths = [width for width, _ in said.most_common() if width <= LIMIT]
    return widths[0] if widths else 32


def _classes(lookup: Lookup, channels: int) -> int:
    """Rows of the classifier: what its kernel says if that fits the last stage, else what its bias says."""
    kernel, bias = lookup("head", "kernel"), lookup("head", "bias")
    fits = kernel is not None and len(kernel) == 2 and kernel[1] == channels
    for shape in (kernel, bias) if fits else (bias, kernel):
        if shape and shape[0] > 0:
            return shape[0]
    return 1000


def _shortcuts(lookup: Lookup, stages: int, prefix: str) -> int:
    """Kernels found under the names of one kind of shortcut."""
    pattern = f"stages.{{s}}.{{b}}.{prefix}shortcut.conv"
    return sum(_is_kernel(lookup(pattern, "kernel", s=stage, b=0), 1) for stage in range(stages))
