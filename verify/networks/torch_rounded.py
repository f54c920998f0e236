"""Lower precisions, emulated: our network in torch as a device or runtime may compute it in HF32, float16 or bfloat16.

What goes into products is rounded to nearest, sums are in float32. Runtimes that keep float16 or bfloat16 between
layers round what comes out too, and fold every BatchNorm into its convolution, which rounds the product once more; ONNX
Runtime does so on a CPU. Measured on resnext50_32x4d, drawn weights, relative L2 to float64: ONNX Runtime in float16
7.3e-4, this emulation 4.5e-4, rounding without folding 3.2e-4.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ...mappings.dialects import Grounding
from ...mappings.folding import folds
from ...mappings.graph import Graph
from .places import places
from .torch import Network


def to_hf32(value: torch.Tensor) -> torch.Tensor:
    """A float32 tensor with what HF32 keeps: sign, 8 bits of exponent, 11 of mantissa, to the nearest, ties to even."""
    bits = value.contiguous().view(torch.int32)
    return (bits + 0x7FF + ((bits >> 12) & 1) >> 12 << 12).view(torch.float32)


ROUNDERS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "hf32": to_hf32,
    "float16": lambda value: value.half().to(value.dtype),
    "bfloat16": lambda value: value.bfloat16().to(value.dtype),
}
# What is kept between layers; HF32 is how convolutions and products are computed, the rest is float32.
_KEPT = ("float16", "bfloat16")


class RoundedNetwork(Network):
    """A network whose convolutions and dense layers take what a precision can hold, in float32 arithmetic.

    ``settle`` is to be called once the weights are loaded.
    """

    def __init__(self, graph: Graph, grounding: Grounding, precision: str) -> None:
        super().__init__(graph, grounding)
        self._rounded, self._keeps = ROUNDERS[precision], precision in _KEPT
        paths = {place.module.path: place.paths for place in places(graph, grounding, "torch").values()}
        self._folds = [(paths[fold.conv], paths[fold.norm][0], fold.epsilon) for fold in folds(graph)]
        for path in (path for of_module in paths.values() for path in of_module):
            layer = self.get_submodule(path)
            if self._keeps or _multiplies(layer):
                layer.register_forward_pre_hook(lambda _, inputs: tuple(self._rounded(value) for value in inputs))
            if self._keeps:
                layer.register_forward_hook(lambda _, __, output: self._rounded(output))

    def settle(self) -> None:
        """Round the weights; where the precision is kept between layers, with each BatchNorm folded before."""
        if self._keeps:
            self._fold()
        for layer in filter(_multiplies, self.modules()):
            layer.weight = torch.nn.Parameter(self._rounded(layer.weight.detach()), requires_grad=False)

    def _fold(self) -> None:
        for convs, norm_path, epsilon in self._folds:
            norm: Any = self.get_submodule(norm_path)
            factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + epsilon)
            shift = norm.bias.double() - norm.running_mean.double() * factor
            parts = zip(convs, factor.chunk(len(convs)), shift.chunk(len(convs)), strict=True)
            for path, scale, bias in parts:
                conv: Any = self.get_submodule(path)
                kernel = conv.weight.double() * scale.reshape(-1, 1, 1, 1)
                conv.weight = torch.nn.Parameter(kernel.float(), requires_grad=False)
                conv.bias = torch.nn.Parameter(self._rounded(bias.float()), requires_grad=False)
            folder, _, last = norm_path.rpartition(".")
            setattr(self.get_submodule(folder), last, torch.nn.Identity())


def _multiplies(layer: Any) -> bool:
    return isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear))
