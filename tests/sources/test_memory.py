"""Weights in memory arrive bit for bit, whoever holds them, and nothing is imported for it."""

import subprocess
import sys
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

from mshub_convert.converters.codecs.safetensors import CODEC
from mshub_convert.converters.errors import UsageError
from mshub_convert.converters.record import carried
from mshub_convert.converters.sources import Request, memory
from mshub_convert.converters.tensors import MappedFile

DTYPES = ("bool", "int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64")


def _read(source):
    with MappedFile(source.file) as file, CODEC.open(file) as checkpoint:
        kept, complaint = carried(checkpoint.record, where="memory")
        assert (kept.traits, kept.text("origin"), complaint) == (None, "memory", "")
        return {name: ref.read().copy() for name, ref in checkpoint.tensors.items()}


def _same_bits(found, expected):
    assert found.shape == expected.shape
    assert found.dtype.name == expected.dtype.name
    assert found.tobytes() == np.ascontiguousarray(expected).tobytes()


def _any_bits(dtype, shape, seed=0):
    """Arrays of arbitrary bits, NaN payloads included."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.random.default_rng(seed).integers(0, 2, shape).astype(bool)
    size = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(np.random.default_rng(seed).bytes(size), dtype).reshape(shape)


@pytest.mark.parametrize("dtype", [*DTYPES, ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(3, 4), (), (0, 2), (1,)])
def test_arrays(dtype, shape, tmp_path):
    array = _any_bits(dtype, shape)
    source = memory.from_tensors({"conv1.weight": array, "other": np.zeros(3, np.float32)}, Request(tmp_path))
    _same_bits(_read(source)["conv1.weight"], array)
    assert source.origin.kind == "memory"
    assert source.origin.pretrained is None
    assert source.model == "model"
    assert source.file.parent == tmp_path


def test_layout_and_byte_order_do_not_matter(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    tensors = {
        "columns": np.asfortranarray(array),
        "view": array.transpose(2, 0, 1),
        "strided": array[:, ::2],
        "big": array.astype(">f4"),
    }
    found = _read(memory.from_tensors(tensors, Request(tmp_path)))
    for name, expected in tensors.items():
        assert np.array_equal(found[name], expected)
        assert found[name].shape == expected.shape


def test_references_read_late_and_in_order():
    live = {"b": np.zeros(2, np.float32), "a": np.zeros(3, np.int64)}
    refs = memory.references(live)
    assert list(refs) == ["b", "a"]
    assert refs["a"].spec.dtype == "int64"
    live["b"][:] = 7
    assert refs["b"].read().tolist() == [7, 7]


@pytest.mark.parametrize(
    ("tensors", "fact"),
    [
        ({}, "no tensors"),
        ({"state_dict": {"x": np.zeros(1)}}, r"state_dict is itself a mapping"),
        ({"epoch": 3}, "epoch is a int, not a tensor"),
        ({3: np.zeros(1)}, "the key 3"),
        ({"x": np.zeros(1, np.complex64)}, "complex64"),
        ({"x": np.zeros(1, "U3")}, "str"),
        ({"x": np.array([None])}, "object"),
        (42, "int holds no weights"),
        (["x"], "list holds no weights"),
    ],
)
def test_what_is_no_state_dict(tensors, fact, tmp_path):
    with pytest.raises(UsageError, match=fact) as caught:
        memory.from_tensors(tensors, Request(tmp_path))
    assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [{"init": "calibrated:0"}, {"weights": "x.pth"}])
def test_weights_are_there_already(more, tmp_path):
    with pytest.raises(UsageError, match="in memory"):
        memory.from_tensors({"x": np.zeros(1)}, Request(tmp_path, **more))


def test_cell_is_read_by_its_parameter_names(tmp_path):
    """A MindSpore Cell has state_dict() too; parameters_dict() has the names that checkpoints use."""
    cell = SimpleNamespace(
        parameters_dict=lambda: {"gamma": np.ones(2, np.float32)}, state_dict=lambda: {"weight": np.ones(2, np.float32)}
    )
    assert list(_read(memory.from_tensors(cell, Request(tmp_path)))) == ["gamma"]


def test_no_framework_is_imported():
    code = (
        "import sys, tempfile, pathlib, numpy as np\n"
        "from mshub_convert.converters.sources import Request, memory, timm, torchvision, calibrated, download\n"
        "memory.from_tensors({'x': np.zeros(3)}, Request(pathlib.Path(tempfile.mkdtemp())))\n"
        "print(sorted({'torch', 'timm', 'torchvision', 'mindspore', 'huggingface_hub', 'pooch'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
def test_torch_tensors(dtype, tmp_path):
    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    bits = _any_bits(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype, (4, 6))
    if dtype == "bfloat16":
        tensor = torch.from_numpy(bits.view(np.int16).copy()).view(torch.bfloat16)
    else:
        tensor = torch.from_numpy(bits.copy())
    found = _read(memory.from_tensors({"x": tensor, "view": tensor.t(), "one": tensor[0, 0]}, Request(tmp_path)))
    _same_bits(found["x"], bits)
    _same_bits(found["view"], bits.T)
    _same_bits(found["one"], bits[0, 0].reshape(()))


@pytest.mark.slow
def test_torch_tensors_that_hold_nothing_readable(tmp_path):
    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    for tensor, fact in (
        (torch.zeros(2, device="meta"), "meta device"),
        (torch.zeros(2, 2).to_sparse(), "sparse"),
        (torch.zeros(2).to(torch.float8_e4m3fn), "float8_e4m3fn"),
    ):
        with pytest.raises(UsageError, match=fact):
            memory.from_tensors({"x": tensor}, Request(tmp_path))


@pytest.mark.slow
def test_timm_module(tmp_path):
    timm = pytest.importorskip("timm", reason="the torch extra is not installed")
    module = timm.create_model("resnext50_32x4d", num_classes=7).train()
    source = memory.from_tensors(module, Request(tmp_path))
    assert source.model == source.library_model == "resnext50_32x4d"
    assert source.library == "timm"
    # The tag and licence in pretrained_cfg are there for untrained modules too: they claim nothing.
    assert source.facts == {"library": "timm", "library_version": timm.__version__}
    found = _read(source)
    state = module.state_dict()
    assert set(found) == set(state)
    for name, tensor in state.items():
        _same_bits(found[name], tensor.numpy())


@pytest.mark.slow
def test_mindspore_cell_and_bfloat16(tmp_path):
    """In a process of its own: MindSpore does not share one with everything. Its bfloat16 is no ml_dtypes'."""
    pytest.importorskip("mindspore", reason="the mindspore extra is not installed")
    code = (
        "import sys, pathlib, numpy as np, mindspore as ms\n"
        "from mshub_convert.converters.sources import Request, memory\n"
        "from mshub_convert.converters.codecs.safetensors import CODEC\n"
        "from mshub_convert.converters.tensors import MappedFile\n"
        "cell = ms.nn.SequentialCell([ms.nn.Conv2d(3, 4, 3), ms.nn.BatchNorm2d(4)])\n"
        "tensors = dict(cell.parameters_dict())\n"
        "half = ms.Tensor(np.array([1.5, -2.25, 3e-3], np.float32)).astype(ms.bfloat16)\n"
        "tensors['half'], tensors['scalar'] = ms.Parameter(half, name='half'), ms.Tensor(np.int64(5))\n"
        "for value, names in ((cell, set(cell.parameters_dict())), (tensors, set(tensors))):\n"
        "    file = memory.from_tensors(value, Request(pathlib.Path(sys.argv[1]))).file\n"
        "    found = CODEC.open(MappedFile(file)).tensors\n"
        "    assert set(found) == names, (set(found), names)\n"
        "    for name, parameter in cell.parameters_dict().items():\n"
        "        assert np.array_equal(found[name].read(), parameter.asnumpy())\n"
        "assert '1.moving_mean' in found\n"
        "assert found['half'].read().view(np.uint16).tolist() == [16320, 49168, 15173]\n"
        "assert found['scalar'].read().shape == () and found['scalar'].read() == 5\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
