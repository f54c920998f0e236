"""From what a caller asks for to the inputs of a proof."""

from collections.abc import Sequence
from pathlib import Path

from ...converters.errors import UsageError
from .photographs import Photographs
from .procedural import Inputs
from .protocol import LARGEST, SMALLEST, InputSet, Size, label, usual_sizes
from .tensors import Tensors

_MOST = 512


def chosen(
    *,
    images: str | Path | None = None,
    inputs: "str | Path | InputSet | None" = None,
    sizes: Sequence[Size] | None = None,
    count: int | None = None,
    seed: int | None = None,
) -> InputSet:
    """The inputs: photographs of the folder ``images``, the arrays of the .npz file ``inputs``, or drawn pictures.

    ``sizes`` are (height, width), ``count`` how many pictures a size, ``seed`` that of drawn ones. Raises UsageError
    where these exclude each other.
    """
    drawn = Inputs()
    given = {"--sizes": sizes, "--count": count, "--seed": seed}
    if inputs is not None:
        extra = [name for name, value in (("--images", images), *given.items()) if value is not None]
        if extra:
            raise UsageError(f"--inputs says exactly what is run; {extra[0]} says otherwise", remedy="Leave one out.")
        return Tensors.read(Path(inputs)) if isinstance(inputs, (str, Path)) else inputs
    asked = sizes is not None
    sizes = _checked(drawn.sizes if sizes is None else tuple(sizes))
    count = drawn.count if count is None else count
    if not 1 <= count <= _MOST:
        raise UsageError(f"{count} pictures a size were asked for", remedy=f"Say 1 to {_MOST}, 8 or more at best.")
    if images is None:
        seed = drawn.seed if seed is None else seed
        if seed < 0:
            raise UsageError(f"the seed {seed} is negative", remedy="Use 0 or more.")
        return Inputs(count, sizes, seed, asked)
    if seed is not None:
        raise UsageError("--seed is for drawn pictures; photographs are chosen by name", remedy="Leave one out.")
    return Photographs.choose(Path(images), count=count, sizes=sizes, asked=asked)


def fitted(inputs: InputSet, side: int) -> InputSet:
    """The inputs for a network made for pictures of this side: at sizes that suit it, where nobody chose others."""
    if inputs.asked or inputs.sizes != Inputs().sizes:
        return inputs
    return inputs.narrowed(usual_sizes(side))


def parse_sizes(text: str) -> tuple[Size, ...]:
    """Sizes in words: ``224x224,225x231``, height x width. Raises UsageError.

    >>> parse_sizes("224x224,225x231")
    ((224, 224), (225, 231))
    """
    found = []
    for part in text.split(","):
        height, cross, width = part.strip().lower().partition("x")
        if not cross or not all(side.isascii() and side.isdigit() and len(side) < 7 for side in (height, width)):
            raise UsageError(f"{part.strip()!r} is no size", remedy="Say HEIGHTxWIDTH, such as 224x224,225x231.")
        found.append((int(height), int(width)))
    return tuple(found)


def _checked(sizes: tuple[Size, ...]) -> tuple[Size, ...]:
    if not sizes:
        raise UsageError("no sizes were given", remedy="Say HEIGHTxWIDTH, such as 224x224,225x231.")
    if len(set(sizes)) < len(sizes):
        twice = next(size for size in sizes if sizes.count(size) > 1)
        raise UsageError(f"the size {label(twice)} is given twice", remedy="Give each size once.")
    for size in sizes:
        if not all(SMALLEST <= side <= LARGEST for side in size):
            raise UsageError(f"the size {label(size)} is out of range", remedy=f"Use {SMALLEST} to {LARGEST} pixels.")
    return sizes
