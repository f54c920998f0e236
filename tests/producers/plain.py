"""A plain ONNX file, written node by node with ``onnx.helper``: what most other producers start from.

Initializers have timm's names; operators are written in the form that the opset asks for, from 7 to 21.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper

from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.graph import Node

from .sample import Sample

Model = onnx.ModelProto


def model(
    sample: Sample, *, opset: int = 13, size: tuple[int, int] | None = None, batch: int | None = None,
    dialect_name: str = "timm",
) -> Model:  # fmt: skip
    """The network as a model; dynamic in batch and size unless they are given."""
    graph, grounding = sample.graph, dialect(dialect_name).ground(sample.network)
    names = {key: slot.names[0] for key, slot in grounding.slots.items()}
    read = {name for node in graph.nodes for name in node.inputs}
    # Every parameter that a node reads, under the name and in the shape that the dialect has for it.
    constants = [numpy_helper.from_array(array, names[key]) for key, array in sample.tensors.items() if key in read]
    made = helper.make_graph(
        [_node(node, names) for node in graph.nodes],
        sample.network.name,
        [value(graph.input, [batch or "batch", graph.channels, *(size or ("height", "width"))])],
        [value(graph.output, [batch or "batch", sample.network.classes])],
        constants,
    )
    if opset < 9:  # up to IR 3 initializers are graph inputs, too
        made.input.extend(value(constant.name, list(constant.dims)) for constant in constants)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(
        made, opset_imports=imports, ir_version=helper.find_min_ir_version_for(imports), producer_name="plain"
    )


def value(name: str, dims: list[int | str], dtype: int = TensorProto.FLOAT) -> Any:
    """An input or output."""
    return helper.make_tensor_value_info(name, dtype, dims)


def write(sample: Sample, path: Path) -> None:
    """The model at opset 13."""
    onnx.save(model(sample), path)


def _node(node: Node, names: Mapping[str, str]) -> Any:
    inputs = [names.get(name, name) for name in node.inputs]
    return helper.make_node(node.op, inputs, [node.output], name=f"{node.name}/{node.op}", **dict(node.attributes))
