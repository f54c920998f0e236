"""``contrib_src/model/labels.json``: the classes' names, by their index as text."""

from collections.abc import Sequence

from ..errors import MalformedFileError, shown
from .fields import read_json

PATH = "contrib_src/model/labels.json"


def read_labels(data: bytes, file: str = PATH) -> tuple[str, ...]:
    """The names in order; the indices must be 0 to n-1, each once."""
    top = read_json(data, file)
    wanted = [str(index) for index in range(len(top.values))]
    absent = [key for key in wanted if key not in top.values]
    if absent:
        surplus = next(iter(top.values.keys() - set(wanted)))
        raise MalformedFileError(
            f"{file} has {len(wanted)} entries, but none for class {absent[0]} (and one for {shown(surplus)!r})",
            remedy="Its keys must be the classes' indices as texts, from 0 on without a gap.",
        )
    return tuple(top.text(key) for key in wanted)


def indices(labels: Sequence[str]) -> bool:
    """Whether these are mere indices, which stand in where no names are known."""
    return all(label == str(index) for index, label in enumerate(labels))
