"""The user's own network as the source of a proof, in torch and in MindSpore, and all that can be wrong with it."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mshub_convert as mc
from mshub_convert.converters.errors import EnvironmentError_, UsageError
from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.architectures.ssd_resnet50 import SsdResNet50
from mshub_convert.request import SourceRequest
from mshub_convert.verify.errors import NetworkError
from mshub_convert.verify.networks import user
from mshub_convert.verify.proof import Proof
from mshub_convert.verify.prover import prove
from mshub_convert.verify.runtimes import UserNetwork
from mshub_convert.verify.sides import split_source_network

pytestmark = pytest.mark.slow
NETWORK = ResNet((1, 1, 1, 1), classes=10, block="basic")
# torchvision's own class, as a user has it in a file.
TORCH = """
from torchvision.models.resnet import BasicBlock, ResNet
def network(num_classes=1000):
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=num_classes)
"""
# What stands beside the module of the network: it is imported from there.
MINDSPORE = """
import sys, time
from network import ResNet
TEN = ResNet
def network(): return ResNet()
def of_classes(number): return ResNet(number)
def three(): return ResNet(3)
def raising(): raise ValueError("no such backbone")
def leaving(): sys.exit(3)
def nothing(): pass
def many(first, second): return ResNet()
def sleeping(): time.sleep(600)
class Features(ResNet):
    def construct(self, x):
        return self.conv1(x)
class Another(ResNet):
    def __init__(self):
        super().__init__()
        self.fc, self.classifier = self.classifier, None
value = 7
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .ckpt with its network in network.py, a .pth, and the user's own files."""
    path = tmp_path_factory.mktemp("user")
    calibrated.write(NETWORK, "torchvision", 0, path / "source.safetensors")
    mc.convert(path / "source.safetensors", to="ckpt", out=path / "a.ckpt", emit_network=path / "network.py")
    mc.convert(path / "source.safetensors", to="pth:torchvision", out=path / "a.pth")
    (path / "of_torch.py").write_text(TORCH)
    (path / "of_mindspore.py").write_text(MINDSPORE)
    (path / "broken.py").write_text("import backbones\n")
    other = (path / "network.py").read_text().replace('pad_mode="valid"', 'pad_mode="same"')
    (path / "wrong.py").write_text(other)
    return path


@pytest.fixture
def proof(folder: Path) -> Callable[..., Proof]:
    """``proof("a.ckpt", "a.pth", "of_mindspore.py:network")``: on few small pictures."""

    def make(source: str, target: str, network: str) -> Proof:
        return mc.verify(
            folder / source, folder / target, source_network=f"{folder}/{network}", sizes=((64, 64), (57, 71)), count=2
        )

    return make


def test_a_conversion_is_verified_in_a_network_of_mindspore(folder: Path, tmp_path: Path) -> None:
    result = mc.convert(
        folder / "a.ckpt", to="pth", out=tmp_path, verify=True, sizes=((57, 71),), count=2,
        source_network=f"{folder}/of_mindspore.py:network",
    )  # fmt: skip
    assert result.proof
    said = f"the user's own network {folder}/of_mindspore.py:network, mindspore on CPU, float32"
    assert dict(result.proof.facts())["source"] == said
    assert result.proof.as_dict()["source_network"] == said


def test_a_network_of_torch_is_its_own_reference(proof: Callable[..., Proof], folder: Path) -> None:
    found = proof("a.pth", "a.ckpt", "of_torch.py:network")
    assert found
    assert dict(found.facts())["source"].startswith(f"the user's own network {folder}/of_torch.py:network, torch")
    assert found.reference == f"the user's own network {folder}/of_torch.py:network, torch on CPU, float64"


def test_a_network_that_is_not_the_one_described(proof: Callable[..., Proof]) -> None:
    """It loads strictly and computes something else than its record says: nothing is proven by it."""
    found = proof("a.ckpt", "a.pth", "wrong.py:ResNet")
    assert not found
    assert found.verdict.value == "inconclusive"


@pytest.mark.parametrize(
    ("network", "verdict", "said"),
    [
        ("of_mindspore.py:raising", "inconclusive", ["raising raised ValueError, line 8: no such backbone"]),
        ("of_mindspore.py:three", "fail", ["classifier.weight: (10, 512) in the weights, (3, 512) in the network",
                                           "classifier.bias: (10,) in the weights, (3,) in the network"]),
        ("of_mindspore.py:Another", "fail", ["2 tensors missing from the weights: fc.weight, fc.bias",
                                             "2 tensors unknown to the network: classifier.weight, classifier.bias"]),
    ],
)  # fmt: skip
def test_what_can_be_wrong_with_it(proof: Callable[..., Proof], network: str, verdict: str, said: list[str]) -> None:
    found = proof("a.ckpt", "a.pth", network)
    assert not found
    assert found.verdict.value == verdict
    told = "\n".join([found.reason, *found.notices])
    assert [text for text in said if text not in told] == []


def test_a_function_that_is_not_there(proof: Callable[..., Proof]) -> None:
    with pytest.raises(UsageError, match=r"networks of .*of_mindspore.py does not exist → Did you mean network"):
        proof("a.ckpt", "a.pth", "of_mindspore.py:networks")


@pytest.fixture
def build(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Makes a network in this process, and forgets what it imported."""
    import mindspore

    def make(text: str) -> Any:
        file, factory = split_source_network(f"{folder}/{text}")
        return user.build(UserNetwork(file, factory, 10, {"head": (10,)}), mindspore.nn.Cell, mindspore.Tensor)

    monkeypatch.setattr(sys, "path", [*sys.path])
    yield make
    for name in ("network", "_source_network"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("factory", ["network", "of_classes", "TEN"])
def test_functions_may_take_the_number_of_classes(build: Callable[[str], Any], factory: str) -> None:
    made = build(f"of_mindspore.py:{factory}")
    assert made.parameters_dict()["classifier.weight"].shape == (10, 512)


@pytest.mark.parametrize(
    ("network", "error", "said"),
    [
        ("of_mindspore.py:leaving", NetworkError, "leaving raised SystemExit, line 9: 3"),
        ("of_mindspore.py:nothing", NetworkError, "nothing gave nothing, not a mindspore Cell"),
        ("of_mindspore.py:many", NetworkError, "many raised TypeError: "),
        ("of_mindspore.py:value", UsageError, "value of .*of_mindspore.py is no function"),
        ("of_torch.py:network", NetworkError, "network gave a ResNet, not a mindspore Cell"),
        ("broken.py:network", NetworkError, "raised ModuleNotFoundError, line 1: No module named 'backbones'"),
    ],
)
def test_what_makes_no_network(build: Callable[[str], Any], network: str, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        build(network)


def test_what_gives_no_logits(build: Callable[[str], Any]) -> None:
    import mindspore
    import numpy as np

    made = build("of_mindspore.py:Features")
    with pytest.raises(NetworkError, match=r"gives a Tensor of shape \(2, 64, 32, 32\), not logits of shape \(N, 10\)"):
        made(mindspore.Tensor(np.zeros((2, 3, 64, 64), np.float32)))


# model_zoo's own detector is a cell without `network.` before its names, which its evaluation puts another cell around.
DETECTOR = """
from mindspore import nn
from detector import Backbone, Group, SsdResNet50, extra, heads
class Bare(SsdResNet50):
    network = property(lambda self: self)
    def __init__(self, classes):
        nn.Cell.__init__(self)
        self.num_classes = classes
        more = Group(Channel_cover=extra(512, 256, 1), blocks=nn.CellList([extra(256, 256, 2), extra(256, 256, 2)]))
        self.feature_extractor = Group(resnet=Backbone(), Channel_cover=extra(2048, 512, 1), extra=more)
        self.multi_box = Group(multi_loc_layers=heads(4), multi_cls_layers=heads(classes))
def whole(num_classes): return SsdResNet50(num_classes)
def bare(num_classes): return Bare(num_classes)
class Exchanged(SsdResNet50):
    def construct(self, x):
        return super().construct(x)[::-1]
class Boxes(SsdResNet50):
    def construct(self, x):
        return super().construct(x)[0]
"""


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector's .ckpt, what it converts to, and its network in the user's files."""
    path = tmp_path_factory.mktemp("detector")
    calibrated.write(SsdResNet50(classes=5), "modelzoo-ssd", 0, path / "source.safetensors")
    mc.convert(path / "source.safetensors", to="ckpt", out=path / "a.ckpt", emit_network=path / "detector.py")
    mc.convert(path / "a.ckpt", to="safetensors", out=path / "b.safetensors")
    (path / "mine.py").write_text(DETECTOR)
    return path


@pytest.mark.parametrize("factory", ["whole", "bare"])
def test_a_detector_is_verified_in_the_users_own_network(detector: Path, factory: str) -> None:
    network = f"{detector}/mine.py:{factory}"
    found = mc.verify(
        detector / "a.ckpt", detector / "b.safetensors", source_network=network, sizes=((100, 130),), count=2
    )
    assert found, found.reason
    assert found.source_network.startswith(f"the user's own network {network}, mindspore")
    assert {item.label for item in found.comparisons} == {"100x130 loc", "100x130 scores", "100x130 boxes"}


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (
            "Boxes",
            r"gives a Tensor of shape \(1, 1872, 4\), not loc of shape \(N, \*, 4\) and scores of shape \(N, \*, 5\)",
        ),
        ("Exchanged", r"gives a Tensor of shape \(1, 1872, 5\), a Tensor of shape \(1, 1872, 4\), not loc of shape"),
    ],
)
def test_a_detector_that_gives_something_else(detector: Path, factory: str, said: str) -> None:
    found = mc.verify(
        detector / "a.ckpt", detector / "b.safetensors", source_network=f"{detector}/mine.py:{factory}",
        sizes=((100, 130),), count=1,
    )  # fmt: skip
    assert found.verdict.value == "inconclusive"
    assert re.search(said, found.reason), found.reason


def test_a_backbone_has_no_network_of_the_users(folder: Path) -> None:
    network = f"{folder}/of_torch.py:network"
    with pytest.raises(UsageError, match=r"--source-network runs whole networks, and a\.pth is read as .*classifier"):
        mc.verify(folder / "a.pth", folder / "a.ckpt", source_network=network, backbone=True)


def test_a_network_that_takes_for_ever(folder: Path) -> None:
    with SourceRequest(folder / "a.ckpt").open() as source, SourceRequest(folder / "a.pth").open() as target:
        found = prove(source, target, source_network=f"{folder}/of_mindspore.py:sleeping", timeout=15.0)
    assert found.verdict.value == "inconclusive"
    assert "did not finish in 15 seconds" in found.reason


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("none.py:network", EnvironmentError_, "no file none.py"),
        ("network", UsageError, "is not FILE.py:FACTORY"),
        ("of_torch.py", UsageError, "is not FILE.py:FACTORY"),
        ("of_torch.py:", UsageError, "is not FILE.py:FACTORY"),
        ("of_torch.py:a.b", UsageError, "is not FILE.py:FACTORY"),
        ("of_torch.txt:network", UsageError, "is not FILE.py:FACTORY"),
    ],
)
def test_what_is_no_network(text: str, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        split_source_network(text)


def test_no_network_runs_in_onnx_runtime(folder: Path) -> None:
    with pytest.raises(
        UsageError, match="--source-network is of torch or MindSpore, and --source-runtime onnxruntime was asked"
    ):
        mc.verify(
            folder / "a.ckpt", folder / "a.pth", source_runtime="onnxruntime",
            source_network=f"{folder}/of_mindspore.py:network",
        )  # fmt: skip
