"""The two sides of a proof: which network runs a file, in which framework, and which file tensors feed it."""

import importlib.util
from dataclasses import dataclass

from ..converters.opened import Opened
from ..mappings.dialects import Dialect, dialect, dialects_for
from .runtimes import GraphNetwork, LibraryNetwork, Weights

# Libraries whose own networks we can build and run.
RUNNABLE = ("timm", "torchvision", "mindcv")


@dataclass(frozen=True, slots=True)
class Side:
    """A network, in whose names its parameters are, and the weights to load into it; ``label`` says whose it is."""

    opened: Opened
    naming: Dialect
    network: LibraryNetwork | GraphNetwork
    weights: Weights
    label: str

    @property
    def framework(self) -> str:
        """The framework the network runs in."""
        return self.naming.framework


def own_side(opened: Opened) -> Side:
    """The network a file belongs to: the library's own where it is installed and has these traits, else rebuilt."""
    found = opened.found
    library = opened.source.library or found.dialect.library
    if library in RUNNABLE:
        naming = dialect(library)
        if naming.builds(found.architecture) and naming.traits == opened.traits and _installed(library):
            return library_side(opened, library)
    return rebuilt_side(opened, found.dialect)


def library_side(opened: Opened, library: str) -> Side:
    """A library's own network, whatever its traits."""
    naming, found = dialect(library), opened.found
    named = opened.source.library_model if opened.source.library == library else None
    network = LibraryNetwork(library, named or found.architecture.name, found.architecture.classes)
    return Side(opened, naming, network, _weights(opened, naming), f"{library}'s own {network.model}")


def rebuilt_side(opened: Opened, naming: Dialect) -> Side:
    """The network built by us from its description, with the traits of the weights."""
    found = opened.found
    network = GraphNetwork(found.architecture, naming.reference, opened.traits)
    label = f"{found.architecture.name} built by mshub-convert with the weights' traits"
    return Side(opened, naming, network, _weights(opened, naming), label)


def torch_side(opened: Opened) -> Side:
    """The side in torch, for float64: the file's own network where that is torch, else rebuilt there."""
    own = own_side(opened)
    if own.framework == "torch":
        return own
    names = (name for name in dialects_for(opened.found.architecture) if dialect(name).framework == "torch")
    return rebuilt_side(opened, dialect(next(names)))


def library_check_side(opened: Opened) -> Side | None:
    """The library's own network for a file that needs other traits than it has, to measure what that costs."""
    found = opened.found
    library = found.dialect.library
    if library not in RUNNABLE or not _installed(library) or not found.dialect.builds(found.architecture):
        return None
    return library_side(opened, library) if found.dialect.traits != opened.traits else None


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _weights(opened: Opened, naming: Dialect) -> Weights:
    """Which tensors of the file make up each tensor of a network whose parameters have these names."""
    found = opened.found
    slots: dict[str, tuple[str, ...]] = {}
    absent: list[str] = []
    for key, slot in naming.ground(found.architecture).slots.items():
        held = found.grounding.slots.get(key)
        files = tuple(found.names[name] for name in held.names if name in found.names) if held else ()
        if not files:
            absent += slot.names
        elif len(files) == len(slot.names):
            slots |= {name: (file,) for name, file in zip(slot.names, files, strict=True)}
        else:
            slots[slot.names[0]] = files
    return Weights(opened.source.file.resolve(), opened.checkpoint.container, slots, tuple(absent), opened.selected)
