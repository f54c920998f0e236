"""The backbone alone, in memory and at the command line: names, bits, exit codes and messages."""

import subprocess
import sys

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.codecs import open_checkpoint
from mshub_convert.converters.errors import UsageError

pytestmark = pytest.mark.slow


def test_out_of_the_detector_into_torchvision_and_back_into_its_names():
    ours = mc.backbone("ssd_resnet50", init="calibrated:0", to="torchvision")
    assert len(ours) == 318
    assert ours["layer4.2.conv3.weight"].shape == (2048, 512, 1, 1)
    assert not any(name.startswith("fc.") for name in ours)
    inside = mc.backbone("ssd_resnet50", init="calibrated:0", to="modelzoo-ssd")
    assert len(inside) == 265
    start = "network.feature_extractor.resnet."
    assert all(name.startswith(start) for name in inside)
    assert np.array_equal(inside[f"{start}layer2.0.down_sample_layer.1.gamma"], ours["layer2.0.downsample.1.weight"])
    bare = mc.backbone("ssd_resnet50", init="calibrated:0", to="modelzoo-resnet")
    assert {name.removeprefix(start) for name in inside} == set(bare)
    assert all(np.array_equal(bare[name], inside[start + name]) for name in bare)


def test_from_a_resnet50_into_the_detector():
    theirs = mc.backbone("torchvision:resnet50", init="calibrated:0", to="ssd")
    assert len(theirs) == 318
    assert all(name.startswith("backbone.") for name in theirs)
    back = mc.backbone("torchvision:resnet50", init="calibrated:0", to="torchvision")
    assert np.array_equal(theirs["backbone.layer3.5.bn2.running_var"], back["layer3.5.bn2.running_var"])


def test_of_any_resnet_but_of_no_pre_activation_one():
    assert len(mc.backbone("resnet18", init="calibrated:0", to="mindcv")) == 100
    with pytest.raises(UsageError, match="holds resnet18_v2, of which no backbone is described"):
        mc.backbone("resnet18_v2", init="calibrated:0", to="gluon")


# --- the command line


def run(*arguments, cwd):
    command = [sys.executable, "-m", "mshub_convert", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_a_file_of_the_backbone(weights_file, tmp_path):
    result = run(weights_file(), "--backbone", "--to", "ckpt", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "small_backbone.ckpt\n"
    assert "resnext_1-1_4x2d without a classifier, mindcv names" in result.stderr
    assert "the 2 tensors after it left out: fc.weight, fc.bias" in result.stderr
    with open_checkpoint(tmp_path / "small_backbone.ckpt") as checkpoint:
        assert not any(name.startswith("classifier.") for name in checkpoint.tensors)
    looked = run("inspect", "small_backbone.ckpt", cwd=tmp_path)
    assert "resnext_1-1_4x2d without a classifier, " in looked.stdout
    # Its record says what it is.
    again = run("small_backbone.ckpt", "--to", "pth", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, "small_backbone.pth\n")


def test_what_a_plan_says_of_it(weights_file, tmp_path):
    result = run(weights_file(), "--backbone", "--to", "pth", "--dry-run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("resnext_1-1_4x2d without a classifier: timm names → timm names")
    assert not list(tmp_path.glob("*.pth"))


def test_a_file_without_a_classifier(backbone_file, tmp_path):
    refused = run(backbone_file, "--to", "ckpt", cwd=tmp_path)
    assert refused.returncode == 3
    assert "body.safetensors holds resnext_1-1_4x2d without its classifier: fc.weight, fc.bias" in refused.stderr
    assert "--backbone converts the backbone alone" in refused.stderr
    assert not (tmp_path / "body.ckpt").exists()
    looked = run("inspect", backbone_file, cwd=tmp_path)
    assert "resnext_1-1_4x2d without a classifier" in looked.stdout
    asked = run(backbone_file, "--backbone", "--to", "ckpt", cwd=tmp_path)
    assert (asked.returncode, asked.stdout) == (0, "body.ckpt\n")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--to", "ckpt", "--classes", "5"), "--classes 5 keeps rows of the classifier, and --backbone leaves all"),
        (("--to", "onnx", "--heads", "nms"), "--heads is for detectors, resnext_1-1_4x2d is a backbone"),
        (("--to", "modelhub", "-o", "x/"), "Write the backbone alone: --to onnx."),
        (("--to", "mshub", "-o", "x/"), "Write the backbone alone: --to ckpt."),
        (("--to", "ckpt", "--emit-network", "net.py"), "mshub_convert.load_mindspore builds the network"),
    ],
)
def test_what_does_not_go_with_it(weights_file, tmp_path, more, said):
    result = run(weights_file(), "--backbone", *more, cwd=tmp_path)
    assert result.returncode == 2
    assert said in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["small.safetensors"]


def test_a_network_without_one(tmp_path):
    result = run("resnet18_v2", "--init", "calibrated:0", "--backbone", "--to", "ckpt:gluon-ms", cwd=tmp_path)
    assert result.returncode == 2
    assert "holds resnet18_v2, of which no backbone is described" in result.stderr
    assert "the whole network is converted" in result.stderr


def test_torchvision_takes_it_and_what_the_traits_change():
    import torch
    import torchvision

    from mshub_convert.mappings.architectures import architecture
    from mshub_convert.mappings.dialects import dialect
    from mshub_convert.mappings.traits import Traits
    from mshub_convert.verify.inputs import pictures
    from mshub_convert.verify.networks import torch as networks

    arrays = mc.backbone("ssd_resnet50", init="calibrated:0", to="torchvision")
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    theirs = torchvision.models.resnet50(weights=None).eval()
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert (missing, unexpected) == (["fc.weight", "fc.bias"], [])
    network = architecture("resnet50").backbone
    batch = torch.from_numpy(pictures(1, 128, 160))

    def feature(traits):
        built = networks.build(network.graph(traits), dialect("torchvision").ground(network))
        built.load_state_dict(state)
        with torch.inference_mode():
            return built(batch)

    with torch.inference_mode():
        wanted = torch.nn.Sequential(*list(theirs.children())[:-2])(batch)
    detector = dialect("modelzoo-ssd").traits

    def distance(traits):
        return float(torch.linalg.norm(feature(traits) - wanted) / torch.linalg.norm(wanted))

    assert distance(Traits()) < 1e-5
    assert 1e-3 < distance(Traits(norm_eps=detector.norm_eps)) < 5e-2
    assert distance(detector) > 5e-2
