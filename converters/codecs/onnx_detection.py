"""What follows a detector's outputs in an ONNX model: decoded boxes, and with them non-maximum suppression.

Boxes are decoded as model_zoo does it (variances 0.1 and 0.2, clipped to the picture). Suppression is ONNX's own, on
boxes in pixels of the network's picture that are a pixel longer below and to the right: that is model_zoo's way to
measure areas.
"""

from collections.abc import Mapping

import numpy as np

from ...mappings.architectures.ssd_anchors import anchors
from ..detection import IOU_THRESHOLD, MOST_PER_CLASS, SCORE_THRESHOLD, VARIANCES
from ..tensors import Array
from . import Described
from .onnx_nodes import OnnxNode, Value

# What a model of a detector gives: the network's own outputs, boxes and scores, or what suppression leaves.
HEADS = ("raw", "boxes", "nms")
_PLACE = "detection"

# Output → dtype and sizes; a size of text is dynamic.
Ports = Mapping[str, tuple[str, tuple[int | str, ...]]]


def picture(network: Described) -> tuple[int, int]:
    """Height and width that the anchors are for: those asked for, else the network's own."""
    if network.input_shape is not None:
        return network.input_shape[2], network.input_shape[3]
    return network.side, network.side


def outputs(network: Described) -> Ports:
    """What the model gives in place of the network's outputs."""
    height, width = picture(network)
    batch: int | str = network.input_shape[0] if network.input_shape else "batch"
    if network.heads == "boxes":
        count = len(anchors(height, width))
        return {"boxes": ("float32", (batch, count, 4)), "scores": ("float32", (batch, count, network.classes))}
    many = "detections"
    return {
        "detected_boxes": ("float32", (many, 4)), "detected_scores": ("float32", (many,)),
        "detected_classes": ("int64", (many,)), "detected_pictures": ("int64", (many,)),
    }  # fmt: skip


def detection_nodes(network: Described) -> list[OnnxNode]:
    """The nodes after the network's: none for ``raw``."""
    if network.heads == "raw":
        return []
    height, width = picture(network)
    tail = _Tail()
    tail.decode(np.array(anchors(height, width), np.float64).astype(np.float32))
    if network.heads == "nms":
        tail.suppress(network.classes, height, width)
    return tail.nodes


class _Tail:
    """Collects nodes; every method names what it makes."""

    def __init__(self) -> None:
        self.nodes: list[OnnxNode] = []

    def add(self, op: str, output: str, *inputs: str, **attributes: Value) -> str:
        self.nodes.append(OnnxNode(op, f"{_PLACE}.{output}", inputs, [output], attributes))
        return output

    def inner(self, op: str, name: str, *inputs: str, **attributes: Value) -> str:
        self.nodes.append(OnnxNode(op, f"{_PLACE}.{name}", inputs, [f"{_PLACE}.{name}"], attributes))
        return f"{_PLACE}.{name}"

    def constant(self, name: str, value: float | int | tuple[int, ...] | Array) -> str:
        kind = {float: "value_float", int: "value_int", tuple: "value_ints"}.get(type(value), "value")
        return self.inner("Constant", name, **{kind: value})

    def decode(self, told: Array) -> None:
        """Boxes [top, left, bottom, right] as parts of the picture, of its anchors (centre and size, y before x)."""
        near, far = (self.constant(name, value) for name, value in zip(("near", "far"), VARIANCES, strict=True))
        halves = self.constant("halves", (2, 2))
        moved, grown = f"{_PLACE}.moved", f"{_PLACE}.grown"
        self.nodes.append(OnnxNode("Split", f"{_PLACE}.split", ["loc", halves], [moved, grown], {"axis": 2}))
        centres, sizes = self.constant("centres", told[:, :2].copy()), self.constant("sizes", told[:, 2:].copy())
        offset = self.inner("Mul", "offset", self.inner("Mul", "scaled", moved, near), sizes)
        centre = self.inner("Add", "centre", offset, centres)
        factor = self.inner("Exp", "factor", self.inner("Mul", "scaled_size", grown, far))
        size = self.inner("Mul", "size", factor, sizes)
        half = self.inner("Mul", "half_size", size, self.constant("half", 0.5))
        first, last = self.inner("Sub", "first", centre, half), self.inner("Add", "last", centre, half)
        corners = self.inner("Concat", "corners", first, last, axis=2)
        self.add("Clip", "boxes", corners, self.constant("nothing", 0.0), self.constant("all", 1.0))

    def suppress(self, classes: int, height: int, width: int) -> None:
        """What is left of each class but the background."""
        sides, longer = np.array([height, width, height, width], np.float32), np.array([0, 0, 1, 1], np.float32)
        pixels = self.inner("Mul", "in_pixels", "boxes", self.constant("pixels", sides))
        lengthened = self.inner("Add", "lengthened", pixels, self.constant("longer", longer))
        by_class = self.inner("Transpose", "by_class", "scores", perm=(0, 2, 1))
        bounds = (self.constant(name, (at,)) for name, at in (("one", 1), ("end", classes), ("axis", 1)))
        objects = self.inner("Slice", "objects", by_class, *bounds)
        limits = (
            self.constant("most", MOST_PER_CLASS), self.constant("overlap", IOU_THRESHOLD),
            self.constant("certainty", SCORE_THRESHOLD),
        )  # fmt: skip
        chosen = self.inner("NonMaxSuppression", "chosen", lengthened, objects, *limits)
        places = self.inner("Gather", "places", chosen, self.constant("picture_and_box", (0, 2)), axis=1)
        self.add("GatherND", "detected_boxes", "boxes", places)
        self.add("GatherND", "detected_scores", objects, chosen)
        first = self.constant("first_object", 1)
        self.add("Add", "detected_classes", self.inner("Gather", "object", chosen, first, axis=1), first)
        self.add("Gather", "detected_pictures", chosen, self.constant("picture", 0), axis=1)
