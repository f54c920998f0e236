"""PyTorch files that are cut, spoiled or crafted: refused with a reason, and never run."""

import contextlib
import pickle
import random
import struct
import time
import zipfile

import numpy as np
import pytest

from mshub_convert.converters.codecs import EmbeddedRecord, open_checkpoint
from mshub_convert.converters.codecs.pickle_machine import PickleMachine
from mshub_convert.converters.codecs.torch_pickle import CODEC
from mshub_convert.converters.codecs.torch_pickle_writer import pickled_state_dict
from mshub_convert.converters.errors import MalformedFileError
from mshub_convert.converters.splice import splice
from mshub_convert.converters.tensors import TensorRef, TensorSpec

# Opcodes, assembled by hand: a pickler would not write most of these.


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value):
    if 0 <= value < 256:
        return b"K" + bytes([value])
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def items(values):
    return b"(" + b"".join(values) + b"t"


def numbers(*values):
    return items(map(number, values))


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def storage(key="0", count=6, kind="FloatStorage"):
    return items([text("storage"), name("torch", kind), text(key), text("cpu"), number(count)]) + b"Q"


def tensor(offset=None, shape=None, strides=None, held=None):
    """Two rows of three; each argument is a piece of pickle."""
    args = [
        held or storage(),
        offset or number(0),
        shape or numbers(2, 3),
        strides or numbers(3, 1),
        b"\x89",
        b"}",
    ]
    return name("torch._utils", "_rebuild_tensor_v2") + items(args) + b"R"


def dictionary(**entries):
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def program(value):
    return b"\x80\x02" + value + b"."


STORAGE = np.arange(6, dtype="<f4").tobytes()


def zipped(path, pickled, storages=None, **entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("model/data.pkl", pickled)
        for key, data in ({"0": STORAGE} if storages is None else storages).items():
            archive.writestr(f"model/data/{key}", data)
        for key, data in entries.items():
            archive.writestr(f"model/{key}", data)
    return path


def legacy(path, pickled, storages=None, *, system=None, magic=0x1950A86A20F9469CFC6C, protocol=1001):
    if storages is None:
        storages = {"0": (6, STORAGE)} if text("0") in pickled else {}
    parts = [magic, protocol, system or {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
    data = b"".join(pickle.dumps(part, protocol=2) for part in parts) + pickled
    data += pickle.dumps(list(storages), protocol=2)
    path.write_bytes(data + b"".join(struct.pack("<q", count) + content for count, content in storages.values()))
    return path


CONTAINERS = pytest.mark.parametrize("pack", [zipped, legacy])


def refused(path, match="."):
    with pytest.raises(MalformedFileError, match=match) as caught:
        open_checkpoint(path)
    assert str(path) in caught.value.message
    assert caught.value.remedy
    return caught.value


@CONTAINERS
def test_handmade_files_are_read(tmp_path, pack):
    with open_checkpoint(pack(tmp_path / "a.pth", program(dictionary(w=tensor())))) as checkpoint:
        assert checkpoint.tensors["w"].read().tolist() == [[0, 1, 2], [3, 4, 5]]
        assert checkpoint.tensors["w"].extents is not None


# Pickles that would run something

CALLS = {
    "os.system": name("os", "system") + items([text("touch {}")]) + b"R",
    "posix.system": name("posix", "system") + items([text("touch {}")]) + b"R",
    "subprocess": name("subprocess", "check_output") + items([text("touch {}")]) + b"R",
    "eval": name("builtins", "eval") + items([text("open('{}', 'w')")]) + b"R",
    "exec2": name("__builtin__", "exec") + items([text("open('{}', 'w')")]) + b"R",
    "open": name("io", "open") + items([text("{}"), text("w")]) + b"R",
    "pathlib": name("pathlib", "Path.touch") + items([name("pathlib", "Path") + items([text("{}")]) + b"R"]) + b"R",
    "new": name("os", "system") + items([text("touch {}")]) + b"\x81",
    "obj": b"(" + name("os", "system") + text("touch {}") + b"o",
    "stack": text("os") + text("system") + b"\x93" + items([text("touch {}")]) + b"R",
    "inst": b"(" + text("touch {}") + b"ios\nsystem\n",
    "load": name("torch.storage", "_load_from_bytes") + items([b"C\x01."]) + b"R",
    "hub": name("torch.hub", "load") + items([text("{}")]) + b"R",
    "partial": name("functools", "partial") + items([name("os", "system"), text("touch {}")]) + b"R" + b")R",
    "getattr": name("builtins", "getattr") + items([name("collections", "OrderedDict"), text("__class__")]) + b"R",
    "getattr2": name("builtins", "getattr") + items([name("builtins", "dict"), text("get")]) + b"R",
    "build": name("argparse", "Namespace") + b")R" + dictionary(__class__=name("os", "system")) + b"b",
    "reconstruct": name("copyreg", "_reconstructor") + items([name("os", "popen"), name("os", "popen"), b"N"]) + b"R",
    "class": name("__main__", "Network") + b")\x81",
    "timm": name("timm.models.resnet", "ResNet") + b")\x81",
}


@CONTAINERS
@pytest.mark.parametrize("call", CALLS)
def test_calls_leave_no_trace(tmp_path, pack, call):
    sentinel = tmp_path / "ran"
    body = CALLS[call]
    # The length before a text counts the sentinel's path too.
    for head in (b"touch {}", b"open('{}', 'w')", b"{}"):
        old = text(head.decode())
        body = body.replace(old, text(head.decode().format(sentinel)))
    path = pack(tmp_path / "model.pth", program(dictionary(w=tensor(), x=body)))
    try:
        refused(path)
    except pytest.fail.Exception:
        assert call == "pathlib"  # an inert stub
    assert not sentinel.exists()


@CONTAINERS
@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("os.system", r"asks to run os\.system: refused, nothing was run"),
        ("eval", r"asks to run builtins\.eval: refused, nothing was run"),
        ("exec2", r"asks to run builtins\.exec: refused"),
        ("getattr", r"asks to run builtins\.getattr: refused"),
        ("class", r"asks for __main__\.Network, which no weights need: refused"),
        ("timm", r"pickled nn\.Module \(timm\.models\.resnet\.ResNet\)"),
    ],
)
def test_refusals_name_the_global(tmp_path, pack, call, message):
    refused(pack(tmp_path / "model.pth", program(dictionary(w=tensor(), x=CALLS[call]))), message)


def test_names_cannot_draw_on_the_terminal(tmp_path):
    error = refused(zipped(tmp_path / "a.pth", program(dictionary(x=name("evil\x1b[2J", "x")))))
    assert "\x1b" not in error.message
    value = dictionary(**{"model": dictionary(w=tensor()), "\x1b[2J": dictionary(w=tensor()), "\x1b]0;": b"N"})
    with open_checkpoint(zipped(tmp_path / "b.pth", program(value))) as checkpoint:
        assert "\\x1b[2J (1 tensor)" in checkpoint.notes[0]
        assert all(note.isprintable() for note in checkpoint.notes)


# Pickles that are wrong or greedy


@CONTAINERS
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"\x82\x01", "EXT1"),
        (b"\x84\x01\x00\x00\x00", "EXT4"),
        (b"\x97", "NEXT_BUFFER"),
        (b"Pkey\n", "byte 0x50"),
        (b"\xff", "byte 0xff"),
        (b"\x80\x09", "protocol 9"),
        (b"X\xff\xff\xff\xff", "truncated"),
        (b"\x8e" + b"\xff" * 8, "truncated"),
        (b"\x8d" + b"\xff" * 8, "truncated"),
        (b"\x95" + b"\xff" * 8, "truncated"),
        (b"\x8b\xff\xff\xff\x7f", "integer of 2147483647 bytes"),
        (b"I" + b"1" * 5000 + b"\n", "line without an end"),
        (b"I" + b"1" * 4090 + b"x\n", "makes no sense"),
        (b"X\x02\x00\x00\x00\xff\xfe", "makes no sense"),
        (b"j\xff\xff\xff\xff", "recalls value 4294967295"),
        (b"00000", "run of items"),
        (b"0000000", "empty stack"),
        (b"t", "run of items"),
        (b"(0t", "run of items"),
        (b"N)R", "calls what is no function"),
        (name("collections", "OrderedDict") + b"NR", "arguments"),
        (b"]" + b"NNs", "sets items"),
        (b"}" + b"Na", "appends"),
        (b"NNb", "state of what has none"),
        (b"}" + b"(Nu", "key without a value"),
        (b"}(]Nu", "list as a key"),
        (b"}(" + b")\x85\x85" + b"Nu", "tuple as a key"),
        (b"}(" + number(1 << 61) + b"Nu", "60 bits"),
        (b"NQ", "no storage"),
        (text("storage") + b"Q", "no storage"),
        (storage(kind="MadeUpStorage"), "unknown class MadeUpStorage"),
        (storage(count=-1), "no storage"),
        (items([text("module"), name("torch", "FloatStorage"), b"N", b"N"]) + b"Q", "no storage"),
        (name("torch._utils", "_rebuild_tensor_v2") + b")R", "makes no sense"),
        (name("torch._utils", "_rebuild_parameter") + b")R", "makes no sense"),
        (name("torch._tensor", "_rebuild_from_type_v2") + b")R", "no known way"),
        (name("_codecs", "encode") + items([text("x"), text("zlib")]) + b"R", "encoding"),
        (name("collections", "OrderedDict") + items([b"]Na"]) + b"R", "no pairs"),
    ],
)
def test_senseless_pickles_are_refused(tmp_path, pack, value, message):
    refused(pack(tmp_path / "model.pth", program(dictionary(w=tensor(), x=value))), message)


@CONTAINERS
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (tensor(shape=numbers(2, 4), strides=numbers(4, 1)), "w reaches to byte 32 of a storage that ends at 24"),
        (tensor(offset=number(1)), "reaches to byte 28"),
        (tensor(offset=number(-1)), "offset has -1"),
        (tensor(shape=numbers(-2, 3)), "shape has -2"),
        (tensor(strides=numbers(-3, 1)), "strides has -3"),
        (tensor(shape=numbers(1 << 50, 1 << 50)), "reaches to byte"),
        (tensor(shape=numbers(1 << 100, 1)), "shape has"),
        (tensor(shape=items([text("2"), number(3)])), "shape has a str"),
        (tensor(shape=items([b"\x88", number(3)])), "shape has a bool"),
        (tensor(shape=text("ab")), "shape is a str"),
        (tensor(shape=numbers(6)), "1 dimensions and 2 strides"),
        (tensor(shape=numbers(*[1] * 40), strides=numbers(*[1] * 40)), "40 dimensions"),
        (tensor(shape=numbers(1 << 40, 1 << 40), strides=numbers(0, 0)), "elements made of 1"),
        (tensor(held=b"N"), "without a storage"),
        (tensor(held=text("0")), "without a storage"),
        (tensor(held=storage(count=7)), "truncated|needs 28"),
        (tensor(held=storage(count=1 << 70)), "truncated|needs"),
        (tensor(held=storage(key="1")), "lacks the"),
        (tensor(held=storage(key="../../etc/passwd")), "lacks the"),
    ],
)
def test_tensors_outside_of_their_storage_are_refused(tmp_path, pack, value, message):
    refused(pack(tmp_path / "model.pth", program(dictionary(w=value))), message)


@CONTAINERS
def test_a_view_of_a_view_stays_within(tmp_path, pack):
    def viewed(offset, length):
        view = items([text("v"), number(offset), number(length)])
        held = items([text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(6), view]) + b"Q"
        return program(dictionary(w=tensor(shape=numbers(2), strides=numbers(1), held=held)))

    with open_checkpoint(pack(tmp_path / "model.pth", viewed(3, 2))) as checkpoint:
        assert checkpoint.tensors["w"].read().tolist() == [3, 4]
    refused(pack(tmp_path / "long.pth", viewed(3, 1)), "reaches to byte 20 of a storage that ends at 16")
    refused(pack(tmp_path / "over.pth", viewed(5, 2)), "beyond the one it is part of")


@pytest.mark.slow
@CONTAINERS
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"(" * 200_000, "run of items|empty stack"),
        (b"]" * 100_000 + b"a" * 99_999, "no tensors|deep|has no names"),
        (b")" + b"\x85" * 100_000, "has no names"),
        (dictionary(x=b"]" * 3000 + b"a" * 2999), "deep"),
        (b"}q\x00" + text("model") + b"h\x00s", "no weights"),
        (b"}q\x00(" + text("model") + b"h\x00" + text("w") + tensor() + b"u", "deep"),
        (b"}q\x00(" + text("a") + b"h\x00" + text("b") + b"h\x00" + text("w") + tensor() + b"u", "deep"),
        (b"]q\x00h\x00a", "has no names"),
        (name("argparse", "Namespace") + b")R", "object of argparse.Namespace"),
        (tensor(), "single tensor"),
        (items([tensor(), tensor()]), "a tuple of 2, which has no names"),
        (b"N", "object of NoneType"),
        (b"}", "no weights"),
        (dictionary(epoch=number(3), optimizer=dictionary(state=dictionary(a=tensor()))), "epoch, optimizer"),
        (b"}(" + text("1") + tensor() + number(1) + tensor() + b"u", "1 comes twice"),
        (dictionary(model=dictionary(**{"a.b": tensor(), "a": dictionary(b=tensor())})), "a.b comes twice"),
    ],
)
def test_structures_without_named_weights_are_refused(tmp_path, pack, value, message):
    refused(pack(tmp_path / "model.pth", program(value)), message)


def doubling(levels, leaf):
    """A value that refers twice to one that refers twice to one...: 2 ** levels leaves in a few bytes."""
    body = leaf + b"r\x00\x00\x00\x00"
    for level in range(levels):
        recalled = b"j" + struct.pack("<I", level)
        body += b"0}(" + text("a") + recalled + text("b") + recalled + b"ur" + struct.pack("<I", level + 1)
    return body


@pytest.mark.slow
@pytest.mark.parametrize("leaf", [dictionary(w=tensor()), b"N"])
@pytest.mark.parametrize("key", ["model", "x"])
def test_exponential_structures_cost_little(tmp_path, leaf, key):
    started = time.monotonic()
    refused(zipped(tmp_path / "model.pth", program(dictionary(**{key: doubling(40, leaf)}))))
    assert time.monotonic() - started < 10


def test_a_doubled_key_costs_little(tmp_path):
    # (t, t) of (t, t) of...: hashing it would take 2 ** 60 steps.
    body = b")q\x00" + b"".join(b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86q" + bytes([n + 1]) for n in range(60))
    refused(zipped(tmp_path / "a.pth", program(b"}(" + body + b"Nu")), "key|stack|run")


def test_metadata_is_bounded(tmp_path):
    value = dictionary(w=tensor(), deep=doubling(30, b"N"), long=text("x" * 200_000), small=text("y"))
    with open_checkpoint(zipped(tmp_path / "a.pth", program(value))) as checkpoint:
        assert checkpoint.metadata == {"small": "y"}
        assert checkpoint.notes == ("left out 3 entries that are no tensors: deep, long, small",)


def test_stubs_may_be_keys_and_hold_what_they_like(tmp_path):
    stub = name("mmengine.logging.history_buffer", "HistoryBuffer") + b")\x81" + dictionary(_log=b"]") + b"b"
    odd = b"}(" + stub + number(1) + name("builtins", "set") + b"(]" + number(3) + b"atR" + b"Nu"
    refused(zipped(tmp_path / "list.pth", program(dictionary(w=tensor(), meta=odd))), "list as a key")
    fine = b"}(" + stub + number(1) + b"u"
    with open_checkpoint(zipped(tmp_path / "a.pth", program(dictionary(w=tensor(), meta=fine)))) as checkpoint:
        assert checkpoint.metadata == {"meta": {"mmengine.logging.history_buffer.HistoryBuffer": 1}}


def test_methods_of_bystanders_are_names(tmp_path):
    owner = name("mmengine.logging.history_buffer", "HistoryBuffer")
    method = name("builtins", "getattr") + items([owner, text("mean")]) + b"R"
    with open_checkpoint(zipped(tmp_path / "a.pth", program(dictionary(w=tensor(), m=method)))) as checkpoint:
        assert checkpoint.metadata == {"m": "mmengine.logging.history_buffer.HistoryBuffer.mean"}


# Which set is taken


@CONTAINERS
@pytest.mark.parametrize(
    ("value", "taken", "sets"),
    [
        (dictionary(w=tensor()), ".", {".": ["w"]}),
        (dictionary(model=dictionary(w=tensor())), "model", {"model": ["w"]}),
        (
            dictionary(model=dictionary(w=tensor()), state_dict=dictionary(v=tensor())),
            "state_dict",
            {"model": ["w"], "state_dict": ["v"]},
        ),
        (
            dictionary(state_dict=dictionary(w=tensor()), best=tensor()),
            "state_dict",
            {".": ["best"], "state_dict": ["w"]},
        ),
        (
            dictionary(state_dict=dictionary(w=tensor()), model_ema=dictionary(w=tensor())),
            "model_ema",
            {"state_dict": ["w"], "model_ema": ["w"]},
        ),
        (
            dictionary(model=dictionary(state_dict=dictionary(w=tensor()))),
            "model.state_dict",
            {"model.state_dict": ["w"]},
        ),
        (
            dictionary(ema=dictionary(decay=number(1), module=dictionary(w=tensor()))),
            "ema.module",
            {"ema.module": ["w"]},
        ),
        (
            dictionary(backbone=dictionary(w=tensor()), optimizer=dictionary(a=tensor())),
            "backbone",
            {"backbone": ["w"], "optimizer": ["a"]},
        ),
        (
            dictionary(stem=dictionary(w=tensor()), head=dictionary(fc=dictionary(w=tensor()))),
            ".",
            {".": ["stem.w", "head.fc.w"]},
        ),
        (dictionary(model=b"N", w=tensor()), ".", {".": ["w"]}),
        (dictionary(model=b"]" + tensor() + b"a", net=dictionary(w=tensor())), "net", {"model": ["0"], "net": ["w"]}),
        (b"}(" + number(7) + tensor() + b"N" + tensor() + b"u", ".", {".": ["7", "None"]}),
    ],
)
def test_the_set_taken_and_the_sets_left(tmp_path, pack, value, taken, sets):
    with open_checkpoint(pack(tmp_path / "model.pth", program(value))) as checkpoint:
        assert {path: list(tensors) for path, tensors in checkpoint.sets.items()} == sets
        assert list(checkpoint.tensors) == sets[taken]
        assert checkpoint.tensors is checkpoint.sets[taken]
        told = " ".join(checkpoint.notes)
        assert all(path in told for path in sets if path != ".")


# The archive


def test_other_archives_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(2))
    refused(tmp_path / "a.npz", "npz")
    with zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner/model.pth", b"x" * 100)
    assert "inner/model.pth" in refused(tmp_path / "b.pth", r"without data\.pkl").remedy
    with zipfile.ZipFile(tmp_path / "c.pth", "w") as archive:
        archive.writestr("a/data.pkl", b"N.")
        archive.writestr("b/data.pkl", b"N.")
    refused(tmp_path / "c.pth", "2 pickles")


def test_compressed_archives_are_refused_with_the_remedy(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", program(dictionary(w=tensor())))
        archive.writestr("model/data/0", STORAGE)
    assert "zip -0" in refused(tmp_path / "a.pth", "compressed").remedy


def test_encrypted_archives_are_refused(tmp_path):
    data = bytearray(zipped(tmp_path / "a.pth", program(dictionary(w=tensor()))).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "b.pth").write_bytes(data)
    refused(tmp_path / "b.pth", "encrypted")


@pytest.mark.parametrize("order", [b"big", b"middle", b"\xff\xfe"])
def test_archives_of_other_byte_orders_are_refused(tmp_path, order):
    refused(zipped(tmp_path / "a.pth", program(dictionary(w=tensor())), byteorder=order), "endian")


def test_little_endian_archives_are_read(tmp_path):
    with open_checkpoint(
        zipped(tmp_path / "a.pth", program(dictionary(w=tensor())), byteorder=b"little")
    ) as checkpoint:
        assert list(checkpoint.tensors) == ["w"]


@pytest.mark.parametrize("entry", ["constants.pkl", "code/module.py"])
def test_programs_are_refused(tmp_path, entry):
    refused(zipped(tmp_path / "a.pt", program(dictionary(w=tensor())), **{entry: b""}), "TorchScript")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_that_come_twice_are_refused(tmp_path):
    path = zipped(tmp_path / "a.pth", program(dictionary(w=tensor())))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/data/0", STORAGE)
    refused(path, "comes twice")


def test_entries_that_overlap_are_refused(tmp_path):
    path = zipped(tmp_path / "a.pth", program(dictionary(w=tensor())), other=b"PK" * 50)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02", data.index(b"model/data/0", data.index(b"PK\x01\x02")))
    assert data[at + 46 :].startswith(b"model/other")
    data[at + 20 : at + 28] = struct.pack("<2L", 120, 120)
    path.write_bytes(data)
    refused(path, "within the directory")


def test_a_missing_storage_is_named(tmp_path):
    refused(zipped(tmp_path / "a.pth", program(dictionary(w=tensor())), storages={}), "lacks the entry model/data/0")


def test_a_short_storage_is_named(tmp_path):
    path = zipped(tmp_path / "a.pth", program(dictionary(w=tensor())), storages={"0": STORAGE[:-1]})
    refused(path, "model/data/0 has 23 bytes where its pickle needs 24")


# The older formats


def test_plain_pickles_are_named(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"w": np.ones(3)}))
    refused(tmp_path / "a.pkl", "not one that torch.save wrote")


def test_headers_of_older_files_are_checked(tmp_path):
    content = program(dictionary(w=tensor()))
    refused(legacy(tmp_path / "a.pth", content, magic=7), "not one that torch.save wrote")
    refused(legacy(tmp_path / "b.pth", content, protocol=1002), "unknown version 1002")
    refused(legacy(tmp_path / "c.pth", content, system={"little_endian": False}), "not little-endian")
    refused(legacy(tmp_path / "d.pth", content, system={"x": 1}), "not little-endian")


def test_storages_of_older_files_are_checked(tmp_path):
    content = program(dictionary(w=tensor()))
    refused(legacy(tmp_path / "a.pth", content, {}), "lacks the storage '0'")
    refused(legacy(tmp_path / "b.pth", content, {"0": (5, STORAGE)}), "has 5 elements, its pickle says 6")
    refused(legacy(tmp_path / "c.pth", content, {"0": (6, STORAGE), "1": (0, b"")}), "does not name")
    refused(legacy(tmp_path / "d.pth", content, {"0": (-1, STORAGE)}), "has -1 elements")


def test_the_oldest_files_are_refused_with_the_remedy(tmp_path):
    head = b"sys_info".ljust(257, b"\0") + b"ustar\0"
    (tmp_path / "a.pth").write_bytes(head.ljust(2048, b"\0"))
    assert "torch.load and torch.save" in refused(tmp_path / "a.pth", "tar archive").remedy


# Cut and spoiled files


def written(path):
    arrays = {"first": np.arange(40, dtype="f4"), "second": np.ones((3, 3), "f8")}
    refs = [TensorRef(TensorSpec(n, a.shape, a.dtype.name), compute=lambda a=a: a) for n, a in arrays.items()]
    record = EmbeddedRecord(b'{"schema":1}', lambda: b'{"schema":1}')
    splice(path, CODEC.layout(refs, record, framework="torch"), sync=False)
    return path


def samples(tmp_path):
    content = program(dictionary(model=dictionary(w=tensor(), v=tensor(shape=numbers(3, 2), strides=numbers(1, 3)))))
    return [
        written(tmp_path / "ours.pth"),
        zipped(tmp_path / "zip.pth", content),
        legacy(tmp_path / "old.pth", content),
    ]


@pytest.mark.slow
def test_every_truncation_is_reported_as_such(tmp_path):
    for path in samples(tmp_path):
        data = path.read_bytes()
        cut = tmp_path / "cut.pth"
        for length in range(1, len(data)):
            cut.write_bytes(data[:length])
            with pytest.raises(MalformedFileError):
                open_checkpoint(cut)


@pytest.mark.slow
def test_spoiled_files_raise_nothing_else(tmp_path):
    draw = random.Random(0)
    for path in samples(tmp_path):
        data = path.read_bytes()
        spoiled = tmp_path / "spoiled.pth"
        for _ in range(700):
            changed = bytearray(data)
            for _ in range(draw.choice((1, 1, 2, 8))):
                changed[draw.randrange(len(data))] = draw.choice(
                    (0, 1, 0x28, 0x52, 0x7F, 0x80, 0xFF, draw.randrange(256))
                )
            spoiled.write_bytes(changed)
            with contextlib.suppress(MalformedFileError), open_checkpoint(spoiled) as checkpoint:
                for tensors in checkpoint.sets.values() or [checkpoint.tensors]:
                    for ref in tensors.values():
                        assert ref.read().nbytes == ref.spec.nbytes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.pth", "ours.pth", "spoiled.pth", "zip.pth"]


@pytest.mark.slow
def test_spoiled_pickles_raise_nothing_else(tmp_path):
    draw = random.Random(1)
    content = program(dictionary(model=dictionary(w=tensor()), args=name("argparse", "Namespace") + b")R}b"))
    for _ in range(1500):
        changed = bytearray(content)
        for _ in range(draw.choice((1, 2, 4))):
            at = draw.randrange(2, len(changed))
            changed[at : at + draw.choice((0, 1, 2))] = bytes(
                [draw.choice(b"()]}.0125GJKMNQRXabehjrstu\x80\x81\x85\x93")]
            )
        with contextlib.suppress(MalformedFileError):
            open_checkpoint(zipped(tmp_path / "a.pth", bytes(changed))).close()


# What else real files have


def short(value):
    """A text as Python 2 wrote it."""
    return b"U" + bytes([len(value)]) + value


@CONTAINERS
def test_pickles_of_python_2_are_read(tmp_path, pack):
    held = items([short(b"storage"), name("torch", "FloatStorage"), text("0"), short(b"cpu"), b"I6\n", b"N"]) + b"Q"
    rebuilt = name("torch._utils", "_rebuild_tensor") + items([held, b"I0\n", numbers(2, 3), numbers(3, 1)]) + b"R"
    pairs = b"](" + b"](" + short(b"w") + rebuilt + b"e" + b"](" + short(b"flag") + b"I01\ne" + b"e"
    value = name("collections", "OrderedDict") + items([pairs]) + b"R"
    odd = dictionary(raw=short(b"\xff\xfe"), old=b"(" + name("argparse", "Namespace") + b"o", big=b"I99999999999\n")
    path = pack(tmp_path / "model.pth", program(dictionary(state_dict=value, odd=odd)))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.tensors["w"].read().tolist() == [[0, 1, 2], [3, 4, 5]]
        odd = {"raw": "bytes", "old": "argparse.Namespace", "big": 99999999999}
        assert checkpoint.metadata == {"odd": odd, "flag": True}


@CONTAINERS
@pytest.mark.parametrize(
    ("dtype", "kept"), [("float32", ["w", "x"]), ("float", ["w", "x"]), ("float16", ["w"]), ("float8_e5m2", ["w"])]
)
def test_tensors_from_devices_are_kept_unless_cast(tmp_path, pack, dtype, kept):
    args = items([tensor(), name("torch", dtype), text("xla:0"), b"\x89"])
    moved = name("torch._utils", "_rebuild_device_tensor_from_cpu_tensor") + args + b"R"
    with open_checkpoint(pack(tmp_path / "model.pth", program(dictionary(w=tensor(), x=moved)))) as checkpoint:
        assert list(checkpoint.tensors) == kept
        assert checkpoint.notes == (
            () if "x" in kept else ("left out 1 tensor that cannot be converted: x (device tensor)",)
        )


@CONTAINERS
def test_objects_of_known_packages_are_stubs(tmp_path, pack):
    config = name("mmengine.config.config", "ConfigDict") + b")" + dictionary(a=b"N") + b"\x92"
    attributes = name("yacs.config", "CfgNode") + b")\x81" + dictionary(LR=number(1)) + b"b"
    entries = name("addict.addict", "Dict") + b")\x81(" + text("lr") + number(1) + b"u"
    moved = name("pathlib", "PosixPath") + items([text("/tmp")]) + b"R"
    listed = name("collections", "deque") + b")R(" + number(1) + number(2) + b"e"
    value = dictionary(w=tensor(), a=config, b=attributes, c=entries, d=moved, e=listed)
    with open_checkpoint(pack(tmp_path / "model.pth", program(value))) as checkpoint:
        assert checkpoint.metadata == {
            "a": "mmengine.config.config.ConfigDict",
            "b": "yacs.config.CfgNode",
            "c": "addict.addict.Dict",
            "d": "pathlib.PosixPath",
            "e": "collections.deque",
        }


def test_huge_shapes_are_pickled_whole():
    spec = TensorSpec("w", (1 << 20, 300, 1 << 12), "float32")
    found = []

    class World:
        def find(self, module, attribute):
            return attribute

        def call(self, function, args):
            return {} if function == "OrderedDict" else args

        def persistent(self, key):
            found.append(key)
            return key

    value = PickleMachine(pickled_state_dict([spec]), World()).run()
    assert found == [("storage", "FloatStorage", "0", "cpu", spec.size)]
    assert value["w"][1:4] == (0, spec.shape, (300 << 12, 1 << 12, 1))
