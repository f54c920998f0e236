"""What reaches each BatchNorm of a network when pictures run through it, measured in torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .torch import Network

_THREADS = 2
Statistics = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def norm_statistics(network: Network, pictures: npt.NDArray[Any]) -> Mapping[str, Statistics]:
    """Mean and variance of each channel before each BatchNorm, by the BatchNorm's path in the graph.

    ``pictures`` are float32 (N, 3, H, W); the statistics are taken over N, H and W, as training does.
    """
    torch.set_num_threads(_THREADS)
    befores = {node.inputs[0]: node.name for node in network.nodes if node.op == "BatchNormalization"}
    found: dict[str, Statistics] = {}
    with torch.inference_mode():
        for name, value in network.values(torch.from_numpy(pictures)):
            if name in befores:
                wide = value.double()
                found[befores[name]] = (wide.mean((0, 2, 3)).numpy(), wide.var((0, 2, 3), correction=0).numpy())
    return found


def settle(network: Network, pictures: npt.NDArray[Any]) -> None:
    """Give every BatchNorm the statistics of what reaches it, the ones before it settled, as training leaves them."""
    torch.set_num_threads(_THREADS)
    afters = {node.inputs[0]: node.name for node in network.nodes if node.op == "BatchNormalization"}
    with torch.inference_mode():
        for name, value in network.values(torch.from_numpy(pictures)):
            if name in afters:
                (layer,) = network.layers(afters[name])
                wide = value.double()
                layer.running_mean.copy_(wide.mean((0, 2, 3)))
                layer.running_var.copy_(wide.var((0, 2, 3), correction=0))
