"""The MindSpore runtime: mindcv's networks and ours, float32 on the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import numpy.typing as npt

from ...mappings.dialects import dialect
from ...mappings.graph import Shape
from ..errors import RuntimeRefusedError
from ..networks import mindspore as networks
from .job import GraphNetwork, LibraryNetwork, Weights
from .weights import Loaded, read_ourselves

Array = npt.NDArray[Any]


def versions(network: LibraryNetwork | GraphNetwork) -> dict[str, str]:
    """Versions of MindSpore and of the network's library."""
    found = {"mindspore": str(mindspore.__version__)}
    if isinstance(network, LibraryNetwork):
        found[network.library] = str(_library(network.library).__version__)
    return found


def build(network: LibraryNetwork | GraphNetwork, precision: str) -> Any:
    """The network in inference mode, without weights."""
    if precision != "float32":
        raise RuntimeRefusedError(
            f"MindSpore has no {precision} convolutions on the CPU", remedy=f"Run the {precision} reference in torch."
        )
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    mindspore.set_device("CPU")
    if isinstance(network, GraphNetwork):
        grounding = dialect(network.dialect).ground(network.architecture)
        built: Any = networks.build(network.architecture.graph(network.traits), grounding)
    else:
        library = _library(network.library)
        built = library.create_model(network.model, num_classes=network.classes, pretrained=False)
    return built.set_train(False)


def _library(name: str) -> Any:
    if name == "mindcv":
        import mindcv

        return mindcv
    raise RuntimeRefusedError(f"the MindSpore runtime knows no library {name!r}", remedy="Use mindcv.")


def shapes(network: Any) -> dict[str, Shape]:
    """Shapes of the parameters."""
    return {name: tuple(parameter.shape) for name, parameter in network.parameters_dict().items()}


def read(weights: Weights, scratch: Path) -> Loaded:
    """Read a file with MindSpore, a .pth with our own codec."""
    if weights.container == "pth":
        return read_ourselves(weights, "MindSpore reads no .pth")
    if weights.container not in ("ckpt", "safetensors"):
        raise RuntimeRefusedError(f"the MindSpore runtime reads no {weights.container} files ({weights.file})")
    # MindSpore goes by the suffix; a file that is still being verified has a temporary one.
    link = scratch / f"weights.{weights.container}"
    link.unlink(missing_ok=True)
    link.symlink_to(weights.file)
    content = mindspore.load_checkpoint(str(link), format=weights.container)
    tensors = {name: value.asnumpy() for name, value in content.items() if isinstance(value, mindspore.Tensor)}
    others = tuple(name for name in content if name not in tensors)
    argument = "" if weights.container == "ckpt" else f"format={weights.container!r}"
    return Loaded(tensors, f"mindspore.load_checkpoint({argument})", others)


def load(network: Any, tensors: Mapping[str, Array]) -> None:
    """Load strictly."""
    networks.load(network, tensors)


def forward(network: Any, pictures: Array, *, taps: bool) -> dict[str, Array]:
    """Logits under ``head``, with taps the other values too."""
    x = mindspore.Tensor(np.ascontiguousarray(pictures))
    if not taps:
        return {"head": network(x).asnumpy()}
    if not isinstance(network, networks.Network):
        raise RuntimeRefusedError("a library's own network has no taps", remedy="Take the network of the graph.")
    return {name: value.asnumpy() for name, value in network.taps(x).items()}
