"""The backbone alone: out of the detector and into it, names and bits."""

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.errors import UsageError


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


def test_another_backbone_is_refused():
    with pytest.raises(UsageError, match="is resnet18, whose backbone is no ResNet-50") as caught:
        mc.backbone("timm:resnet18", init="calibrated:0", to="ssd")
    assert "ssd_resnet50 or a resnet50" in caught.value.remedy


@pytest.mark.slow
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
    network = architecture("resnet50")
    batch = torch.from_numpy(pictures(1, 128, 160))

    def feature(traits):
        built = networks.build(network.graph(traits), dialect("torchvision").ground(network))
        built.load_state_dict(theirs.state_dict())
        with torch.inference_mode():
            return built.taps(batch)["stages.3"]

    with torch.inference_mode():
        wanted = torch.nn.Sequential(*list(theirs.children())[:-2])(batch)
    detector = dialect("modelzoo-ssd").traits

    def distance(traits):
        return float(torch.linalg.norm(feature(traits) - wanted) / torch.linalg.norm(wanted))

    assert distance(Traits()) < 1e-5
    assert 1e-3 < distance(Traits(norm_eps=detector.norm_eps)) < 5e-2
    assert distance(detector) > 5e-2
