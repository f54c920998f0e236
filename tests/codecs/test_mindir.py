"""MINDIR without MindSpore: files built on the wire, hostile ones, traits off the graph, and our own layout."""

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mshub_convert.conversion import convert, plan, prepared
from mshub_convert.converters.codecs import Described, EmbeddedRecord, codec, mindir_write, open_checkpoint
from mshub_convert.converters.codecs.protobuf import BYTES, I32, VARINT, delimited, key, varint
from mshub_convert.converters.errors import EnvironmentError_, MalformedFileError, PlanError, ReadBackError, UsageError
from mshub_convert.converters.opened import open_source
from mshub_convert.converters.pipeline import Options, write
from mshub_convert.converters.sources import Origin, Source
from mshub_convert.converters.target import Form, parse_target
from mshub_convert.converters.tensors import TensorRef, TensorSpec
from mshub_convert.inspection import inspect
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.errors import MshubConvertError
from mshub_convert.mappings.graph import Node
from mshub_convert.mappings.traits import Traits
from mshub_convert.request import SourceRequest

SCOPE = "27_1_network_construct"
# mind_ir.proto's numbers of the data types, as MindSpore 2.10 has them.
FLOAT, INT64, FLOAT16, DOUBLE, UINT32, BFLOAT16, FLOAT64, QINT4X2 = 1, 7, 10, 11, 12, 16, 17, 18


# Writing files, message by message


def number(field: int, value: int) -> bytes:
    return key(field, VARINT) + varint(value & (1 << 64) - 1)


def text(field: int, value: str) -> bytes:
    return delimited(field, value.encode())


def attribute(name: str, value: object, *, field: int = 5) -> bytes:
    """An AttributeProto as MindSpore writes it: the elements of tuples are attributes without a name."""
    return delimited(field, text(1, name) + _value(value))


def _value(value: object) -> bytes:
    match value:
        case str():
            return text(5, value)
        case bool() | int():
            return number(3, value)
        case float():
            return key(2, I32) + struct.pack("<f", value)
        case tuple():
            return b"".join(
                delimited(17, number(10, item) if isinstance(item, int) else _value(item)) for item in value
            )
    raise TypeError(value)


def tensor(name: str, dims: Iterable[int], data_type: int, raw: bytes | None = None, more: bytes = b"") -> bytes:
    """A TensorProto."""
    message = b"".join(number(1, size) for size in dims) + number(2, data_type) + text(7, name)
    return message + (delimited(9, raw) if raw is not None else b"") + more


def node(op: str, inputs: Iterable[str], output: str, **attributes: object) -> bytes:
    parts = b"".join(text(1, value) for value in inputs) + text(2, output) + text(4, op)
    return delimited(1, parts + b"".join(attribute(name, value) for name, value in attributes.items()))


def model(graph: bytes, more: bytes = b"") -> bytes:
    return text(1, "1.1") + text(2, "MindSpore") + text(5, "2.10.0") + delimited(7, graph) + more


def parameter(name: str, array: np.ndarray, data_type: int = FLOAT) -> bytes:
    return delimited(3, tensor(f"{SCOPE}:{name}", array.shape, data_type, array.tobytes()))


def exported(network: Described, weights: Mapping[str, np.ndarray] | None = None, **form: object) -> bytes:
    """A network as MindSpore exports it, with weights or without; ``form`` as of :class:`Exporter`."""
    return Exporter(network, **form).model(weights)


class Exporter:
    """Our graph as MindSpore's operators. ``pool`` is how the stem pads: PadV3, Pad or in 3-D."""

    def __init__(self, network: Described, *, pool: str = "PadV3", inline: bool = False, eps: float | None = None):
        self.network, self.pool, self.inline, self.eps = network, pool, inline, eps
        self.nodes: list[bytes] = []
        self.primitives: dict[bytes, str] = {}

    def model(self, weights: Mapping[str, np.ndarray] | None) -> bytes:
        for each in self.network.graph.nodes:
            self._node(each)
        names = self.network.grounding.specs
        parameters = [
            delimited(3, tensor(f"{SCOPE}:{name}", dims, FLOAT, None if weights is None else weights[name].tobytes()))
            for name, dims in names.items()
        ]
        dims = self.network.input_shape or (-1, 3, -1, -1)
        picture = delimited(5, text(1, "x") + delimited(2, tensor("x", dims, FLOAT)))
        graph = b"".join(self.nodes) + text(2, "network") + b"".join(parameters) + picture
        made = (text(1, name) + body for body, name in self.primitives.items())
        return model(graph, number(10, 1) + b"".join(delimited(12, each) for each in made) + number(13, 3))

    def _node(self, each: Node) -> None:
        attributes = dict(each.attributes)
        inputs = [self._loaded(name) for name in each.inputs]
        same = attributes.get("auto_pad") == "SAME_UPPER"
        if each.op == "Conv":
            pads = (-1,) * 4 if same else attributes["pads"]
            kernel, stride = attributes["kernel_shape"], (1, 1, *attributes["strides"])
            self._add("Conv2D", inputs, each.output, kernel_size=kernel, stride=stride, pad=pads,
                      pad_mode="same" if same else "pad", group=attributes["group"])  # fmt: skip
        elif each.op == "BatchNormalization":
            eps = self.eps if self.eps is not None and each.name == "stem.norm" else attributes["epsilon"]
            arguments = [self._constant(each.output, index, value) for index, value in enumerate((False, eps, 0.1))]
            self._add("BatchNorm", [*inputs, *arguments], each.output)
        elif each.op == "MaxPool" and same:
            self._add("MaxPool", inputs, each.output, pad_mode="SAME", kernel_size=(1, 1, 3, 3), strides=(1, 1, 2, 2))
        elif each.op == "MaxPool":
            self._padded_pool(inputs[0], each.output)
        else:
            self._add({"Relu": "ReLU"}.get(each.op, each.op), inputs, each.output)

    def _padded_pool(self, value: str, output: str) -> None:
        if self.pool == "3-D":
            self._add("MaxPool3DWithArgmax", [value], output, pads=(0, 1, 1), ksize=(1, 3, 3), strides=(1, 2, 2))
            return
        padded = f"{output}_padded"
        if self.pool == "PadV3":
            paddings = self._constant(output, 0, (1, 1, 1, 1))
            self._add("PadV3", [value, paddings], padded, mode="constant")
        elif self.pool == "Pad":
            self._add("Pad", [value], padded, paddings=((0, 0), (0, 0), (1, 1), (1, 1)))
        else:
            padded = value
        self._add("MaxPool", [padded], output, pad_mode="VALID", kernel_size=(1, 1, 3, 3), strides=(1, 1, 2, 2))

    def _loaded(self, name: str) -> str:
        """A parameter goes through Load, as the values of a network with side effects do."""
        slot = self.network.grounding.slots.get(name)
        if slot is None:
            return name
        self._add("Load", [f"{SCOPE}:{slot.names[0]}", "monad"], f"{name}_loaded")
        return f"{name}_loaded"

    def _constant(self, output: str, index: int, value: object) -> str:
        name = f"{output}_value{index}"
        self.nodes.append(node("Constant", [], name, value=value))
        return name

    def _add(self, op: str, inputs: Iterable[str], output: str, **attributes: object) -> None:
        if self.inline:
            self.nodes.append(node(op, inputs, output, **attributes))
            return
        body = text(2, op) + b"".join(attribute(name, value, field=3) for name, value in attributes.items())
        name = self.primitives.setdefault(body, f"{op}:{len(self.primitives)}")
        self.nodes.append(node(f"REF::{name}", inputs, output))


def described(network: ResNet, traits: Traits | None = None, names: str = "mindcv") -> Described:
    traits = traits or Traits()
    return Described(
        network.name, network.classes, network.graph(traits), dialect(names).ground(network), "small.mindir", "test",
        13, traits,
    )  # fmt: skip


def drawn(network: Described) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.random(shape, np.float32) for name, shape in network.grounding.specs.items()}


@pytest.fixture
def mindir(tmp_path: Path, small: ResNet) -> Callable[..., Path]:
    """Writes a MINDIR of the small network: ``mindir(traits, **form)``."""

    def make(traits: Traits | None = None, *, names: str = "mindcv", **form: object) -> Path:
        network = described(small, traits, names)
        path = tmp_path / "small.mindir"
        path.write_bytes(exported(network, drawn(network), **form))
        return path

    return make


def opened(path: Path, **options: object):
    return closing(open_source(Source(str(path), path, path.stem, Origin("file")), **options))


def refused(path: Path, match: str, error: type[MshubConvertError] = MalformedFileError) -> MshubConvertError:
    with pytest.raises(error, match=match) as caught:
        open_checkpoint(path).close()
    assert caught.value.remedy
    return caught.value


# Reading


def test_parameters_have_their_names_without_the_scope(tmp_path: Path):
    arrays = {"conv1.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2), "a:b": np.float32([7])}
    path = tmp_path / "x.mindir"
    path.write_bytes(model(b"".join(parameter(name, array) for name, array in arrays.items())))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.container == "mindir"
        assert list(checkpoint.tensors) == ["conv1.weight", "a:b"]
        for name, array in arrays.items():
            np.testing.assert_array_equal(checkpoint.tensors[name].read(), array)
            assert checkpoint.tensors[name].extents is not None
        assert checkpoint.metadata == {"producer": "MindSpore", "producer_version": "2.10.0"}
        assert checkpoint.record is None


@pytest.mark.parametrize(
    ("data_type", "dtype"),
    [(FLOAT, "float32"), (INT64, "int64"), (FLOAT16, "float16"), (DOUBLE, "float64"), (UINT32, "uint32"),
     (BFLOAT16, "bfloat16"), (FLOAT64, "float64"), (9, "bool"), (2, "uint8")],
)  # fmt: skip
def test_every_data_type(tmp_path: Path, data_type: int, dtype: str):
    size = {"float64": 8, "int64": 8, "float16": 2, "bfloat16": 2, "bool": 1, "uint8": 1}.get(dtype, 4)
    path = tmp_path / "x.mindir"
    path.write_bytes(model(delimited(3, tensor(f"{SCOPE}:w", (2, 1), data_type, bytes(2 * size)))))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.tensors["w"].spec.dtype == dtype
        assert checkpoint.tensors["w"].read().shape == (2, 1)


def test_what_is_no_weight_is_left_out_aloud(tmp_path: Path):
    path = tmp_path / "x.mindir"
    packed = delimited(3, tensor(f"{SCOPE}:w4", (8,), QINT4X2, bytes(4)))
    path.write_bytes(model(parameter("w", np.zeros(1, np.float32)) + packed))
    with open_checkpoint(path) as checkpoint:
        assert list(checkpoint.tensors) == ["w"]
        assert checkpoint.notes == ("left out w4: of the data type 18, which no weights have",)


def test_scalars_empty_tensors_and_packed_dims(tmp_path: Path):
    packed = delimited(1, varint(2) + varint(3)) + number(2, FLOAT) + text(7, f"{SCOPE}:p") + delimited(9, bytes(24))
    path = tmp_path / "x.mindir"
    arrays = parameter("scalar", np.array(3, np.float32)) + parameter("none", np.zeros((0, 4), np.float32))
    path.write_bytes(model(arrays + delimited(3, packed)))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.shapes == {"scalar": (), "none": (0, 4), "p": (2, 3)}
        assert checkpoint.tensors["scalar"].read() == 3


def test_the_record_and_user_info(tmp_path: Path):
    entry = delimited(14, text(1, "mshub_convert.record") + text(2, '{"schema":1}'))
    other = delimited(14, text(1, "version") + text(2, "11.0"))
    path = tmp_path / "x.mindir"
    path.write_bytes(model(parameter("w", np.zeros(1, np.float32)), other + entry))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.record == {"schema": 1}
        assert checkpoint.metadata["version"] == "11.0"


@pytest.mark.parametrize(("shape", "told"), [(None, None), ((1, 3, 224, 224), [1, 3, 224, 224])])
def test_a_fixed_input_is_told(tmp_path: Path, small: ResNet, shape: tuple[int, ...] | None, told: list[int] | None):
    network = replace(described(small), input_shape=shape)
    path = tmp_path / "x.mindir"
    path.write_bytes(exported(network, drawn(network)))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.metadata.get("input_shape") == told


def test_inspect_tells_network_and_where_the_traits_are_from(mindir: Callable[..., Path]):
    found = inspect(mindir(Traits(stem_pool="same")))
    assert found.container == "mindir"
    assert found.network["dialect"] == "mindcv"
    assert found.network["traits"]["stem_pool"] == "same"
    assert found.network["traits_from"] == "the graph in small.mindir"
    assert not found.problems


# Traits


@pytest.mark.parametrize("pool", ["PadV3", "Pad", "3-D"])
@pytest.mark.parametrize("inline", [False, True])
def test_symmetric_pools_in_all_their_forms(mindir: Callable[..., Path], pool: str, inline: bool):
    with open_checkpoint(mindir(Traits(), pool=pool, inline=inline)) as checkpoint:
        assert Traits().with_values(checkpoint.traits) == Traits()
        assert set(checkpoint.traits) == set(Traits().as_dict())


@pytest.mark.parametrize(
    "traits",
    [Traits(stem_pool="same"), Traits(padding="same", stem_pool="same", norm_eps=1e-4), Traits(norm_eps=1e-3),
     Traits(bottleneck_stride="1x1")],
)  # fmt: skip
def test_the_graph_beats_the_default_of_the_dialect(mindir: Callable[..., Path], traits: Traits):
    with opened(mindir(traits)) as found:
        assert found.traits == traits
        assert found.traits_from == "the graph in small.mindir"
        assert not found.problems
        assert "traits" not in {notice.code for notice in found.notices}


def test_traits_of_a_network_with_split_kernels(mindir: Callable[..., Path]):
    with opened(mindir(Traits(), names="modelzoo-gpu")) as found:
        assert found.traits == Traits()


@pytest.mark.parametrize(
    ("form", "match"),
    [({"pool": "none"}, "stem_pool cannot be 'valid with pads of 0'"),
     ({"eps": 1e-3}, "norm_eps cannot be '0.001 and 1e-05'")],
)  # fmt: skip
def test_a_graph_that_no_trait_describes_is_refused(mindir: Callable[..., Path], form: dict[str, object], match: str):
    path = mindir(**form)
    with pytest.raises(PlanError, match=match) as caught:
        opened(path)
    assert "another network" in caught.value.remedy


def test_a_trait_said_against_the_graph_is_refused(mindir: Callable[..., Path]):
    with pytest.raises(UsageError, match=r"stem_pool=same, but the graph in small\.mindir has stem_pool=symmetric"):
        opened(mindir(), traits={"stem_pool": "same"})


def test_the_graph_counts_where_the_record_says_otherwise(mindir: Callable[..., Path]):
    path = mindir(Traits(stem_pool="same"))
    record = json.dumps({"schema": 1, "traits": Traits().as_dict()})
    with path.open("ab") as stream:
        stream.write(delimited(14, text(1, "mshub_convert.record") + text(2, record)))
    with opened(path) as found:
        assert found.traits.stem_pool == "same"
        assert [notice.message for notice in found.notices if notice.code == "record"] == [
            "the record in small.mindir states other traits than the graph shows: the graph counts"
        ]


def test_other_activations_and_training_mode_are_told(tmp_path: Path):
    graph = node("SiLU", ["a"], "b") + node("BatchNorm", ["b"] * 5, "c", is_training=1, epsilon=1e-5)
    path = tmp_path / "x.mindir"
    path.write_bytes(model(graph + parameter("w", np.zeros(1, np.float32))))
    with open_checkpoint(path) as checkpoint:
        assert [note.partition(",")[0].partition(";")[0] for note in checkpoint.notes] == [
            "its graph computes SiLU too", "its BatchNorm is in training mode",
        ]  # fmt: skip


# Files that are not what they should be


@pytest.mark.parametrize(
    ("graph", "match"),
    [
        (parameter("w", np.zeros(2, np.float32)) * 2, "the parameter w comes twice"),
        (delimited(3, tensor("s:w", (3,), FLOAT, bytes(8))), r"w has 8 bytes where \[3\] float32 needs 12"),
        (delimited(3, tensor("s:w", (3,), FLOAT)), r"w has 0 bytes where \[3\] float32 needs 12"),
        (delimited(3, tensor("s:w", (-1, 3), FLOAT, b"")), r"w has the dims \[-1, 3\]"),
        (delimited(3, tensor("s:w", (1 << 40, 1 << 40), FLOAT, b"")), "w has the dims"),
        (delimited(3, b"".join(number(1, 1) for _ in range(70)) + text(7, "s:w")), "more than 64 dimensions"),
        (delimited(3, tensor("s:w", (1,), FLOAT, bytes(4), number(16, 4))), "w is compressed"),
        (delimited(3, tensor("s:w", (1,), FLOAT, None, delimited(3, bytes(4)))), "w holds values one by one"),
        (delimited(3, delimited(7, b"\xff\xfe")), "is not UTF-8"),
        (delimited(10, b""), "MapParameter"),
        (key(3, BYTES) + varint(1 << 40), "beyond the end"),
        (delimited(5, delimited(2, b"".join(number(1, 1) for _ in range(70)))), "an input has more than 64"),
    ],
)
def test_malformed_parameters(tmp_path: Path, graph: bytes, match: str):
    path = tmp_path / "x.mindir"
    path.write_bytes(model(graph))
    assert "x.mindir is not a valid MINDIR" in refused(path, match).message


@pytest.mark.parametrize(("tail", "count"), [(b"", 0), (delimited(7, b"") * 2, 2)])
def test_one_graph_and_no_more(tmp_path: Path, tail: bytes, count: int):
    path = tmp_path / "x.mindir"
    path.write_bytes(text(1, "1.1") + text(2, "MindSpore") + tail)
    refused(path, f"it holds {count} graphs")


def test_big_endian_is_refused(tmp_path: Path):
    path = tmp_path / "x.mindir"
    path.write_bytes(model(parameter("w", np.zeros(1, np.float32)), number(10, 0)))
    refused(path, "big-endian machine")


@pytest.mark.parametrize(
    ("magic", "cipher"), [("d85e3a7f", "AES-GCM"), ("d95e3a7f", "AES-CBC"), ("da5e3a7f", "SM4-CBC")]
)
def test_encrypted_models_and_checkpoints_are_told_apart(tmp_path: Path, magic: str, cipher: str):
    for suffix, what, remedy in ((".mindir", "MINDIR", "Export"), (".ckpt", "MindSpore checkpoint", "load_checkpoint")):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(bytes.fromhex(magic) + bytes(100))
        assert remedy in refused(path, f"an encrypted {what} .{cipher}.").remedy


def test_the_data_file_alone(tmp_path: Path):
    path = tmp_path / "data_0"
    path.write_bytes(b"\x01" + bytes(63) + bytes(64))
    assert "_graph.mindir" in refused(path, "data of a MINDIR").remedy


def test_truncated_anywhere_is_an_error_of_ours_or_a_shorter_model(mindir: Callable[..., Path], tmp_path: Path):
    whole = mindir(Traits()).read_bytes()
    path = tmp_path / "cut.mindir"
    sizes = range(1, len(whole), max(len(whole) // 300, 1))
    accepted = [size for size in sizes if _opens(path, whole[:size])]
    # Only what stands behind the graph may be missing.
    assert min(accepted, default=len(whole)) > len(whole) * 0.9


@pytest.mark.slow
def test_flipped_bytes_raise_nothing_but_our_errors(tmp_path: Path, small: ResNet):
    network = described(small)
    whole = bytearray(exported(network))
    random = np.random.default_rng(1)
    path = tmp_path / "flipped.mindir"
    refusals = 0
    for place in random.integers(0, len(whole), 400):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        refusals += not _opens(path, damaged)
    assert refusals > 100


def _opens(path: Path, data: bytes | bytearray) -> bool:
    """Whether these bytes can be opened; only an error of ours may say that they cannot."""
    path.write_bytes(data)
    try:
        open_checkpoint(path).close()
    except MshubConvertError:
        return False
    return True


def test_nesting_without_end_is_no_recursion_without_end(tmp_path: Path):
    deep = number(10, 1)
    for _ in range(3000):
        deep = delimited(17, deep)
    path = tmp_path / "x.mindir"
    path.write_bytes(model(delimited(1, text(4, "Constant") + delimited(5, deep)) + parameter("w", np.float32([1]))))
    with open_checkpoint(path) as checkpoint:
        assert list(checkpoint.tensors) == ["w"]


def test_a_ring_of_operators_is_followed_no_further(tmp_path: Path):
    ring = node("Load", ["b"], "a") + node("Load", ["a"], "b")
    path = tmp_path / "x.mindir"
    path.write_bytes(model(ring + node("MaxPool", ["a"], "c", pad_mode="VALID", kernel_size=(1, 1, 3, 3))))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.traits == {"stem_pool": "valid with pads of 0"}


# Tensors in files beside the model


def beside(path: Path, location: str, offset: int, length: int) -> Path:
    place = text(1, location) + number(2, offset) + number(3, length)
    path.write_bytes(model(delimited(3, tensor("s:w", (2, 2), FLOAT, None, delimited(12, place)))))
    return path


def test_split_models_are_read_from_their_folder(tmp_path: Path):
    values = np.arange(4, dtype=np.float32).reshape(2, 2)
    (tmp_path / "x_variables").mkdir()
    (tmp_path / "x_variables" / "data_0").write_bytes(b"\x01" + bytes(63) + values.tobytes() + bytes(48))
    with open_checkpoint(beside(tmp_path / "x_graph.mindir", "x_variables/data_0", 64, 16)) as checkpoint:
        np.testing.assert_array_equal(checkpoint.tensors["w"].read(), values)


@pytest.mark.parametrize("location", ["/etc/passwd", "../data_0", "x_variables/../../data_0", "data\0"])
def test_no_path_leads_out_of_the_folder(tmp_path: Path, location: str):
    (tmp_path / "in").mkdir()
    (tmp_path / "data_0").write_bytes(b"\x01" + bytes(127))
    refused(beside(tmp_path / "in" / "x.mindir", location, 64, 16), "no file beside it")


def test_no_link_leads_out_of_the_folder(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "data_0").write_bytes(b"\x01" + bytes(127))
    (tmp_path / "in" / "data_0").symlink_to(tmp_path / "data_0")
    refused(beside(tmp_path / "in" / "x.mindir", "data_0", 64, 16), "link out of the folder")


@pytest.mark.parametrize(
    ("header", "offset", "length", "match"),
    [
        (b"\x01", 0, 16, "within the header"),
        (b"\x01", 64, 12, r"w has 12 bytes where \[2, 2\] float32 needs 16"),
        (b"\x01", 120, 16, "truncated"),
        (b"\x01", 1 << 62, 16, "truncated"),
        (b"\x01", -64, 16, "truncated"),
        (b"\x01", 64, -16, "truncated"),
        (b"\x00", 64, 16, "big-endian, encrypted or no data of a MINDIR"),
    ],
)
def test_data_that_do_not_fit(tmp_path: Path, header: bytes, offset: int, length: int, match: str):
    (tmp_path / "data_0").write_bytes(header + bytes(63) + bytes(64))
    refused(beside(tmp_path / "x.mindir", "data_0", offset, length), match)


def test_data_that_are_not_there(tmp_path: Path):
    path = beside(tmp_path / "x.mindir", "x_variables/data_0", 64, 16)
    assert refused(path, "which is not there", EnvironmentError_).exit_code == 5


# Writing


@pytest.fixture
def source(weights_file: Callable[..., Path]) -> Path:
    """Drawn weights of the small network."""
    return weights_file()


@pytest.fixture
def written(tmp_path: Path, source: Path) -> Callable[..., tuple[Path, list[Described]]]:
    """Converts the small network with a stand-in for MindSpore's export; also gives what was exported."""

    def make(to: str = "mindir", out: str = "out.mindir", form: Form | None = None, **more: object):
        asked: list[Described] = []

        def export(network: Described) -> bytes:
            asked.append(network)
            return exported(network)

        request = SourceRequest(source, traits=more.pop("traits", {}))
        options = Options(overwrite=True, **more)
        with (
            prepared(request, to=to, out=tmp_path / out, form=form, options=options) as conversion,
            write(conversion, export=export) as staged,
        ):
            return staged.commit(), asked

    return make


def test_tensors_are_those_of_the_source_bit_for_bit(
    written: Callable[..., tuple[Path, list[Described]]], source: Path
):
    path, asked = written(traits={"stem_pool": "same"})
    names = dialect("mindcv").ground(asked[0].grounding.architecture)
    with open_checkpoint(path) as made, opened(source) as held:
        assert list(made.tensors) == list(names.specs)
        for key_, slot in names.slots.items():
            ours = held.found.grounding.slots[key_].names
            assert made.tensors[slot.names[0]].read().tobytes() == held.tensors[ours[0]].read().tobytes()
        assert made.record is not None
        assert made.record["container"] == "mindir"
        assert made.record["traits"]["stem_pool"] == "same"
        assert made.traits["stem_pool"] == "same"
    assert asked[0].traits.stem_pool == "same"
    assert asked[0].input_shape is None


def test_equal_conversions_give_equal_bytes(written: Callable[..., tuple[Path, list[Described]]]):
    first, second = (written(out=name)[0].read_bytes() for name in ("a/small.mindir", "b/small.mindir"))
    assert first == second


def test_what_was_exported_is_kept_as_it_is(written: Callable[..., tuple[Path, list[Described]]]):
    path, asked = written()
    data, plain = path.read_bytes(), exported(asked[0])
    for piece in (plain[: plain.index(b"MindSpore")], plain[-200:]):
        assert piece in data
    with open_checkpoint(path) as made:
        assert made.traits == Traits().as_dict()


def test_tensors_over_the_limit_go_into_a_file_beside(
    written: Callable[..., tuple[Path, list[Described]]], monkeypatch: pytest.MonkeyPatch
):
    inside = written(out="a/small.mindir")[0]
    monkeypatch.setattr(mindir_write, "LIMIT", 1000)
    path = written(out="b/small.mindir")[0]
    data = path.with_name("small.mindir.data").read_bytes()
    assert data.startswith(b"\x01" + bytes(63))
    assert len(data) % 64 == 0
    assert path.stat().st_size < inside.stat().st_size
    with open_checkpoint(path) as ours, open_checkpoint(inside) as theirs:
        for name, ref in theirs.tensors.items():
            assert ours.tensors[name].extents[0].offset % 64 == 0
            assert ours.tensors[name].read().tobytes() == ref.read().tobytes()


@pytest.mark.parametrize(("lost", "match"), [(True, "has no parameter"), (False, "too many")])
def test_an_export_of_another_network_is_a_bug(small: ResNet, lost: bool, match: str):
    network = described(small)
    other = described(replace(small, depths=(1,)) if lost else replace(small, depths=(1, 2)))
    refs = [TensorRef(TensorSpec(name, shape, "float32")) for name, shape in network.grounding.specs.items()]
    with pytest.raises(AssertionError, match=match):
        mindir_write.model_pieces(exported(other), refs, EmbeddedRecord(b"", bytes), "x.mindir")


def test_a_codec_without_an_export_says_so(small: ResNet):
    with pytest.raises(TypeError, match="MindSpore's own export"):
        codec("mindir").layout([], None, framework="mindspore", network=described(small))


def test_the_way_back_is_bit_identical(
    written: Callable[..., tuple[Path, list[Described]]], source: Path, tmp_path: Path
):
    path, _ = written("mindir:modelzoo-resnet", traits={"norm_eps": "1e-4"})
    back = convert(path, to="safetensors", out=tmp_path / "back.safetensors")
    with open_checkpoint(back.path) as made, open_checkpoint(source) as held:
        assert list(made.tensors) == list(held.tensors)
        for name, ref in held.tensors.items():
            assert made.tensors[name].read().tobytes() == ref.read().tobytes(), name
    assert back.record.traits["norm_eps"] == 1e-4


# What can be asked for


def test_targets():
    assert parse_target("mindir").dialect.name == "mindcv"
    assert parse_target("mindir:modelzoo").dialect.name == "modelzoo"
    shape = (1, 3, 224, 224)
    assert parse_target("mindir", Form(input_shape=shape)).input_shape == shape
    with pytest.raises(UsageError, match="MINDIR holds mindspore names"):
        parse_target("mindir:timm")
    for form, option in ((Form(fold_bn=True), "--fold-bn"), (Form(opset=17), "--opset")):
        with pytest.raises(UsageError, match=f"{option} is for ONNX, MINDIR is what MindSpore exports"):
            parse_target("mindir", form)


def test_half_precision_is_a_problem_of_the_plan(source: Path):
    [problem] = plan(source, to="mindir", dtype="float16").problems
    assert problem.message == "MINDIR cannot hold float16 weights"
    assert problem.remedy == "Use --dtype float32."


def test_the_fixed_shape_reaches_the_export(written: Callable[..., tuple[Path, list[Described]]]):
    path, asked = written(form=Form(input_shape=(2, 3, 96, 64)))
    assert asked[0].input_shape == (2, 3, 96, 64)
    found = inspect(path)
    assert found.metadata["input_shape"] == [2, 3, 96, 64]
    assert found.record["input_shape"] == [2, 3, 96, 64]


def test_an_export_with_another_trait_is_found_when_read_back(source: Path, tmp_path: Path):
    def export(network: Described) -> bytes:
        architecture = network.grounding.architecture
        return exported(replace(network, graph=architecture.graph(Traits(stem_pool="same"))))

    with (
        prepared(SourceRequest(source), to="mindir", out=tmp_path / "small.mindir") as conversion,
        pytest.raises(ReadBackError, match="the graph in the output has stem_pool=same, which was not meant"),
    ):
        write(conversion, export=export)
    assert not list(tmp_path.glob("*mindir*"))


def test_nothing_is_written_where_the_export_fails(source: Path, tmp_path: Path):
    def fail(_: Described) -> bytes:
        raise EnvironmentError_("no MindSpore here", remedy="Install it.")

    out = tmp_path / "new" / "small.mindir"
    with (
        prepared(SourceRequest(source), to="mindir", out=out) as conversion,
        pytest.raises(EnvironmentError_, match="no MindSpore here"),
    ):
        write(conversion, export=fail)
    assert not out.parent.exists()


def test_an_existing_output_is_refused_before_the_export(source: Path, tmp_path: Path):
    out = tmp_path / "small.mindir"
    out.write_bytes(b"old")
    asked: list[Described] = []
    with (
        prepared(SourceRequest(source), to="mindir", out=out) as conversion,
        pytest.raises(UsageError, match="exists"),
    ):
        write(conversion, export=lambda network: asked.append(network) or b"")
    assert not asked
    assert out.read_bytes() == b"old"
