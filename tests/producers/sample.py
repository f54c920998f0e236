"""The networks and weights that producers write, and the libraries' own networks with these weights as oracles."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from mshub_convert.converters.sources import calibrated
from mshub_convert.converters.tensors import Array
from mshub_convert.mappings.architectures import Architecture
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import dialect, dialects_for
from mshub_convert.mappings.graph import Graph
from mshub_convert.mappings.traits import Traits
from mshub_convert.verify.inputs import pictures

# A grouped network of two stages with an identity shortcut, 0.8 MB; fan-in is a power of two nowhere on purpose.
SMALL = ResNet((1, 2), cardinality=4, base_width=2, classes=10)


@dataclass(frozen=True, slots=True)
class Sample:
    """A network with weights: ``tensors`` float32 by canonical key, without BatchNorm counters."""

    network: Architecture
    traits: Traits
    tensors: Mapping[str, Array]

    @property
    def graph(self) -> Graph:
        """The network's graph, with the traits of the weights."""
        return self.network.graph(self.traits)

    def with_tensors(self, change: Callable[[str, Array], Array]) -> "Sample":
        """The sample with ``change(key, array)`` for each tensor."""
        return replace(self, tensors={key: change(key, array) for key, array in self.tensors.items()})

    def named(self, dialect_name: str) -> dict[str, Array]:
        """The tensors by the names of a dialect, split where it splits; counters are 1."""
        tensors: dict[str, Array] = {}
        for key, slot in dialect(dialect_name).ground(self.network).slots.items():
            whole = self.tensors[key] if key in self.tensors else np.array(1, np.int64)
            parts = np.split(whole, len(slot.names)) if len(slot.names) > 1 else [whole]
            tensors |= {name: part.reshape(slot.shape) for name, part in zip(slot.names, parts, strict=True)}
        return tensors


@lru_cache(maxsize=8)
def draw(network: Architecture = SMALL, traits: Traits | None = None, seed: int = 0) -> Sample:
    """Healthy drawn weights, those of ``--init calibrated:SEED``."""
    tensors = {
        parameter.key: calibrated.draw(seed, module, parameter.leaf)
        for module in network.graph().modules
        for parameter in module.parameters
        if parameter.leaf != "count"
    }
    return Sample(network, traits or Traits(), tensors)


def torch_network(sample: Sample) -> Any:
    """The network in torch: timm's own class where the traits are timm's, else ours, in eval mode."""
    import torch

    naming = next(naming for naming in map(dialect, dialects_for(sample.network)) if naming.framework == "torch")
    if naming.name == "timm" and sample.traits == naming.traits and isinstance(sample.network, ResNet):
        network = _timm_network(sample.network)
    else:
        from mshub_convert.verify.networks import torch as networks

        network = networks.build(sample.graph, naming.ground(sample.network))
    state = {name: torch.from_numpy(np.array(array)) for name, array in sample.named(naming.name).items()}
    network.load_state_dict(state, strict=True)
    return network.eval()


def _timm_network(network: ResNet) -> Any:
    """timm's own network: by its name, or its class with the small network's stages."""
    import timm
    import torch
    from timm.models.resnet import Bottleneck
    from timm.models.resnet import ResNet as TimmResNet

    if network.name in timm.list_models():
        return timm.create_model(network.name, num_classes=network.classes)
    if network != replace(SMALL, depths=network.depths, cardinality=network.cardinality, base_width=network.base_width):
        raise NotImplementedError(f"{network.name} is not a plain bottleneck ResNet of ten classes")
    depths = network.depths
    built = TimmResNet(
        Bottleneck, depths, num_classes=network.classes, cardinality=network.cardinality,
        base_width=network.base_width, channels=(64, 128, 256, 512)[: len(depths)],
    )  # fmt: skip
    for absent in range(len(depths), 4):  # timm's forward calls all four
        built.add_module(f"layer{absent + 1}", torch.nn.Identity())
    return built


def reference(sample: Sample, batch: Array) -> Array:
    """Logits in float64 by torch."""
    import torch

    with torch.inference_mode():
        logits: Array = torch_network(sample).double()(torch.from_numpy(batch).double()).numpy()
    return logits


def distance(values: Array, right: Array) -> float:
    """Largest relative L2 distance of a row."""
    return float((np.linalg.norm(values - right, axis=1) / np.linalg.norm(right, axis=1)).max())


__all__ = ["SMALL", "Sample", "distance", "draw", "pictures", "reference", "torch_network"]
