"""Where and how a file keeps its weights: other places, other fields, other dtypes."""

from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mshub_convert.converters.tensors import Array

from . import edits, plain
from .edits import Model, edited
from .registry import Producer
from .sample import Sample

# What onnxruntime's float16 converter makes of smaller numbers, so that they do not vanish.
_SMALLEST = 5.96e-08


def constant_nodes(model: Model) -> None:
    """All weights in Constant nodes; short ones as plain lists of numbers."""
    made = []
    for constant in model.graph.initializer:
        array = numpy_helper.to_array(constant)
        if array.ndim == 1 and array.size <= 64:
            made.append(edits.node("Constant", [], constant.name, value_floats=array.tolist()))
        else:
            made.append(edits.node("Constant", [], constant.name, value=constant))
    del model.graph.initializer[:]
    for node in reversed(made):
        model.graph.node.insert(0, node)


def constants_of_shape(model: Model) -> None:
    """Uniform tensors as ConstantOfShape of a shape, which is an initializer or a Constant."""
    for number, (name, array) in enumerate(edits.constants(model).items()):
        if array.size < 2 or np.ptp(array):
            continue
        edits.drop_constant(model, name)
        dims = np.array(array.shape, np.int64)
        # Zero is the default, and left out.
        fill = {"value": numpy_helper.from_array(array.reshape(-1)[:1])} if array.any() else {}
        made = [edits.node("ConstantOfShape", [f"{name}.dims"], name, **fill)]
        if number % 2:
            made.insert(0, edits.node("Constant", [], f"{name}.dims", value=numpy_helper.from_array(dims)))
        else:
            edits.put(model, f"{name}.dims", dims)
        edits.before(model, model.graph.node[0], *made)


def shared(model: Model) -> None:
    """Equal tensors stored once, the others Identity of them, as torch's exporter does it."""
    first: dict[tuple[object, bytes], str] = {}
    for name, array in edits.constants(model).items():
        kept = first.setdefault((array.shape, array.tobytes()), name)
        if kept != name:
            edits.drop_constant(model, name)
            edits.before(model, model.graph.node[0], edits.node("Identity", [kept], name))


def typed_fields(model: Model) -> None:
    """Numbers in ``float_data`` (``int32_data`` for float16) instead of raw bytes."""
    for constant in model.graph.initializer:
        array = numpy_helper.to_array(constant)
        constant.ClearField("raw_data")
        if constant.data_type == TensorProto.FLOAT16:
            constant.int32_data.extend(array.view(np.uint16).reshape(-1).tolist())
        else:
            constant.float_data.extend(array.reshape(-1).tolist())


def leftovers(model: Model) -> None:
    """Initializers that nothing reads: the ones left over by folding, counters, another head."""
    edits.put(model, "bn1.num_batches_tracked", np.array(7, np.int64))
    edits.put(model, "bn1.running_mean.old", np.zeros(64, np.float32))
    edits.put(model, "old_head.weight", np.ones((5, 512), np.float32))


def as_inputs(model: Model) -> None:
    """Initializers listed as graph inputs too, in front of the picture."""
    picture = model.graph.input.pop()
    model.graph.input.extend(plain.value(c.name, list(c.dims)) for c in model.graph.initializer)
    model.graph.input.append(picture)
    model.ir_version = 3


def stored_as(dtype: Any, model: Model) -> None:
    """Weights in another dtype, each cast to float32 where it is used."""
    for name, array in edits.constants(model).items():
        edits.drop_constant(model, name)
        model.graph.initializer.append(_tensor(array.astype(dtype), f"{name}.stored"))
        edits.before(model, model.graph.node[0], edits.node("Cast", [f"{name}.stored"], name, to=TensorProto.FLOAT))


def computed_as(dtype: Any, casts: bool, model: Model) -> None:
    """The whole graph in another dtype, with casts of the input and output or with both of that dtype."""
    for name, array in edits.constants(model).items():
        if array.dtype == np.float32:
            edits.put(model, name, array.astype(dtype))
    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    if not casts:
        for port in (*model.graph.input, *model.graph.output):
            port.type.tensor_type.elem_type = code
        return
    picture, logits = model.graph.input[0].name, model.graph.output[0].name
    edits.rewire(model, picture, "picture.cast")
    edits.before(model, model.graph.node[0], edits.node("Cast", [picture], "picture.cast", to=code))
    model.graph.node[-1].output[0] = "logits.cast"
    model.graph.node.append(edits.node("Cast", ["logits.cast"], logits, to=TensorProto.FLOAT))


def _tensor(array: Array, name: str) -> Any:
    dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor(name, dtype, array.shape, array.tobytes(), raw=True)


def external(sample: Sample, path: Path, *, one_file: bool) -> None:
    """Weights beside the model: in one file, or each in one of its own."""
    onnx.save(
        plain.model(sample), path, save_as_external_data=True, all_tensors_to_one_file=one_file,
        location=f"{path.name}.data" if one_file else None, size_threshold=0,
    )  # fmt: skip


def ort_float16(sample: Sample, path: Path) -> None:
    """What onnxruntime's float16 converter makes of the plain model, inputs and outputs kept."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(plain.model(sample), keep_io_types=True), path)


def rounded(dtype: Any, sample: Sample) -> Sample:
    """Weights that the dtype can hold."""
    return sample.with_tensors(lambda _, array: array.astype(dtype).astype(np.float32))


def _clamped(sample: Sample) -> Sample:
    def change(_: str, array: Array) -> Array:
        tiny = (array != 0) & (abs(array) < _SMALLEST)
        return np.where(tiny, np.copysign(_SMALLEST, array), array).astype(np.float16).astype(np.float32)

    return sample.with_tensors(change)


def uniform(sample: Sample) -> Sample:
    """BatchNorms as they are before training: scale and variance 1, shift and mean 0."""
    fills = {"scale": 1.0, "var": 1.0, "shift": 0.0, "mean": 0.0}

    def change(key: str, array: Array) -> Array:
        fill = fills.get(key.rpartition(".")[2])
        return array if fill is None else np.full_like(array, fill)

    return sample.with_tensors(change)


_HALF, _BRAIN = np.float16, ml_dtypes.bfloat16

PRODUCERS = {
    "constant-nodes": Producer("weights in Constant nodes", edited(constant_nodes)),
    "constant-of-shape": Producer("uniform weights as ConstantOfShape", edited(constants_of_shape), prepare=uniform),
    "shared-constants": Producer("equal weights stored once", edited(shared), prepare=uniform),
    "external-one-file": Producer("external data, one file", partial(external, one_file=True)),
    "external-many-files": Producer("external data, a file a tensor", partial(external, one_file=False)),
    "typed-fields": Producer("weights in float_data", edited(typed_fields)),
    "leftovers": Producer("initializers that nothing reads", edited(leftovers)),
    "initializers-as-inputs": Producer("initializers as graph inputs (IR 3)", edited(as_inputs, opset=9)),
    "float16": Producer(
        "float16, Casts at the ends", edited(partial(computed_as, _HALF, True)),
        prepare=partial(rounded, _HALF), noise=5e-3,
    ),
    "float16-ends": Producer(
        "float16, input and output too", edited(partial(computed_as, _HALF, False)),
        prepare=partial(rounded, _HALF), noise=5e-3,
    ),
    "float16-typed": Producer(
        "float16 in int32_data", edited(partial(computed_as, _HALF, True), typed_fields),
        prepare=partial(rounded, _HALF), noise=5e-3,
    ),
    "float16-converter": Producer(
        "onnxruntime's float16 converter (its nodes are unsorted)", ort_float16, needs=("onnxruntime",),
        prepare=_clamped, valid=False, noise=5e-3,
    ),
    "float16-stored": Producer(
        "float16 weights, a Cast each", edited(partial(stored_as, _HALF)), prepare=partial(rounded, _HALF)
    ),
    "bfloat16-stored": Producer(
        "bfloat16 weights, a Cast each", edited(partial(stored_as, _BRAIN)), prepare=partial(rounded, _BRAIN)
    ),
    "float64-stored": Producer("float64 weights, a Cast each", edited(partial(stored_as, np.float64))),
    "float64": Producer("float64 throughout", edited(partial(computed_as, np.float64, False), opset=17), noise=0),
}  # fmt: skip
