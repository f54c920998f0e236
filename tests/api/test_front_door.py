"""The Python API: convert, plan, verify, inspect, translate, mapping, load_torch, load_mindspore."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.codecs import open_checkpoint
from mshub_convert.converters.errors import UsageError
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import dialect


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with open_checkpoint(path) as checkpoint:
        return {name: np.array(ref.read()) for name, ref in checkpoint.tensors.items()}


def test_mapping_between_dialects() -> None:
    names = mc.mapping("resnext50_32x4d", "timm", "modelzoo")
    assert names["conv1.weight"] == ("backbone.conv.weight",)
    assert names["layer1.0.conv2.weight"] == tuple(f"backbone.layer1.0.conv2.convs.{g}.weight" for g in range(32))
    assert names["bn1.num_batches_tracked"] == ()
    back = mc.mapping("resnext50_32x4d", "modelzoo", "timm")
    assert back["backbone.layer1.0.conv2.convs.10.weight"] == ("layer1.0.conv2.weight",)
    assert set(names) == set(dialect("timm").ground(architecture("resnext50_32x4d")).specs)


def test_mapping_with_mistakes() -> None:
    with pytest.raises(mc.MshubConvertError, match="resnext50") as caught:
        mc.mapping("resnext50_32x4", "timm", "mindcv")
    assert caught.value.exit_code == 2
    with pytest.raises(mc.MshubConvertError) as caught:
        mc.mapping("resnext50d_32x4d", "timm", "modelzoo")
    assert caught.value.exit_code == 3
    assert "mindcv" in caught.value.remedy


def test_translate_there_and_back(weights_file: Callable[..., Path]) -> None:
    arrays = arrays_of(weights_file())
    there = mc.translate(arrays, to="modelzoo")
    assert there["backbone.layer1.0.conv2.convs.3.weight"].shape == (2, 2, 3, 3)
    back = mc.translate(there, to="timm")
    for name, array in back.items():
        if not name.endswith("num_batches_tracked"):
            assert np.array_equal(array, arrays[name])
    assert list(back) == list(arrays_in_order(arrays))


def arrays_in_order(arrays: dict[str, np.ndarray]) -> list[str]:
    return [name for name in dialect("timm").ground(ResNet((1, 1), 4, 2, 10)).specs if name in arrays]


def test_translate_reports_every_problem(weights_file: Callable[..., Path]) -> None:
    arrays = arrays_of(weights_file())
    del arrays["layer1.0.bn1.weight"]
    arrays["fc.weight"] = arrays["fc.weight"][:, :5]
    arrays["extra"] = np.zeros(3, np.float32)
    with pytest.raises(mc.MshubConvertError) as caught:
        mc.translate(arrays, to="mindcv")
    for said in ("layer1.0.bn1.weight", "[10, 5] where [10, 512] is needed: fc.weight", "extra", "3 problems"):
        assert said in caught.value.message


def test_convert_and_inspect(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    result = mc.convert(
        weights_file(), to="ckpt:modelzoo", out=tmp_path / "out", progress=lambda *call: calls.append(call)
    )
    assert result.path == tmp_path / "out" / "small.ckpt"
    assert result.proof is None
    assert calls
    assert all(done <= (total or done) for _, done, total in calls)
    found = mc.inspect(result.path)
    assert found.network["dialect"] == "modelzoo"
    assert found.network["classes"] == 10
    assert found.network["traits"]["stem_pool"] == "symmetric"
    assert found.record["sources"][0]["name"] == "small.safetensors"


def test_plan_writes_nothing(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    file = weights_file()
    plan = mc.plan(file, to="ckpt")
    assert not plan.problems
    assert {finding.code for finding in plan.notices} >= {"extension"}
    assert list(tmp_path.iterdir()) == [file]


def test_a_state_dict_is_a_source(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    arrays = arrays_of(weights_file())
    result = mc.convert(arrays, to="pth", out=tmp_path / "x.pth")
    written = arrays_of(result.path)
    assert written.keys() == arrays.keys()
    assert all(np.array_equal(written[name], arrays[name]) for name in arrays)


def test_inspect_says_why_a_file_is_unknown(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"blocks.0.attn.qkv.weight": np.zeros((6, 2), np.float32)}, tmp_path / "vit.safetensors")
    found = mc.inspect(tmp_path / "vit.safetensors")
    assert not found.network
    assert "vision transformer" in found.reason


@pytest.mark.slow
def test_live_timm_module_converts_bit_for_bit(tmp_path: Path) -> None:
    import timm
    import torch

    model = timm.create_model("resnext50d_32x4d", num_classes=7)
    result = mc.convert(model, to="ckpt", out=tmp_path / "live.ckpt")
    back = mc.convert(result.path, to="pth", out=tmp_path)
    state = torch.load(back.path, weights_only=True)
    model.load_state_dict(state, strict=True)
    for name, tensor in model.state_dict().items():
        assert torch.equal(state[name], tensor)


@pytest.mark.slow
def test_round_trip_is_bit_identical_without_the_sidecar(tmp_path: Path) -> None:
    """timm → ckpt → pth, counters included."""
    import torch

    first = mc.convert("timm:resnext50_32x4d", init="calibrated:3", to="safetensors", out=tmp_path)
    there = mc.convert(first.path, to="ckpt", out=tmp_path)
    for sidecar in tmp_path.glob("*.mshub.json"):
        sidecar.unlink()
    back = mc.convert(there.path, to="pth", out=tmp_path)
    original, returned = arrays_of(first.path), torch.load(back.path, weights_only=True)
    assert original.keys() == returned.keys()
    assert len(original) == 320
    assert all(np.array_equal(returned[name].numpy(), array) for name, array in original.items())
    assert int(returned["bn1.num_batches_tracked"]) > 0


@pytest.mark.slow
def test_loaded_networks_agree(tmp_path: Path) -> None:
    import mindspore
    import torch

    from mshub_convert.verify.inputs import pictures

    result = mc.convert("timm:resnext50_32x4d", init="calibrated:0", to="ckpt", out=tmp_path)
    inputs = pictures(2, 97, 128, seed=5)
    cell = mc.load_mindspore(result.path)
    module = mc.load_torch(result.path)
    with torch.inference_mode():
        ours = module(torch.from_numpy(inputs)).numpy()
        theirs = mc.load_torch("timm:resnext50_32x4d", init="calibrated:0")(torch.from_numpy(inputs)).numpy()
    other = cell(mindspore.Tensor(inputs)).asnumpy()
    assert np.linalg.norm(ours - other) < 1e-5 * np.linalg.norm(ours)
    assert np.array_equal(ours, theirs)
    assert "classifier.weight" in cell.parameters_dict()
    assert not module.training


@pytest.mark.slow
def test_a_model_zoo_checkpoint_keeps_its_own_traits(tmp_path: Path) -> None:
    """`same` padding, eps 1e-4 and 1001 classes travel to torch."""
    from mshub_convert.converters.sources import calibrated

    file = tmp_path / "zoo.safetensors"
    calibrated.write(architecture("resnet50", classes=1001), "modelzoo-resnet", 0, file)
    result = mc.convert(file, to="pth", out=tmp_path)
    assert result.record.traits == {
        "stem_pool": "same", "padding": "same", "norm_eps": 1e-4, "bottleneck_stride": "3x3"
    }  # fmt: skip
    module = mc.load_torch(result.path)
    assert module.get_submodule("bn1").eps == 1e-4
    assert any("padding=same" in notice for notice in result.notices)


@pytest.mark.slow
def test_drawn_weights_are_never_passed_off_as_a_model(tmp_path: Path) -> None:
    drawn = mc.convert("timm:resnext50_32x4d", init="calibrated:0", to="safetensors", out=tmp_path)
    assert drawn.record.pretrained is False
    with pytest.raises(mc.MshubConvertError, match="drawn weights") as caught:
        mc.convert("timm:resnext50_32x4d.ra_in1k", weights=drawn.path, to="ckpt", out=tmp_path)
    assert caught.value.exit_code == 3
    onward = mc.convert(drawn.path, to="ckpt", out=tmp_path)
    assert onward.record.origin == "calibrated:0"
    assert onward.record.pretrained is False


@pytest.mark.slow
def test_a_file_with_broken_checksums_is_neither_loaded_nor_verified(
    weights_file: Callable[..., Path], tmp_path: Path
) -> None:
    good = mc.convert(weights_file(), to="pth", out=tmp_path).path
    data = bytearray(good.read_bytes())
    data[len(data) // 2] ^= 1
    bad = tmp_path / "bad.pth"
    bad.write_bytes(data)
    for use in (mc.load_torch, lambda path: mc.verify(good, path), lambda path: mc.verify(path, good)):
        with pytest.raises(mc.MshubConvertError, match=r"bad\.pth") as caught:
            use(bad)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize("framework", ["torch", "mindspore"])
def test_a_framework_that_is_not_installed_is_said_with_its_extra(
    weights_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, framework: str
) -> None:
    monkeypatch.setitem(sys.modules, framework, None)
    monkeypatch.delitem(sys.modules, f"mshub_convert.verify.networks.{framework}", raising=False)
    load = getattr(mc, f"load_{framework}")
    with pytest.raises(mc.MshubConvertError, match=framework) as caught:
        load(weights_file())
    assert caught.value.exit_code == 5
    assert f"mshub-convert[{framework}]" in caught.value.remedy


@pytest.mark.slow
def test_a_retrained_file_does_not_take_on_the_facts_of_the_published_one(tmp_path: Path) -> None:
    import timm
    import torch

    torch.save(timm.create_model("resnext50_32x4d", num_classes=7).state_dict(), tmp_path / "seven.pth")
    result = mc.convert("timm:resnext50_32x4d.ra_in1k", weights=tmp_path / "seven.pth", to="ckpt", out=tmp_path)
    assert set(result.record.facts) == {"library", "library_version"}
    assert any("has 7 classes" in notice for notice in result.notices)


@pytest.mark.slow
def test_a_target_of_drawn_weights_is_not_compared_with_pretrained_ones(tmp_path: Path) -> None:
    drawn = mc.convert("timm:resnext50_32x4d", init="calibrated:4", to="ckpt", out=tmp_path)
    with pytest.raises(mc.MshubConvertError, match="drawn weights") as caught:
        mc.verify("timm:resnext50_32x4d", drawn.path)
    assert caught.value.remedy == "Say --init calibrated:4."


def test_what_is_neither_a_bundle_nor_two_files_is_said(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    source = weights_file()
    with pytest.raises(UsageError, match=f"needs a target file beside {source}, which is no evidence bundle") as caught:
        mc.verify(source)
    assert "the folder or .zip of a bundle" in caught.value.remedy
    with pytest.raises(UsageError, match="beside the dict, which"):
        mc.verify({})
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    (evidence / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match=f"is an evidence bundle, which is verified alone, not beside {source}"):
        mc.verify(evidence, source)


def test_an_error_tells_its_remedy_as_text(tmp_path: Path) -> None:
    with pytest.raises(mc.MshubConvertError) as caught:
        mc.convert(tmp_path / "none.pth")
    assert str(caught.value) == f"{caught.value.message} → {caught.value.remedy}"
