"""Containers: one file reads and writes one. ``open_checkpoint`` finds the right one by the file's first bytes."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from ...mappings.dialects import Grounding
from ...mappings.graph import Graph
from ...mappings.names import did_you_mean
from ...mappings.traits import Traits
from ..errors import MalformedFileError, UsageError
from ..splice import Piece
from ..tensors import Checkpoint, MappedFile, TensorRef

_MODULES = ("safetensors", "torch_pickle", "mindspore_ckpt", "onnx", "mindir")
_HEAD = 512


@dataclass(frozen=True, slots=True)
class EmbeddedRecord:
    """The record to put into a file, as JSON in UTF-8.

    ``draft`` fixes the length before anything is written; ``final`` gives as many bytes after all tensors are,
    when the checksums it holds are known.
    """

    draft: bytes
    final: Callable[[], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Described:
    """The network whose tensors a file holds, for containers that hold the graph too.

    ``graph`` has the weights' ``traits``, ``grounding`` the names; ``file`` is what the output will be called,
    ``input_shape`` what to fix of its input (None: any number of pictures, of any size); ``heads`` says what an ONNX
    model of a detector gives, and ``side`` for pictures of which size where none is fixed. ``exported`` is the network
    without weights as its framework exported it, for containers that only the framework can make.
    """

    architecture: str
    classes: int
    graph: Graph
    grounding: Grounding
    file: str
    tool: str
    opset: int
    traits: Traits
    input_shape: tuple[int, ...] | None = None
    heads: str = "raw"
    side: int = 224
    exported: bytes = field(default=b"", repr=False)


# Has a framework export a network without weights; gives the file as bytes.
Exporter = Callable[[Described], bytes]


class Codec(Protocol):
    """One container. ``watch`` hooks of the pieces are the codec's own (checksums the format wants).

    ``holds_graph`` says that a file is the whole network, not weights alone; ``exported_by`` names the framework that
    has to export it, empty where we write it ourselves.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    dtypes: frozenset[str]
    holds_graph: bool
    exported_by: str

    def sniff(self, head: bytes) -> bool:
        """Whether a file that starts with these (up to 512) bytes is of this container."""

    def open(self, file: MappedFile) -> Checkpoint:
        """Read names, shapes and places of all tensors, but no tensor."""

    def layout(
        self,
        tensors: Sequence[TensorRef],
        record: EmbeddedRecord,
        *,
        framework: str,
        network: Described | None = None,
    ) -> list[Piece]:
        """The pieces of a file that holds these tensors, in this order.

        ``framework`` is whose names they have; containers that hold the graph need the ``network``.
        """

    def beside(self, tensors: Sequence[TensorRef]) -> Mapping[str, list[Piece]]:
        """Pieces of the files that go beside it, by what is added to its name; most containers need none."""


@lru_cache(maxsize=1)
def codecs() -> Mapping[str, Codec]:
    """All codecs by container name."""
    found = [importlib.import_module(f"{__package__}.{module}").CODEC for module in _MODULES]
    return {codec.name: codec for codec in found}


def codec(name: str, *, also: Sequence[str] = ()) -> Codec:
    """The codec of a container, by its name or a suffix such as ``.pt``; ``also`` could have been said as well."""
    for candidate in codecs().values():
        if name == candidate.name or f".{name.removeprefix('.')}" in candidate.suffixes:
            return candidate
    raise UsageError(f"unknown container {name!r}", remedy=did_you_mean(name, (*codecs(), *also)))


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a file of any container; the checkpoint keeps it open until closed."""
    file = MappedFile(path)
    try:
        head = bytes(file.view[:_HEAD])
        for candidate in codecs().values():
            if candidate.sniff(head):
                checkpoint = candidate.open(file)
                checkpoint.file = file
                return checkpoint
        raise _foreign(path, head)
    except BaseException:
        file.close()
        raise


_REMEDY = "Give a .ckpt, .safetensors, .pth, .onnx or .mindir file."
_DECRYPT = "Load it with mindspore.load_checkpoint(..., dec_key=..., dec_mode=...) and save it without enc_key."
_DECRYPT_MODEL = "Export the network again without enc_key: MindSpore can run an encrypted MINDIR, but not save it."
_ENCRYPTED = {b"\xd8\x5e\x3a\x7f": "AES-GCM", b"\xd9\x5e\x3a\x7f": "AES-CBC", b"\xda\x5e\x3a\x7f": "SM4-CBC"}
# First bytes of what is often mistaken for weights → what it is, and what to do.
_FOREIGN = (
    (b"\x01" + bytes(63), "perhaps the data of a MINDIR, without its graph", "Give the file <name>_graph.mindir."),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Run `git lfs pull`."),
    (b"<!DOCTYPE", "a web page, not weights", "Download it again: the address was not that of the file."),
    (b"<html", "a web page, not weights", "Download it again: the address was not that of the file."),
    (b"\x89HDF", "an HDF5 file (Keras or TensorFlow), which is not read", _REMEDY),
    (
        b"IMOD",
        "an .om, compiled for an Ascend device",
        "Give the .onnx it was made of; with verify --runtime om it runs.",
    ),
    (b"\x1f\x8b", "gzip-compressed", "Unpack it first."),
    (b"PK", "a zip archive that torch.save did not write", _REMEDY),
)


def _foreign(path: Path, head: bytes) -> MalformedFileError:
    if head[:4] in _ENCRYPTED:
        what, remedy = ("MINDIR", _DECRYPT_MODEL) if path.suffix == ".mindir" else ("MindSpore checkpoint", _DECRYPT)
        return MalformedFileError(f"{path} is an encrypted {what} ({_ENCRYPTED[head[:4]]})", remedy=remedy)
    for magic, what, remedy in _FOREIGN:
        if head.startswith(magic):
            return MalformedFileError(f"{path} is {what}", remedy=remedy)
    if head[257:262] == b"ustar":
        return MalformedFileError(f"{path} is a tar archive", remedy="Unpack it first.")
    return MalformedFileError(f"{path} is of no container we know (first bytes {head[:8].hex(' ')})", remedy=_REMEDY)
