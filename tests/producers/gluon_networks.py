"""MXNet Gluon's ResNets in torch, written after gluon/model_zoo/vision/resnet.py (1.9.1): an oracle that shares no line
with the package. ``state_dict`` has Gluon's own paths for v2, torchvision's names for v1.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SPECIFICATION = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}


class _BasicV2(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.downsample = nn.Conv2d(before, after, 1, stride, bias=False) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        residual = x
        x = functional.relu(self.bn1(x))
        if self.downsample is not None:
            residual = self.downsample(x)
        x = self.conv1(x)
        x = self.conv2(functional.relu(self.bn2(x)))
        return x + residual


class _BottleneckV2(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        width = after // 4
        self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, width, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, after, 1, 1, bias=False)
        self.downsample = nn.Conv2d(before, after, 1, stride, bias=False) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        residual = x
        x = functional.relu(self.bn1(x))
        if self.downsample is not None:
            residual = self.downsample(x)
        x = self.conv1(x)
        x = self.conv2(functional.relu(self.bn2(x)))
        x = self.conv3(functional.relu(self.bn3(x)))
        return x + residual


class GluonV2(nn.Module):
    """``resnet{18,34,50,101,152}_v2``; any number of blocks."""

    def __init__(self, block: str, depths: tuple[int, ...], classes: int = 1000) -> None:
        super().__init__()
        kind, expansion = {"basic": (_BasicV2, 1), "bottleneck": (_BottleneckV2, 4)}[block]
        self.features = nn.Sequential(
            nn.BatchNorm2d(3), nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )  # fmt: skip
        channels = 64
        for stage, depth in enumerate(depths):
            out = 64 * expansion * 2**stage
            layers = []
            for number in range(depth):
                layers.append(kind(channels, out, 2 if stage > 0 and number == 0 else 1))
                channels = out
            self.features.append(nn.Sequential(*layers))
        for layer in (nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()):
            self.features.append(layer)
        self.output = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.features(x))


class _BottleneckV1(nn.Module):
    """Strides in the first convolution; the 1x1 convolutions have biases, though norms follow them."""

    def __init__(self, before: int, width: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 1, stride, bias=True)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, after, 1, 1, bias=True)
        self.bn3 = nn.BatchNorm2d(after)
        self.downsample = None
        if before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        branch = functional.relu(self.bn1(self.conv1(x)))
        branch = functional.relu(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(branch))
        return functional.relu(branch + (x if self.downsample is None else self.downsample(x)))


class GluonV1(nn.Module):
    """``resnet{50,101,152}_v1``; ``width`` is that of the first stage, so that small ones can be had."""

    def __init__(self, depths: tuple[int, ...], classes: int = 1000, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for stage, depth in enumerate(depths):
            inner = width * 2**stage
            layers = []
            for number in range(depth):
                layers.append(_BottleneckV1(channels, inner, 4 * inner, 2 if stage > 0 and number == 0 else 1))
                channels = 4 * inner
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.stages = len(depths)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


def run(network: nn.Module, weights: Mapping[str, np.ndarray], batch: np.ndarray) -> np.ndarray:
    """Float64 logits; ``weights`` are all tensors of the network but counters."""
    state = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing), missing
    with torch.inference_mode():
        return network.double().eval()(torch.from_numpy(batch).double()).numpy()
