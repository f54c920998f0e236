"""The process that exports one network: ``python -m mshub_convert.verify.export_worker FOLDER``."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..mappings.architectures import from_dict
from ..mappings.dialects import dialect
from ..mappings.traits import Traits
from .errors import NetworkError
from .export import EXPORTED
from .process import read_job, serve

# CNode_43$x$total:22: the variables that hold a value, in an order that differs from run to run.
_VARIABLES = re.compile(r"\$[^:]+")


class _KeptError(Exception):
    """The model is kept, and MindSpore need not go on to write a file of zeros."""


def main(folder: Path) -> int:
    """Export the network of the job in a folder; the exit code is that of the error, if there is one."""
    job = read_job(folder)
    return serve(folder, lambda: export(job, folder), what="the MINDIR export", extra="mindspore")


def export(job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Build the network and have MindSpore export it; the model is kept without its weights."""
    import mindspore

    from .networks import mindspore as networks

    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    mindspore.set_device("CPU")
    architecture = from_dict(job["architecture"])
    grounding = dialect(job["dialect"]).ground(architecture)
    network = networks.build(architecture.graph(Traits().with_values(job["traits"])), grounding)
    shape = job["input_shape"]
    if shape is None:
        picture = mindspore.Tensor(shape=[None, 3, None, None], dtype=mindspore.float32)
    else:
        picture = mindspore.ops.zeros(tuple(shape), mindspore.float32)

    def keep(model: Any) -> None:
        """Take the model before MindSpore puts the weights into it."""
        names = [parameter.name.partition(":")[2] for parameter in model.graph.parameter]
        if sorted(names) != sorted(grounding.specs):
            stray = next(iter(set(names) ^ set(grounding.specs)), "one that comes twice")
            raise NetworkError(f"MindSpore exports other parameters than the network has, e.g. {stray}")
        without_chance(model)
        (folder / EXPORTED).write_bytes(model.SerializeToString(deterministic=True))
        raise _KeptError

    try:
        mindspore.export(network, picture, file_name=str(folder / "model"), file_format="MINDIR", custom_func=keep)
    except _KeptError:
        return {"mindspore": str(mindspore.__version__)}
    raise NetworkError(f"MindSpore {mindspore.__version__} exports without showing the model (custom_func)")


def without_chance(model: Any) -> None:
    """Take out what differs from run to run, so that equal networks give equal bytes.

    That is the order of the variables in the names of values, that of the operators, which are found by their names,
    and time and address in the name of the phase.
    """
    operators = sorted(model.primitives, key=lambda operator: str(operator.name))
    del model.primitives[:]
    model.primitives.extend(operators)
    for attribute in model.graph.attribute:
        if attribute.name == "compile_phase":
            attribute.s = b"export.mindir"
    renamed: dict[str, str] = {}
    _rename(model, renamed)
    if len(set(renamed.values())) != len(renamed):
        raise NetworkError("names of values that differ in the order of their variables alone")


def _rename(message: Any, renamed: dict[str, str]) -> None:
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            if isinstance(value, str):
                setattr(message, field.name, _ordered(value, renamed))
            else:
                value[:] = [_ordered(text, renamed) for text in value]
        elif field.type == field.TYPE_MESSAGE and not (field.message_type.GetOptions().map_entry):
            for part in value if hasattr(value, "add") else (value,):
                _rename(part, renamed)


def _ordered(name: str, renamed: dict[str, str]) -> str:
    if "$" not in name:
        return name
    if name not in renamed:
        renamed[name] = _VARIABLES.sub(lambda found: "$" + "$".join(sorted(found[0][1:].split("$"))), name)
    return renamed[name]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
