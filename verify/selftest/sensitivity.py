"""Which values of a network's parameters can be wrong without the outputs showing it, estimated to first order."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...mappings.dialects import Grounding
from ..compare import FAIL_ABOVE
from ..networks.torch import Network

Array = npt.NDArray[Any]

# Random combinations of the outputs whose gradients stand for those of all; an estimate within about a third.
_DIRECTIONS = 4
_LEAVES = ("scale", "shift", "mean", "var")


def unseen(
    network: Network, grounding: Grounding, pictures: torch.Tensor, reference: Array, errors: Array
) -> dict[str, tuple[int, int]]:
    """For each tensor (by the names of ``grounding``) how many of its values can be wrong unseen, and how many it has.

    Wrong means off by the tensor's typical size (root mean square), one value alone; unseen, that on no picture the
    outputs get further from ``reference`` than the rule allows for the network's own ``errors``, one a picture.
    """
    found = {name: (math.prod(slot.shape), math.prod(slot.shape)) for name, slot in _slots(grounding).items()}
    state = dict(network.named_parameters())
    for parameter in state.values():
        parameter.requires_grad_(True)
    effect = {name: torch.zeros_like(value) for name, value in state.items()}
    for number, picture in enumerate(pictures):
        allowed = FAIL_ABOVE * float(errors[number]) * float(np.linalg.norm(reference[number]))
        for name, gradient in _gradients(network, picture[None], state, number).items():
            torch.maximum(effect[name], gradient / allowed, out=effect[name])
    for parameter in state.values():
        parameter.requires_grad_(False)
    effect |= _statistics(network, effect, grounding)
    buffers = dict(network.named_buffers())
    for name, most in effect.items():
        value = state.get(name, buffers.get(name))
        if value is not None:
            typical = float(value.detach().square().mean().sqrt())
            found[name] = int((most * typical < 1.0).sum()), most.numel()
    return found


def _slots(grounding: Grounding) -> dict[str, Any]:
    # BatchNorm's counters are read by no node, and a file may have none.
    slots = (slot for key, slot in grounding.slots.items() if not key.endswith(".count"))
    return {name: slot for slot in slots for name in slot.names}


def _gradients(
    network: Network, picture: torch.Tensor, state: dict[str, torch.nn.Parameter], seed: int
) -> dict[str, torch.Tensor]:
    """For each value of each parameter, by how much the outputs move with it: the L2 norm over all outputs."""
    chance = torch.Generator().manual_seed(seed)
    outputs = network(picture).flatten()
    squares = {name: torch.zeros_like(value) for name, value in state.items()}
    for direction in range(_DIRECTIONS):
        along = torch.randn(outputs.shape, generator=chance)
        last = direction == _DIRECTIONS - 1
        gradients = torch.autograd.grad((outputs * along).sum(), list(state.values()), retain_graph=not last)
        for name, gradient in zip(state, gradients, strict=True):
            squares[name] += gradient.square()
    return {name: (square / _DIRECTIONS).sqrt() for name, square in squares.items()}


def _statistics(network: Network, effect: dict[str, torch.Tensor], grounding: Grounding) -> dict[str, torch.Tensor]:
    """The same of means and variances, which have no gradient of their own: they act through shift and scale."""
    found = {}
    state = network.state_dict()
    for module in grounding.architecture.graph().modules:
        if module.kind != "norm":
            continue
        scale, shift, mean, var = (grounding.slots[f"{module.path}.{leaf}"].names[0] for leaf in _LEAVES)
        layer: Any = network.get_submodule(scale.rpartition(".")[0])
        width = state[var] + layer.eps
        factor = (state[scale] / width.sqrt()).abs()
        found[mean] = effect[shift] * factor
        found[var] = effect[scale] * 0.5 * (state[scale] / width).abs()
    return found
