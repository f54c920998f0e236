"""Drawn weights: the same bits everywhere, spread as a trained network's, complete under every dialect's names."""

import hashlib
import math
import tracemalloc

import numpy as np
import pytest

from mshub_convert.converters.codecs.safetensors import CODEC
from mshub_convert.converters.errors import UsageError
from mshub_convert.converters.record import carried
from mshub_convert.converters.sources import Request, calibrated
from mshub_convert.converters.tensors import MappedFile
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import BUILTIN, dialect
from mshub_convert.mappings.errors import MappingError

MODULES = {module.path: module for module in architecture("seresnext50_32x4d").graph().modules}

# sha256 of the little-endian bytes of seed 0. A change here makes every number measured with such weights void.
GOLDEN = [
    ("stem.conv", "kernel", "55fbbcc77436638658be3d3fea75b9bd700f39be236037a225d4acc4be628b8d"),
    ("stages.0.0.conv2", "kernel", "9f1c6206fadc13b510f1b331f5e7790d587cd0ef5b872ee1177fbe1e9bca6d6d"),
    ("stages.3.2.norm3", "scale", "50245d675e9ffebcbb6348821e8c758c0eacbab14bb863594200c45b7c52332b"),
    ("stages.3.2.norm3", "var", "c5cdd10471e026fd4faab24a34669b0e6f25c05e58667bc8da12ac04e94f9fb2"),
    ("stages.1.0.shortcut.norm", "mean", "0a8707a3ef5a55c968c35ed9bce2186a3786ff33954ca097d55580e3c184c2b9"),
    ("stages.0.0.norm1", "scale", "753819aca6cebcee163f27c63dde4e0822a716c3d38ce30b8a6e801238e2fabd"),
    ("head", "kernel", "ab685bf772affed360e99e3b6d38862ed1718e1cd5c2418f82bc5977f0a3f5fd"),
    ("head", "bias", "6480c41d589e3cf7d05e6408b35f66fb15dfb0c48fc79b8f4915d269d6594036"),
    ("stages.0.0.squeeze1", "kernel", "deb0e9ef016b8324e0be03c3448f94f51321738ba83bead02036cb14110d4b27"),
    ("stages.3.2.squeeze2", "bias", "dc1d104ca26dbed5985b1178aff22bc1e77585218503b21c5315b5bef54a0d87"),
    ("stem.norm", "count", "c555fdfe7c1a35bc1207f59207eab9b4bfa8fbd962ecef8519759f1c045fba76"),
]


def _digest(array):
    return hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest()


@pytest.mark.parametrize(("path", "leaf", "expected"), GOLDEN)
def test_golden(path, leaf, expected, monkeypatch):
    assert _digest(calibrated.draw(0, MODULES[path], leaf)) == expected
    monkeypatch.setattr(calibrated, "_CHUNK", 999)
    assert _digest(calibrated.draw(0, MODULES[path], leaf)) == expected


def _philox(key):
    """Philox4x64-10 as published (Salmon et al. 2011), in plain integers; NumPy starts at counter 1."""
    mask, counter = 2**64 - 1, 0
    while True:
        counter += 1
        x, k = [counter, 0, 0, 0], [key & mask, key >> 64]
        for _ in range(10):
            first, second = x[0] * 0xD2E7470EE14C6C93, x[2] * 0xCA5A826395121157
            x = [(second >> 64) ^ x[1] ^ k[0], second & mask, (first >> 64) ^ x[3] ^ k[1], first & mask]
            k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
        yield from x


def _words(seed, key):
    return _philox(int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:16], "little"))


def test_values_follow_the_stated_arithmetic():
    """Recomputed without NumPy's generators: what another language would have to do."""
    scale = calibrated.draw(7, MODULES["stages.2.5.norm3"], "scale")
    for value, word in zip(scale[:50], _words(7, "stages.2.5.norm3.scale"), strict=False):
        assert value == np.float32(0.2 + (0.4 - 0.2) * ((word >> 40) * 2.0**-24))
    kernel = calibrated.draw(7, MODULES["stages.2.5.conv2"], "kernel").reshape(-1)
    sigma = math.sqrt((65536**2 - 1) / 3)
    for value, word in zip(kernel[:50], _words(7, "stages.2.5.conv2.kernel"), strict=False):
        total = sum(word >> shift & 0xFFFF for shift in (0, 16, 32, 48))
        assert value == np.float32((total - 131070) * (math.sqrt(2 / (16 * 9)) / sigma))


@pytest.mark.parametrize(
    ("path", "leaf", "mean", "deviation", "low", "high"),
    [
        ("stages.3.1.conv1", "kernel", 0, math.sqrt(2 / 2048), -0.11, 0.11),
        ("stages.3.1.conv2", "kernel", 0, math.sqrt(2 / (32 * 9)), -0.29, 0.29),
        ("stages.3.1.norm3", "scale", 0.3, 0.2 / math.sqrt(12), 0.2, 0.4),
        ("stages.3.0.shortcut.norm", "scale", 1, 0.5 / math.sqrt(12), 0.75, 1.25),
        ("stages.3.1.norm3", "var", 1, 0.5 / math.sqrt(12), 0.75, 1.25),
        ("stages.3.1.norm3", "mean", 0, 0.1, -0.35, 0.35),
        ("stages.3.1.norm3", "shift", 0, 0.1, -0.35, 0.35),
        ("head", "kernel", 0, 1 / math.sqrt(2048), -0.08, 0.08),
        ("head", "bias", 0, 1 / math.sqrt(3 * 2048), -1 / math.sqrt(2048), 1 / math.sqrt(2048)),
        ("stages.3.1.squeeze1", "kernel", 0, math.sqrt(2 / 2048), -0.11, 0.11),
        ("stages.3.1.squeeze2", "kernel", 0, math.sqrt(2 / 128), -0.44, 0.44),
        ("stages.3.1.squeeze2", "bias", 0, 1 / math.sqrt(3), -1, 1),
    ],
)
def test_distribution(path, leaf, mean, deviation, low, high):
    values = calibrated.draw(0, MODULES[path], leaf).astype(np.float64)
    error = deviation / math.sqrt(values.size)
    assert abs(values.mean() - mean) < 4 * error
    assert abs(values.std() - deviation) < 4 * error
    assert values.min() >= low
    assert values.max() <= high


def test_tensors_differ_by_key_and_seed():
    draws = [
        calibrated.draw(0, MODULES["stages.0.0.norm1"], "mean"),
        calibrated.draw(1, MODULES["stages.0.0.norm1"], "mean"),
        calibrated.draw(0, MODULES["stages.0.1.norm1"], "mean"),
        calibrated.draw(0, MODULES["stages.0.0.norm1"], "shift"),
    ]
    assert len({_digest(values) for values in draws}) == len(draws)
    counts = {int(calibrated.draw(0, module, "count")) for module in MODULES.values() if module.kind == "norm"}
    assert len(counts) > 50
    assert 1000 <= min(counts) < max(counts) <= 1_000_000


SQUEEZED = ResNet((1, 1), cardinality=4, base_width=2, classes=10, squeeze=(16, 8))


@pytest.mark.parametrize("name", BUILTIN)
@pytest.mark.parametrize("kind", ["plain", "squeezed"])
def test_complete_file_in_every_dialect(name, kind, small, tmp_path):
    naming = dialect(name)
    small = small if kind == "plain" else SQUEEZED
    if not naming.can_name(small):
        with pytest.raises(MappingError, match=f"dialect {name} has no name for"):
            calibrated.write(small, name, 3, tmp_path / "drawn.safetensors")
        return
    path = tmp_path / "drawn.safetensors"
    calibrated.write(small, name, 3, path)
    again = tmp_path / "again.safetensors"
    calibrated.write(small, name, 3, again)
    assert path.read_bytes() == again.read_bytes()
    grounding = naming.ground(small)
    modules = {module.path: module for module in small.graph().modules}
    with MappedFile(path) as file, CODEC.open(file) as checkpoint:
        assert checkpoint.shapes == grounding.specs
        for slot in grounding.slots.values():
            parts = np.concatenate([checkpoint.tensors[part].read().reshape(-1) for part in slot.names])
            whole = calibrated.draw(3, modules[slot.parameter.module], slot.parameter.leaf)
            assert np.array_equal(parts, whole.reshape(-1))
        kept, complaint = carried(checkpoint.record, where="drawn")
    assert complaint == ""
    assert kept.traits == naming.traits
    assert kept.text("origin") == "calibrated:3"
    assert kept.data["pretrained"] is False


def test_no_tensor_needs_much_memory():
    module = next(
        module for module in architecture("resnext101_32x16d").graph().modules if module.path == "stages.3.1.conv1"
    )
    tracemalloc.start()
    kernel = calibrated.draw(0, module, "kernel")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kernel.nbytes == 4096 * 2048 * 4
    assert peak - kernel.nbytes < 16 << 20


@pytest.mark.parametrize(("init", "seed"), [("calibrated", 0), ("calibrated:0", 0), ("calibrated:0012", 12)])
def test_seed(init, seed):
    assert calibrated.parse(init) == seed


@pytest.mark.parametrize(
    "init", ["", "random", "calibrated:", "calibrated:-1", "calibrated:x", "calibrated:1.5", "calibrated:²"]
)
def test_bad_seed(init):
    with pytest.raises(UsageError, match="calibrated") as caught:
        calibrated.parse(init)
    assert caught.value.exit_code == 2


def test_stand_in(small, tmp_path):
    path, origin = calibrated.stand_in(Request(tmp_path, init="calibrated:5"), small, "timm")
    assert path.parent == tmp_path
    assert origin.kind == "calibrated:5"
    assert origin.pretrained is False
    with pytest.raises(UsageError, match="exclude"):
        calibrated.stand_in(Request(tmp_path, weights=path, init="calibrated"), small, "timm")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnext50_32x4d", "resnext50d_32x4d", "resnet18", "seresnet18", "seresnext50_32x4d"])
def test_network_is_healthy(name, tmp_path):
    """float32 stays near float64, and logits depend on the input: neither chaos nor a constant."""
    timm = pytest.importorskip("timm", reason="the torch extra is not installed")
    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    from safetensors.torch import load_file

    calibrated.write(architecture(name), "timm", 0, tmp_path / "drawn.safetensors")
    model = timm.create_model(name).eval()
    model.load_state_dict(load_file(tmp_path / "drawn.safetensors"), strict=True)
    images = torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        single, exact = model(images), model.double()(images.double())
    error = ((single - exact).norm(dim=1) / exact.norm(dim=1)).max()
    assert 1e-7 < error < 1e-5
    assert ((exact[0] - exact[1]).norm() / exact[0].norm()) > 5e-3
    assert exact.std() > 1
