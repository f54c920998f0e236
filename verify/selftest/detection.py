"""Measure what a verification of a target, on its inputs, would have caught: ``verify SOURCE TARGET --self-test N``."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...converters.errors import UsageError
from ...converters.opened import Opened
from ...mappings.names import counted, listed
from ..compare import FAIL_ABOVE, SANE_ERROR
from ..errors import RuntimeRefusedError
from ..inputs import InputSet
from ..process import call
from ..running import job_of
from ..sides import check_installed, rebuilt_side

Progress = Callable[[str, int, int | None], None]

# More would take hours, and there are not many more layers.
MOST = 4096
_TOLD = 6
_TOLD_TENSORS = 3


@dataclass(frozen=True, slots=True)
class Tried:
    """One mutation: its worst ratio at each size, infinite where the outputs are no numbers or of other shapes.

    ``claim`` is the check that tells it whatever the outputs show (``weights``, ``traits``, ``layers``), None for a
    change that is no mistake.
    """

    name: str
    words: str
    claim: str | None
    ratios: tuple[float, ...]
    seconds: float

    @property
    def ratio(self) -> float:
        """The worst of all sizes."""
        return max(self.ratios)

    @property
    def caught(self) -> bool:
        """Whether the outputs alone would have failed."""
        return self.ratio > FAIL_ABOVE


@dataclass(frozen=True, slots=True)
class Detection:
    """What the outputs alone, judged by the ratio rule, catch of mistakes in this network on these inputs.

    ``tried`` are mistakes, ``harmless`` changes that must pass. ``error`` is the network's own float32 error, worst
    picture. ``values`` has for each tensor how many of its values may be wrong unseen, and how many it has.
    """

    tried: tuple[Tried, ...]
    harmless: tuple[Tried, ...]
    error: float
    values: Mapping[str, tuple[int, int]]
    network: str
    inputs: str
    seconds: float

    @property
    def missed(self) -> tuple[Tried, ...]:
        """Mistakes that the outputs do not show."""
        return tuple(one for one in self.tried if not one.caught)

    @property
    def false_alarms(self) -> tuple[Tried, ...]:
        """Changes that are no mistake and would have failed."""
        return tuple(one for one in self.harmless if one.caught)

    @property
    def lines(self) -> tuple[str, ...]:
        """The result in words."""
        caught = len(self.tried) - len(self.missed)
        passed = len(self.harmless) - len(self.false_alarms)
        found = [
            f"{caught} of {counted(len(self.tried), 'mutation')} of the target caught by the outputs alone, {passed} of"
            f" {len(self.harmless)} harmless changes passed ({self.seconds:.0f} s; {self.network}, torch)"
        ]
        if self.error > SANE_ERROR:
            found.append(f"its own float32 error is {self.error:.1e}: such a network proves nothing by its outputs")
        for one in self.missed[:_TOLD]:
            found.append(f"missed: {one.words} (ratio {one.ratio:.2f}), which the check of the {one.claim} tells")
        if len(self.missed) > _TOLD:
            found.append(f"missed: {len(self.missed) - _TOLD} more, in the JSON")
        found += [f"failed although harmless: {one.words} (ratio {one.ratio:.2f})" for one in self.false_alarms]
        return (*found, self._hash_only())

    def _hash_only(self) -> str:
        unseen, total = (sum(pair[place] for pair in self.values.values()) for place in (0, 1))
        if not unseen:
            return f"each of {total} values would show if it alone were off by its tensor's typical size"
        most = sorted(self.values.items(), key=lambda item: -item[1][0])[:_TOLD_TENSORS]
        where = listed([f"{name} ({hidden} of {held})" for name, (hidden, held) in most if hidden])
        return (
            f"{unseen} of {total} values ({100 * unseen / total:.2g} %) can be off by their tensor's typical size, one"
            f" alone, without failing: the weight check alone proves them; most are in {where}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an infinite ratio is null."""
        return {
            "caught": len(self.tried) - len(self.missed), "of": len(self.tried),
            "false_alarms": len(self.false_alarms), "harmless": [_tried(one) for one in self.harmless],
            "mutations": [_tried(one) for one in self.tried], "error": self.error, "network": self.network,
            "inputs": self.inputs,
            "hash_only": {name: list(pair) for name, pair in self.values.items() if pair[0]},
            "lines": list(self.lines), "seconds": round(self.seconds, 1),
        }  # fmt: skip


def _tried(one: Tried) -> dict[str, Any]:
    finite = one.ratio != float("inf")
    return {
        "name": one.name, "words": one.words, "claim": one.claim, "ratio": one.ratio if finite else None,
        "caught": one.caught,
    }  # fmt: skip


def check_count(count: int) -> None:
    """Raise UsageError for a number of mutations that cannot be asked for."""
    if not 1 <= count <= MOST:
        raise UsageError(f"--self-test {count} is out of range", remedy=f"Say 1 to {MOST}, such as 64.")


def self_test(
    target: Opened,
    inputs: InputSet,
    *,
    count: int,
    seed: int = 0,
    timeout: float,
    progress: Progress = lambda *_: None,
    keep: Path | None = None,
) -> Detection:
    """Mutate a target in memory ``count`` times, run it on the inputs each time, and judge by the outputs alone.

    Our network with the target's weights and traits runs in torch, in one process; ``timeout`` is in seconds for all.
    ``keep`` is a folder for what it gave: ``logits.npz``. Raises MissingPackageError without torch.
    """
    check_count(count)
    check_installed(("torch",))
    started = time.monotonic()
    side = rebuilt_side(target, "torch")
    outputs = target.found.architecture.graph(target.traits).outputs
    if len(outputs) > 1:
        raise RuntimeRefusedError(
            f"the self-test is of networks with one output; this one has {listed(list(outputs))}",
            remedy="Leave out --self-test.",
        )
    progress(f"self-test: {count} mutations", 0, None)
    with tempfile.TemporaryDirectory(prefix="mshub-self-test-") as scratch:
        folder = (keep or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        job = job_of(side, "float32", inputs.save(folder), folder)
        data = {"job": job.as_dict(), "count": count, "seed": seed}
        found = call("selftest.worker", data, folder, what="the self-test", timeout=timeout)
    tried = tuple(
        Tried(
            one["name"], one["words"], one["claim"],
            tuple(float("inf") if ratio is None else ratio for ratio in one["ratios"]), one["seconds"],
        )
        for one in found["mutations"]
    )  # fmt: skip
    return Detection(
        tuple(one for one in tried if one.claim is not None), tuple(one for one in tried if one.claim is None),
        found["own_error"], {name: (pair[0], pair[1]) for name, pair in found["values"].items()},
        side.label, inputs.told, time.monotonic() - started,
    )  # fmt: skip
