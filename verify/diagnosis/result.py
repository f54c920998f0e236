"""What was found wrong with a target, layer by layer, in words and as plain values."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ...mappings.names import collapse, counted
from .hypotheses import Cause
from .tensors import Difference

# When both sides are looked into layer by layer.
Layers = Literal["on failure", "always", "never"]

_MOST = 12


@dataclass(frozen=True, slots=True)
class Fault:
    """A layer that gives something else than the source's would on the same input.

    ``error`` and ``rounding`` are relative to a typical channel of its output, worst channel. ``parameters`` are those
    of its own that differ, ``causes`` what it does beside. ``explained`` says that these together give what it gave.
    """

    layer: str
    stage: str
    error: float
    rounding: float
    parameters: tuple[Difference, ...]
    causes: tuple[Cause, ...]
    explained: bool


@dataclass(frozen=True, slots=True)
class Point:
    """How far a value is from float64 from the input on, on both sides: relative L2; NaN where shapes differ."""

    value: str
    stage: str
    source: float
    target: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a target is not its source.

    ``network`` says what was looked into; ``unseen`` are parameters that differ in layers whose output does not show
    it on these pictures. ``notices`` are what could not be looked at, and what it means that nothing was found.
    """

    network: str
    faults: tuple[Fault, ...]
    unseen: tuple[Difference, ...]
    curve: tuple[Point, ...]
    notices: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def first(self) -> str:
        """The first line, for where there is room for one; empty where nothing was found."""
        return next(iter(self.lines), "")

    @property
    def lines(self) -> tuple[str, ...]:
        """What is wrong, a sentence a cause; equal causes of several layers are one."""
        said = [*_parameter_lines(d for fault in self.faults for d in fault.parameters)]
        causes: dict[tuple[str, str], list[str]] = {}
        for fault in self.faults:
            for cause in fault.causes:
                causes.setdefault((cause.kind, cause.said), []).append(cause.layer)
        for (_, words), layers in causes.items():
            said.append(f"{_layers(layers)}: {words}")
        open_ = [fault.layer for fault in self.faults if not fault.explained]
        if open_:
            worst = max(fault.error for fault in self.faults if not fault.explained)
            why = "what it gives is explained by nothing tried" if len(open_) == 1 else "explained by nothing tried"
            said.append(f"{_layers(open_)}: {why} (error {worst:.1e})")
        for line in _parameter_lines(self.unseen):
            said.append(f"{line} (not seen in what the layer gives on these pictures)")
        if len(said) > _MOST:
            said = [*said[:_MOST], f"and {len(said) - _MOST} more, in the JSON"]
        return (*said, *self.notices)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an error that is no number is null."""
        return {
            "network": self.network,
            "faults": [
                {
                    "layer": fault.layer, "stage": fault.stage, "error": _number(fault.error),
                    "rounding": _number(fault.rounding), "explained": fault.explained,
                    "parameters": [_difference(item) for item in fault.parameters],
                    "causes": [{"kind": c.kind, "layer": c.layer, "said": c.said} for c in fault.causes],
                }
                for fault in self.faults
            ],
            "unseen": [_difference(item) for item in self.unseen],
            "curve": [
                {"value": p.value, "stage": p.stage, "source": _number(p.source), "target": _number(p.target)}
                for p in self.curve
            ],
            "lines": list(self.lines), "notices": list(self.notices), "seconds": round(self.seconds, 1),
        }  # fmt: skip


def _parameter_lines(found: Iterable[Difference]) -> Iterable[str]:
    """One line for each thing that is wrong with parameters, those that share it together."""
    grouped: dict[str, list[Difference]] = {}
    for item in found:
        grouped.setdefault(item.said, []).append(item)
    for said, items in grouped.items():
        sources, targets = (_names(names) for names in ([d.source for d in items], [d.target for d in items]))
        where = sources if sources == targets else f"{targets} ({sources} in the source)"
        yield f"{where}: {said}"


def _names(names: list[str]) -> str:
    patterns = collapse(dict.fromkeys(names))
    return ", ".join(patterns[:4]) + (f" and {len(patterns) - 4} more" if len(patterns) > 4 else "")


def _layers(layers: list[str]) -> str:
    layers = list(dict.fromkeys(layers))
    return _names(layers) if len(layers) == 1 else f"{counted(len(layers), 'layer')} ({_names(layers)})"


def _difference(item: Difference) -> dict[str, str]:
    return {
        "key": item.key, "kind": item.kind, "said": item.said, "source": item.source, "target": item.target
    }  # fmt: skip


def _number(value: float) -> float | None:
    return value if value == value and abs(value) != float("inf") else None
