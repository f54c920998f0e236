"""Derive a ResNet from what a file has: damaged files count too, since most blocks say the same."""

from collections import Counter
from collections.abc import Iterable, Iterator

from ..graph import Lookup, Shape
from .evidence import CONV, NORM, classes, depths, is_kernel
from .resnet import LIMIT, MAX_BLOCKS, MAX_STAGES, ResNet
from .resnet_names import EXPANSION, PLAIN_STEM, Block, usual_squeeze

_SQUEEZE = "stages.{s}.{b}.squeeze{k}"
_USUAL_DEEP_STEM = (32, 32, 64)

_Places = list[tuple[int, int]]


def infer(lookup: Lookup) -> ResNet | None:
    """The network whose tensors ``lookup`` finds, or None.

    A few missing or misshapen tensors do not matter: depths count blocks of which anything is there, and sizes
    are what most blocks say.
    """
    found = depths(lookup, stages=MAX_STAGES, blocks=MAX_BLOCKS)
    places = _places(found)
    block: Block = "basic" if _is_basic(lookup, places) else "bottleneck"
    sizes = Counter(size for stage, at in places for size in _sizes(lookup, stage, at))
    if not sizes or _is_senet(lookup, len(found)):
        return None
    (cardinality, base_width), _ = sizes.most_common(1)[0]
    if block == "basic" and (cardinality, base_width) != (1, 64):
        return None
    return ResNet(
        found, cardinality, base_width,
        classes=classes(lookup, 64 * EXPANSION[block] << len(found) - 1),
        stem=_stem(lookup),
        shortcut="avg" if _shortcuts(lookup, len(found), "avg_") > _shortcuts(lookup, len(found), "") else "conv",
        block=block,
        squeeze=_squeeze(lookup, places, usual_squeeze(block, len(found))),
    )  # fmt: skip


def why_not_file(lookup: Lookup) -> str:
    """Why the network that a file holds is a relative of these but none of them; empty if it is no relative."""
    found = depths(lookup, stages=MAX_STAGES, blocks=MAX_BLOCKS)
    if _is_senet(lookup, len(found)):
        return "an SENet-154, whose shortcuts are 3x3 convolutions"
    places = _places(found)
    norms = [(s, b) for s, b in places if lookup(NORM, "scale", s=s, b=b, k=1)]
    if norms and not any(lookup(NORM, leaf, s=s, b=b, k=1) for s, b in norms for leaf in ("mean", "var")):
        return "a ResNet without running statistics: of group norm, or saved without its buffers"
    if _is_basic(lookup, places):
        kernels = ((stage, lookup(CONV, "kernel", s=stage, b=block, k=2)) for stage, block in places)
        width = _most(shape[0] >> stage for stage, shape in kernels if is_kernel(shape, 3))
        if width not in (None, 64):
            return f"a ResNet with basic blocks of {width} channels in its first stage, where ours have 64"
    return ""


def _places(found: Iterable[int]) -> _Places:
    return [(stage, block) for stage, depth in enumerate(found) for block in range(depth)]


def _sizes(lookup: Lookup, stage: int, block: int) -> Iterator[tuple[int, int]]:
    """What a block says about (cardinality, base width), if anything."""
    shape = lookup(CONV, "kernel", s=stage, b=block, k=2)
    if not is_kernel(shape, 3) or shape[0] % shape[1]:
        return
    groups = shape[0] // shape[1]
    if shape[0] % (2**stage * groups) == 0:
        base_width = shape[0] // (2**stage * groups)
        if groups <= LIMIT and base_width <= LIMIT:
            yield groups, base_width


def _is_basic(lookup: Lookup, places: _Places) -> bool:
    """Whether most blocks begin with a 3x3 convolution and have no third one."""
    basic = 0
    for stage, block in places:
        third = lookup(CONV, "kernel", s=stage, b=block, k=3) or lookup(NORM, "scale", s=stage, b=block, k=3)
        basic += third is None and is_kernel(lookup(CONV, "kernel", s=stage, b=block, k=1), 3)
    return basic > len(places) // 2


def _is_senet(lookup: Lookup, stages: int) -> bool:
    """Whether most strided shortcuts are 3x3 convolutions."""
    return 2 * _shortcuts(lookup, stages, "", kernel=3) > stages


def _most(widths: Iterable[int]) -> int | None:
    """What is said most often, of what a ResNet may have; of equals, what was said first."""
    return next((width for width, _ in Counter(widths).most_common() if 1 <= width <= LIMIT), None)


def _stem(lookup: Lookup) -> tuple[int, ...]:
    """Channels of the stem's convolutions, as they, their norms and what reads them say."""
    deep = sum(lookup("stem.conv{k}", "kernel", k=k) is not None for k in (1, 2, 3))
    first = lookup(CONV, "kernel", s=0, b=0, k=1)
    read_by_block = [first[1]] if first is not None and len(first) == 4 else []
    if deep <= (lookup("stem.conv", "kernel") is not None):
        said = [*_rows(lookup("stem.conv", "kernel"), 7), *_length(lookup("stem.norm", "scale")), *read_by_block]
        return (_most(said) or PLAIN_STEM[0],)
    widths = []
    for k, usual in enumerate(_USUAL_DEEP_STEM, start=1):
        after = lookup("stem.conv{k}", "kernel", k=k + 1) if k < 3 else None
        said = [
            *_rows(lookup("stem.conv{k}", "kernel", k=k), 3),
            *_length(lookup("stem.norm{k}", "scale", k=k)),
            *([after[1]] if is_kernel(after, 3) else []),
            *(read_by_block if k == 3 else []),
        ]
        widths.append(_most(said) or usual)
    return tuple(widths)


def _rows(shape: Shape | None, size: int) -> tuple[int, ...]:
    """Channels that a convolution with kernels of this size puts out, if the shape is that of one."""
    return shape[:1] if is_kernel(shape, size) else ()


def _length(shape: Shape | None) -> tuple[int, ...]:
    """Channels of a norm, if the shape is that of one."""
    return shape if shape is not None and len(shape) == 1 else ()


def _squeeze(lookup: Lookup, places: _Places, usual: tuple[int, ...]) -> tuple[int, ...]:
    """Channels that each stage's blocks are squeezed to; empty where most blocks have nothing of the kind."""
    said: dict[int, list[int]] = {}
    having = 0
    for stage, block in places:
        down, bias, up = (
            lookup(_SQUEEZE, leaf, s=stage, b=block, k=k) for k, leaf in ((1, "kernel"), (1, "bias"), (2, "kernel"))
        )
        having += not (down is bias is up is None)
        said.setdefault(stage, []).extend(
            [shape[at] for shape, at, axes in ((down, 0, 2), (up, 1, 2), (bias, 0, 1)) if shape and len(shape) >= axes]
        )
    if 2 * having <= len(places):
        return ()
    return tuple(_most(said[stage]) or width for stage, width in enumerate(usual))


def _shortcuts(lookup: Lookup, stages: int, prefix: str, *, kernel: int = 1) -> int:
    """Kernels of this size found under the names of one kind of shortcut."""
    pattern = f"stages.{{s}}.{{b}}.{prefix}shortcut.conv"
    return sum(is_kernel(lookup(pattern, "kernel", s=stage, b=0), kernel) for stage in range(stages))
