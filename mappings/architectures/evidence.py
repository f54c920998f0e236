"""What the shapes in a file say of a residual network, whatever its blocks: stages, blocks, classes."""

from typing import TypeGuard

from ..graph import Lookup, Shape

CONV, NORM = "stages.{s}.{b}.conv{k}", "stages.{s}.{b}.norm{k}"


def depths(lookup: Lookup, *, stages: int, blocks: int) -> tuple[int, ...]:
    """How many blocks each stage has; a block counts if anything of it is there. No more are looked for than given."""
    found: list[int] = []
    for stage in range(stages):
        depth = 0
        while depth < blocks and _has_block(lookup, stage, depth):
            depth += 1
        if not depth:
            break
        found.append(depth)
    return tuple(found)


def _has_block(lookup: Lookup, stage: int, block: int) -> bool:
    return any(
        lookup(pattern, leaf, s=stage, b=block, k=k) is not None
        for pattern, leaf in ((CONV, "kernel"), (NORM, "scale"))
        for k in (1, 2, 3)
    )


def classes(lookup: Lookup, channels: int) -> int:
    """Rows of the classifier: what its kernel says if that fits the last stage, else what its bias says."""
    kernel, bias = lookup("head", "kernel"), lookup("head", "bias")
    fits = kernel is not None and len(kernel) == 2 and kernel[1] == channels
    for shape in (kernel, bias) if fits else (bias, kernel):
        if shape and shape[0] > 0:
            return shape[0]
    return 1000


def is_kernel(shape: Shape | None, size: int) -> TypeGuard[Shape]:
    """Whether a shape is that of a square convolution kernel of this size."""
    return shape is not None and len(shape) == 4 and 0 not in shape and shape[2:] == (size, size)
