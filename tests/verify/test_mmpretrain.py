"""mmpretrain's own networks: configured as its index has them, run as the side of a proof, and its training files."""

import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.opened import Opened
from mshub_convert.converters.sources import calibrated, mmcls_index
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.traits import Traits
from mshub_convert.request import SourceRequest
from mshub_convert.verify import sides
from mshub_convert.verify.compare import Verdict
from mshub_convert.verify.errors import NetworkError
from mshub_convert.verify.inputs import Inputs, pictures
from mshub_convert.verify.networks.mmpretrain import build, configuration
from mshub_convert.verify.prover import Prover
from mshub_convert.verify.runtimes import GraphNetwork, Job, LibraryNetwork, Outcome, Weights, run

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mmpretrain") is None, reason="the mmpretrain extra is not installed"
)
slow = pytest.mark.slow

FEW = Inputs(count=2, sizes=((224, 224),))
CAFFE = {"bottleneck_stride": "1x1"}
TRAIN = Path(__file__).with_name("mmengine_training.py")


# Configurations


def normalised(backbone: dict) -> dict:
    """A backbone's settings without those that are the default or do not show when it runs."""
    settings = {key: value for key, value in backbone.items() if key not in ("init_cfg", "drop_path_rate")}
    kind = settings.pop("type")
    deep, average = kind.endswith(("V1c", "V1d")), kind.endswith("V1d")
    made = {"type": kind.removesuffix("V1c").removesuffix("V1d"), "deep_stem": deep, "avg_down": average}
    norm = settings.pop("norm_cfg", {"type": "BN"})
    assert norm.get("eps", 1e-5) == 1e-5
    defaults = {
        "num_stages": 4, "out_indices": (3,), "style": "pytorch", "stem_channels": 64, "se_ratio": 16,
        "deep_stem": False, "avg_down": False,
    }  # fmt: skip
    return {key: value for key, value in (made | settings).items() if defaults.get(key) != value}


@pytest.mark.slow
def test_configurations_are_those_of_the_index() -> None:
    from mmengine.config import Config

    checked = set()
    for model in mmcls_index.index().values():
        if not model.network:
            continue
        theirs = Config.fromfile(model.config).model
        ours = configuration(model.network, theirs.head.num_classes, {})
        assert normalised(ours["backbone"]) == normalised(theirs.backbone.to_dict()), model.name
        assert ours["neck"] == theirs.neck.to_dict()
        assert ours["head"].items() <= theirs.head.to_dict().items()
        assert theirs.backbone.get("style", "pytorch") == "pytorch", "the published ones are not asked for their style"
        checked.add(model.network)
    assert {"resnet18", "resnet50c", "resnet50d", "resnext152_32x4d", "seresnet50", "wide_resnet101_2"} <= checked


def test_a_network_without_a_configuration() -> None:
    with pytest.raises(NetworkError, match="no configuration of resnet_1-2-1"):
        configuration("resnet_1-2-1", 10, {})


def test_a_network_survives_json(tmp_path: Path) -> None:
    network = LibraryNetwork("mmpretrain", "resnet50", 7, {"bottleneck_stride": "1x1", "norm_eps": 1e-4})
    job = Job("torch", network, Weights(tmp_path / "w.pth", "pth"), (tmp_path / "a.npy",), tmp_path)
    assert Job.from_dict(json.loads(json.dumps(job.as_dict()))) == job


@slow
def test_names_and_shapes_are_those_of_its_networks() -> None:
    for name in dialect("mmcls").models:
        theirs = {key: tuple(value.shape) for key, value in build(name, 10, {}).state_dict().items()}
        assert dict(dialect("mmcls").ground(architecture(name, classes=10)).specs) == theirs, name


@slow
def test_depths_that_it_does_not_have() -> None:
    with pytest.raises(NetworkError, match="mmpretrain builds no resnet26"):
        build("resnet26", 10, {})


# Runs


def outcome(name: str, traits: dict, folder: Path, *, own: bool) -> Outcome:
    """The logits of a network with drawn weights, of mmpretrain's or of ours."""
    network = architecture(name, classes=7)
    file = folder / f"{name}.safetensors"
    if not file.exists():
        calibrated.write(network, "mmcls", 0, file)
    inputs = folder / "pictures.npy"
    np.save(inputs, pictures(2, 97, 130))
    graph = GraphNetwork(network, "mmcls", Traits().with_values(traits))
    chosen = LibraryNetwork("mmpretrain", name, 7, traits) if own else graph
    job = Job("torch", chosen, Weights(file, "safetensors"), (inputs,), folder / f"own-{own}")
    return run(job, timeout=300)


@slow
@pytest.mark.parametrize(
    ("name", "traits"),
    [
        ("resnet18", {}), ("resnet50d", CAFFE), ("seresnet50", {}),
        ("resnext50_32x4d", {"bottleneck_stride": "1x1", "norm_eps": 1e-3}),
    ],
)  # fmt: skip
def test_ours_and_theirs_are_one_function(name: str, traits: dict, tmp_path: Path) -> None:
    theirs = outcome(name, traits, tmp_path, own=True)
    ours = outcome(name, traits, tmp_path, own=False)
    assert theirs.versions["mmpretrain"] == mmcls_index.installed_version()
    assert theirs.unused == ()
    scale = np.linalg.norm(theirs.logits[0])
    assert np.linalg.norm(ours.logits[0] - theirs.logits[0]) < 1e-6 * scale
    if traits:
        plain = outcome(name, {}, tmp_path, own=True)
        assert np.linalg.norm(plain.logits[0] - theirs.logits[0]) > 1e-3 * scale


@contextmanager
def opened(address: str | Path, **options: object) -> Iterator[Opened]:
    with SourceRequest(address, **options).open() as found:  # type: ignore[arg-type]
        yield found


@slow
@pytest.mark.timeout(900)
def test_timm_weights_in_mmpretrain_differ_by_nothing(tmp_path: Path) -> None:
    file = mc.convert("timm:resnext50_32x4d", to="pth:mmcls", init="calibrated:0", out=tmp_path).path
    with opened("timm:resnext50_32x4d", init="calibrated:0") as source, opened(file) as target:
        proof = Prover(source, inputs=FEW).prove(target)
    assert proof, proof.reason
    assert proof.source_network.startswith("timm's own resnext50_32x4d")
    assert proof.target_network.startswith("mmpretrain's own resnext50_32x4d, torch")
    (comparison,) = proof.comparisons
    assert (comparison.max_abs, comparison.ratio) == (0.0, 1.0)

    # As its users load a file: by their loader, into the model of the index.
    from mmengine.runner import load_checkpoint
    from mmpretrain import get_model

    model = get_model("resnext50-32x4d_8xb32_in1k", pretrained=False)
    load_checkpoint(model, str(file), map_location="cpu", strict=True)
    source = mc.load_torch(file)
    assert all(bool((value == model.state_dict()[name]).all()) for name, value in source.state_dict().items())


@slow
@pytest.mark.timeout(900)
def test_caffe_style_is_a_trait_that_the_library_has_too(tmp_path: Path) -> None:
    said = {"init": "calibrated:0", "traits": CAFFE}
    file = mc.convert("mmcls:resnext50-32x4d_8xb32_in1k", to="pth:mmcls", out=tmp_path, **said).path  # type: ignore[arg-type]
    with opened("mmcls:resnext50-32x4d_8xb32_in1k", **said) as source:
        prover = Prover(source, inputs=FEW)
        with opened(file) as target:
            proof = prover.prove(target)
        assert proof, proof.reason
        own = "mmpretrain's own resnext50_32x4d (bottleneck_stride=1x1), torch"
        assert proof.source_network.startswith(own)
        assert proof.target_network.startswith(own)
        assert proof.reference.startswith(own)
        assert proof.library_difference is not None
        assert proof.library_difference > 1e-3
        assert any("it has bottleneck_stride=3x3 where the weights need 1x1" in notice for notice in proof.notices)
        with opened(file, traits={"bottleneck_stride": "3x3"}) as wrong:
            control = prover.prove(wrong, library_check=False)
    assert control.verdict is Verdict.FAIL
    assert control.weights.verdict is Verdict.PASS
    assert control.comparisons[0].target_error > 1e-3
    assert any("leave out --trait bottleneck_stride=3x3" in notice for notice in control.notices)


@slow
def test_the_network_is_rebuilt_where_the_library_cannot_be_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "w.safetensors"
    calibrated.write(architecture("resnet18"), "mmcls", 0, file)
    with opened(file) as found:
        assert sides.own_side(found).label == "mmpretrain's own resnet18"
    with opened(file, traits={"norm_eps": "1e-3"}) as found:
        assert sides.own_side(found).label == "mmpretrain's own resnet18 (norm_eps=0.001)"
    with opened(file, traits={"stem_pool": "same"}) as found:
        assert "built by mshub-convert" in sides.own_side(found).label
    monkeypatch.setattr(sides, "installed", lambda package: package != "mmpretrain")
    with opened(file) as found:
        assert "built by mshub-convert" in sides.own_side(found).label


# Training files


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that mmengine's own Runner saved: averaged weights, optimizer, schedulers, logs; style caffe."""
    folder = tmp_path_factory.mktemp("training")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(TRAIN), str(folder)],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "epoch_1.pth"


@slow
def test_raw_training_files_are_read_and_nothing_in_them_runs(trained: Path, tmp_path: Path) -> None:
    import torch

    with zipfile.ZipFile(trained) as archive:
        data = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    assert b"HistoryBuffer" in data
    with pytest.raises(Exception, match="HistoryBuffer"):
        torch.load(trained, weights_only=True)

    code = (
        "import sys, mshub_convert as mc\n"
        f"result = mc.convert({str(trained)!r}, to='safetensors:timm', out={str(tmp_path)!r})\n"
        "assert not {'mmengine', 'mmpretrain', 'torch'} & set(sys.modules)\n"
        "print(result.path)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    made = mc.inspect(done.stdout.strip())
    assert made.network["traits"]["bottleneck_stride"] == "1x1"
    training = made.record["facts"]["training"]
    assert {key: training[key] for key in ("epoch", "iter", "classes", "class_names")} == {
        "epoch": 1, "iter": 2, "classes": 3, "class_names": ["cat", "dog", "cow"],
    }  # fmt: skip
    assert training["config"] == {"style": "caffe"}
    assert any("ema_state_dict" in notice and "optimizer" in notice for notice in made.record["notices"])


@slow
def test_raw_training_files_are_verified(trained: Path, tmp_path: Path) -> None:
    """torch refuses the file without running what it names, so the worker reads it as we do."""
    file = mc.convert(trained, to="ckpt", out=tmp_path).path
    with opened(trained) as source, opened(file) as target:
        proof = Prover(source, inputs=FEW).prove(target, library_check=False)
    assert proof.weights.verdict is Verdict.PASS
    assert "own reader (torch.load(weights_only=True) refused the file" in proof.runs["source"]["loader"]
    assert proof.verdict is not Verdict.FAIL, proof.reason
