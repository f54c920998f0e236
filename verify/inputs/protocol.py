"""What a set of inputs is to a proof, and what it cannot show."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

# ImageNet's, as every library here normalises.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# Eight real pictures miss none of 64 mutations of a network, one misses one of them.
ENOUGH = 8

# A ResNet halves a side five times; pictures beyond these sides take minutes each.
SMALLEST, LARGEST = 32, 2048

Size = tuple[int, int]


class InputSet(Protocol):
    """Batches of pictures, one for each label; equal and hashable by what it is."""

    @property
    def count(self) -> int:
        """How many pictures a batch has; the fewest, where they differ."""

    @property
    def sizes(self) -> tuple[Size, ...]:
        """(height, width) of each batch."""

    @property
    def asked(self) -> bool:
        """Whether somebody chose the sizes: else others may suit the network better."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Each batch in a word or two."""

    @property
    def titles(self) -> tuple[str, ...]:
        """What the pictures of every batch are called, if they are called anything."""

    @property
    def told(self) -> str:
        """Which pictures these are, in words."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What they cannot show, in sentences."""

    def narrowed(self, sizes: tuple[Size, ...]) -> Self:
        """The same at these sizes only; raises RuntimeRefusedError where it has no such pictures."""

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write one .npy a label: float32, (N, 3, height, width), normalised."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""


def usual_sizes(side: int) -> tuple[Size, ...]:
    """Sizes for a network made for pictures of this side: that one, and one that is odd and not square.

    >>> usual_sizes(224), usual_sizes(640)
    (((224, 224), (225, 231)), ((640, 640), (321, 353)))
    """
    return ((side, side), (225, 231) if side < 2 * 224 else (side // 2 + 1, side // 2 + 33))


def label(size: Size) -> str:
    """A size in words: ``224x231`` is height x width."""
    return f"{size[0]}x{size[1]}"


def blind_spots(sizes: Sequence[Size], count: int) -> tuple[str, ...]:
    """What pictures of these sizes, so many of each, cannot tell apart, in sentences.

    >>> blind_spots([(224, 224), (225, 231)], 8)
    ()
    """
    found = []
    distinct = sorted(set(sizes))
    if len(distinct) == 1:
        found.append(f"every picture is {label(distinct[0])}: mistakes of padding and rounding show at some sizes only")
    # The stem halves a side, rounding up, before it pools; a pool that pads as `same` does differs on an even side.
    if not any((side + 1) // 2 % 2 == 0 for size in distinct for side in size):
        told = " and ".join(map(label, distinct))
        found.append(
            f"at {told} a stem pool padded `same` equals a symmetric one: add a multiple of 4, such as 224x224"
        )
    if count < ENOUGH:
        few = "one picture" if count == 1 else f"{count} pictures"
        found.append(f"{few} a size: fewer than {ENOUGH} diverse ones may miss small mistakes")
    return tuple(found)
