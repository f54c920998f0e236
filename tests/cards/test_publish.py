"""``--to mshub``: what an entry holds, what it says, what it leaves open, and that it loads and converts again."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.cards import publish
from mshub_convert.converters.cards.parse import parse
from mshub_convert.converters.codecs import open_checkpoint
from mshub_convert.converters.publications import Published
from mshub_convert.converters.record import Record, SourceFile
from mshub_convert.mappings.architectures import architecture

DIGEST = "ab" * 32
FACTS: dict[str, Any] = {
    "dataset": "ImageNet2012", "author": "Ann", "user_id": "ann", "license": "Apache-2.0", "train_backend": "gpu",
    "accuracy": {"dataset": "ImageNet-1k", "acc@1": 77.62, "acc@5": 93.7},
    "preprocessing": {"input_size": [3, 288, 256], "crop_size": 256, "mean": [0.5, 0.5, 0.5]},
}  # fmt: skip
# What mindspore_hub/_utils/check.py of the Hub asks a header for.
REQUIRED = (
    "backbone-name", "module-type", "fine-tunable", "input-shape", "model-version", "train-dataset", "author",
    "update-time", "repo-link", "user-id", "used-for", "infer-backend", "mindspore-version", "asset", "license",
    "summary",
)  # fmt: skip
URL = "https://download.example.org/resnet50.ckpt"


def record(facts: dict[str, Any], pretrained: bool | None = None, network: str = "resnet50") -> Record:
    return Record(
        tool="mshub-convert 1", architecture=architecture(network).as_dict(), dialect="mindcv", container="ckpt",
        traits={"stem_pool": "same"}, origin="file", pretrained=pretrained, address="timm:resnet50", facts=facts,
        sources=(SourceFile("a.safetensors", "safetensors", 9, "cd" * 32),),
    )  # fmt: skip


def written(
    folder: Path, facts: dict[str, Any], *, pretrained: bool | None = None, url: str = "", network: str = "resnet50"
) -> tuple[Any, Any]:
    """The card of these facts as our own parser reads it, and the findings by their codes."""
    published = Published(record(facts, pretrained, network), "my", DIGEST, 1, url, module="# module", weights="x.ckpt")
    findings = publish.PUBLICATION.write(folder, published)
    (card,) = folder.glob("*.md")
    return parse(card.read_bytes(), where=card.name), {finding.code: finding for finding in findings}


def test_what_is_known_is_in_the_card(tmp_path: Path) -> None:
    card, findings = written(tmp_path, FACTS, url=URL)
    assert card.where == "resnet50_imagenet2012.md"
    assert card.problems == ()
    assert card.unknown == {}
    told = {key: card.fields[key] for key in card.fields if key != "update-time"}
    assert told == {
        "model-name": "resnet50", "backbone-name": "resnet", "module-type": "cv", "fine-tunable": True,
        "input-shape": [288, 256, 3], "model-version": "2.10", "train-dataset": "ImageNet2012",
        "evaluation": {"top1acc": 77.62, "top5acc": 93.7}, "author": "Ann", "user-id": "ann", "used-for": "inference",
        "train-backend": "gpu", "infer-backend": "cpu", "mindspore-version": "2.10", "license": "Apache2.0",
        "summary": "resnet50 with 1000 classes, converted from timm resnet50",
    }  # fmt: skip
    (asset,) = card.assets
    assert (asset.file_format, asset.link, asset.sha256) == ("ckpt", URL, DIGEST)
    # Nobody can know where the code will be.
    assert "has no repo-link: the source does not say" in findings["card"].told
    assert set(findings) == {"card"}


def test_the_card_of_a_detector(tmp_path: Path) -> None:
    """Its anchors are for one size, which the Hub's own cards of it get wrong."""
    facts = FACTS | {"dataset": "coco2017", "input_shape": [227, 227, 3], "accuracy": {"mAP": 32.2}}
    del facts["preprocessing"]
    card, _ = written(tmp_path, facts, url=URL, network="ssd_resnet50")
    assert card.where == "ssd_resnet50_coco2017.md"
    assert card.problems == ()
    told = {key: card.fields[key] for key in ("model-name", "backbone-name", "module-type", "input-shape")}
    assert told == {
        "model-name": "ssd_resnet50", "backbone-name": "resnet50", "module-type": "cv-object_detection",
        "input-shape": [640, 640, 3],
    }  # fmt: skip
    assert (card.fields["train-dataset"], card.fields["evaluation"]) == ("coco2017", {"mAP": 32.2})
    assert card.fields["summary"] == "ssd_resnet50 with 81 classes, converted from timm resnet50"
    text = (tmp_path / card.where).read_text()
    assert "loc, scores = network(Tensor(np.zeros((1, 3, 640, 640), np.float32)))" in text
    assert "logits" not in text


def test_what_is_not_known_is_said_and_not_made_up(tmp_path: Path) -> None:
    card, findings = written(tmp_path, {"license": "unstated"})
    for key in ("input-shape", "train-dataset", "evaluation", "author", "repo-link", "user-id", "license"):
        assert key not in card.fields
        assert key in findings["card"].told
    assert "asset-link" in findings["card"].told
    assert [problem.message for problem in card.problems] == ["this asset has no asset-link"]
    assert "Preprocessing" not in (tmp_path / "resnet50.md").read_text()


def test_the_header_is_what_the_hub_checks(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="only the Hub's own check reads cards as YAML")
    card, _ = written(tmp_path, FACTS, url=URL)
    lines = (tmp_path / card.where).read_text().split("\n---\n")[1]
    held = yaml.safe_load(lines)
    assert set(REQUIRED) - set(held) == {"repo-link"}
    assert held["fine-tunable"] is True
    assert held["input-shape"] == [288, 256, 3]
    assert held["mindspore-version"] == "2.10"
    assert held["asset"] == [{"file-format": "ckpt", "asset-link": f"<{URL}>", "asset-sha256": DIGEST}]
    for key, value in held.items():
        assert key == "asset" or ":" not in str(value)


def test_facts_cannot_become_fields(tmp_path: Path) -> None:
    facts = {"author": 'Ann"\nlicense: MIT', "dataset": "- a: [b", "user_id": "---", "train_backend": 'x\\"y'}
    card, _ = written(tmp_path, facts, url=URL)
    assert card.fields["author"] == "Ann license MIT"
    assert "license" not in card.fields
    assert card.problems == ()
    assert card.where == "resnet50_ab.md"


def test_files_are_called_as_the_hubs_are() -> None:
    path = publish.PUBLICATION.path
    assert path("resnet50", FACTS) == "resnet50_gpu_v2100_imagenet2012_cv_top1acc77.62_top5acc93.7.ckpt"
    assert path("resnext50_32x4d", {}) == "resnext50_32x4d_v2100_cv.ckpt"
    assert path("resnet50", {"dataset": "../../etc", "accuracy": {"../x": 1.0}}) == "resnet50_v2100_etc_cv.ckpt"


@pytest.mark.parametrize(
    ("facts", "pretrained", "code", "said"),
    [
        ({"license": "cc-by-nc-4.0"}, None, "licence", "is cc-by-nc-4.0, and the Hub takes Apache 2.0 only"),
        ({}, False, "drawn", "not pretrained"),
    ],
)
def test_what_should_not_be_published(
    tmp_path: Path, facts: dict[str, Any], pretrained: bool | None, code: str, said: str
) -> None:
    _, findings = written(tmp_path, facts, pretrained=pretrained)
    assert said in findings[code].told
    assert ("not pretrained" in (tmp_path / "resnet50.md").read_text()) is (pretrained is False)


@pytest.fixture
def entry(weights_file: Callable[..., Path], tmp_path: Path) -> Path:
    """An entry of a small network, with the names of model_zoo."""
    return Path(mc.convert(weights_file(), to="mshub:modelzoo", out=tmp_path / "entry").path)


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "GLOG_v": "3", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=200, check=False)


def test_an_entry_is_whole(entry: Path) -> None:
    assert {file.name for file in entry.iterdir()} == {
        "resnext_1-1_4x2d.md", "resnext_1_1_4x2d.py", "mindspore_hub_conf.py", "resnext_1-1_4x2d_v2100_cv.ckpt",
        "resnext_1-1_4x2d_v2100_cv.ckpt.mshub.json",
    }  # fmt: skip
    with open_checkpoint(entry / "resnext_1-1_4x2d_v2100_cv.ckpt") as held:
        assert "backbone.layer1.0.conv2.convs.3.weight" in held.tensors
    for command in (["check", "--select", "E,F,W,I,D1,ANN", "--ignore", "D107"], ["format", "--check"]):
        files = [str(file) for file in entry.glob("*.py")]
        assert (
            run("-m", "ruff", command[0], "--isolated", "--no-cache", *command[1:], *files, cwd=entry).returncode == 0
        )


@pytest.mark.slow
def test_a_card_is_looked_into_and_its_weights_are_compared(entry: Path) -> None:
    card = "resnext_1-1_4x2d.md"
    result = run("-m", "mshub_convert", "inspect", card, cwd=entry)
    assert result.returncode == 3  # there is no address yet
    assert "this asset has no asset-link" in result.stdout
    assert "claims             resnext_1-1_4x2d" in result.stdout
    (entry / "other.ckpt").write_bytes((entry / "resnext_1-1_4x2d_v2100_cv.ckpt").read_bytes() + b" ")
    words = ("-m", "mshub_convert", card, "--to", "pth", "--weights")
    result = run(*words, "other.ckpt", cwd=entry)
    assert result.returncode == 5
    assert "--weights other.ckpt is not the file of resnext_1-1_4x2d.md: its sha256 does not equal" in result.stderr
    assert run(*words, "resnext_1-1_4x2d_v2100_cv.ckpt", cwd=entry).returncode == 0


@pytest.mark.parametrize("url", ["", URL])
def test_an_entry_converts_back_bit_by_bit(weights_file: Callable[..., Path], tmp_path: Path, url: str) -> None:
    source = weights_file()
    entry = Path(mc.convert(source, to="mshub", out=tmp_path / "entry", model_url=url).path)
    (card,), (weights,) = entry.glob("*.md"), entry.glob("*.ckpt")
    back = mc.convert(card, weights=weights, to="safetensors", out=tmp_path / "back.safetensors")
    with open_checkpoint(source) as first, open_checkpoint(back.path) as last:
        assert set(first.tensors) == set(last.tensors)
        for name, ref in first.tensors.items():
            assert np.array_equal(ref.read(), last.tensors[name].read()), name


@pytest.mark.slow
def test_drawn_weights_convert_back_too(tmp_path: Path) -> None:
    entry = mc.convert("timm:resnet18", init="calibrated:0", to="mshub", out=tmp_path / "entry").path
    (weights,) = entry.glob("*.ckpt")
    back = mc.convert(entry / "resnet18.md", weights=weights, to="pth", out=tmp_path)
    assert back.record.origin == "calibrated:0"


@pytest.mark.slow
def test_gaps_are_refused_when_strict(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    words = ("-m", "mshub_convert", str(weights_file()), "--to", "mshub", "-o", "entry")
    result = run(*words, "--strict", cwd=tmp_path)
    assert result.returncode == 3
    assert "the publication has gaps" in result.stderr
    # The entry has a network of its own: what mindcv's would compute is no matter.
    assert "mindcv" not in result.stderr
    assert not (tmp_path / "entry").exists()
    assert run(*words, "--no-check", cwd=tmp_path).returncode == 0
    digest = re.search("asset-sha256: ([0-9a-f]{64})", (tmp_path / "entry/resnext_1-1_4x2d.md").read_text())
    assert digest
    from mshub_convert.converters.sources.download import matches

    assert matches(next((tmp_path / "entry").glob("*.ckpt")), digest[1])


# What mindspore_hub.load does with a repository and a checkpoint (mindspore_hub/load.py), without this package.
HUB = """
import importlib.util, os, sys
sys.modules["mshub_convert"] = None
import mindspore, numpy
folder, name = sys.argv[1:]
sys.path.insert(0, folder)
spec = importlib.util.spec_from_file_location("mindspore_hub_conf.py", os.path.join(folder, "mindspore_hub_conf.py"))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
network = module.create_network(name.lower())
(weights,) = [file for file in os.listdir(folder) if file.endswith(".ckpt")]
parameters = mindspore.load_checkpoint(os.path.join(folder, weights))
missing, unknown = mindspore.load_param_into_net(network, parameters, strict_load=True)
assert not missing and not unknown, (missing, unknown)
network.set_train(False)
pictures = numpy.load("pictures.npy")
def run(network):
    given = network(mindspore.Tensor(pictures))
    return [value.asnumpy() for value in (given if isinstance(given, tuple) else (given,))]
numpy.savez("outputs.npz", *run(network))
assert run(module.create_network(name, num_classes=3))[-1].shape[-1] == 3
try:
    module.create_network("resnet18")
except NotImplementedError as error:
    assert name in str(error)
else:
    raise AssertionError("another network")
"""


@pytest.fixture(scope="module")
def detector_entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An entry of the detector."""
    folder = tmp_path_factory.mktemp("detector")
    return Path(mc.convert("ssd_resnet50", init="calibrated:0", to="mshub", out=folder / "entry").path)


def outputs_differ(entry: Path, name: str, tmp_path: Path) -> float:
    """How far the network that mindspore_hub loads is from ours, relative to what that gives."""
    import mindspore

    pictures = np.random.default_rng(0).normal(size=(2, 3, 65, 47)).astype(np.float32)
    np.save(tmp_path / "pictures.npy", pictures)
    result = run("-c", HUB, str(entry), name, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    given = mc.load_mindspore(next(entry.glob("*.ckpt")))(mindspore.Tensor(pictures))
    ours = [value.asnumpy() for value in (given if isinstance(given, tuple) else (given,))]
    theirs = np.load(tmp_path / "outputs.npz").values()
    return max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(theirs, ours, strict=True))


def run_usage(entry: Path, proof: str) -> subprocess.CompletedProcess[str]:
    text = next(entry.glob("*.md")).read_text()
    usage = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert usage
    return run("-c", f"import sys\nsys.modules['mshub_convert'] = None\n{usage[1]}\n{proof}\n", cwd=entry)


@pytest.mark.slow
def test_mindspore_hub_loads_an_entry(entry: Path, tmp_path: Path) -> None:
    assert outputs_differ(entry, "resnext_1-1_4x2d", tmp_path) < 1e-5


@pytest.mark.slow
def test_mindspore_hub_loads_the_entry_of_a_detector(detector_entry: Path, tmp_path: Path) -> None:
    # Two processes may round otherwise; another trait moves it by more than 1e-3.
    assert outputs_differ(detector_entry, "ssd_resnet50", tmp_path) < 1e-5


@pytest.mark.slow
def test_the_usage_in_a_card_runs(entry: Path) -> None:
    result = run_usage(entry, "assert logits.shape == (1, 10)")
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.slow
def test_the_usage_in_the_card_of_a_detector_runs(detector_entry: Path) -> None:
    result = run_usage(detector_entry, "assert boxes.shape == (1, 51150, 4) and scores.shape == (1, 51150, 81)")
    assert result.returncode == 0, result.stderr[-3000:]
