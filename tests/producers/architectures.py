"""Other architectures, by torch's exporter: relatives of ours and strangers."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from .registry import Make, Refused
from .sample import Sample

_TORCHVISION, _TIMM = ("torch", "torchvision"), ("torch", "timm")


def exported(build: Callable[[], Any]) -> Make:
    """Another architecture, by torch's exporter."""

    def make(_: Sample, path: Path) -> None:
        import torch

        torch.manual_seed(0)
        network = build().eval()
        names = {"input_names": ["input"], "output_names": ["output"]}
        torch.onnx.export(network, (torch.zeros(1, 3, 64, 64),), str(path), dynamo=False, **names)

    return make


def _mobilenet() -> Any:
    import torchvision

    return torchvision.models.mobilenet_v2(num_classes=10)


def _squeezenet() -> Any:
    import torchvision

    return torchvision.models.squeezenet1_1(num_classes=10)


def _densenet() -> Any:
    import torchvision

    return torchvision.models.DenseNet(8, (2, 2), 16, num_classes=10)


def _vgg() -> Any:
    import torch

    widths, layers = (3, 16, 32), []
    for before, after in pairwise(widths):
        layers += [torch.nn.Conv2d(before, after, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(32 * 16 * 16, 10))


def _relative(**options: Any) -> Callable[[], Any]:
    def build() -> Any:
        import timm
        from timm.models.resnet import Bottleneck, ResNet

        options_ = {"aa_layer": timm.layers.BlurPool2d} if options == {"aa_layer": "blur"} else options
        return ResNet(Bottleneck, (1, 1, 1, 1), num_classes=10, **options_)

    return build


def _other(
    title: str, build: Callable[[], Any], node: str, needs: tuple[str, ...] = ("torch", "torchvision")
) -> Refused:
    return Refused(title, exported(build), node, needs=needs)


REFUSED = {
    "mobilenet": _other("MobileNetV2", _mobilenet, "Conv|Clip|Add"),
    "squeezenet": _other("SqueezeNet", _squeezenet, "Conv|Concat|Relu"),
    "densenet": _other("DenseNet", _densenet, "Concat|BatchNormalization|Conv"),
    "vgg": _other("VGG", _vgg, "Conv|MaxPool|Relu", needs=("torch",)),
    "anti-aliased": _other("ResNet, anti-aliased", _relative(aa_layer="blur"), "maxpool", needs=_TIMM),
    "channel-attention": _other(
        "ResNet with ECA", _relative(block_args={"attn_layer": "eca"}), "Conv|Mul|Mean", needs=_TIMM
    ),
}
