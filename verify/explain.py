"""What explains a difference before any layer is looked at: misread files, other traits, a library's own network."""

from collections.abc import Mapping

from ..converters.decided_traits import TRAIT_SAID
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
    advice = "; ".join(dict.fromkeys(_advice(source, target, *item) for item in differences.items()))
    return f"{told} (source: {source.traits_from}; target: {target.traits_from}); {advice}"


def said_against_the_file(source: Opened, target: Opened) -> tuple[str, ...]:
    """Traits that were said although a file tells others."""
    return tuple(
        f"{side}: {notice.message}"
        for side, opened in (("source", source), ("target", target))
        for notice in opened.notices
        if notice.code == TRAIT_SAID
    )


def _advice(source: Opened, target: Opened, name: str, values: tuple[str | float, str | float]) -> str:
    """What to say, or not to say, about a trait: what a file itself tells is not to be talked out of it."""
    ours, theirs = values
    against = []
    for opened, option, value, other in ((target, "--trait", theirs, ours), (source, "--source-trait", ours, theirs)):
        own = opened.traits_of_file
        if own is not None and (told := own.as_dict()[name]) != value:
            said = f"leave out {option} {name}={value}: {opened.source.file.name} itself tells {told}"
            against.append((told != other, said))
    if against:  # first what makes both equal
        return min(against, key=lambda item: item[0])[1]
    if target.traits_of_file is None:
        return f"if the target was converted from this source, say --trait {name}={ours}"
    if source.traits_of_file is None and source.source.library is None:
        return f"if the target was converted from this source, say --source-trait {name}={theirs}"
    return "both tell so themselves: they are two functions"


def library_check(target: Opened, side: Side, failure: str) -> LibraryCheck:
    """The library's own network beside the weights' traits."""
    traits = listed([
        f"{name}={theirs} where the weights need {ours}"
        for name, (ours, theirs) in target.traits.differences(target.found.dialect.traits).items()
    ])  # fmt: skip
    loader = "load_mindspore" if side.runtime == "mindspore" else "load_torch"
    return LibraryCheck(side.label, traits, loader, failure)
