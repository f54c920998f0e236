"""The two sides of a proof: which network runs a file, in which framework, and which file tensors feed it."""

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..converters.errors import EnvironmentError_, UsageError
from ..converters.opened import Opened
from ..mappings.architectures import Architecture, spoken
from ..mappings.dialects import BUILTIN, Dialect, dialect, dialects_for, preferred_dialect
from .device import DevicePrecision
from .errors import MissingPackageError
from .runtimes import EXTRAS, FileNetwork, GraphNetwork, LibraryNetwork, Network, Precision, UserNetwork, Weights, om
from .runtimes.where import CPU, Where, where

# Libraries whose own networks we can build and run.
RUNNABLE = ("timm", "torchvision", "mindcv", "mmpretrain")
# Traits that a library's networks take as arguments, so that they can have those of the weights.
_ARGUMENTS: Mapping[str, frozenset[str]] = {"mmpretrain": frozenset(("bottleneck_stride", "norm_eps"))}
# Runtimes that run the network of one container only, as it is.
ONLY_RUNS = {"mindir": "mindir", "om": "onnx"}
# Containers that hold the network too, and what runs it.
HOLDS_NETWORK = {"onnx": "onnxruntime", "mindir": "mindspore"}
# Runtimes whose networks take their parameters under the names of any framework.
_ANY_NAMES = ("onnxruntime", "reference")
TITLES = {
    "torch": "torch", "mindspore": "MindSpore", "onnxruntime": "ONNX Runtime", "reference": "NumPy", "om": "ais_bench",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Side:
    """A network, the runtime it runs in, and the weights to load into it; ``label`` says whose it is.

    ``batch`` and ``size`` (height, width) are what the file fixes of its input, None where it takes any; ``half``
    says that it computes in float16. ``device`` and ``index`` tell where the runtime computes.
    """

    opened: Opened
    runtime: str
    network: Network
    weights: Weights
    label: str
    batch: int | None = None
    size: tuple[int, int] | None = None
    half: bool = False
    device: str = CPU
    index: int = 0

    @property
    def precision(self) -> Precision:
        """What the numbers of its runs have; the reference is a runtime too."""
        return "float64" if self.runtime == "reference" else "float32"

    @property
    def where(self) -> Where:
        """The runtime and its device."""
        return Where(self.runtime, self.device, self.index)

    @property
    def device_precision(self) -> DevicePrecision:
        """What the device is expected to compute in, its switches set: that of the graph, unless ATC said otherwise."""
        if self.half:
            return "float16"
        if self.runtime == "om":
            file = om.compiled(self.weights.file)
            return "float32" if file.is_file() and om.keeps_precision(file) else "float16"
        return "float32"

    @property
    def on_host(self) -> "Side":
        """The same graph on the CPU; for an .om the .onnx that it was compiled from."""
        if self.runtime == "om":
            return _file_side(self.opened, "onnxruntime")
        return replace(self, device=CPU, index=0)


def asked_side(opened: Opened, asked: str | Where | None) -> Side:
    """What runs a file where that was asked for, or where it belongs."""
    there = where(asked)
    if there is None:
        return own_side(opened)
    container = opened.checkpoint.container
    needed = ONLY_RUNS.get(there.runtime, container)
    if container != needed:
        raise UsageError(
            f"{there.runtime} runs a .{needed} itself, and {opened.source.file.name} is a .{container}",
            remedy=f"Use --runtime {HOLDS_NETWORK[needed]} to have its network built there, or give a .{needed}.",
        )
    return replace(own_side(opened, there.engine), device=there.device, index=there.index)


def own_side(opened: Opened, runtime: str | None = None) -> Side:
    """What runs a file: the network in it; its library's own where that is installed and has these traits; or ours.

    ``runtime`` asks for another than the file's own: its network is then built there.
    """
    found = opened.found
    own = HOLDS_NETWORK.get(opened.checkpoint.container)
    if own is not None and runtime in (None, own) and _outputs(opened):
        return _file_side(opened, own)
    if runtime == "om":
        return _compiled_side(opened)
    library = opened.source.library or found.dialect.library
    if library in RUNNABLE:
        naming = _names_of(library, opened)
        wanted = opened.traits.differences(naming.traits).keys()
        here = runtime in (None, naming.framework) and installed(library)
        if here and naming.builds(found.architecture) and wanted <= _ARGUMENTS.get(library, frozenset()):
            return _with_arguments(library_side(opened, library), sorted(wanted))
    return rebuilt_side(opened, runtime or found.dialect.framework)


def _file_side(opened: Opened, runtime: str) -> Side:
    """The network that the file itself holds."""
    outputs = _outputs(opened)
    if opened.recovered is not None:
        batch, size = opened.recovered.batch, opened.recovered.size
        network = FileNetwork(outputs, opened.recovered.values)
    else:
        batch, size = _fixed(opened.checkpoint.metadata.get("input_shape"))
        network = FileNetwork(outputs)
    half = any(ref.spec.dtype == "float16" for ref in opened.tensors.values())
    weights = Weights(opened.source.file.resolve(), opened.checkpoint.container)
    label = f"the file itself in {TITLES[runtime]}"
    return Side(opened, runtime, network, weights, label, batch, size, half)


def _outputs(opened: Opened) -> Mapping[str, str]:
    """Which values of the network in a file are the outputs; none where it is a whole one that does not tell them."""
    ours = opened.found.architecture.graph(opened.traits).outputs
    recovered = opened.recovered
    if opened.whole is None:
        return ours if recovered is None else recovered.outputs
    inner = {} if recovered is None else recovered.values
    return {name: inner[value] for name, value in ours.items() if value in inner}


def _compiled_side(opened: Opened) -> Side:
    """The .om that was compiled from an .onnx file, for pictures of the one size that the file has."""
    if opened.whole is not None:
        raise UsageError(
            f"an .om gives what it was compiled to, and {opened.source.file.name} holds {opened.whole.name}",
            remedy="Convert it with --backbone --to om first.",
        )
    side = _file_side(opened, "om")
    file = opened.source.file
    if side.size is None or side.batch is None:
        raise UsageError(
            f"{file.name} takes pictures of any size, and an .om those it was compiled for",
            remedy=f"Write both with --to om, or the .onnx with --input-shape as {file.stem}.om was compiled.",
        )
    return replace(side, label=f"{file.stem}.om, compiled from {file.name}, in {TITLES['om']}")


def _fixed(shape: object) -> tuple[int | None, tuple[int, int] | None]:
    """Batch and size of an input shape (N, 3, H, W) as a file's metadata has it; None where it is dynamic."""
    if not isinstance(shape, (tuple, list)) or len(shape) != 4:
        return None, None
    batch, _, height, width = (size if isinstance(size, int) and size > 0 else None for size in shape)
    return batch, (height, width) if height and width else None


def check_installed(runtimes: Iterable[str]) -> None:
    """Raise MissingPackageError for a runtime whose package is not installed."""
    for runtime in runtimes:
        if EXTRAS[runtime] and not installed(runtime):
            raise MissingPackageError(
                f"{TITLES[runtime]} is not installed, and the verification runs it",
                remedy=f"pip install 'mshub-convert[{EXTRAS[runtime]}]'",
            )


def library_side(opened: Opened, library: str) -> Side:
    """A library's own network, whatever its traits."""
    naming, found = _names_of(library, opened), opened.found
    named = opened.source.library_model if opened.source.library == library else None
    network = LibraryNetwork(library, named or found.architecture.name, found.architecture.classes)
    weights = _weights(opened, naming)
    own = network.model if network.classes else f"{network.model} without its classifier"
    return Side(opened, naming.framework, network, weights, f"{library}'s own {own}")


def _names_of(library: str, opened: Opened) -> Dialect:
    """The dialect that a library's own parameters are called in: the file's if it is that, else one that has them."""
    found = opened.found
    known = [naming for naming in map(dialect, BUILTIN) if naming.library == library]
    fit = (naming for naming in known if naming.builds(found.architecture))
    return found.dialect if found.dialect in known else next(fit, known[0])


def _with_arguments(side: Side, names: Sequence[str]) -> Side:
    """A library's network that is built with the weights' own values of these traits."""
    if not names or not isinstance(side.network, LibraryNetwork):
        return side
    values = side.opened.traits.as_dict()
    given = {name: values[name] for name in names}
    said = ", ".join(f"{name}={value}" for name, value in given.items())
    return replace(side, network=replace(side.network, traits=given), label=f"{side.label} ({said})")


def user_side(opened: Opened, text: str, asked: str | Where | None = None) -> Side:
    """The user's own network, ``FILE.py:FACTORY``, in the framework that the file's names are of, or that was asked."""
    file, factory = split_source_network(text)
    there = where(asked) or Where(opened.found.dialect.framework)
    if there.runtime not in ("torch", "mindspore"):
        raise UsageError(
            f"--source-network is of torch or MindSpore, and --source-runtime {there} was asked for",
            remedy="Leave one of them out.",
        )
    whole = opened.found.architecture
    if not whole.classes:
        message = f"--source-network runs whole networks, and {opened.source.file.name} is read as"
        raise UsageError(f"{message} {spoken(whole.name, 0)}", remedy="Leave it out.")
    naming = _naming(opened, there.runtime)
    network = UserNetwork(file, factory, whole.classes, _axes(whole), naming.wrapper)
    label = f"the user's own network {text}"
    weights = _weights(opened, naming)
    return Side(opened, there.runtime, network, weights, label, device=there.device, index=there.index)


def _axes(whole: Architecture) -> dict[str, tuple[int, ...]]:
    """The axes of each output for a picture, 0 for one that goes with the picture's size."""
    graph = whole.graph()
    one, other = graph.shapes(64, 64), graph.shapes(128, 128)
    return {
        name: tuple(size if size == larger else 0 for size, larger in zip(one[value], other[value], strict=True))
        for name, value in graph.outputs.items()
    }


def split_source_network(text: str) -> tuple[Path, str]:
    """File and function of ``FILE.py:FACTORY``; the file must be there."""
    path, _, factory = text.rpartition(":")
    if not path.endswith(".py") or not factory.isidentifier():
        raise UsageError(
            f"--source-network {text} is not FILE.py:FACTORY",
            remedy="Name a Python file and a function in it that makes the network, such as net.py:resnext50.",
        )
    if not Path(path).is_file():
        raise EnvironmentError_(f"no file {path}", remedy="Check the path given with --source-network.")
    return Path(path), factory


def rebuilt_side(opened: Opened, runtime: str) -> Side:
    """The network built by us from its description, with the traits of the weights."""
    found = opened.found
    naming = _naming(opened, runtime)
    network = GraphNetwork(found.architecture, naming.reference, opened.traits)
    label = f"{found.architecture.name} built by mshub-convert with the weights' traits"
    return Side(opened, runtime, network, _weights(opened, naming), label)


def _naming(opened: Opened, runtime: str) -> Dialect:
    """What to call the parameters of a network of ours in a runtime; some take any names."""
    found = opened.found
    # Tensors found by structure are whole; the file's own names may split them.
    if opened.recovered is None and runtime in (found.dialect.framework, *_ANY_NAMES):
        return found.dialect
    if runtime not in _ANY_NAMES:
        return preferred_dialect(found.architecture, runtime)
    return dialect(dialects_for(found.architecture)[0])


def torch_side(opened: Opened) -> Side:
    """The side in torch, for float64: the library's own network where that is torch's, else rebuilt there."""
    return own_side(opened, "torch")


def library_check_side(opened: Opened) -> Side | None:
    """The library's own network for a file that needs other traits than it has, to measure what that costs.

    None where the file holds its network: nobody need build it.
    """
    found = opened.found
    library = found.dialect.library
    if opened.checkpoint.container in HOLDS_NETWORK:
        return None
    if library not in RUNNABLE or not installed(library) or not found.dialect.builds(found.architecture):
        return None
    return library_side(opened, library) if found.dialect.traits != opened.traits else None


def installed(package: str) -> bool:
    """Whether a package, or a runtime of its name, can be imported."""
    return importlib.util.find_spec(package) is not None


def _weights(opened: Opened, naming: Dialect) -> Weights:
    """Which tensors of the file make up each tensor of a network whose parameters have these names."""
    found = opened.found
    slots: dict[str, tuple[str, ...]] = {}
    absent: list[str] = []
    for key, slot in naming.ground(found.architecture).slots.items():
        held = found.grounding.slots.get(key)
        if opened.recovered is not None:
            files: tuple[str, ...] = (key,) if key in opened.recovered.tensors else ()
        else:
            files = tuple(found.names[name] for name in held.names if name in found.names) if held else ()
        if not files:
            absent += slot.names
        elif len(files) == len(slot.names):
            slots |= {name: (file,) for name, file in zip(slot.names, files, strict=True)}
        else:
            slots[slot.names[0]] = files
    norm_eps = opened.traits.norm_eps if opened.recovered is not None else None
    file = opened.source.file.resolve()
    return Weights(file, opened.checkpoint.container, slots, tuple(absent), opened.selected, norm_eps)
