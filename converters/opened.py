"""Open a source: choose the set of weights, identify it, and find its traits."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from ..mappings.architectures import Architecture, named_like
from ..mappings.dialects import BUILTIN
from ..mappings.identify import Identification, UnidentifiedError, identify
from ..mappings.names import listed
from ..mappings.traits import Traits
from ..mappings.wrappers import wrapper_prefix
from . import backbone as bodies
from .claims import as_it_is, relative_of_its_name
from .classes import can_cut, check_asked, told, too_many
from .codecs import open_checkpoint
from .decided_traits import decided, other_activations, traits_shown
from .errors import PlanError, UsageError, shown
from .findings import Finding
from .graphs.recovered import Recovered
from .openmmlab import Said, said_by
from .record import NOTHING_CARRIED, Carried, carried, read_sidecar
from .sources import Origin, Source
from .tensors import Checkpoint, TensorRef

# What is recorded of BatchNorms that got statistics.
CALIBRATED = "BatchNorm statistics calibrated"


@dataclass(frozen=True, slots=True)
class Opened:
    """A source whose file is open and whose network is known.

    ``selected`` is the dotted path of the chosen weights inside a .pth; ``traits_from`` says in words where the
    traits were found; ``classes`` are those that a target gets: all, or the first ones where the others are left out;
    none where only the backbone is asked for, of which ``found`` tells then.
    ``whole`` is the network that it is the backbone of, where the source holds more.
    ``recovered`` is what was found in a file that holds the graph itself; ``operations`` were done to the tensors
    since they were read; ``traits_of_file`` are the traits that the file itself tells, whatever was said, if it does.
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
    classes: int
    recovered: Recovered | None = None
    operations: tuple[str, ...] = ()
    traits_of_file: Traits | None = None
    whole: Architecture | None = None

    @property
    def network(self) -> Architecture:
        """The network that a target gets."""
        return self.found.architecture.with_classes(self.classes)

    @property
    def passes_on(self) -> bool:
        """Whether what its own record says of the weights is all there is: the source is a mere file."""
        return self.source.origin.kind in ("file", "memory") and bool(self.carried.data)

    @property
    def facts(self) -> Mapping[str, object]:
        """What is known of the weights: from the record of a mere file, else from where they come from."""
        return bodies.facts_of(self.carried.facts if self.passes_on else self.source.facts, self.classes)

    @property
    def folded(self) -> bool:
        """Whether the file has BatchNorms folded into convolutions."""
        return self.recovered is not None and self.recovered.folded > 0

    def close(self) -> None:
        """Close the file."""
        self.checkpoint.close()


def open_source(
    source: Source,
    *,
    traits: Mapping[str, str] | None = None,
    select: str | None = None,
    dialect: str | None = None,
    classes: int | None = None,
    backbone: bool = False,
) -> Opened:
    """Open the file of a source; raises for files that cannot be read or are no network of ours.

    ``traits`` override all others by name; ``select`` picks a set of weights; ``dialect`` (a name or a TOML file)
    says the names instead of finding out; ``classes`` leaves out the last rows of the classifier; ``backbone`` all
    of it, or the heads of a detector.
    """
    check_asked(classes, backbone=backbone)
    checkpoint = open_checkpoint(source.file)
    try:
        return _open(source, checkpoint, traits or {}, select, dialect, classes, backbone=backbone)
    except BaseException:
        checkpoint.close()
        raise


def _open(
    source: Source,
    checkpoint: Checkpoint,
    overrides: Mapping[str, str],
    select: str | None,
    dialect: str | None,
    classes: int | None,
    *,
    backbone: bool,
) -> Opened:
    selected, tensors, prefix = _select(checkpoint, select)
    wanted = dialect or source.dialect
    kept, complaints = _earlier_record(source, checkpoint)
    recovered: Recovered | None = None
    if checkpoint.graph is not None:
        from .graphs.identify import identified, recovered_from  # files of weights start faster without it

        norm_eps = kept.traits.norm_eps if kept.traits is not None else None
        recovered = recovered_from(checkpoint, checkpoint.graph, norm_eps)
        found, tensors = identified(recovered, wanted)
    else:
        found = _identified(source, tensors, wanted, prefix)
    source, retrained = _without_facts_of_others(_as_recorded(source, kept), found)
    source, contradicted = as_it_is(source, found)
    stated = _stated(source, checkpoint, found, known=overrides if kept.traits is None else Traits().as_dict())
    source = replace(source, facts={**source.facts, "training": stated.facts}) if stated.facts else source
    notices = [Finding("source", text) for text in source.notices]
    notices += [*retrained, *contradicted, *told(classes, source, found)]
    notices += [Finding("file", text) for text in checkpoint.notes]
    notices += [Finding("record", text) for text in complaints]
    notices += stated.notices
    seen = (
        recovered.traits if recovered is not None else traits_shown(checkpoint, found.dialect, found.architecture, kept)
    )
    notices += other_activations(checkpoint, found.architecture)
    notices += recovered.notices if recovered is not None else ()
    traits = decided(
        source, found.dialect, found.architecture, kept, overrides=overrides, configured=stated.traits, seen=seen
    )  # fmt: skip
    notices += traits.notices
    problems = (
        *_broken_promise(source, found), *_not_the_models(source, kept), *too_many(classes, source, found),
        *(() if recovered or kept.data else relative_of_its_name(source, checkpoint.metadata.get("arch"))),
    )  # fmt: skip
    body = bodies.alone(found, source.file.name) if backbone else None
    if body is not None:
        found, notices = body.found, [*notices, *body.notices]
        source = replace(source, model=f"{source.model}_backbone") if body.whole is not None else source
    else:
        problems = (*problems, *bodies.unasked(found, source.file.name, kept))
    held = found.architecture.classes
    return Opened(
        source, checkpoint, tensors, selected, found, traits.traits, traits.where, kept, problems, tuple(notices),
        min(classes or held, held) if can_cut(found) else held, recovered, traits_of_file=traits.of_file,
        whole=body.whole if body is not None else None,
    )  # fmt: skip


def _identified(
    source: Source, tensors: Mapping[str, TensorRef], wanted: str | None, prefix: str | None
) -> Identification:
    """What names and shapes say."""
    shapes = {name: ref.spec.shape for name, ref in tensors.items()}
    try:
        return identify(shapes, dialects=(wanted,) if wanted else BUILTIN, select=prefix)
    except UnidentifiedError as error:
        raise PlanError(f"{source.file}: {error.message}", remedy=error.remedy or _UNIDENTIFIED) from None


def _stated(source: Source, checkpoint: Checkpoint, found: Identification, *, known: Collection[str]) -> Said:
    """What a file of mmcls says of itself; others say nothing that we know how to read, graphs show it."""
    if found.dialect.library != "mmpretrain" or checkpoint.graph is not None or checkpoint.traits:
        return Said()
    pretrained = source.origin.pretrained is True
    name = source.file.name
    return said_by(checkpoint.metadata, found.architecture, file=name, known=known, pretrained=pretrained)


_UNIDENTIFIED = "See `mshub-convert list` for the networks that are converted."


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
    names = source.promises or ((source.architecture,) if source.architecture is not None else ())
    promised = [named_like(name, found.architecture) for name in names]
    if not promised or found.architecture in promised:
        return ()
    said = listed([network.name for network in promised], "or")
    fact = f"{source.address} is {said}, the file {source.file.name} holds {found.architecture.name}"
    remedy = "Give the file that belongs to the model, or convert the file by its path."
    return (Finding("architecture", fact, (), remedy),)


def _without_facts_of_others(source: Source, found: Identification) -> tuple[Source, list[Finding]]:
    """A file with another classifier than the published one is not it: what is stated of that does not hold for it."""
    actual = found.architecture.classes
    if source.origin.kind != "stated" or source.classes in (None, actual) or not actual:
        return source, []
    own = {key: value for key, value in source.facts.items() if key in ("library", "library_version")}
    fact = (
        f"{source.file.name} has {actual} classes, {source.address} has {source.classes}: trained further,"
        " so tag, licence and accuracy of the published weights are not recorded"
    )
    return replace(source, facts=own), [Finding("classes", fact)]


def _as_recorded(source: Source, kept: Carried) -> Source:
    """A file that is the very one that its address means, by its whole sha256: there its own record knows best."""
    the_very = source.facts.get("sha256_checked") == "full"
    drawn = kept.text("origin").startswith("calibrated")
    return replace(source, origin=Origin("file")) if the_very and drawn else source


def _not_the_models(source: Source, kept: Carried) -> tuple[Finding, ...]:
    """Drawn weights, by their own record, that are said to be a model's."""
    drawn = kept.text("origin")
    if source.origin.kind not in ("stated", "pretrained") or not drawn.startswith("calibrated"):
        return ()
    fact = f"{source.file.name} is said to be {source.address}, but the record in it says drawn weights ({drawn})"
    return (Finding("origin", fact, (), f"Convert the file by its path, or use --init {drawn}."),)
