"""Half precision, emulated: our network in torch as a device or runtime may compute it in float16.

Runtimes fold every BatchNorm into its convolution and round the product once more; ONNX Runtime does so on a CPU
too. Measured on resnext50_32x4d, drawn weights, relative L2 to float64: ONNX Runtime 7.3e-4, this emulation 4.5e-4,
rounding without folding 3.2e-4.
"""

from typing import Any

import torch

from ...mappings.dialects import Grounding
from ...mappings.folding import folds
from ...mappings.graph import Graph
from .places import places
from .torch import Network


class HalfNetwork(Network):
    """A network whose layers take and give what float16 can hold, in float32 arithmetic.

    Weights must be folded once they are loaded: ``fold``.
    """

    def __init__(self, graph: Graph, grounding: Grounding) -> None:
        super().__init__(graph, grounding)
        paths = {place.module.path: place.paths for place in places(graph, grounding, "torch").values()}
        self._folds = [(paths[fold.conv], paths[fold.norm][0], fold.epsilon) for fold in folds(graph)]
        for path in (path for of_module in paths.values() for path in of_module):
            layer = self.get_submodule(path)
            layer.register_forward_pre_hook(lambda _, inputs: tuple(_rounded(value) for value in inputs))
            layer.register_forward_hook(lambda _, __, output: _rounded(output))

    def fold(self) -> None:
        """Put each BatchNorm into the convolution before it, and round what comes of it."""
        for convs, norm_path, epsilon in self._folds:
            norm: Any = self.get_submodule(norm_path)
            factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + epsilon)
            shift = norm.bias.double() - norm.running_mean.double() * factor
            parts = zip(convs, factor.chunk(len(convs)), shift.chunk(len(convs)), strict=True)
            for path, scale, bias in parts:
                conv: Any = self.get_submodule(path)
                kernel = conv.weight.double() * scale.reshape(-1, 1, 1, 1)
                conv.weight = torch.nn.Parameter(_rounded(kernel.float()), requires_grad=False)
                conv.bias = torch.nn.Parameter(_rounded(bias.float()), requires_grad=False)
            folder, _, last = norm_path.rpartition(".")
            setattr(self.get_submodule(folder), last, torch.nn.Identity())


def _rounded(value: torch.Tensor) -> torch.Tensor:
    return value.half().to(value.dtype)
