"""A backbone is proven by its features: by every library's own network, in every container, and against mistakes."""

from dataclasses import replace

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.pipeline import Options, prepare, write
from mshub_convert.converters.sources import calibrated
from mshub_convert.converters.target import parse_target
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import dialect
from mshub_convert.request import SourceRequest
from mshub_convert.verify.compare import Verdict
from mshub_convert.verify.inputs import Inputs, pictures
from mshub_convert.verify.prover import Prover
from mshub_convert.verify.runtimes import GraphNetwork, Job, LibraryNetwork, Weights, run

pytestmark = pytest.mark.slow

SMALL = ResNet((1, 2, 1), cardinality=4, base_width=8, classes=21)
FEW = {"sizes": [(64, 64), (65, 97)], "count": 2}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "source.safetensors"
    calibrated.write(SMALL, "modelzoo-gpu", 0, path)
    return path


@pytest.fixture(scope="module")
def graph_file(source):
    return mc.convert(source, to="onnx:timm", out=source.parent / "whole.onnx").path


def test_a_conversion_is_proven_by_the_features(source, tmp_path):
    result = mc.convert(source, to="pth", out=f"{tmp_path}/", backbone=True, verify=True, **FEW)
    assert result.proof
    assert [item.label for item in result.proof.comparisons] == ["64x64", "65x97"]
    assert all(item.ranking is None for item in result.proof.comparisons)
    assert result.proof.float64.limit == 1e-12
    (outputs,) = {tuple(batch) for batch in result.proof.exhibits.outputs["target"]}
    assert outputs == ("features",)
    assert result.proof.exhibits.outputs["target"][1]["features"].shape == (2, 1024, 5, 7)


@pytest.mark.parametrize("to", ["onnx", "mindir"])
def test_a_graph_of_one_is_run_as_it_is(source, tmp_path, to):
    result = mc.convert(source, to=to, out=f"{tmp_path}/", backbone=True, verify=True, **FEW)
    assert result.proof
    assert result.proof.target_network.startswith("the file itself in ")
    back = mc.convert(result.path, to="pth", out=f"{tmp_path}/", verify=True, **FEW)
    assert back.proof
    assert back.proof.source_network.startswith("the file itself in ")


def test_out_of_a_graph_the_source_is_rebuilt_and_that_is_said(graph_file, tmp_path):
    result = mc.convert(graph_file, to="ckpt", out=f"{tmp_path}/", backbone=True, verify=True, **FEW)
    assert result.proof
    assert result.proof.source_network.endswith("; the source was rebuilt by us")


def test_out_of_the_detectors_own_graph_the_features_are_taken_as_it_runs(tmp_path):
    whole = mc.convert("ssd_resnet50", init="calibrated:0", to="onnx", out=tmp_path / "ssd.onnx").path
    result = mc.convert(whole, to="ckpt", out=f"{tmp_path}/", backbone=True, verify=True, sizes=[(64, 64)], count=2)
    assert result.proof
    assert result.proof.source_network.startswith("the file itself in ONNX Runtime")
    assert mc.verify(result, sizes=[(64, 64)], count=2)


def test_a_live_module_without_its_classifier(tmp_path):
    import torch
    import torchvision

    module = torchvision.models.resnet18(weights=None).eval()
    whole = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
    module.fc = torch.nn.Identity()
    result = mc.convert(module, to="ckpt", out=tmp_path / "live.ckpt", backbone=True)
    back = mc.backbone(result.path, to="torchvision")
    assert back.keys() == whole.keys() - {"fc.weight", "fc.bias"}
    assert all(np.array_equal(array, whole[name]) for name, array in back.items())


def proven_with(source, path, change):
    """The proof of a backbone that was written with some steps changed."""
    with SourceRequest(source, backbone=True).open() as held:
        prepared = prepare(held, parse_target("safetensors"), path, Options())
        steps = tuple(map(change, prepared.plan.steps))
        assert steps != prepared.plan.steps
        with write(replace(prepared, plan=replace(prepared.plan, steps=steps))) as staged:
            staged.commit()
        with SourceRequest(path).open() as target:
            prover = Prover(held, inputs=Inputs(count=2, sizes=((64, 64),)))
            return prover.prove(target, library_check=False)


def test_mixed_up_scale_and_shift_fail_by_the_features_alone(source, tmp_path):
    def change(step):
        keys = {"stages.1.1.norm2.scale": "shift", "stages.1.1.norm2.shift": "scale"}
        if step.key not in keys:
            return step
        with SourceRequest(source, backbone=True).open() as held:
            slot = held.found.grounding.slots[f"stages.1.1.norm2.{keys[step.key]}"]
            array = held.tensors[held.found.names[slot.names[0]]].read().copy()
        return replace(step, target=replace(step.target, extents=None, compute=lambda: array))

    control = proven_with(source, tmp_path / "wrong.safetensors", change)
    assert not control
    assert set(control.weights.differing) == {"layer2.1.bn2.weight", "layer2.1.bn2.bias"}
    assert [item.verdict for item in control.comparisons] == [Verdict.FAIL]
    assert np.isfinite(control.comparisons[0].ratio)


def test_another_epsilon_fails_by_the_features_alone(source, tmp_path):
    path = mc.convert(source, to="safetensors", out=tmp_path / "body.safetensors", backbone=True).path
    proof = mc.verify(source, path, backbone=True, traits={"norm_eps": "1e-3"}, **FEW)
    assert not proof
    assert proof.weights.verdict is Verdict.PASS
    assert Verdict.FAIL in {item.verdict for item in proof.comparisons}


def test_of_the_whole_network_it_is_no_proof(source, tmp_path):
    path = mc.convert(source, to="safetensors", out=tmp_path / "body.safetensors", backbone=True).path
    proof = mc.verify(source, path, **FEW)
    assert not proof
    assert proof.reason.endswith("; if the target is the backbone alone, say --backbone")


# --- networks of the libraries


@pytest.fixture(scope="module")
def features(tmp_path_factory, healthy):
    """``features(runtime, network, naming)`` runs a network on the weights of a backbone, loaded strictly."""
    folder = tmp_path_factory.mktemp("features")
    np.save(folder / "inputs.npy", pictures(2, 65, 97))

    def outputs(runtime, network, naming, body):
        from safetensors.numpy import save_file

        tensors = healthy(dialect(naming).ground(body))
        save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / "body.safetensors")
        weights = Weights(folder / "body.safetensors", "safetensors", {name: (name,) for name in tensors})
        outcome = run(Job(runtime, network, weights, (folder / "inputs.npy",), folder / "out"), timeout=300)
        return outcome.outputs[0]

    return outputs


@pytest.mark.parametrize(
    ("library", "runtime", "model"),
    [
        ("timm", "torch", "resnet18d"), ("timm", "torch", "seresnet18"), ("torchvision", "torch", "resnet18"),
        ("mmpretrain", "torch", "resnet18"), ("mindcv", "mindspore", "resnet18"), ("mindcv", "mindspore", "seresnet18"),
    ],
)  # fmt: skip
def test_a_librarys_own_network_gives_the_same_map(features, library, runtime, model):
    body = architecture(model).backbone
    naming = {"mmpretrain": "mmcls"}.get(library, library)
    naming = "mindcv-senet" if (library, model) == ("mindcv", "seresnet18") else naming
    theirs = features(runtime, LibraryNetwork(library, model, 0), naming, body)
    ours = features("torch", GraphNetwork(body, "timm", dialect(naming).traits), "timm", body)
    assert list(theirs) == list(ours) == ["features"]
    assert theirs["features"].shape == ours["features"].shape == (2, 512, 3, 4)
    assert np.linalg.norm(theirs["features"] - ours["features"]) < 1e-5 * np.linalg.norm(ours["features"])


# --- ready networks


@pytest.mark.parametrize("framework", ["torch", "mindspore"])
def test_ready_networks_give_the_map(source, tmp_path, framework):
    path = mc.convert(source, to="ckpt", out=tmp_path / "body.ckpt", backbone=True).path
    batch = pictures(1, 65, 97)
    whole = mc.load_torch(source)
    import torch

    with torch.inference_mode():
        wanted = whole.taps(torch.from_numpy(batch))["stages.2"].numpy()
    for given in (path, source):
        if framework == "torch":
            network = mc.load_torch(given, backbone=given == source)
            with torch.inference_mode():
                found = network(torch.from_numpy(batch)).numpy()
        else:
            import mindspore

            network = mc.load_mindspore(given, backbone=given == source)
            found = network(mindspore.Tensor(batch)).asnumpy()
        assert found.shape == wanted.shape
        assert np.linalg.norm(found - wanted) < 1e-5 * np.linalg.norm(wanted)
