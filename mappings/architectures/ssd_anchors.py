"""The anchors of SSD-ResNet50: computed from the picture's size, stored in no checkpoint.

Source: model_zoo's research/cv/ssd_resnet50 (GeneratDefaultBoxes of src/box_utils.py), anchors as RetinaNet has them.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

# Pixels between the cells of each level, and how many times that an anchor of ratio 1 is wide.
STEPS = (8, 16, 32, 64, 128)
RATIOS, SCALES = (1.0, 2.0, 0.5), (4.0, 4.0 * math.sqrt(2.0))
PER_CELL = len(RATIOS) * len(SCALES)

# y and x of the centre, height and width, as parts of the picture.
Anchor = tuple[float, float, float, float]


def anchors(height: int, width: int) -> tuple[Anchor, ...]:
    """The anchors of a picture in pixels: level by level, row by row, ratio by ratio, scale by scale.

    model_zoo has them for 640x640 only; other sizes go by the same rule.

    >>> found = anchors(640, 640)
    >>> len(found), found[0]
    (51150, (0.00625, 0.00625, 0.05, 0.05))
    """
    return _anchors(height, width)


@lru_cache(maxsize=4)
def _anchors(height: int, width: int) -> tuple[Anchor, ...]:
    return tuple(_each(height, width))


def _each(height: int, width: int) -> Iterator[Anchor]:
    for (rows, columns), step in zip(grids(height, width), STEPS, strict=True):
        sizes = [
            (scale / math.sqrt(ratio) * step, scale * math.sqrt(ratio) * step) for ratio in RATIOS for scale in SCALES
        ]
        for row in range(rows):
            for column in range(columns):
                centre = (row * step + step / 2) / height, (column * step + step / 2) / width
                for tall, wide in sizes:
                    yield *centre, tall / height, wide / width


def grids(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """Rows and columns of the cells of each level: every stride rounds up, as ``same`` padding does."""
    return tuple((-(-height // step), -(-width // step)) for step in STEPS)
