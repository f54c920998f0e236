"""Read the written file back and compare it with the source, bit for bit; look for NaN and Inf on the way."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from ..mappings.architectures import Architecture
from ..mappings.folding import BIAS, KERNEL, Fold
from ..mappings.names import listed
from ..mappings.traits import Traits
from .background import Task
from .codecs import open_checkpoint
from .codecs.record_text import parse_record
from .decided_traits import traits_shown
from .errors import MalformedFileError, ReadBackError
from .graphs.foreign import ForeignGraph
from .plan import Plan, Step
from .record import NOTHING_CARRIED, Record
from .sources import Progress
from .staging import sync_file
from .tensors import FLOATS, Checkpoint, Extent, TensorRef

Bytes = npt.NDArray[np.uint8]

# Small enough for a core's own cache, so that comparing and looking for NaN reads memory once.
_STEP = 1 << 20
# Exponent bits of a float, all set in NaN and Inf.
_EXPONENT = {"float16": (np.uint16, 0x7C00), "bfloat16": (np.uint16, 0x7F80), "float32": (np.uint32, 0x7F800000),
             "float64": (np.uint64, 0x7FF0000000000000)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Meant:
    """What a written file must hold: the tensors of a plan, the record, and where it holds a graph, the network."""

    plan: Plan
    record: Record
    network: Architecture
    traits: Traits
    folds: tuple[Fold, ...] = ()


def read_back(file: Path, meant: Meant, progress: Progress) -> tuple[str, ...]:
    """Compare a written file with what was meant and see it on the disk; returns the names that hold NaN or Inf.

    Raises ReadBackError.
    """
    try:
        written = open_checkpoint(file)
    except MalformedFileError as error:
        raise ReadBackError(f"the output cannot be read back, and was removed: {error.message}") from error
    with written:
        synced = Task(lambda: sync_file(file), name="output-sync")
        if written.record != parse_record(meant.record.as_bytes()):
            raise ReadBackError("the record in the output is not the one meant for it, as read back; it was removed")
        if written.graph is not None:
            _check_graph(written, written.graph, meant)
        shown = traits_shown(written, meant.plan.target.dialect, meant.network, NOTHING_CARRIED)
        traits, seen = meant.traits.as_dict(), shown.as_dict() if shown is not None else {}
        wrong = [f"{name}={seen[name]}" for name in written.traits if traits[name] != seen[name]]
        if wrong:
            fact = f"the graph in the output has {listed(wrong)}, which was not meant, as read back; it was removed"
            raise ReadBackError(fact, remedy="This is a bug: please report it.")
        non_finite = check_tensors(meant.plan, written, progress)
        synced.result()
        return non_finite


def _check_graph(written: Checkpoint, graph: ForeignGraph, meant: Meant) -> None:
    """See by structure alone that the network in the file is the one meant, each tensor in its place."""
    from .graphs.identify import recovered_from  # files of weights start faster without it

    found = recovered_from(written, graph, meant.traits.norm_eps)
    names = {key: slot.names for key, slot in meant.plan.target.slots.items()}
    for fold in meant.folds:
        names[f"{fold.conv}.kernel"] = names.pop(f"{fold.conv}.{KERNEL}")
        names[f"{fold.norm}.shift"] = names.pop(f"{fold.conv}.{BIAS}")
    placed = {key: held for key, held in found.names.items() if held}
    if (found.architecture, found.traits, placed) != (meant.network, meant.traits, names):
        raise ReadBackError("the graph in the output is not the one meant, as read back; it was removed")


def check_tensors(plan: Plan, written: Checkpoint, progress: Progress) -> tuple[str, ...]:
    """Compare every tensor of the plan with the file just written; returns the names that hold NaN or Inf.

    Raises ReadBackError when a tensor is missing, surplus or differs.
    """
    differing, non_finite = compare_tensors(plan, written.tensors, progress)
    if differing:
        more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
        raise ReadBackError(
            f"the output differs from the source in {listed(differing[:5])}{more}, as read back; it was removed",
            remedy="Check the disk.",
        )
    return non_finite


def compare_tensors(
    plan: Plan, held: Mapping[str, TensorRef], progress: Progress = lambda *_: None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of tensors that are not bit for bit what the plan says (or missing, or surplus), and of non-finite ones."""
    planned = {step.target.spec.name: step for step in plan.steps}
    lock = Lock()
    done, total = 0, plan.nbytes

    def compare(steps: list[tuple[str, Step]]) -> tuple[list[str], list[str]]:
        nonlocal done
        differing: list[str] = []
        non_finite: list[str] = []
        for name, step in steps:
            if name not in held or not _same(step, held[name], non_finite):
                differing.append(name)
            with lock:
                done += step.target.spec.nbytes
                progress("comparing weights", done, total)
        return differing, non_finite

    first, second = _halves(list(planned.items()))
    beside = Task(lambda: compare(second), name="compare")
    parts = (compare(first), beside.result())
    surplus = [name for name in held if name not in planned]
    return (*surplus, *parts[0][0], *parts[1][0]), (*parts[0][1], *parts[1][1])


def _halves(steps: list[tuple[str, Step]]) -> tuple[list[tuple[str, Step]], list[tuple[str, Step]]]:
    """Two parts of about as many bytes, for two cores."""
    half, seen = sum(step.target.spec.nbytes for _, step in steps) / 2, 0
    for position, (_, step) in enumerate(steps):
        if seen >= half:
            return steps[:position], steps[position:]
        seen += step.target.spec.nbytes
    return steps, []


def _same(step: Step, written: TensorRef, non_finite: list[str]) -> bool:
    planned = step.target
    if planned.spec != written.spec:
        return False
    finite = True
    check = planned.spec.dtype in FLOATS
    for ours, theirs in zip_longest(_chunks(planned), _chunks(written)):
        if ours is None or theirs is None or not np.array_equal(ours, theirs):
            return False
        if check and finite:
            finite = is_finite(theirs, planned.spec.dtype)
    if not finite:
        non_finite.append(planned.spec.name)
    return True


def is_finite(data: Bytes, dtype: str) -> bool:
    """Whether raw bytes of a float dtype hold no NaN and no Inf."""
    word, mask = _EXPONENT[dtype]
    bits = data.view(word)
    return not bool(((bits & word(mask)) == word(mask)).any())


def _chunks(ref: TensorRef) -> Iterator[Bytes]:
    """The bytes of a tensor in equal steps, whatever ranges they come from."""
    if ref.extents is not None:
        yield from _joined(ref.extents)
        return
    data = ref.read().reshape(-1).view(np.uint8)
    for start in range(0, len(data), _STEP):
        yield data[start : start + _STEP]


def _joined(extents: tuple[Extent, ...]) -> Iterator[Bytes]:
    """Whole steps as views of the file; what crosses the end of a range is put together."""
    pending = bytearray()
    for extent in extents:
        view = extent.view
        while view:
            if not pending and len(view) >= _STEP:
                yield np.frombuffer(view[:_STEP], np.uint8)
                view = view[_STEP:]
                continue
            part = view[: _STEP - len(pending)]
            pending += part
            view = view[len(part) :]
            if len(pending) == _STEP:
                yield np.frombuffer(pending, np.uint8)
                pending = bytearray()
    if pending:
        yield np.frombuffer(pending, np.uint8)
