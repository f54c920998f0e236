"""Which of a network's values are kept when it runs: outputs, stages, or the output of every node."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..runtimes.job import Values, Watch


def kept(
    values: Iterable[tuple[str, Any]],
    outputs: Mapping[str, str],
    taps: Mapping[str, str],
    watch: Watch,
    as_array: Callable[[Any], Any],
) -> tuple[Values, Values]:
    """Outputs and watched values, as arrays, from those of all nodes as they come.

    ``outputs`` and ``taps`` tell names and the nodes' values they stand for.
    """
    wanted = set(outputs.values()) | (set(taps.values()) if watch == "stages" else set())
    found = {name: as_array(value) for name, value in values if watch == "values" or name in wanted}
    stages = {tap: found[value] for tap, value in taps.items()} if watch == "stages" else {}
    return {name: found[value] for name, value in outputs.items()}, found if watch == "values" else stages
