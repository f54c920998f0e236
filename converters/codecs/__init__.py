"""Containers: one file reads and writes one. ``open_checkpoint`` finds the right one by the file's first bytes."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from ...mappings.names import did_you_mean
from ..errors import MalformedFileError, UsageError
from ..splice import Piece
from ..tensors import Checkpoint, MappedFile, TensorRef

_MODULES = ("safetensors", "torch_pickle", "mindspore_ckpt")
_HEAD = 512


@dataclass(frozen=True, slots=True)
class EmbeddedRecord:
    """The record to put into a file, as JSON in UTF-8.

    ``draft`` fixes the length before anything is written; ``final`` gives as many bytes after all tensors are,
    when the checksums it holds are known.
    """

    draft: bytes
    final: Callable[[], bytes] = field(repr=False)


class Codec(Protocol):
    """One container. ``watch`` hooks of the pieces are the codec's own (checksums the format wants)."""

    name: str
    title: str
    suffixes: tuple[str, ...]
    dtypes: frozenset[str]

    def sniff(self, head: bytes) -> bool:
        """Whether a file that starts with these (up to 512) bytes is of this container."""

    def open(self, file: MappedFile) -> Checkpoint:
        """Read names, shapes and places of all tensors, but no tensor."""

    def layout(self, tensors: Sequence[TensorRef], record: EmbeddedRecord, *, framework: str) -> list[Piece]:
        """The pieces of a file that holds these tensors, in this order."""


@lru_cache(maxsize=1)
def codecs() -> Mapping[str, Codec]:
    """All codecs by container name."""
    found = [importlib.import_module(f"{__package__}.{module}").CODEC for module in _MODULES]
    return {codec.name: codec for codec in found}


def codec(name: str) -> Codec:
    """The codec of a container, by its name or a suffix such as ``.pt``."""
    for candidate in codecs().values():
        if name == candidate.name or f".{name.removeprefix('.')}" in candidate.suffixes:
            return candidate
    raise UsageError(f"unknown container {name!r}", remedy=did_you_mean(name, codecs()))


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


_REMEDY = "Give a .ckpt, .safetensors or .pth file."
_DECRYPT = "Load it with mindspore.load_checkpoint(..., dec_key=..., dec_mode=...) and save it without enc_key."
# First bytes of what is often mistaken for weights → what it is, and what to do.
_FOREIGN = (
    (b"\xd8\x5e\x3a\x7f", "an encrypted MindSpore checkpoint (AES-GCM)", _DECRYPT),
    (b"\xd9\x5e\x3a\x7f", "an encrypted MindSpore checkpoint (AES-CBC)", _DECRYPT),
    (b"\xda\x5e\x3a\x7f", "an encrypted MindSpore checkpoint (SM4-CBC)", _DECRYPT),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Run `git lfs pull`."),
    (b"<!DOCTYPE", "a web page, not weights", "Download it again: the address was not that of the file."),
    (b"<html", "a web page, not weights", "Download it again: the address was not that of the file."),
    (b"\x89HDF", "an HDF5 file (Keras or TensorFlow), which is not read", _REMEDY),
    (b"\x1f\x8b", "gzip-compressed", "Unpack it first."),
    (b"\x08", "perhaps an ONNX model, which is not read yet", _REMEDY),
    (b"PK", "a zip archive that torch.save did not write", _REMEDY),
)


def _foreign(path: Path, head: bytes) -> MalformedFileError:
    for magic, what, remedy in _FOREIGN:
        if head.startswith(magic):
            return MalformedFileError(f"{path} is {what}", remedy=remedy)
    if head[257:262] == b"ustar":
        return MalformedFileError(f"{path} is a tar archive", remedy="Unpack it first.")
    if head.startswith(b"\n") and b"MindSpore" in head[:64]:
        return MalformedFileError(f"{path} is perhaps a MINDIR model, which is not read yet", remedy=_REMEDY)
    return MalformedFileError(f"{path} is of no container we know (first bytes {head[:8].hex(' ')})", remedy=_REMEDY)
