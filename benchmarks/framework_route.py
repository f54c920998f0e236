"""The conversion as it is done by hand: load with one framework, rename, save with the other.

    python benchmarks/framework_route.py SOURCE TARGET     (no arguments: only the imports)

The names of the ResNet family in timm and mindcv; no check of any kind.
"""

import sys
from pathlib import Path

import mindspore
import torch
from safetensors.torch import load_file, save_file

_LEAVES = {"running_mean": "moving_mean", "running_var": "moving_variance"}


def main() -> None:
    """Convert by the suffixes of the two files."""
    if len(sys.argv) < 3:
        return
    source, target = sys.argv[1:]
    if target.endswith(".onnx"):
        export(source, target)
        return
    if target.endswith(".ckpt"):
        tensors = tensors_of(source)
        norms = {name.removesuffix(".running_var") for name in tensors if name.endswith(".running_var")}
        renamed = [
            {"name": to_mindspore(name, norms), "data": mindspore.Tensor(tensor.numpy())}
            for name, tensor in tensors.items()
            if not name.endswith("num_batches_tracked")
        ]
        mindspore.save_checkpoint(renamed, target)
        return
    parameters = mindspore.load_checkpoint(source)
    state = {to_torch(name): torch.from_numpy(value.asnumpy()) for name, value in parameters.items()}
    if Path(target).suffix == ".safetensors":
        save_file(state, target)
    else:
        torch.save(state, target)


def tensors_of(source: str) -> dict[str, torch.Tensor]:
    """A file's tensors; of an ONNX file what it calls as timm does, which holds for unfolded exports only."""
    if source.endswith(".safetensors"):
        return load_file(source)
    if source.endswith(".onnx"):
        import onnx

        return {
            item.name: torch.from_numpy(onnx.numpy_helper.to_array(item).copy())
            for item in onnx.load(source).graph.initializer
        }
    return torch.load(source, weights_only=True)


def export(source: str, target: str) -> None:
    """torch's exporter on timm's resnext101_32x8d, BatchNorm kept."""
    import timm

    network = timm.create_model("resnext101_32x8d", pretrained=False)
    network.load_state_dict(load_file(source))
    torch.onnx.export(
        network.eval(), (torch.zeros(1, 3, 224, 224),), target, dynamo=False, opset_version=13,
        do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
    )  # fmt: skip


def to_mindspore(name: str, norms: set[str]) -> str:
    """A timm name as mindcv has it."""
    module, _, leaf = name.rpartition(".")
    if module in norms:
        leaf = {"weight": "gamma", "bias": "beta"}.get(leaf, _LEAVES.get(leaf, leaf))
    return f"{module}.{leaf}".replace("downsample", "down_sample").replace("fc.", "classifier.")


def to_torch(name: str) -> str:
    """A mindcv name as timm has it."""
    leaves = {"gamma": "weight", "beta": "bias", **{theirs: ours for ours, theirs in _LEAVES.items()}}
    module, _, leaf = name.rpartition(".")
    return f"{module}.{leaves.get(leaf, leaf)}".replace("down_sample", "downsample").replace("classifier.", "fc.")


if __name__ == "__main__":
    main()
