"""Names, orders and opsets: what a file may call and sort as it likes, and every version of the operators."""

import random
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import onnx
from onnx import version_converter

from . import plain
from .edits import Model, edited
from .registry import Producer
from .sample import Sample

OPSETS = range(7, 22)


def anonymised(model: Model, *, seed: int = 0) -> None:
    """Random names for every value, no names for nodes, constants in random order."""
    chance = random.Random(seed)
    graph = model.graph
    names = {name for node in graph.node for name in (*node.input, *node.output) if name}
    names |= {port.name for port in (*graph.input, *graph.output)} | {one.name for one in graph.initializer}
    numbers = chance.sample(range(10 * len(names)), len(names))
    called = {name: f"t{number}" for name, number in zip(sorted(names), numbers, strict=True)} | {"": ""}
    for node in graph.node:
        node.name, node.doc_string = "", ""
        node.input[:] = [called[name] for name in node.input]
        node.output[:] = [called[name] for name in node.output]
    for one in (*graph.input, *graph.output, *graph.initializer):
        one.name = called[one.name]
    _refill(graph.initializer, chance.sample(list(graph.initializer), len(graph.initializer)))
    graph.name, model.producer_name = "g", ""
    del graph.value_info[:]


def reordered(model: Model, *, seed: int = 0) -> None:
    """The nodes in another order in which every value is made before it is read."""
    chance = random.Random(seed)
    waiting = list(model.graph.node)
    made = {name for node in waiting for name in node.output}
    done: list[Any] = []
    while waiting:
        ready = [node for node in waiting if not made.intersection(node.input)]
        node = chance.choice(ready)
        waiting.remove(node)
        made.difference_update(node.output)
        done.append(node)
    _refill(model.graph.node, done)


def _refill(field: Any, values: Iterable[Any]) -> None:
    copies = []
    for value in values:
        copies.append(type(value)())
        copies[-1].CopyFrom(value)
    del field[:]
    field.extend(copies)


def version_converted(sample: Sample, path: Path, *, before: int, after: int) -> None:
    """What onnx's version converter makes of the plain model."""
    onnx.save(version_converter.convert_version(plain.model(sample, opset=before), after), path)


PRODUCERS = {
    "plain": Producer("node by node with onnx.helper", plain.write),
    "anonymised": Producer("random names, shuffled weights", edited(anonymised)),
    "reordered": Producer("nodes in another order", edited(reordered)),
    "reordered-anonymised": Producer("both", edited(reordered, anonymised)),
    **{f"opset-{version}": Producer(f"opset {version}", edited(opset=version)) for version in OPSETS},
    "converted-9-21": Producer("onnx's version converter, 9 to 21", partial(version_converted, before=9, after=21)),
    "converted-9-7": Producer("onnx's version converter, 9 to 7", partial(version_converted, before=9, after=7)),
    "converted-21-17": Producer("onnx's version converter, 21 to 17", partial(version_converted, before=21, after=17)),
}
