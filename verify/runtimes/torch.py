"""The torch runtime: networks of timm, torchvision and mmpretrain, and ours; on the CPU unless asked.

In float32, in float64, and in emulations of HF32, float16 and bfloat16.
"""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import torch

from ...converters.tensors import DTYPES
from ...mappings.dialects import dialect
from ...mappings.graph import Shape
from ..errors import LoadError, RuntimeRefusedError
from ..networks import mmpretrain, user
from ..networks import torch as networks
from ..networks.torch_rounded import RoundedNetwork
from ..networks.watching import kept
from . import torch_device
from .job import (
    BACKBONE,
    CLASSIFIER,
    EMULATED,
    GraphNetwork,
    Job,
    LibraryNetwork,
    Network,
    UserNetwork,
    Values,
    Watch,
    Weights,
)
from .weights import Loaded, read_ourselves

Array = npt.NDArray[Any]

_THREADS = 2


def set_up(device: str, index: int) -> dict[str, str]:
    """Switch off TF32 and whatever differs from run to run, on every device, and have the device."""
    torch.set_num_threads(_THREADS)
    return {"threads": str(_THREADS), **torch_device.set_up(device, index)}


def versions(network: Network) -> dict[str, str]:
    """Versions of torch and of the network's library."""
    found = {"torch": str(torch.__version__)}
    if isinstance(network, LibraryNetwork):
        found[network.library] = str(_library(network.library).__version__)
    return found


def open_file(job: Job) -> tuple[torch.nn.Module, Loaded]:
    """Torch runs no file that holds a network."""
    raise RuntimeRefusedError(f"torch cannot run {job.weights.file} itself", remedy="Have its network rebuilt.")


def build(job: Job) -> torch.nn.Module:
    """The network in eval mode and of the job's precision, without weights."""
    if isinstance(job.network, LibraryNetwork):
        built = _of_library(job.network)
    elif isinstance(job.network, GraphNetwork):
        graph = job.network.architecture.graph(job.network.traits)
        grounding = dialect(job.network.dialect).ground(job.network.architecture)
        if job.precision in EMULATED:
            return RoundedNetwork(graph, grounding, job.precision).eval()  # on the CPU, whatever it stands for
        built = networks.build(graph, grounding)
    elif isinstance(job.network, UserNetwork):
        built = user.build(job.network, torch.nn.Module, torch.Tensor)
    else:
        raise TypeError("the network of a file is opened, not built")
    if job.precision in EMULATED:
        message = f"{job.precision} is emulated in our networks only"
        raise RuntimeRefusedError(message, remedy="Take the network of the graph.")
    return built.to(torch_device.named(job.device, job.index), getattr(torch, job.precision)).eval()


def _of_library(network: LibraryNetwork) -> Any:
    if not network.classes:
        return _backbone(network)
    if network.library == "timm":
        return _library("timm").create_model(network.model, pretrained=False, num_classes=network.classes)
    if network.library == "mmpretrain":
        return mmpretrain.build(network.model, network.classes, network.traits)
    return _library(network.library).models.get_model(network.model, weights=None, num_classes=network.classes)


def _backbone(network: LibraryNetwork) -> Any:
    """What the library itself gives its users as a backbone: a module without pool and classifier."""
    if network.library == "timm":
        built = _library("timm").create_model(network.model, pretrained=False, num_classes=0, global_pool="")
    elif network.library == "mmpretrain":
        built = mmpretrain.build(network.model, 0, network.traits)
    else:
        from torchvision.models.feature_extraction import create_feature_extractor

        whole = _library(network.library).models.get_model(network.model, weights=None)
        built = create_feature_extractor(whole, {"layer4": "features"})
    built.output_values = BACKBONE
    return built


def _library(name: str) -> Any:
    if name == "timm":
        import timm

        return timm
    if name == "torchvision":
        import torchvision

        return torchvision
    if name == "mmpretrain":
        import mmpretrain as library

        return library
    raise RuntimeRefusedError(
        f"the torch runtime knows no library {name!r}", remedy="Use timm, torchvision or mmpretrain."
    )


def shapes(network: torch.nn.Module) -> dict[str, Shape]:
    """Shapes of the state dict."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def read(weights: Weights, scratch: Path) -> Loaded:
    """Read a file with torch or safetensors; with our own codecs what they refuse or cannot read."""
    if weights.container == "safetensors":
        import safetensors.torch

        return _loaded(safetensors.torch.load_file(weights.file), "safetensors.torch.load_file")
    if weights.container != "pth":
        return read_ourselves(weights, f"torch reads no .{weights.container}")
    try:
        content = torch.load(weights.file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = next((line.strip() for line in str(error).splitlines() if "GLOBAL" in line), "it holds other objects")
        return read_ourselves(weights, f"torch.load(weights_only=True) refused the file: {reason}")
    return _loaded(_chosen(content, weights), "torch.load(weights_only=True)")


def _chosen(content: Any, weights: Weights) -> Mapping[Any, Any]:
    """The dict at a dotted path; keys may have dots themselves."""
    if weights.select not in ("", "."):
        found = _at(content, weights.select)
        if found is None:
            raise LoadError(f"{weights.file}: there is no {weights.select} in it")
        content = found
    if not isinstance(content, Mapping):
        raise LoadError(f"{weights.file}: {weights.select or 'its content'} is no dict but a {type(content).__name__}")
    return content


def _at(content: Any, path: str) -> Any:
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if path == str(key):
            return value
        if path.startswith(f"{key}."):
            found = _at(value, path.removeprefix(f"{key}."))
            if found is not None:
                return found
    return None


def _loaded(content: Mapping[Any, Any], loader: str) -> Loaded:
    tensors: dict[str, Array] = {}
    others: list[str] = []
    for name, value in _flat(content):
        if _is_plain(value):
            tensors[name] = _array(value)
        else:
            others.append(name)
    return Loaded(tensors, loader, tuple(others))


def _flat(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in nested containers, by dotted names."""
    for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
        if isinstance(value, (Mapping, list, tuple)) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_plain(value: Any) -> bool:
    """Whether it is a tensor that an array can hold: not sparse, not quantised."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and not value.is_quantized
        and str(value.dtype).removeprefix("torch.") in DTYPES
    )


def _array(tensor: torch.Tensor) -> Array:
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    if tensor.dtype == torch.bfloat16:
        bits: Array = tensor.view(torch.uint16).numpy()
        return bits.view(ml_dtypes.bfloat16)
    array: Array = tensor.numpy()
    return array


def load(network: torch.nn.Module, tensors: Mapping[str, Array]) -> None:
    """Load strictly."""
    networks.load(network, tensors)
    if isinstance(network, RoundedNetwork):
        network.settle()


def forward(network: torch.nn.Module, pictures: Array, *, watch: Watch) -> tuple[Values, Values]:
    """Logits under ``head``, and what is watched."""
    like = next(network.parameters())
    with torch.inference_mode():
        x = torch.from_numpy(np.ascontiguousarray(pictures)).to(like)
        if isinstance(network, networks.Network):
            return kept(network.values(x), network.output_values, network.tap_values, watch, _on_host)
        if watch != "outputs":
            raise RuntimeRefusedError("a library's own network has no taps", remedy="Take the network of the graph.")
        names, given = getattr(network, "output_values", CLASSIFIER), network(x)
        parts = given if len(names) > 1 else (_only(given),)
        return {name: _on_host(part) for name, part in zip(names, parts, strict=True)}, {}


def _only(given: Any) -> torch.Tensor:
    """The tensor that a network gives, which backbones have a collection of stages for."""
    while not isinstance(given, torch.Tensor):
        (given,) = given.values() if isinstance(given, Mapping) else given
    return given


def _on_host(value: torch.Tensor) -> Array:
    array: Array = value.cpu().numpy()
    return array
