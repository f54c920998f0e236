"""PyTorch files: what is written is read again bit for bit, by us and by torch; what torch writes, too."""

import argparse
import collections
import zipfile

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mshub_convert.converters.codecs import EmbeddedRecord, open_checkpoint, torch_layout
from mshub_convert.converters.codecs.torch_pickle import CODEC
from mshub_convert.converters.errors import MalformedFileError
from mshub_convert.converters.splice import splice
from mshub_convert.converters.tensors import DTYPES, TensorRef, TensorSpec

RECORD = EmbeddedRecord(b'{"schema": 1, "of": "draft"}', lambda: b'{"schema": 1, "of": "final"}')
SHAPES = [(), (1,), (3, 4), (0,), (2, 0, 3), (2, 3, 1, 5), (300,)]


def array_of(dtype, shape, seed=0):
    """Any bits, NaN payloads included."""
    count = int(np.prod(shape, dtype=int))
    if dtype == "bool":
        return np.random.default_rng(seed).integers(0, 2, count).astype(bool).reshape(shape)
    return np.frombuffer(np.random.default_rng(seed).bytes(count * DTYPES[dtype].itemsize), DTYPES[dtype]).reshape(
        shape
    )


def refs_of(arrays):
    return [
        TensorRef(TensorSpec(name, array.shape, array.dtype.name), compute=lambda array=array: array)
        for name, array in arrays.items()
    ]


def write(path, arrays, record=RECORD):
    path.unlink(missing_ok=True)
    splice(path, CODEC.layout(refs_of(arrays), record, framework="torch"), sync=False)
    return path


def read(path):
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.container == "pth"
        return {name: np.array(ref.read()) for name, ref in checkpoint.tensors.items()}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        assert found[name].dtype.name == array.dtype.name, name
        assert found[name].tobytes() == array.tobytes(), name


def everything():
    return {
        f"{dtype}.{number}": array_of(dtype, shape, seed=number)
        for dtype in sorted(CODEC.dtypes)
        for number, shape in enumerate(SHAPES)
    }


def test_every_dtype_and_shape_comes_back(tmp_path):
    arrays = everything()
    assert_same(read(write(tmp_path / "all.pth", arrays)), arrays)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=30),
        st.tuples(st.sampled_from(sorted(CODEC.dtypes)), st.lists(st.integers(0, 4), max_size=5)),
        min_size=1,
        max_size=6,
    )
)
def test_any_names_dtypes_and_shapes_come_back(tmp_path, tensors):
    arrays = {name: array_of(dtype, tuple(shape)) for name, (dtype, shape) in tensors.items()}
    assert_same(read(write(tmp_path / "any.pth", arrays)), arrays)


def test_two_writes_are_the_same_bytes(tmp_path):
    arrays = everything()
    assert write(tmp_path / "a.pth", arrays).read_bytes() == write(tmp_path / "b.pth", arrays).read_bytes()


def test_tensors_are_aligned_ranges_of_the_file(tmp_path):
    path = write(tmp_path / "model.pth", everything())
    with open_checkpoint(path) as checkpoint:
        for ref in checkpoint.tensors.values():
            assert [extent.offset % 64 for extent in ref.extents] == [0]
            assert sum(extent.length for extent in ref.extents) == ref.spec.nbytes


def test_moved_ranges_have_their_checksums(tmp_path):
    first = write(tmp_path / "first.pth", everything())
    with open_checkpoint(first) as checkpoint:
        pieces = CODEC.layout(list(checkpoint.tensors.values()), RECORD, framework="torch")
        splice(tmp_path / "second.pth", pieces, sync=False)
    assert (tmp_path / "second.pth").read_bytes() == first.read_bytes()


def test_the_archive_passes_a_zip_test(tmp_path):
    with zipfile.ZipFile(write(tmp_path / "model.pth", everything())) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "archive/data.pkl"
        assert archive.namelist()[-1] == "archive/mshub_convert.json"
        assert archive.read("archive/byteorder") == b"little"
        assert archive.read("archive/version") == b"3\n"
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def test_the_record_comes_back(tmp_path):
    with open_checkpoint(write(tmp_path / "model.pth", {"a": array_of("float32", (2,))})) as checkpoint:
        assert checkpoint.record == {"schema": 1, "of": "final"}
        assert checkpoint.notes == ()
        assert list(checkpoint.sets) == ["."]


def test_an_empty_set_is_no_checkpoint(tmp_path):
    with pytest.raises(MalformedFileError, match="no weights"):
        open_checkpoint(write(tmp_path / "model.pth", {}))


@pytest.mark.parametrize("limit", [1, 200, 1000, 3000])
def test_large_files_use_64_bit_fields(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(torch_layout, "ZIP64_FROM", limit)
    arrays = {f"t{size}": array_of("uint8", (size,)) for size in (0, 1, 199, 200, 201, 999, 1000, 1001)}
    path = write(tmp_path / "model.pth", arrays)
    assert_same(read(path), arrays)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    with open_checkpoint(path) as checkpoint:
        checkpoint.check()


def test_check_finds_a_flipped_bit_anywhere_in_the_tensors(tmp_path):
    path = write(tmp_path / "model.pth", {"a": array_of("float32", (50,)), "b": array_of("int8", (7,))})
    with open_checkpoint(path) as checkpoint:
        checkpoint.check()
        places = [extent.offset for ref in checkpoint.tensors.values() for extent in ref.extents]
    for place in places:
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        spoiled = tmp_path / "spoiled.pth"
        spoiled.write_bytes(data)
        with open_checkpoint(spoiled) as checkpoint, pytest.raises(MalformedFileError, match=r"crc32.*corrupt"):
            checkpoint.check()


@pytest.mark.parametrize("head", [b"PK\x03\x04", b"\x80\x02\x8a\x0a", b"\x80\x05\x95"])
def test_sniff_takes_archives_and_pickles(head):
    assert CODEC.sniff(head)


@pytest.mark.parametrize(
    "head", [b"", b"\x80", b"\x80\x01..", b"PK\x05\x06", b"\x0a\x10\x0a\x04name", b"{", b"\x80\x00\x00"]
)
def test_sniff_leaves_the_others(head):
    assert not CODEC.sniff(head)


# With PyTorch


def torch_file(path, value, *, zipped=True):
    import torch

    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def numpy_of(tensor):
    import torch

    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.resolve_conj().resolve_neg().numpy()


def torch_tensors():
    import torch

    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for dtype in (
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "complex64",
        "int8",
        "uint8",
        "int16",
        "int32",
        "int64",
        "bool",
    ):
        drawn = torch.randn(3, 4, 2, generator=generator) * 50
        tensors[dtype] = drawn.to(getattr(torch, dtype))
        tensors[f"{dtype}.scalar"] = drawn[0, 0, 0].to(getattr(torch, dtype))
        tensors[f"{dtype}.none"] = torch.zeros(0, 3, dtype=getattr(torch, dtype))
    base = torch.arange(60.0).reshape(3, 4, 5)
    tensors |= {
        "shared": base,
        "transposed": base.transpose(0, 2),
        "stepped": base[:, ::2, 1:],
        "row": base[1],
        "expanded": torch.tensor([1.0, 2.0]).unsqueeze(1).expand(2, 3),
        "channels_last": torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(base[0].clone()),
        "conjugate": torch.tensor([1 + 2j, 3 - 4j]).conj(),
        "imaginary": torch.tensor([1 + 2j, 3 - 4j]).conj().imag,
        "tagged": base.clone().requires_grad_(),
    }
    tensors["tagged"].note = "an attribute"
    return tensors


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves_is_read_bit_for_bit(tmp_path, zipped):
    tensors = torch_tensors()
    path = torch_file(tmp_path / "model.pth", collections.OrderedDict(tensors), zipped=zipped)
    assert_same(read(path), {name: numpy_of(tensor) for name, tensor in tensors.items()})


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
def test_late_dtypes_of_torch_are_read(tmp_path, zipped):
    import torch

    tensors = {name: torch.arange(5).to(getattr(torch, name)) for name in ("uint16", "uint32", "uint64")}
    expected = {name: numpy_of(tensor) for name, tensor in tensors.items()}
    assert_same(read(torch_file(tmp_path / "model.pth", tensors, zipped=zipped)), expected)


@pytest.mark.slow
def test_views_are_computed_and_the_rest_stays_in_the_file(tmp_path):
    path = torch_file(tmp_path / "model.pth", torch_tensors())
    with open_checkpoint(path) as checkpoint:
        computed = {name for name, ref in checkpoint.tensors.items() if ref.extents is None}
        checkpoint.check()
    assert computed == {"transposed", "stepped", "expanded", "channels_last", "conjugate", "imaginary"}


@pytest.mark.slow
@pytest.mark.parametrize("offsets", [True, False])
@pytest.mark.parametrize("mapped", [True, False])
def test_torch_loads_what_is_written(tmp_path, mapped, offsets):
    import torch
    from torch.utils.serialization import config

    arrays = everything()
    path = write(tmp_path / "model.pth", arrays)
    with config.patch({"load.calculate_storage_offsets": offsets}):
        loaded = torch.load(path, weights_only=True, mmap=mapped)
    assert type(loaded) is collections.OrderedDict
    assert all(type(tensor) is torch.Tensor and tensor.is_contiguous() for tensor in loaded.values())
    assert_same({name: numpy_of(tensor) for name, tensor in loaded.items()}, arrays)


@pytest.mark.slow
def test_torch_loads_large_archives(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch_layout, "ZIP64_FROM", 500)
    arrays = {f"t{size}": array_of("float32", (size,)) for size in (0, 1, 200, 1000)}
    loaded = torch.load(write(tmp_path / "model.pth", arrays), weights_only=True)
    assert_same({name: numpy_of(tensor) for name, tensor in loaded.items()}, arrays)


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
def test_a_training_checkpoint_gives_its_averaged_weights(tmp_path, zipped):
    import torch

    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.zeros(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    averaged = {name: tensor + 1 for name, tensor in network.state_dict().items()}
    saved = {
        "epoch": 12,
        "arch": "resnext50_32x4d",
        "args": argparse.Namespace(lr=0.1),
        "best": np.float64(76.5),
        "meta": {"CLASSES": ["tench", "goldfish"], "time": 1.5},
        "state_dict": network.state_dict(),
        "state_dict_ema": averaged,
        "optimizer": optimizer.state_dict(),
    }
    path = torch_file(tmp_path / "checkpoint.pth.tar", saved, zipped=zipped)
    assert_same(read(path), {name: numpy_of(tensor) for name, tensor in averaged.items()})
    with open_checkpoint(path) as checkpoint:
        counts = {path: len(tensors) for path, tensors in checkpoint.sets.items()}
        assert counts == {"state_dict_ema": 7, "state_dict": 7, "optimizer": 12}
        assert checkpoint.metadata == {
            "epoch": 12,
            "arch": "resnext50_32x4d",
            "args": "argparse.Namespace",
            "best": 76.5,
            "meta": {"CLASSES": ["tench", "goldfish"], "time": 1.5},
        }
        assert checkpoint.notes == (
            "took state_dict_ema (7 tensors), the averaged weights; also in the file: state_dict (7 tensors), "
            "optimizer (12 tensors): left out, pick one with --select",
            "left out 5 entries that are no tensors: epoch, arch, args, best, meta",
        )
        assert checkpoint.sets["optimizer"]["state.0.exp_avg"].spec.shape == (4, 3, 3, 3)
        raw = checkpoint.sets["state_dict"]["0.weight"].read()
        assert raw.tobytes() == numpy_of(network[0].weight).tobytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*quantized tensor creation")
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_that_no_container_holds_are_left_out_by_name(tmp_path, zipped):
    import torch

    saved = {
        "weight": torch.ones(3),
        "sparse": torch.eye(3).to_sparse(),
        "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "float8": torch.ones(2).to(torch.float8_e4m3fn),
        "meta": torch.ones(2, device="meta"),
    }
    path = torch_file(tmp_path / "model.pth", saved, zipped=zipped)
    with open_checkpoint(path) as checkpoint:
        assert list(checkpoint.tensors) == ["weight"]
        (note,) = checkpoint.notes
    assert note.startswith(
        "left out 4 tensors that cannot be converted: sparse (sparse tensor), quantized (qtensor), float8"
    )


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_module_is_refused_with_the_remedy(tmp_path, zipped):
    import torch

    path = torch_file(tmp_path / "model.pth", torch.nn.Sequential(torch.nn.Linear(2, 2)), zipped=zipped)
    with pytest.raises(
        MalformedFileError, match=r"pickled nn\.Module \(torch\.nn\.modules\.container\.Sequential\)"
    ) as caught:
        open_checkpoint(path)
    assert "torch.save(model.state_dict()" in caught.value.remedy


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated")
def test_a_torchscript_archive_is_refused_with_the_remedy(tmp_path):
    import torch

    path = tmp_path / "script.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    with pytest.raises(MalformedFileError, match="TorchScript") as caught:
        open_checkpoint(path)
    assert "torch.jit.load(path).state_dict()" in caught.value.remedy


@pytest.mark.slow
def test_checksums_that_torch_was_told_to_skip_are_not_held_against_it(tmp_path):
    import torch

    torch.serialization.set_crc32_options(False)
    try:
        path = torch_file(tmp_path / "model.pth", {"a": torch.ones(3)})
    finally:
        torch.serialization.set_crc32_options(True)
    with open_checkpoint(path) as checkpoint:
        checkpoint.check()


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_read(tmp_path, protocol, zipped):
    import torch

    saved = {
        "weight": torch.arange(6.0).reshape(2, 3),
        "more": {"set": {1, 2}, "bytes": b"ab\xff", "array": bytearray(b"x"), "number": 1 << 70, "nothing": None},
        "size": torch.Size([1, 2]),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
        "counts": collections.Counter("aab"),
        "default": collections.defaultdict(list, a=[1]),
        "array": np.arange(3),
        "scalars": [np.float32(1.5), np.int64(3), np.bool_(True)],
    }
    path = tmp_path / "model.pt"
    torch.save(saved, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.tensors["weight"].read().tolist() == [[0, 1, 2], [3, 4, 5]]
        assert checkpoint.metadata["scalars"] == [1.5, 3, True]
        assert checkpoint.metadata["counts"] == {"a": 2, "b": 1}
        assert checkpoint.metadata["size"] == [1, 2]
        assert checkpoint.metadata["dtype"] == "torch.float16"
        assert checkpoint.metadata["array"] == "numpy.ndarray"
        assert len(checkpoint.notes) == 1
