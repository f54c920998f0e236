"""The MindSpore runtime: mindcv's networks, ours, and what a .mindir holds; float32, on the CPU unless asked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import numpy.typing as npt
from mindspore import nn

from ...converters.errors import EnvironmentError_
from ...mappings.dialects import dialect
from ...mappings.graph import Shape
from ...mappings.names import listed
from ..errors import LoadError, RuntimeRefusedError
from ..networks import mindspore as networks
from ..networks import user
from ..networks.watching import kept
from .job import (
    BACKBONE,
    CLASSIFIER,
    FileNetwork,
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
from .where import CPU, DEVICES

Array = npt.NDArray[Any]

_TITLES = DEVICES["mindspore"]
# Device → functions of mindspore.device_context.<device>.op_precision, and what they are given.
_SWITCHES: Mapping[str, Mapping[str, Any]] = {
    CPU: {},
    "ascend": {
        "conv_allow_hf32": False, "matmul_allow_hf32": False, "precision_mode": "must_keep_origin_dtype",
    },
    "gpu": {"conv_allow_tf32": False, "matmul_allow_tf32": False},
}  # fmt: skip


def set_up(device: str, index: int) -> dict[str, str]:
    """Take the device, which can be done once in a process, and switch off what computes float32 in less."""
    title = _TITLES[device]
    remedy = (
        f"Install the MindSpore and the driver for {title} (`mindspore.hal.is_available({title!r})` must be True),"
        " or leave the device out to run on the CPU."
    )
    if not mindspore.hal.is_available(title):
        raise EnvironmentError_(f"MindSpore {mindspore.__version__} has no {title} device here", remedy=remedy)
    try:
        mindspore.set_device(title, index)
    except (RuntimeError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        message = f"MindSpore cannot take {title}:{index}: {said}"
        raise EnvironmentError_(message, remedy=remedy) from None
    settings = {"device_target": title, "device_id": str(index)}
    for name, value in _SWITCHES[device].items():
        getattr(getattr(mindspore.device_context, device).op_precision, name)(value)
        settings[name] = str(value)
    return settings


def versions(network: Network) -> dict[str, str]:
    """Versions of MindSpore and of the network's library."""
    found = {"mindspore": str(mindspore.__version__)}
    if isinstance(network, LibraryNetwork):
        found[network.library] = str(_library(network.library).__version__)
    return found


def build(job: Job) -> Any:
    """The network in inference mode, without weights."""
    _set_mode(job, mindspore.PYNATIVE_MODE)
    network = job.network
    if isinstance(network, GraphNetwork):
        grounding = dialect(network.dialect).ground(network.architecture)
        built: Any = networks.build(network.architecture.graph(network.traits), grounding)
    elif isinstance(network, LibraryNetwork):
        library = _library(network.library)
        built = library.create_model(network.model, num_classes=network.classes or 1, pretrained=False)
        if not network.classes:  # as it is, up to its pool
            built.pool, built.classifier = nn.Identity(), nn.Identity()
            built.output_values = BACKBONE
    elif isinstance(network, UserNetwork):
        built = _of_user(network)
    else:
        raise TypeError("the network of a file is opened, not built")
    return built.set_train(False)


def _of_user(network: UserNetwork) -> Any:
    # model_zoo's classifiers are set to float16, on every device.
    built = user.build(network, nn.Cell, mindspore.Tensor).to_float(mindspore.float32)
    parameters = list(built.get_parameters())
    if not any(parameter.name.startswith(network.wrapper) for parameter in parameters):
        # The file was saved from a cell around it, which is not needed to run it.
        for parameter in parameters:
            parameter.name = f"{network.wrapper}{parameter.name}"
    return built


def open_file(job: Job) -> tuple[Any, Loaded]:
    """The network of a .mindir, and its parameters as it holds them."""
    file = job.weights.file
    if job.weights.container != "mindir":
        raise RuntimeRefusedError(f"MindSpore cannot run {file} itself", remedy="Have its network rebuilt.")
    _set_mode(job, mindspore.GRAPH_MODE)
    # A large model has folders beside it, which a link elsewhere would not find.
    path = file if file.suffix == ".mindir" else _linked(file, job.output / "model.mindir")
    try:
        graph = mindspore.load(str(path))
    except (RuntimeError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        remedy = "Export it again; check it with `mshub-convert inspect`."
        raise LoadError(f"MindSpore cannot load {file}: {said}", remedy=remedy) from None
    network = nn.GraphCell(graph)
    if isinstance(job.network, FileNetwork) and job.network.outputs:
        network.output_values = dict(job.network.outputs)
    tensors = {name: parameter.asnumpy() for name, parameter in network.parameters_dict().items()}
    return network, Loaded(tensors, "mindspore.load")


def _set_mode(job: Job, mode: int) -> None:
    if job.precision != "float32":
        raise RuntimeRefusedError(
            f"MindSpore has no {job.precision} convolutions on the CPU",
            remedy=f"Run the {job.precision} reference in torch.",
        )
    mindspore.set_context(mode=mode)


def _linked(file: Path, link: Path) -> Path:
    """A link with the suffix that MindSpore goes by; a file that is still being verified has a temporary one."""
    link.unlink(missing_ok=True)
    link.symlink_to(file)
    return link


def _library(name: str) -> Any:
    if name == "mindcv":
        import mindcv

        return mindcv
    raise RuntimeRefusedError(f"the MindSpore runtime knows no library {name!r}", remedy="Use mindcv.")


def shapes(network: Any) -> dict[str, Shape]:
    """Shapes of the parameters."""
    return {name: tuple(parameter.shape) for name, parameter in network.parameters_dict().items()}


def read(weights: Weights, scratch: Path) -> Loaded:
    """Read a file with MindSpore; with our own codecs what it cannot read."""
    if weights.container not in ("ckpt", "safetensors"):
        return read_ourselves(weights, f"MindSpore loads no .{weights.container} into a network")
    link = _linked(weights.file, scratch / f"weights.{weights.container}")
    content = mindspore.load_checkpoint(str(link), format=weights.container)
    tensors = {name: value.asnumpy() for name, value in content.items() if isinstance(value, mindspore.Tensor)}
    others = tuple(name for name in content if name not in tensors)
    argument = "" if weights.container == "ckpt" else f"format={weights.container!r}"
    return Loaded(tensors, f"mindspore.load_checkpoint({argument})", others)


def load(network: Any, tensors: Mapping[str, Array]) -> None:
    """Load strictly."""
    networks.load(network, tensors)


def forward(network: Any, pictures: Array, *, watch: Watch) -> tuple[Values, Values]:
    """The outputs (logits under ``head``), and what is watched."""
    x = mindspore.Tensor(np.ascontiguousarray(pictures))
    if watch == "outputs":
        return _outputs(network, x), {}
    if not isinstance(network, networks.Network):
        raise RuntimeRefusedError("a network that is not ours has no taps", remedy="Take the network of the graph.")
    return kept(network.values(x), network.output_values, network.tap_values, watch, mindspore.Tensor.asnumpy)


def _outputs(network: Any, x: Any) -> Values:
    names = getattr(network, "output_values", CLASSIFIER)
    try:
        output = network(x)
        arrays = [part.asnumpy() for part in (output if isinstance(output, (tuple, list)) else (output,))]
    except (RuntimeError, ValueError, TypeError) as error:
        if not isinstance(network, nn.GraphCell):
            raise
        # The graph was compiled for one shape when it was exported.
        said = str(error).strip().splitlines()[0]
        raise RuntimeRefusedError(
            f"the .mindir does not run on {tuple(x.shape)}: {said}", remedy="Run it on the shape it was exported for."
        ) from None
    if len(arrays) != len(names):
        raise RuntimeRefusedError(f"the network gives {len(arrays)} outputs, not {listed(tuple(names))}")
    return {name: array.astype(np.float32, copy=False) for name, array in zip(names, arrays, strict=True)}
