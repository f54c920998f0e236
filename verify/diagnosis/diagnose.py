"""Find out why a target is not its source: watch both, compare layer by layer, and look for the cause."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converters.opened import Opened
from ...mappings.errors import MshubConvertError
from ...mappings.folding import folds
from ...mappings.graph import Graph
from ...mappings.names import listed
from ..inputs import InputSet
from ..networks import exact
from ..running import first_pictures, job_of
from ..runtimes import FileNetwork, GraphNetwork, Outcome, run
from ..runtimes.job import Values
from ..runtimes.where import CPU
from ..sides import Side, rebuilt_side
from .hypotheses import Cause, explain
from .layers import Deviation, deviations, distance
from .parameters import like_target, parameters
from .result import Diagnosis, Fault, Point
from .tensors import Difference, Pair, differences

Array = npt.NDArray[Any]
Progress = Callable[[str, int, int | None], None]

# Sizes that are looked at; one picture of each shows what is wrong with a layer.
_SIZES = 2


def diagnose(
    source: Opened,
    target: Opened,
    target_side: Side,
    inputs: InputSet,
    folder: Path,
    *,
    timeout: float,
    progress: Progress = lambda *_: None,
) -> Diagnosis:
    """Watch source and target on a picture of each size and say which layers are wrong, and why.

    ``target_side`` is what ran and failed; where it shows nothing of its inside, our network with the file's weights
    and traits is looked into instead. Files go into ``folder``. What a runtime cannot do becomes a notice.
    """
    started = time.monotonic()
    pictures = first_pictures(inputs.save(folder)[:_SIZES], 1, folder)
    watched_side = target_side
    if not _has_values(target_side):
        rebuilt = rebuilt_side(target, target_side.runtime)
        watched_side = replace(rebuilt, device=target_side.device, index=target_side.index)
    notices: list[str] = []
    runs: dict[str, tuple[Values, ...]] = {}
    for name, side in (("source", rebuilt_side(source, "torch")), ("target", watched_side)):
        progress(f"watching the {name} ({side.runtime})", 0, None)
        try:
            runs[name] = _watch(name, side, pictures, folder, timeout).watched
        except MshubConvertError as error:
            runs[name] = tuple({} for _ in pictures)
            notices.append(f"the layers of the {name} could not be watched: {error.message.splitlines()[0]}")
    progress("comparing layers", 0, None)
    found = compare(
        source, target, [np.load(path, allow_pickle=False) for path in pictures], runs["target"], runs["source"],
        half=watched_side.half or watched_side.device != CPU,
    )  # fmt: skip
    if watched_side is not target_side and runs["target"][0]:
        notices.append(_instead(found, target_side))
    elif runs["target"][0] and not found.faults and not found.unseen:
        notices.append(_nothing(source, target))
    return Diagnosis(
        watched_side.label, found.faults, found.unseen, found.curve, tuple(notices), time.monotonic() - started
    )  # fmt: skip


def _has_values(side: Side) -> bool:
    if isinstance(side.network, FileNetwork):
        return bool(side.network.values)
    return isinstance(side.network, GraphNetwork)


def _instead(found: "Found", side: Side) -> str:
    if found.faults or found.unseen:
        return f"looked into our own network with the file's weights: {side.label} does not show its layers"
    return (
        f"our own network with the file's weights and traits is right in every layer: the fault is not in the weights"
        f" but in {side.label} as {side.runtime} runs it"
    )


def _nothing(source: Opened, target: Opened) -> str:
    differing = [
        f"{name} {theirs} where the source has {ours}"
        for name, (ours, theirs) in source.traits.differences(target.traits).items()
    ]
    if differing:
        return f"no layer shows it by itself, and all parameters are right; what differs is {listed(differing)}"
    return "no layer is wrong by itself, and all parameters are right: roundings add up to the difference"


def _watch(name: str, side: Side, pictures: tuple[Path, ...], folder: Path, timeout: float) -> Outcome:
    output = folder / f"watched-{name}"
    return run(job_of(side, side.precision, pictures, output, batch=side.batch, watch="values"), timeout=timeout)


@dataclass(slots=True)
class Found:
    """What a comparison of layers found."""

    faults: tuple[Fault, ...] = ()
    unseen: tuple[Difference, ...] = ()
    curve: tuple[Point, ...] = ()


@dataclass(slots=True)
class _Case:
    """What is known of one layer that is wrong, from all sizes."""

    deviation: Deviation
    parameters: tuple[Difference, ...]
    causes: tuple[Cause, ...] = ()
    explained: bool = False


@dataclass(slots=True)
class _Both:
    """Parameters of both sides for the layers of the source's graph."""

    graph: Graph
    target_graph: Graph
    pair: Pair
    differing: Mapping[str, Difference]
    cases: dict[str, _Case] = field(default_factory=dict)

    def ours(self, key: str) -> Array:
        """The source's, as the target should have it."""
        return self.pair.source.arrays[key].astype(np.float64)

    def theirs(self, key: str) -> Array:
        """The target's."""
        return self.pair.target.arrays[key].astype(np.float64)


def compare(
    source: Opened,
    target: Opened,
    pictures: Iterable[Array],
    watched: Iterable[Values],
    of_source: Iterable[Values] = (),
    *,
    half: bool = False,
) -> Found:
    """Compare layers and parameters of two files.

    ``watched`` has the target's values by node for each of ``pictures`` (float32, (N, 3, H, W)), ``of_source`` those
    of a float32 run of the source. ``half`` says that the target computes in float16, or may where it runs.
    """
    graph = target.network.graph(source.traits)
    original, theirs = parameters(source, graph), parameters(target, graph)
    pair = Pair(
        like_target(original, theirs, graph), theirs, original, {module.path: module for module in graph.modules}
    )
    found = differences(pair, {fold.conv: (fold.norm, fold.epsilon) for fold in folds(graph)})
    both = _Both(graph, target.network.graph(target.traits), pair, {item.key: item for item in found})
    pictures, watched = list(pictures), list(watched)
    for batch, values in zip(pictures, watched, strict=True):
        for deviation in deviations(graph, both.ours, values, batch, half=half):
            if deviation.wrong:
                _look_into(deviation, both)
    seen = {item.key for case in both.cases.values() for item in case.parameters}
    stages = _stages(graph)
    faults = tuple(_fault(value, case, stages) for value, case in both.cases.items())
    curve = _curve(both, pictures[0], next(iter(of_source), {}), watched[0]) if watched and watched[0] else ()
    return Found(faults, tuple(item for item in found if item.key not in seen), tuple(curve))


def _look_into(deviation: Deviation, both: _Both) -> None:
    """Why a layer is wrong: its parameters if they explain it, and what it does with them."""
    value = deviation.segment.nodes[-1].output
    case = both.cases.get(value)
    if case is None:
        keys = [name for node in deviation.segment.nodes for name in node.inputs if name in both.differing]
        case = both.cases[value] = _Case(deviation, tuple(both.differing[key] for key in keys))
    elif deviation.error > case.deviation.error:
        case.deviation = deviation
    if case.explained:
        return
    if case.parameters and distance(deviation.value, deviation.segment.run(both.theirs)) <= deviation.limit:
        case.explained = True
        return
    cause = explain(deviation, both.theirs, both.target_graph)
    if cause is not None:
        case.causes, case.explained = (cause,), True


def _fault(value: str, case: _Case, stages: Mapping[str, str]) -> Fault:
    nodes = case.deviation.segment.nodes
    layer = next((node.name for node in reversed(nodes) if len(node.inputs) > 1), nodes[-1].name)
    return Fault(
        layer, stages[value], case.deviation.error, case.deviation.floor, case.parameters, case.causes, case.explained
    )


def _stages(graph: Graph) -> dict[str, str]:
    """The tap that each value leads to."""
    ends = {value: tap for tap, value in graph.taps.items()}
    found: dict[str, str] = {}
    waiting: list[str] = []
    for node in graph.nodes:
        waiting.append(node.output)
        if node.output in ends:
            found |= dict.fromkeys(waiting, ends[node.output])
            waiting = []
    return found | dict.fromkeys(waiting, "after the last")


def _curve(both: _Both, batch: Array, of_source: Values, of_target: Values) -> Iterable[Point]:
    """Errors against float64 from the input on, where the target has a value."""
    stages, original = _stages(both.graph), both.pair.original
    rounded = original.dtype != both.pair.target.dtype
    references = [exact.values(both.graph, original.arrays, batch)]
    references += [exact.values(both.graph, both.pair.source.arrays, batch)] if rounded else []
    for (name, mine), *others in zip(*references, strict=True):
        if name in of_target:
            theirs = others[0][1] if others else mine
            yield Point(name, stages[name], _error(of_source.get(name), mine), _error(of_target[name], theirs))


def _error(value: Array | None, reference: Array) -> float:
    """Relative L2; a classifier's rows beyond the reference's are left out."""
    if value is not None and value.ndim == 2 == reference.ndim:
        value = value[:, : reference.shape[1]]
    if value is None or value.shape != reference.shape:
        return float("nan")
    norm = max(float(np.linalg.norm(reference)), float(np.finfo(np.float64).tiny))
    return float(np.linalg.norm(value.astype(np.float64) - reference)) / norm
