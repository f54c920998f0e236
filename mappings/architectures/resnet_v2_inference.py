"""Derive a pre-activation ResNet from what a file has: damaged files count too, since most blocks say the same."""

from collections import Counter

from ..graph import Lookup
from .evidence import CONV, classes, depths, is_kernel
from .resnet_names import Block
from .resnet_v2 import MAX_BLOCKS, STAGES, ResNetV2

# A norm before all and one after the last block: no other ResNet has either.
_OWN = ("input.norm", "final.norm")


def infer(lookup: Lookup) -> ResNetV2 | None:
    """The network whose tensors ``lookup`` finds, or None.

    A few missing or misshapen tensors do not matter: one tensor of the norms at the ends tells the family, and
    whether blocks are basic is what most of them say.
    """
    found = _stages(lookup)
    said = Counter(
        block
        for stage, depth in enumerate(found)
        for number in range(depth)
        if (block := _block(lookup, stage, number))
    )
    if len(found) != STAGES or not said:
        return None
    (block, _), *_ = said.most_common(1)
    network = ResNetV2(found, block)
    return network.with_classes(classes(lookup, network.channels(STAGES - 1)))


def why_not_file(lookup: Lookup) -> str:
    """Why the network that a file holds is a relative of these but none of them; empty if it is no relative."""
    if _stages(lookup) and infer(lookup) is None:
        return f"a pre-activation ResNet, but not of {STAGES} stages of basic or bottleneck blocks"
    return ""


def _stages(lookup: Lookup) -> tuple[int, ...]:
    """Blocks of each stage; nothing for a file without the norms that only these networks have."""
    if all(lookup(pattern, leaf) is None for pattern in _OWN for leaf in ("scale", "shift", "mean", "var")):
        return ()
    return depths(lookup, stages=STAGES, blocks=MAX_BLOCKS)


def _block(lookup: Lookup, stage: int, number: int) -> Block | None:
    """What a block says it is: its first convolution is 1x1 in a bottleneck, 3x3 in a basic one."""
    first = lookup(CONV, "kernel", s=stage, b=number, k=1)
    if is_kernel(first, 1):
        return "bottleneck"
    return "basic" if is_kernel(first, 3) else None
