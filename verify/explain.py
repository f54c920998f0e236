"""What explains a difference before any layer is looked at: misread files, other traits, a library's own network."""

from collections.abc import Mapping

from ..converters.opened import Opened
from ..mappings.names import collapse, listed
from .judge import LibraryCheck
from .runtimes import Outcome
from .sides import Side
from .weights import misread


def misread_files(source: Opened, target: Opened, runs: Mapping[str, Outcome]) -> tuple[str, ...]:
    """Files that a framework's own loader reads differently from us."""
    found = []
    for opened, name in ((source, "source"), (target, "target")):
        names = misread(opened, runs[name].hashes)
        if names:
            found.append(
                f"{runs[name].loader} reads other bytes than we do for {listed(collapse(names)[:6])} of the {name}"
            )
    return tuple(found)


def trait_cause(source: Opened, target: Opened) -> str:
    """How the traits of the two sides differ, and what to say if that is not meant; empty if they do not."""
    differences = source.traits.differences(target.traits)
    if not differences:
        return ""
    told = listed([
        f"{name} is {ours} in the source and {theirs} in the target" for name, (ours, theirs) in differences.items()
    ])  # fmt: skip
    if target.recovered is not None:
        return told
    options = " ".join(f"--trait {name}={ours}" for name, (ours, _) in differences.items())
    return f"{told} (target: {target.traits_from}); if the target was converted from this source, say {options}"


def library_check(target: Opened, side: Side, failure: str) -> LibraryCheck:
    """The library's own network beside the weights' traits."""
    traits = listed([
        f"{name}={theirs} where the weights need {ours}"
        for name, (ours, theirs) in target.traits.differences(target.found.dialect.traits).items()
    ])  # fmt: skip
    loader = "load_mindspore" if side.runtime == "mindspore" else "load_torch"
    return LibraryCheck(side.label, traits, loader, failure)
