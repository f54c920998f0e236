"""ONNX files: what is written, as onnx itself reads it; what is read of anything; and hostile files."""

import contextlib
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, checker, external_data_helper, helper, numpy_helper

import mshub_convert as mc
from mshub_convert.converters.codecs import onnx_write as writer
from mshub_convert.converters.codecs import open_checkpoint
from mshub_convert.converters.errors import EnvironmentError_, MalformedFileError, UsageError
from mshub_convert.mappings.errors import MshubConvertError

WeightsFile = Callable[..., Path]


@pytest.fixture
def source(weights_file: WeightsFile) -> Path:
    return weights_file()


@pytest.fixture
def written(source: Path, tmp_path: Path) -> Callable[..., Path]:
    def make(to: str = "onnx", name: str = "net.onnx", **options: object) -> Path:
        return mc.convert(source, to=to, out=tmp_path / name, overwrite=True, **options).path

    return make


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def initializers(path: Path) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}


# --- written


@pytest.mark.parametrize("opset", range(13, 22))
def test_every_opset_is_valid(written: Callable[..., Path], opset: int) -> None:
    model = onnx.load(written(opset=opset))
    checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert model.ir_version == helper.find_min_ir_version_for(model.opset_import)


@pytest.mark.parametrize("opset", [12, 22, 0])
def test_other_opsets_are_refused(written: Callable[..., Path], opset: int) -> None:
    with pytest.raises(UsageError, match="is not written"):
        written(opset=opset)


@pytest.mark.parametrize("to", ["onnx", "onnx:mindcv", "onnx:mmcls", "onnx:modelzoo"])
def test_tensors_and_layers_have_the_names_of_the_dialect(written: Callable[..., Path], to: str) -> None:
    path = written(to)
    dialect = to.partition(":")[2] or "timm"
    held = initializers(path)
    names = {
        name
        for here in mc.mapping("resnext_1-1_4x2d", "timm", dialect).values()
        for name in ((here,) if isinstance(here, str) else here)
        if not name.endswith("num_batches_tracked")
    }
    assert set(held) == names
    layers = {node.name for node in onnx.load(path).graph.node}
    folders = {name.rpartition(".")[0] for name in names}
    split = {folder.rpartition(".")[0] for folder in folders if folder.rpartition(".")[2].isdigit()} & layers
    assert {folder for folder in folders if folder not in layers and folder.rpartition(".")[0] not in split} == set()


def test_the_graph_is_unfolded_dynamic_and_ends_with_logits(written: Callable[..., Path]) -> None:
    model = onnx.load(written())
    ops = [node.op_type for node in model.graph.node]
    assert ops.count("BatchNormalization") == 9
    assert ops[-3:] == ["GlobalAveragePool", "Flatten", "Gemm"]
    (picture,), (logits,) = model.graph.input, model.graph.output
    assert [dim.dim_param or dim.dim_value for dim in picture.type.tensor_type.shape.dim] == [
        "batch", 3, "height", "width",
    ]  # fmt: skip
    assert [dim.dim_param or dim.dim_value for dim in logits.type.tensor_type.shape.dim] == ["batch", 10]


def test_a_fixed_input(written: Callable[..., Path]) -> None:
    model = onnx.load(written(input_shape=(2, 3, 64, 96)))
    checker.check_model(model, full_check=True)
    (picture,) = model.graph.input
    assert [dim.dim_value for dim in picture.type.tensor_type.shape.dim] == [2, 3, 64, 96]


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 4, 64, 64), (0, 3, 64, 64)])
def test_impossible_inputs_are_refused(written: Callable[..., Path], shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="no picture has the shape"):
        written(input_shape=shape)


@pytest.mark.parametrize("option", [{"opset": 13}, {"fold_bn": True}, {"input_shape": (1, 3, 64, 64)}])
def test_options_of_graphs_are_refused_for_weights(written: Callable[..., Path], option: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="is for files that hold the graph"):
        written("ckpt", "net.ckpt", **option)


def test_traits_are_in_the_graph(written: Callable[..., Path]) -> None:
    traits = {"stem_pool": "same", "padding": "same", "norm_eps": "1e-4", "bottleneck_stride": "1x1"}
    model = onnx.load(written(traits=traits))
    nodes = {node.name: {a.name: helper.get_attribute_value(a) for a in node.attribute} for node in model.graph.node}
    assert nodes["stem.pool"]["auto_pad"] == nodes["conv1"]["auto_pad"] == b"SAME_UPPER"
    assert nodes["bn1"]["epsilon"] == np.float32(1e-4)
    assert nodes["layer2.0.conv1"]["strides"] == [2, 2]
    assert nodes["layer2.0.conv2"]["strides"] == [1, 1]


def test_equal_conversions_give_equal_bytes(written: Callable[..., Path]) -> None:
    assert sha256(written(name="a.onnx")) == sha256(written(name="b.onnx"))


def test_the_record_is_in_the_metadata(written: Callable[..., Path]) -> None:
    path = written()
    (entry,) = onnx.load(path).metadata_props
    assert entry.key == "mshub_convert.record"
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.record is not None
        assert checkpoint.record["architecture"]["name"] == "resnext_1-1_4x2d"
        assert checkpoint.record["container"] == "onnx"


def test_half_precision_takes_and_gives_float32(written: Callable[..., Path]) -> None:
    path = written(dtype="float16")
    model = onnx.load(path)
    checker.check_model(model, full_check=True)
    assert {item.data_type for item in model.graph.initializer} == {TensorProto.FLOAT16}
    assert [node.op_type for node in model.graph.node][:: len(model.graph.node) - 1] == ["Cast", "Cast"]
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_bfloat16_has_no_convolution(written: Callable[..., Path]) -> None:
    with pytest.raises(MshubConvertError, match="ONNX cannot hold bfloat16 weights"):
        written(dtype="bfloat16")


def test_counters_survive_in_the_record(written: Callable[..., Path], source: Path, tmp_path: Path) -> None:
    back = mc.convert(written(), to="safetensors", out=tmp_path / "back.safetensors").path
    with open_checkpoint(source) as before, open_checkpoint(back) as result:
        assert before.tensors.keys() == result.tensors.keys()
        for name, ref in before.tensors.items():
            assert ref.read().tobytes() == result.tensors[name].read().tobytes(), name


# --- beyond 2 GB


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LIMIT", 100_000)


@pytest.mark.usefixtures("small_limit")
def test_tensors_that_are_too_many_go_into_a_file_beside(written: Callable[..., Path], tmp_path: Path) -> None:
    path = written()
    data = tmp_path / "net.onnx.data"
    assert path.stat().st_size < 50_000 < data.stat().st_size
    checker.check_model(str(path), full_check=True)
    bare = onnx.load(path, load_external_data=False)
    places = [external_data_helper.ExternalDataInfo(item) for item in bare.graph.initializer]
    assert {place.location for place in places} == {"net.onnx.data"}
    assert all(place.offset % 4096 == 0 for place in places)
    back = mc.convert(path, to="safetensors", out=tmp_path / "back.safetensors").path
    with open_checkpoint(back) as result:
        held = initializers(path)
        assert all(held[name].tobytes() == result.tensors[name].read().tobytes() for name in held)
    assert mc.inspect(path).nbytes == path.stat().st_size + data.stat().st_size
    output = (tmp_path / "net.onnx.mshub.json").read_text()
    assert sha256(path) in output
    assert sha256(data) in output


@pytest.mark.usefixtures("small_limit")
def test_an_existing_file_of_data_is_not_replaced(source: Path, tmp_path: Path) -> None:
    (tmp_path / "net.onnx.data").write_bytes(b"other")
    with pytest.raises(UsageError, match="exists"):
        mc.convert(source, to="onnx", out=tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx.data").read_bytes() == b"other"
    assert not (tmp_path / "net.onnx").exists()


@pytest.mark.usefixtures("small_limit")
def test_data_that_is_gone_or_cut(written: Callable[..., Path], tmp_path: Path) -> None:
    path, data = written(), tmp_path / "net.onnx.data"
    whole = data.read_bytes()
    data.write_bytes(whole[:-10])
    with pytest.raises(MalformedFileError, match=r"net\.onnx\.data ends at byte"):
        mc.inspect(path)
    data.unlink()
    with pytest.raises(EnvironmentError_, match=r"keeps its tensors in net\.onnx\.data, which is not there"):
        mc.inspect(path)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "", "a/../../b"])
def test_data_elsewhere_is_not_read(tmp_path: Path, location: str) -> None:
    (tmp_path.parent / "secret").write_bytes(bytes(64))
    tensor = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    with pytest.raises(MalformedFileError, match="which is no file beside it"):
        opened(tensor, tmp_path)


def test_a_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_bytes(bytes(8))
    (tmp_path / "in" / "data").symlink_to(tmp_path / "secret")
    tensor = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="data")
    with pytest.raises(MalformedFileError, match="is a link out of the folder"):
        opened(tensor, tmp_path / "in")


# --- tensors as others write them


def model_of(*tensors: TensorProto) -> onnx.ModelProto:
    node = helper.make_node("Identity", ["x"], ["y"])
    ports = [helper.make_tensor_value_info(name, 1, [1]) for name in ("x", "y")]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], initializer=list(tensors))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])


def opened(tensor: TensorProto, folder: Path) -> np.ndarray:
    path = folder / "model.onnx"
    path.write_bytes(model_of(tensor).SerializeToString())
    with open_checkpoint(path) as checkpoint:
        (ref,) = checkpoint.tensors.values()
        return np.array(ref.read())


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(TensorProto.FLOAT, np.float32), (TensorProto.DOUBLE, np.float64), (TensorProto.FLOAT16, np.float16),
     (TensorProto.INT64, np.int64), (TensorProto.INT32, np.int32), (TensorProto.UINT64, np.uint64),
     (TensorProto.INT8, np.int8), (TensorProto.BOOL, np.bool_)],
)  # fmt: skip
@pytest.mark.parametrize("raw", [False, True])
def test_typed_fields_are_raw_bytes_said_otherwise(tmp_path: Path, kind: int, dtype: type, raw: bool) -> None:
    values = np.array([[0, 1, 1], [0, 100, 7]]).astype(dtype)
    if np.issubdtype(dtype, np.signedinteger) or np.issubdtype(dtype, np.floating):
        values[1, 0] = -3
    tensor = helper.make_tensor("w", kind, values.shape, values.tobytes() if raw else values.reshape(-1), raw=raw)
    read = opened(tensor, tmp_path)
    assert (read.dtype, read.shape) == (values.dtype, values.shape)
    assert read.tobytes() == values.tobytes()


def test_floats_written_one_by_one(tmp_path: Path) -> None:
    single = b"".join(bytes([4 << 3 | 5]) + struct.pack("<f", value) for value in (1.5, -2.0))
    tensor = bytes([1 << 3, 2, 2 << 3, 1]) + bytes([8 << 3 | 2, 1]) + b"w" + single
    graph = bytes([5 << 3 | 2, len(tensor)]) + tensor
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes([1 << 3, 7]) + bytes([7 << 3 | 2, len(graph)]) + graph)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.tensors["w"].read().tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dims": [-1]}, "has the dims"),
        ({"dims": [1 << 60]}, "has the dims"),
        ({"dims": [3]}, "has 8 bytes where"),
        ({"dims": [1] * 65}, "more than 64 dimensions"),
        ({"data_type": TensorProto.STRING}, "data type 8"),
        ({"data_type": TensorProto.FLOAT8E4M3FN}, "data type 17"),
        ({"data_type": 99}, "data type 99"),
    ],
)
def test_tensors_that_cannot_be(tmp_path: Path, change: dict[str, object], said: str) -> None:
    fields: dict[str, object] = {"name": "w", "data_type": 1, "dims": [2], "raw_data": bytes(8)}
    with pytest.raises(MalformedFileError, match=said):
        opened(TensorProto(**{**fields, **change}), tmp_path)


def test_a_name_that_comes_twice(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    tensor = helper.make_tensor("w", 1, [1], [1.0])
    path.write_bytes(model_of(tensor, tensor).SerializeToString())
    with pytest.raises(MalformedFileError, match="the initializer w comes twice"):
        open_checkpoint(path)


# --- hostile files


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_refused_or_read(written: Callable[..., Path], tmp_path: Path, data: st.DataObject) -> None:
    """One byte changed, or cut anywhere: an error of ours or a file, never another exception."""
    whole = bytearray(
        (tmp_path / "net.onnx").read_bytes() if (tmp_path / "net.onnx").exists() else written().read_bytes()
    )
    path = tmp_path / "damaged.onnx"
    if data.draw(st.booleans(), label="cut"):
        path.write_bytes(whole[: data.draw(st.integers(1, len(whole) - 1), label="length")])
    else:
        # Where the graph is, not the tensors: there nothing can be noticed.
        place = data.draw(st.integers(0, 12_000), label="place")
        whole[place] ^= data.draw(st.integers(1, 255), label="bits")
        path.write_bytes(whole)
    with contextlib.suppress(MshubConvertError):
        mc.inspect(path)


def test_what_starts_like_onnx_and_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"\x08\x07\x12\x04")
    with pytest.raises(MalformedFileError, match="is not a valid ONNX model"):
        open_checkpoint(path)
    path.write_bytes(b"\x08\x07\x12\x04abcd")
    with pytest.raises(MalformedFileError, match="it holds 0 graphs"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([("Identity", "b", "a"), ("Identity", "a", "b"), ("Relu", "b", "y")], "Identity 'a' reads 'b', which nothing"),
        ([("Relu", "b", "a"), ("Relu", "a", "b"), ("Relu", "b", "y")], "Relu 'a' reads 'b', which nothing before it"),
        ([("Relu", "x", "a"), ("Relu", "a", "a"), ("Relu", "a", "y")], "Relu 'a' makes 'a', which is there already"),
        ([("Relu", "x", "x"), ("Relu", "x", "y")], "Relu 'x' makes 'x', which is there already"),
    ],
    ids=["aliases", "values", "twice", "input"],
)
def test_graphs_that_go_in_circles(tmp_path: Path, nodes: list[tuple[str, str, str]], said: str) -> None:
    made = [helper.make_node(op, [before], [after]) for op, before, after in nodes]
    ports = [helper.make_tensor_value_info(name, 1, [1, 3, 8, 8]) for name in ("x", "y")]
    graph = helper.make_graph(made, "g", ports[:1], ports[1:])
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString())
    assert said in mc.inspect(path).reason
