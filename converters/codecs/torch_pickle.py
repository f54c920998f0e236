"""PyTorch checkpoints (.pth, .pt, .bin): read and written without PyTorch, and without running what they pickle.

Source: torch/serialization.py. A zip archive since PyTorch 1.6, a sequence of pickles before.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ...mappings.errors import MshubConvertError
from ..errors import MalformedFileError
from ..splice import Piece
from ..tensors import DTYPES, Checkpoint, MappedFile, TensorRef
from . import Described, EmbeddedRecord
from .record_text import parse_record
from .torch_faults import TorchFault
from .torch_magic import LOCAL_MAGIC, is_old_tar, is_pickle

if TYPE_CHECKING:
    from .torch_zip import Entry

# What reads and writes the format is imported where it is used: the command starts faster for other containers.


class TorchPickle:
    """The codec."""

    name = "pth"
    title = "PyTorch .pth"
    suffixes = (".pth", ".pt", ".bin", ".pth.tar", ".tar")  # Path.suffix of model.pth.tar is .tar
    dtypes = frozenset(DTYPES)
    holds_graph = False
    exported_by = ""

    def sniff(self, head: bytes) -> bool:
        """A zip archive, a pickle, or the tar archive of PyTorch's first year."""
        return head.startswith(LOCAL_MAGIC) or is_pickle(head) or is_old_tar(head)

    def open(self, file: MappedFile) -> Checkpoint:
        """Read the pickle for names, shapes and places; the weights are in ``tensors``, all sets in ``sets``."""
        try:
            return self._open(file)
        except TorchFault as fault:
            raise _malformed(file, fault) from None
        except MshubConvertError:
            raise
        except Exception as error:  # a hostile file has more ways to be wrong than can be listed
            fact = f"its pickle makes no sense ({type(error).__name__}: {str(error)[:100]})"
            raise _malformed(file, TorchFault(fact)) from error

    def _open(self, file: MappedFile) -> Checkpoint:
        from .torch_archive import TorchArchive
        from .torch_layout import RECORD_NAME
        from .torch_legacy import read_legacy, refuse_old_tar
        from .torch_sets import gather

        head = bytes(file.view[:512])
        if not head.startswith(LOCAL_MAGIC):
            contents = gather(refuse_old_tar() if is_old_tar(head) else read_legacy(file))
            record, check = None, None
        else:
            archive = TorchArchive(file)
            contents = gather(archive.value())
            record, check = parse_record(archive.content(RECORD_NAME)), _checker(file, archive.entries)
        tensors = contents.sets[contents.taken]
        return Checkpoint(
            file.path, self.name, tensors, record=record, notes=contents.notes, metadata=contents.metadata,
            sets=contents.sets, check=check,
        )  # fmt: skip

    def layout(
        self,
        tensors: Sequence[TensorRef],
        record: EmbeddedRecord,
        *,
        framework: str,
        network: Described | None = None,
    ) -> list[Piece]:
        """A zip archive as torch.save writes it, of an OrderedDict of plain tensors."""
        from .torch_layout import archive_pieces

        return archive_pieces(tensors, record)

    def beside(self, tensors: Sequence[TensorRef]) -> Mapping[str, list[Piece]]:
        """Nothing: all is in one file."""
        return {}


def _checker(file: MappedFile, entries: Mapping[str, "Entry"]) -> Callable[[], None]:
    from .torch_zip import check_sums

    def check() -> None:
        try:
            check_sums(entries)
        except TorchFault as fault:
            raise _malformed(file, fault) from None

    return check


def _malformed(file: MappedFile, fault: TorchFault) -> MalformedFileError:
    return MalformedFileError(f"{file.path}: {fault.fact}", remedy=fault.remedy)


CODEC = TorchPickle()
