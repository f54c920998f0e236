"""MindSpore's models (.mindir): network and weights in one file, read without MindSpore and written from its export.

Source: mindspore/core/proto/mind_ir.proto. Parameters are called ``<scope>:<name>``. Our record is an entry of the
model's ``user_info``, which MindSpore keeps for users.
"""

from collections.abc import Mapping, Sequence

from ..errors import MalformedFileError, shown
from ..splice import Piece
from ..tensors import Checkpoint, MappedFile, TensorRef
from . import Described, EmbeddedRecord
from .mindir_parse import Model, parse
from .mindir_tensors import read_parameters
from .mindir_traits import Structure
from .mindir_write import data_pieces, is_external, model_pieces
from .onnx_tensors import ExternalFiles
from .pieces import DATA_SUFFIX, RECORD_KEY
from .protobuf import BYTES, Reader, WireFault
from .record_text import parse_record


class MindIr:
    """The codec."""

    name = "mindir"
    title = "MINDIR"
    suffixes = (".mindir",)
    # Exported networks compute in float32 and take no other parameters.
    dtypes = frozenset({"float32"})
    holds_graph = True
    exported_by = "mindspore"

    def sniff(self, head: bytes) -> bool:
        """A ``ModelProto`` that starts with its IR version and its producer, both texts."""
        reader = Reader(memoryview(head), 0, len(head))
        try:
            if reader.key() != (1, BYTES) or not reader.text().replace(".", "").isdigit():
                return False
            return reader.key() == (2, BYTES)
        except WireFault:
            return False

    def open(self, file: MappedFile) -> Checkpoint:
        """Walk parameters and operators; tensors in files beside the model are found there."""
        external = ExternalFiles(file.path)
        try:
            return self._open(file, external)
        except WireFault as fault:
            external.close()
            raise MalformedFileError(
                f"{file.path} is not a valid MINDIR: {shown(str(fault))}", remedy="Copy or export it again."
            ) from None
        except BaseException:
            external.close()
            raise

    def _open(self, file: MappedFile, external: ExternalFiles) -> Checkpoint:
        model = parse(file)
        if not model.little_endian:
            raise MalformedFileError(
                f"{file.path} was exported on a big-endian machine, whose tensors are not read",
                remedy="Export it on a little-endian one.",
            )
        tensors, notes = read_parameters(file, model.parameters, external)
        structure = Structure(model.operators, {name: ref.spec.shape for name, ref in tensors.items()})
        return Checkpoint(
            file.path, self.name, tensors, record=parse_record(model.user_info.get(RECORD_KEY)),
            notes=(*notes, *structure.notes()), metadata={**_metadata(model), **_relu6(structure)},
            traits=structure.traits(), beside=external,
        )  # fmt: skip

    def layout(
        self,
        tensors: Sequence[TensorRef],
        record: EmbeddedRecord,
        *,
        framework: str,
        network: Described | None = None,
    ) -> list[Piece]:
        """What MindSpore exported, the tensors in it (or where they are in the file beside), then the record."""
        if network is None or not network.exported:
            raise TypeError("a MINDIR is made of MindSpore's own export: give one")
        return model_pieces(network.exported, tensors, record, network.file)

    def beside(self, tensors: Sequence[TensorRef]) -> Mapping[str, list[Piece]]:
        """The tensors, where they are too many for one protobuf message."""
        return {DATA_SUFFIX: data_pieces(tensors)} if is_external(tensors) else {}


def _metadata(model: Model) -> dict[str, object]:
    """What the model says of itself; ``input_shape`` only where all of it is fixed."""
    told = {"producer": model.producer, "producer_version": model.version}
    user = {key: value for key, value in model.user_info.items() if key != RECORD_KEY}
    shape = model.inputs[0] if len(model.inputs) == 1 else ()
    fixed = {"input_shape": list(shape)} if shape and min(shape) > 0 else {}
    return {**{key: value for key, value in told.items() if value}, **fixed, **user}


def _relu6(structure: Structure) -> dict[str, object]:
    return {"relu6": structure.relu6s} if structure.relu6s else {}


CODEC = MindIr()
