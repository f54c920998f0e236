"""The ONNX Runtime runtime: the network of an .onnx file, and ours written as one; float32, on the CPU unless asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from ...converters.codecs import Described, EmbeddedRecord, codec
from ...converters.codecs.onnx_nodes import value_names
from ...converters.codecs.onnx_write import DEFAULT_OPSET
from ...converters.splice import splice
from ...converters.tensors import TensorRef, TensorSpec
from ...mappings.dialects import Grounding, dialect
from ...mappings.folding import graph_grounding
from ...mappings.graph import Graph, Shape
from ..errors import LoadError, MissingPackageError, RuntimeRefusedError
from ..networks.places import check_fit
from .job import FileNetwork, GraphNetwork, Job, Network, Values, Watch, Weights
from .onnx_session import Session, open_session, set_up
from .weights import Loaded, read_ourselves

__all__ = ["build", "forward", "load", "open_file", "read", "set_up", "shapes", "versions"]

Array = npt.NDArray[Any]

_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


@dataclass(slots=True)
class OnnxNetwork:
    """A network to run; one of ours has a session once its weights are known and it has been written."""

    job: Job
    session: Session | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs; none where a file has only one."""
        network = self.job.network
        return tuple(network.outputs if isinstance(network, FileNetwork) else self.described.outputs)

    @property
    def described(self) -> Graph:
        """The graph of a network of ours."""
        return self.graph.architecture.graph(self.graph.traits)

    @property
    def graph(self) -> GraphNetwork:
        """The description of a network of ours."""
        network = self.job.network
        if not isinstance(network, GraphNetwork):
            raise RuntimeRefusedError(
                "ONNX Runtime has no networks of a library", remedy="Take the network of the graph."
            )
        return network

    @property
    def grounding(self) -> Grounding:
        """The names of a network of ours."""
        return dialect(self.graph.dialect).ground(self.graph.architecture)


def versions(network: Network) -> dict[str, str]:
    """The version of ONNX Runtime."""
    return {"onnxruntime": str(onnxruntime.__version__)}


def open_file(job: Job) -> tuple[OnnxNetwork, Loaded]:
    """The network of an .onnx file, and its initializers as the onnx package reads them, where that is installed."""
    network, file = job.network, job.weights.file
    if job.weights.container != "onnx" or not isinstance(network, FileNetwork):
        raise RuntimeRefusedError(f"ONNX Runtime cannot run {file} itself", remedy="Have its network rebuilt.")
    _check_precision(job)
    session = _session(job, file, network.optimization, network.outputs, network.values)
    return OnnxNetwork(job, session), _initializers(file)


def _session(job: Job, file: Path, optimization: str, outputs: Mapping[str, str], values: Mapping[str, str]) -> Session:
    """A session that gives the outputs, and the values that the job watches, which are no outputs of the file."""
    wanted = {**outputs, **(values if job.watch == "values" else {})}
    open_it = partial(open_session, file, device=job.device, index=job.index, optimization=optimization)
    session = open_it(outputs=wanted)
    inner = [value for value in wanted.values() if value not in session.ports]
    return open_it(outputs=wanted, model=_with_outputs(file, inner)) if inner else session


def build(job: Job) -> OnnxNetwork:
    """A network of ours, still to be written."""
    _check_precision(job)
    network = OnnxNetwork(job)
    shapes(network)
    return network


def shapes(network: OnnxNetwork) -> dict[str, Shape]:
    """Shapes of the tensors, BatchNorm counters among them, which the graph does not read."""
    return dict(network.grounding.specs)


def read(weights: Weights, scratch: Path) -> Loaded:
    """Read a file with our own codecs: ONNX Runtime reads weights as parts of a graph only."""
    return read_ourselves(weights, f"ONNX Runtime loads no .{weights.container} into a network")


def load(network: OnnxNetwork, tensors: Mapping[str, Array]) -> None:
    """Write the network with these weights, strictly, and open it."""
    check_fit("load into ONNX Runtime", shapes(network), {name: array.shape for name, array in tensors.items()})
    ours, architecture = network.graph, network.graph.architecture
    names = graph_grounding(network.grounding)
    described = Described(
        architecture.name, architecture.classes, network.described, names,
        "network.onnx", "mshub-convert", DEFAULT_OPSET, ours.traits,
    )  # fmt: skip
    refs = [_ref(name, shape, tensors[name]) for name, shape in names.specs.items()]
    writer, folder = codec("onnx"), network.job.output
    pieces = writer.layout(refs, EmbeddedRecord(b"", bytes), framework=names.dialect.framework, network=described)
    for end, parts in {**writer.beside(refs), "": pieces}.items():
        splice(folder / f"{described.file}{end}", parts, sync=False)
    values = value_names(described)
    outputs = {name: values[value] for name, value in described.graph.outputs.items()}
    network.session = _session(network.job, folder / described.file, "all", outputs, values)


def forward(network: OnnxNetwork, pictures: Array, *, watch: Watch) -> tuple[Values, Values]:
    """Float32 outputs, and what is watched: the outputs of all nodes that the file has."""
    if watch == "stages":
        raise RuntimeRefusedError("an ONNX file does not tell its stages", remedy="Watch all values.")
    if network.session is None:
        raise RuntimeError("the network has no weights yet")
    port, file = network.session.input, network.job.weights.file
    if port.type not in _DTYPES or len(port.shape) != pictures.ndim:
        raise RuntimeRefusedError(f"{file} takes {port.name}, {port.type} of {_told(port.shape)}, not pictures")
    if any(isinstance(want, int) and want != has for want, has in zip(port.shape, pictures.shape, strict=True)):
        raise RuntimeRefusedError(
            f"{file} takes {_told(port.shape)} only, not {_told(pictures.shape)}",
            remedy="Give it pictures of that size, and that many at a time.",
        )
    results = network.session.run(pictures.astype(_DTYPES[port.type], copy=False))
    found = {name: np.asarray(array).astype(np.float32, copy=False) for name, array in results.items()}
    if "head" in found:  # a classifier may give its logits as 1x1 pictures
        found["head"] = found["head"].reshape(len(pictures), -1)
    outputs = {name: array for name, array in found.items() if name in (network.outputs or found)}
    return outputs, found if watch == "values" else {}


def _check_precision(job: Job) -> None:
    if job.precision != "float32":
        raise RuntimeRefusedError(
            f"the ONNX Runtime runtime has no {job.precision}", remedy=f"Run the {job.precision} reference in torch."
        )


def _with_outputs(file: Path, values: Sequence[str]) -> bytes:
    """The model with more outputs; external data stays where it is."""
    try:
        import onnx
    except ImportError as error:
        message = f"{values[0]} of {file} is no output; looking at it needs onnx: {error}"
        raise MissingPackageError(message, remedy="pip install 'mshub-convert[onnx]'") from None
    model = onnx.load(str(file), load_external_data=False)
    made = {value for node in model.graph.node for value in node.output}
    for value in values:
        if value not in made:
            raise LoadError(f"{file} has no value {value!r}", remedy="See `mshub-convert inspect`.")
        model.graph.output.append(onnx.ValueInfoProto(name=value))
    serialized: bytes = model.SerializeToString()
    return serialized


def _initializers(file: Path) -> Loaded:
    """The tensors of a file as the onnx package reads them; without it there is no second reader."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        return Loaded({}, "onnxruntime.InferenceSession")
    model = onnx.load(str(file))
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return Loaded(tensors, "onnx.load")


def _ref(name: str, shape: Shape, array: Array) -> TensorRef:
    return TensorRef(TensorSpec(name, shape, array.dtype.name), None, lambda: array.reshape(shape))


def _told(shape: Any) -> str:
    return "x".join(str(size) for size in shape)
