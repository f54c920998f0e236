"""How large a network is: parameters, and multiply-adds for a picture of the size that it is made for."""

from collections.abc import Mapping
from typing import Any

from mshub_convert.mappings.architectures import Architecture
from mshub_convert.mappings.traits import Traits


def size_of(network: Architecture, traits: Traits | None = None) -> dict[str, int]:
    """``parameters`` (trained ones), ``macs`` (multiply-adds) for a picture, and ``side``, the pixels of its sides."""
    graph, side = network.graph(traits), network.side
    parameters = sum(parameter.size for parameter in graph.parameters if parameter.trainable)
    return {"parameters": parameters, "macs": graph.macs(side, side), "side": side}


def size_told(size: Mapping[str, Any]) -> str:
    """A size in words, or whatever has its keys."""
    parameters, macs = size["parameters"] / 1e6, size["macs"] / 1e9
    return f"{parameters:.2f} M parameters, {macs:.2f} G multiply-adds at {size['side']}"
