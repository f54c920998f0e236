"""The plan: which bytes of the source become which tensors of the target, and everything there is to say about it.

Made from names, shapes and dtypes alone; no tensor is read but BatchNorm counters.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ..mappings.dialects import Grounding, Slot
from ..mappings.folding import BIAS, KERNEL, Fold
from ..mappings.graph import Parameter
from ..mappings.identify import Identification
from ..mappings.names import counted, listed
from .classes import first_rows, shortened
from .findings import Finding, Misshapen, Mistyped, misshapen, missing, mistyped, unexpected
from .folding import FoldedParts
from .record import Carried, Dropped
from .rounding import common_dtype, holds, round_to
from .tensors import FLOATS, Array, Extent, TensorRef, TensorSpec

__all__ = ["COUNTER_REASON", "Finding", "Plan", "Step", "make_plan"]

COUNTER_REASON = "BatchNorm counter; the target's BatchNorm has none"


@dataclass(frozen=True, slots=True)
class Step:
    """One tensor of the target and where its bytes come from.

    ``how`` is ``copy``, ``cut`` (without its last rows), ``reshape`` (the same bytes), ``join`` (split kernels put
    together), ``split``, ``fold``, ``restore`` (from a record) or ``synthesise``; ``cast`` names the dtypes it had
    before, if others.
    """

    key: str
    target: TensorRef
    sources: tuple[str, ...]
    how: str
    cast: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order of the target, and the findings. Nothing may be written while there are problems."""

    source: Grounding
    target: Grounding
    steps: tuple[Step, ...]
    dropped: tuple[Dropped, ...]
    synthesised: tuple[str, ...]
    restored: tuple[str, ...]
    problems: tuple[Finding, ...] = ()
    notices: tuple[Finding, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all target tensors."""
        return sum(step.target.spec.nbytes for step in self.steps)

    def with_findings(self, *, problems: Iterable[Finding] = (), notices: Iterable[Finding] = ()) -> "Plan":
        """The plan with more to say."""
        return replace(self, problems=(*self.problems, *problems), notices=(*self.notices, *notices))

    def strict(self) -> "Plan":
        """The plan with its notices made problems."""
        return replace(self, problems=(*self.problems, *self.notices), notices=())


@dataclass(slots=True)
class _Work:
    """What is found on the way."""

    missing: list[str] = field(default_factory=list)
    misshapen: list[Misshapen] = field(default_factory=list)
    mistyped: list[Mistyped] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    synthesised: list[str] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


def make_plan(
    tensors: Mapping[str, TensorRef],
    found: Identification,
    target: Grounding,
    *,
    carried: Carried,
    dtype: str | None = None,
    folds: Sequence[Fold] = (),
) -> Plan:
    """Join source and target on the canonical key.

    ``dtype`` casts all floating tensors (a declared lossy operation where it narrows); ``folds`` are the BatchNorms
    that a folded target has in its convolutions (lossy too). All problems are collected.
    """
    work = _Work()
    source = found.grounding
    present = {name: tensors[full] for name, full in found.names.items()}
    parts = {key: _source_parts(slot, present, work) for key, slot in source.slots.items()}
    shorter = shortened(source, target)
    parts |= {key: first_rows(parts[key], rows) for key, rows in shorter.items()}
    into = {fold.conv: fold for fold in folds}
    steps: list[Step] = []
    for key, slot in target.slots.items():
        held = parts.get(key)
        if slot.parameter.leaf in (KERNEL, BIAS):
            steps += _folded_steps(slot, into[slot.parameter.module], source, parts, dtype)
        elif held:
            steps += _steps(slot, held, dtype, cut=key in shorter)
        elif slot.parameter.leaf == "count":
            steps.append(_counter_step(slot, carried, work))
    for parameter in target.unnamed:
        work.dropped += _dropped_counter(parameter, parts.get(parameter.key), carried)
    known = source.specs
    surplus = [full for name, full in found.names.items() if name not in known]
    lacking = {name: known[name] for name in work.missing}
    problems = (
        *missing(work.missing, source),
        *misshapen(work.misshapen),
        *mistyped(work.mistyped),
        *unexpected(surplus, source, lacking, {name: tensors[name].spec.shape for name in surplus}),
    )
    return Plan(
        source, target, tuple(steps), tuple(work.dropped), tuple(work.synthesised), tuple(work.restored),
        problems, tuple(_notices(work, found, steps, dtype)),
    )  # fmt: skip


def _source_parts(slot: Slot, present: Mapping[str, TensorRef], work: _Work) -> list[TensorRef]:
    """The tensors of a slot, or nothing when one is missing or does not fit; then that is noted."""
    parts: list[TensorRef] = []
    counter = slot.parameter.leaf == "count"
    for name in slot.names:
        ref = present.get(name)
        if ref is None:
            if not counter:  # files older than torch 0.4.1 have no counters
                work.missing.append(name)
            continue
        spec = ref.spec
        if spec.shape != slot.shape:
            work.misshapen.append(Misshapen(spec.name, slot.shape, spec.shape))
        elif spec.dtype not in (("int64",) if counter else FLOATS):
            work.mistyped.append(Mistyped(spec.name, "int64" if counter else "a float", spec.dtype))
        else:
            parts.append(ref)
    return parts if len(parts) == len(slot.names) else []


def _steps(slot: Slot, parts: Sequence[TensorRef], dtype: str | None, *, cut: bool = False) -> list[Step]:
    """Cut the source's bytes for this parameter into the target's tensors, cast to ``dtype`` where one is given."""
    count = len(slot.names)
    how = "join" if len(parts) > count else "split" if count > len(parts) else "cut" if cut else "copy"
    if how == "copy" and any(part.spec.shape != slot.shape for part in parts):
        how = "reshape"
    wanted = dtype if slot.parameter.leaf != "count" else None
    steps = []
    for index, name in enumerate(slot.names):
        own, place, places = _share(parts, index, count)
        dtypes = {part.spec.dtype for part in own}
        into = wanted or (common_dtype(dtypes) if len(dtypes) > 1 else own[0].spec.dtype)
        spec = TensorSpec(name, slot.shape, into)
        cast = "" if dtypes == {into} else " and ".join(sorted(dtypes))
        extents = None if cast else _cut(own, place, places)
        compute = partial(_compute, own, place, places, into) if extents is None else None
        names = tuple(part.spec.name for part in own)
        steps.append(Step(slot.parameter.key, TensorRef(spec, extents, compute), names, how, cast))
    return steps


def _folded_steps(
    slot: Slot, fold: Fold, source: Grounding, parts: Mapping[str, Sequence[TensorRef]], dtype: str | None
) -> list[Step]:
    """The folded kernel or bias of a convolution; nothing when a tensor of it is missing, which is noted elsewhere."""
    keys = {leaf: f"{fold.norm}.{leaf}" for leaf in ("scale", "shift", "mean", "var")}
    keys["kernel"] = f"{fold.conv}.kernel"
    if not all(parts.get(key) for key in keys.values()):
        return []
    refs = {leaf: _whole(source.slots[key].parameter, parts[key]) for leaf, key in keys.items()}
    folded = FoldedParts(fold, refs)
    into = dtype or refs["kernel"].spec.dtype
    compute = partial(folded.kernel if slot.parameter.leaf == KERNEL else folded.bias, into)
    target = TensorRef(TensorSpec(slot.names[0], slot.shape, into), None, compute)
    names = tuple(part.spec.name for key in keys.values() for part in parts[key])
    return [Step(slot.parameter.key, target, names, "fold")]


def _whole(parameter: Parameter, parts: Sequence[TensorRef]) -> TensorRef:
    """A parameter that may be split, as one tensor."""
    dtype = common_dtype({part.spec.dtype for part in parts})
    spec = TensorSpec(parameter.key, parameter.shape, dtype)
    return TensorRef(spec, None, partial(_compute, tuple(parts), 0, 1, dtype))


def _share(parts: Sequence[TensorRef], index: int, count: int) -> tuple[tuple[TensorRef, ...], int, int]:
    """The source tensors that the ``index``-th of ``count`` targets needs: it is the n-th of m equal ranges of them."""
    if len(parts) % count:
        return tuple(parts), index, count
    share = len(parts) // count
    return tuple(parts[index * share : (index + 1) * share]), 0, 1


def _cut(parts: Sequence[TensorRef], place: int, places: int) -> tuple[Extent, ...] | None:
    """The ``place``-th of ``places`` equal ranges of the parts' bytes, or None when they are not plain bytes."""
    extents: list[Extent] = []
    for part in parts:
        if part.extents is None:
            return None
        extents += part.extents
    length = sum(extent.length for extent in extents) // places
    start, end = place * length, (place + 1) * length
    cut: list[Extent] = []
    position = 0
    for extent in extents:
        low, high = max(start, position), min(end, position + extent.length)
        if low < high:
            cut.append(extent.part(low - position, high - low))
        position += extent.length
    return tuple(cut)


def _compute(parts: Sequence[TensorRef], place: int, places: int, dtype: str) -> Array:
    """What ``_cut`` points at, cast to ``dtype``."""
    arrays = [part.read().reshape(-1) for part in parts]
    whole = arrays[0] if len(arrays) == 1 else np.concatenate([round_to(array, dtype) for array in arrays])
    length = len(whole) // places
    return round_to(whole[place * length : (place + 1) * length], dtype)


def _counter_step(slot: Slot, carried: Carried, work: _Work) -> Step:
    """A counter the source has no tensor for: from the record of the source, or 0."""
    name = slot.names[0]
    kept = carried.counters.get(slot.parameter.key)
    if kept is not None and kept.values is not None and len(kept.values) == 1:
        work.restored.append(name)
        value, how = kept.values[0], "restore"
    else:
        work.synthesised.append(name)
        value, how = 0, "synthesise"
    array = np.array(value, np.int64)
    return Step(slot.parameter.key, TensorRef(TensorSpec(name, (), "int64"), None, lambda: array), (), how)


def _dropped_counter(parameter: Parameter, parts: Sequence[TensorRef] | None, carried: Carried) -> list[Dropped]:
    """Keep the value of a counter the target cannot hold, so that going back is bit-identical."""
    if parts:
        value = int(parts[0].read())
        return [Dropped(parameter.key, COUNTER_REASON, "int64", (), (value,))]
    kept = carried.counters.get(parameter.key)
    return [kept] if kept is not None else []


def _notices(work: _Work, found: Identification, steps: Sequence[Step], dtype: str | None) -> Iterable[Finding]:
    if found.prefix not in ("", found.dialect.wrapper):
        yield Finding("prefix", f"stripped the prefix {found.prefix} from {counted(len(found.names), 'name')}")
    if found.training:
        fact = f"left out {counted(len(found.training), 'tensor')} of optimiser and training loop"
        yield Finding("training", fact, found.training)
    if found.copies:
        fact = f"left out another set of {counted(len(found.copies), 'weight')}"
        yield Finding("copies", fact, found.copies, "Pick it with --select PREFIX.")
    if work.synthesised:
        fact = f"{counted(len(work.synthesised), 'BatchNorm counter')} not in the source, set to 0"
        yield Finding("synthesised", fact, tuple(work.synthesised))
    folded = sum(step.how == "fold" and step.key.endswith(KERNEL) for step in steps)
    if folded:
        fact = f"{counted(folded, 'BatchNorm')} folded into convolutions, in float64 and rounded once: lossy, as asked"
        yield Finding("fold", fact, (), "Keep the source: scale, shift, mean and variance cannot be had back.")
    floats = [step for step in steps if step.target.spec.dtype in FLOATS]
    if dtype:
        held = {cast for step in floats for cast in step.cast.split(" and ") if cast}
        lossy = sorted(name for name in held if not holds(dtype, name))
        if lossy:
            yield Finding("cast", f"rounding {listed(lossy)} weights to {dtype}: lossy, as asked")
        return
    kept = sorted({step.target.spec.dtype for step in floats})
    if kept and kept != ["float32"]:
        yield Finding("floats", f"weights are {listed(kept)}; they stay so", (), "Use --dtype float32 to widen them.")
    mixed = [step.target.spec.name for step in floats if step.cast]
    if mixed:
        fact = f"{counted(len(mixed), 'kernel')} joined from parts of several dtypes, in one that holds all"
        yield Finding("mixed", fact, tuple(mixed))
