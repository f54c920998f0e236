"""Open a source: choose the set of weights, identify it, and find its traits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..mappings.architectures import architecture
from ..mappings.dialects import BUILTIN
from ..mappings.identify import Identification, UnidentifiedError, identify
from ..mappings.names import listed
from ..mappings.traits import Traits
from ..mappings.wrappers import wrapper_prefix
from .codecs import open_checkpoint
from .errors import PlanError, UsageError, shown
from .findings import Finding
from .record import NOTHING_CARRIED, Carried, carried, read_sidecar
from .sources import Source
from .tensors import Checkpoint, TensorRef


@dataclass(frozen=True, slots=True)
class Opened:
    """A source whose file is open and whose network is known.

    ``selected`` is the dotted path of the chosen weights inside a .pth; ``traits_from`` says in words where the
    traits were found.
    """

    source: Source
    checkpoint: Checkpoint
    tensors: Mapping[str, TensorRef]
    selected: str
    found: Identification
    traits: Traits
    traits_from: str
    carried: Carried
    problems: tuple[Finding, ...]
    notices: tuple[Finding, ...]

    def close(self) -> None:
        """Close the file."""
        self.checkpoint.close()


def open_source(
    source: Source,
    *,
    traits: Mapping[str, str] | None = None,
    select: str | None = None,
    dialect: str | None = None,
) -> Opened:
    """Open the file of a source; raises for files that cannot be read or are no network of ours.

    ``traits`` override all others by name; ``select`` picks a set of weights; ``dialect`` (a name or a TOML file)
    says the names instead of finding out.
    """
    checkpoint = open_checkpoint(source.file)
    try:
        return _open(source, checkpoint, traits or {}, select, dialect)
    except BaseException:
        checkpoint.close()
        raise


def _open(
    source: Source, checkpoint: Checkpoint, overrides: Mapping[str, str], select: str | None, dialect: str | None
) -> Opened:
    selected, tensors, prefix = _select(checkpoint, select)
    shapes = {name: ref.spec.shape for name, ref in tensors.items()}
    wanted = dialect or source.dialect
    try:
        found = identify(shapes, dialects=(wanted,) if wanted else BUILTIN, select=prefix)
    except UnidentifiedError as error:
        raise PlanError(f"{source.file}: {error.message}", remedy=error.remedy or _UNIDENTIFIED) from None
    source, retrained = _without_facts_of_others(source, found)
    kept, complaints = _earlier_record(source, checkpoint)
    notices = [Finding("source", text) for text in source.notices]
    notices += retrained
    notices += [Finding("file", text) for text in checkpoint.notes]
    notices += [Finding("record", text) for text in complaints]
    own = found.dialect
    base, where = own.traits, f"the default of the dialect {own.name}; no record says otherwise"
    if kept.traits is not None:
        base, where = kept.traits, f"the record in {kept.where}"
    result = base.with_values(overrides)
    if overrides:
        if kept.traits is not None:
            changes = result.differences(base).items()
            notices += [_overridden(name, ours, theirs, where) for name, (ours, theirs) in changes]
        where = f"--trait, and {where}"
    elif kept.traits is None and own.framework == "mindspore":
        said = ", ".join(f"{name}={value}" for name, value in base.as_dict().items())
        notices.append(Finding(
            "traits", f"no record in the file: taking the traits of {own.name}'s own networks ({said})", (),
            "If it was converted from PyTorch weights, say --trait stem_pool=symmetric.",
        ))  # fmt: skip
    problems = (*_broken_promise(source, found), *_not_the_models(source, kept))
    return Opened(source, checkpoint, tensors, selected, found, result, where, kept, problems, tuple(notices))


def _overridden(name: str, said: object, before: object, where: str) -> Finding:
    return Finding("trait-said", f"{name}={said} as said with --trait; {where} says {before}")


_UNIDENTIFIED = "Supported are ResNet and ResNeXt with bottleneck blocks; see `mshub-convert list`."


def _select(checkpoint: Checkpoint, select: str | None) -> tuple[str, Mapping[str, TensorRef], str | None]:
    """The chosen set of weights: a dictionary inside the file by its path, else a prefix of the names."""
    chosen = next((path for path, tensors in checkpoint.sets.items() if tensors is checkpoint.tensors), "")
    if select is None:
        return chosen, checkpoint.tensors, None
    if select in checkpoint.sets:
        return select, checkpoint.sets[select], None
    if any(name.startswith(select) for name in checkpoint.tensors):
        return chosen, checkpoint.tensors, select
    known = [path for path in checkpoint.sets if path.strip(".")]
    if not known:
        prefixes = (wrapper_prefix(name).removesuffix(".") for name in checkpoint.tensors)
        known = [prefix for prefix in dict.fromkeys(prefixes) if prefix]
    remedy = f"It holds {listed(list(map(shown, known)))}." if known else "Leave out --select: it holds one set."
    raise UsageError(f"{checkpoint.path} has no weights called {select!r}", remedy=remedy)


def _earlier_record(source: Source, checkpoint: Checkpoint) -> tuple[Carried, list[str]]:
    """The record in the file, else the one beside it; and what is wrong with those that could not be used."""
    name = source.file.name
    kept, complaint = carried(checkpoint.record, where=name)
    complaints = [complaint]
    if kept is NOTHING_CARRIED:
        sidecar, complaint = read_sidecar(source.file)
        complaints.append(complaint)
        kept, complaint = carried(sidecar, where=f"the sidecar of {name}")
        complaints.append(complaint)
    return kept, [text for text in complaints if text]


def _broken_promise(source: Source, found: Identification) -> tuple[Finding, ...]:
    """What the address says against what the file holds."""
    if source.architecture is None:
        return ()
    promised = architecture(source.architecture, classes=found.architecture.classes)
    if promised == found.architecture:
        return ()
    fact = f"{source.address} is {promised.name}, the file {source.file.name} holds {found.architecture.name}"
    remedy = "Give the file that belongs to the model, or convert the file by its path."
    return (Finding("architecture", fact, (), remedy),)


def _without_facts_of_others(source: Source, found: Identification) -> tuple[Source, list[Finding]]:
    """A file with another classifier than the published one is not it: what is stated of that does not hold for it."""
    actual = found.architecture.classes
    if source.origin.kind != "stated" or source.classes in (None, actual):
        return source, []
    own = {key: value for key, value in source.facts.items() if key in ("library", "library_version")}
    fact = (
        f"{source.file.name} has {actual} classes, {source.address} has {source.classes}: trained further,"
        " so tag, licence and accuracy of the published weights are not recorded"
    )
    return replace(source, facts=own), [Finding("classes", fact)]


def _not_the_models(source: Source, kept: Carried) -> tuple[Finding, ...]:
    """Drawn weights, by their own record, that are said to be a model's."""
    drawn = kept.text("origin")
    if source.origin.kind != "stated" or not drawn.startswith("calibrated"):
        return ()
    fact = f"{source.file.name} is said to be {source.address}, but the record in it says drawn weights ({drawn})"
    return (Finding("origin", fact, (), f"Convert the file by its path, or use --init {drawn}."),)
