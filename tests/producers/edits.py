"""Small changes of a model: finding, adding, rewiring. Each edit changes the model that it is given."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mshub_convert.converters.tensors import Array

from . import plain
from .registry import Make, square
from .sample import Sample

Model = onnx.ModelProto
Edit = Callable[[Model], None]


def edited(*changes: Edit, opset: int = 13, batch: int | None = None, final: int | None = None) -> Make:
    """A producer's ``make``: the plain model with these changes."""

    def make(sample: Sample, path: Path) -> None:
        onnx.save(changed(sample, *changes, opset=opset, batch=batch, final=final), path)

    return make


def changed(
    sample: Sample, *changes: Edit, opset: int = 13, batch: int | None = None, final: int | None = None
) -> Model:
    """The plain model with these changes."""
    model = plain.model(sample, opset=opset, batch=batch, size=square(sample, final) if final else None)
    for change in changes:
        change(model)
    return model


def nodes(model: Model, *ops: str) -> list[Any]:
    """The nodes of these operators, in the file's order."""
    return [node for node in model.graph.node if node.op_type in ops]


def named(model: Model, name: str) -> Any:
    """The node of a name."""
    return next(node for node in model.graph.node if node.name == name)


def constants(model: Model) -> dict[str, Array]:
    """Values of the initializers."""
    return {constant.name: numpy_helper.to_array(constant) for constant in model.graph.initializer}


def put(model: Model, name: str, array: Any) -> str:
    """Add an initializer, or give one another value."""
    made = numpy_helper.from_array(np.asarray(array), name)
    for constant in model.graph.initializer:
        if constant.name == name:
            constant.CopyFrom(made)
            return name
    model.graph.initializer.append(made)
    return name


def drop_constant(model: Model, name: str) -> None:
    """Remove an initializer."""
    model.graph.initializer.remove(next(c for c in model.graph.initializer if c.name == name))


def node(op: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    """A node named after its output."""
    return helper.make_node(op, inputs, [output], name=f"{output}/{op}", **attributes)


def replace(model: Model, old: Any, new: Iterable[Any]) -> None:
    """Put nodes in the place of one."""
    at = list(model.graph.node).index(old)
    model.graph.node.remove(old)
    for offset, made in enumerate(new):
        model.graph.node.insert(at + offset, made)


def before(model: Model, follower: Any, *made: Any) -> None:
    """Put nodes in front of one."""
    at = list(model.graph.node).index(follower)
    for offset, one in enumerate(made):
        model.graph.node.insert(at + offset, one)


def rewire(model: Model, old: str, new: str, *, but: tuple[Any, ...] = ()) -> None:
    """Let all that read a value, and the graph's output of this name, read another instead."""
    for reader in model.graph.node:
        if reader not in but:
            for index, name in enumerate(reader.input):
                if name == old:
                    reader.input[index] = new
    for output in model.graph.output:
        if output.name == old:
            output.name = new


def attribute(owner: Any, name: str) -> Any:
    """The value of an attribute, or None."""
    return next((helper.get_attribute_value(one) for one in owner.attribute if one.name == name), None)


def set_attribute(owner: Any, **values: Any) -> None:
    """Set attributes; None removes one."""
    for name, value in values.items():
        for one in [one for one in owner.attribute if one.name == name]:
            owner.attribute.remove(one)
        if value is not None:
            owner.attribute.append(helper.make_attribute(name, value))


def opset(model: Model) -> int:
    """The version of ONNX's own operators."""
    return next(int(one.version) for one in model.opset_import if one.domain in ("", "ai.onnx"))


def axes(model: Model, name: str, values: list[int], *, since: int) -> tuple[list[str], dict[str, Any]]:
    """An operator's axes as input, from the opset ``since`` on, or as attribute before."""
    if opset(model) >= since:
        return [put(model, name, np.array(values, np.int64))], {}
    return [], {"axes": values}
