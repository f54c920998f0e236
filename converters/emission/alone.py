"""A network asked of a .ckpt that is there already: then nothing is converted, and the file stays as it is."""

from dataclasses import replace
from pathlib import Path

from ..errors import UsageError
from ..opened import Opened
from ..plan import Plan
from ..target import Target


def named_as_source(target: Target, opened: Opened, destination: Path) -> Target:
    """The target with the source's own names, where they fit and nobody asked for others."""
    own = opened.found.dialect
    if not target.by_default or own.framework != target.framework or not _is_source(target, opened, destination):
        return target
    return replace(target, dialect=own, by_default=False)


def is_alone(target: Target, plan: Plan, opened: Opened, destination: Path) -> bool:
    """Whether only the network is to be written: the output would be the source, byte for byte."""
    if plan.problems or not _is_source(target, opened, destination):
        return False
    # What a dialect puts before all names may be missing: the module adds it.
    as_read = any(_is_copy(plan, lacking) for lacking in ("", plan.target.dialect.wrapper))
    if as_read and len(plan.steps) == len(opened.checkpoint.tensors):
        return True
    raise UsageError(
        f"{destination} is the source itself, and a network with the names of {plan.target.dialect.name} would not"
        " load it as it is",
        remedy="Give another -o: what the network loads is written there.",
    )


def _is_copy(plan: Plan, lacking: str) -> bool:
    """Whether every tensor is the source's own, but that there ``lacking`` is not before the names."""
    return all(
        step.how == "copy" and not step.cast and step.sources == (step.target.spec.name.removeprefix(lacking),)
        for step in plan.steps
    )


def _is_source(target: Target, opened: Opened, destination: Path) -> bool:
    return target.emit_network is not None and destination.exists() and destination.samefile(opened.source.file)
