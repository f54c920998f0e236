"""The pipeline: plan, write to a temporary file, read back, and only then take the final name."""

import shutil
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

from ..mappings.folding import Fold, folds
from ..mappings.graph import Graph
from ..mappings.names import collapse, counted
from ..mappings.traits import Traits
from .backbone import said
from .background import RunningHash, Task
from .classes import cut_said
from .codecs import Described, EmbeddedRecord, Exporter
from .emission.alone import is_alone, named_as_source
from .emission.file import refuse_taken_module, write_module
from .errors import PlanError
from .findings import Finding
from .opened import Opened
from .plan import Plan, make_plan
from .publications.folder import refuse_taken_folder
from .readback import Meant, read_back
from .record import Record, SourceFile, placeholder, sha256, sidecar_path, stated_sha256
from .sources import Progress
from .splice import splice
from .staging import Staged, Written, make_folder, refuse_taken, temporary_folder
from .target import Target, check_network
from .target_findings import dtype_problems, publication_problems, target_notices
from .tensors import Checkpoint

__all__ = [
    "Options", "Prepared", "Progress", "Staged", "check_destination", "prepare", "refuse_problems", "write",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """How to convert. ``check`` hashes, reads back and compares; ``strict`` makes notices problems."""

    overwrite: bool = False
    check: bool = True
    strict: bool = False
    tool: str = "mshub-convert"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A conversion that could be carried out: source, plan and destination.

    ``module`` is the text of the network's module, if one was asked for; ``alone`` says that it is all there is to
    write, as the output would be the source.
    """

    opened: Opened
    target: Target
    plan: Plan
    graph: Graph
    folds: tuple[Fold, ...]
    destination: Path
    options: Options
    module: str = ""
    alone: bool = False


def prepare(opened: Opened, target: Target, destination: Path, options: Options) -> Prepared:
    """Make the plan; its problems are for the caller to look at, nothing is written."""
    network = opened.network
    asked = named_as_source(target, opened, destination)
    target = asked.for_network(network)
    check_network(target, network)
    graph, grounding = target.ground(network, opened.traits)
    removed = folds(network.graph(opened.traits)) if target.fold_bn else ()
    plan = make_plan(opened.tensors, opened.found, grounding, carried=opened.carried, dtype=target.dtype, folds=removed)
    plan = plan.with_findings(
        problems=(*opened.problems, *dtype_problems(plan, target), *publication_problems(opened, target)),
        notices=(*opened.notices, *target_notices(opened, asked, target)),
    )
    wanted = target.emit_network is not None or (target.publication is not None and target.publication.has_module)
    module = "" if not wanted else _module(plan, opened.traits, destination.name, options.tool)
    alone = is_alone(target, plan, opened, destination)
    plan = plan.strict() if options.strict else plan
    return Prepared(opened, target, plan, graph, removed, destination, options, module, alone)


def _module(plan: Plan, traits: Traits, file: str, tool: str) -> str:
    """The text of a module that builds the network of the output."""
    from .emission.emit import Emitted, emit  # most conversions have none

    dtypes = {step.target.spec.dtype for step in plan.steps} - {"float32"}
    return emit(Emitted(plan.target, traits, min(dtypes, default="float32"), file, tool))


def refuse_problems(plan: Plan) -> None:
    """Raise one PlanError with every problem."""
    if not plan.problems:
        return
    lines = [f"  - {finding.told}" for finding in plan.problems]
    message = f"{counted(len(lines), 'problem')}, nothing was written:\n" + "\n".join(lines)
    raise PlanError(message, problems=[finding.as_dict() for finding in plan.problems])


def check_destination(prepared: Prepared) -> None:
    """Make the folder of the output; refuse an output that exists, is the source, or has no room."""
    _refuse_taken_module(prepared)
    make_folder(
        prepared.destination,
        source=prepared.opened.source.file,
        nbytes=prepared.plan.nbytes,
        overwrite=prepared.options.overwrite,
    )


def refuse_taken_name(prepared: Prepared) -> None:
    """What of ``check_destination`` can be told without making a folder, for ``--dry-run``."""
    _refuse_taken_module(prepared)
    if prepared.alone:
        return
    options, source = prepared.options, prepared.opened.source.file
    if prepared.target.publication is not None:
        folder, weights = publication_parts(prepared)
        refuse_taken_folder(folder, weights, source=source, overwrite=options.overwrite)
        return
    refuse_taken(prepared.destination, source=source, overwrite=options.overwrite)


def _refuse_taken_module(prepared: Prepared) -> None:
    """The same for the file of the network."""
    if prepared.target.emit_network is not None:
        refuse_taken_module(prepared.target.emit_network, overwrite=prepared.options.overwrite)


def write_network(prepared: Prepared) -> Path | None:
    """Write the module of the network, if one was asked for."""
    file, overwrite = prepared.target.emit_network, prepared.options.overwrite
    if file is not None:
        refuse_taken_module(file, overwrite=overwrite)
        write_module(file, prepared.module, overwrite=overwrite)
    return file


def publication_parts(prepared: Prepared) -> tuple[Path, str]:
    """The folder of a publication, and the place of the weight file in it."""
    publication, destination = prepared.target.publication, prepared.destination
    depth = len(Path(publication.weights).parts) if publication is not None else 1
    folder = destination.parents[depth - 1]
    return folder, destination.relative_to(folder).as_posix()


def write(prepared: Prepared, progress: Progress | None = None, *, export: Exporter | None = None) -> Staged:
    """Carry out a plan without problems: write, hash, read back, compare.

    ``export`` is for containers that only their framework can make.
    """
    progress = progress or (lambda *_: None)
    refuse_problems(prepared.plan)
    described = _described(prepared)
    if prepared.target.codec.exported_by:  # first of all: the framework may be missing
        refuse_taken_name(prepared)
        described = _exported(prepared, described, export, progress)
    check_destination(prepared)
    folder = temporary_folder(prepared.destination)
    try:
        return _write(prepared, described, folder, progress)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _exported(prepared: Prepared, described: Described, export: Exporter | None, progress: Progress) -> Described:
    """The network with what its framework exports."""
    codec = prepared.target.codec
    if export is None:
        raise TypeError(f"{codec.title} is made of {codec.exported_by}'s own export: give an exporter")
    progress(f"exporting with {codec.exported_by}", 0, None)
    return replace(described, exported=export(described))


def _write(prepared: Prepared, described: Described, folder: Path, progress: Progress) -> Staged:
    check, destination, codec = prepared.options.check, prepared.destination, prepared.target.codec
    source = _CheckedSource(prepared.opened.checkpoint) if check else None

    def record() -> Record:
        return record_of(prepared, source.sha256() if source else ())

    count = len(prepared.opened.checkpoint.files)
    draft = record_of(prepared, (placeholder(),) * count if source else ())
    embedded = EmbeddedRecord(draft.as_bytes(), lambda: record().as_bytes())
    tensors = [step.target for step in prepared.plan.steps]
    pieces = codec.layout(tensors, embedded, framework=prepared.target.framework, network=described)
    done, total = 0, prepared.plan.nbytes

    def moved(count: int) -> None:
        nonlocal done
        done += count
        progress(f"writing {destination.name}", done, total)

    made: list[tuple[str, int, RunningHash | None]] = []
    for end, parts in {**codec.beside(tensors), "": pieces}.items():
        digest = RunningHash() if check else None
        name = destination.name + end
        nbytes = splice(
            folder / name, parts, progress=moved, sync=not check, in_order=digest.feed if digest else None
        )  # fmt: skip
        made.append((name, nbytes, digest))
    said = record()
    non_finite = _read_back(prepared, folder / destination.name, said, progress) if check else ()
    *beside, output = [
        Written(folder / name, nbytes, digest.result() if digest else "") for name, nbytes, digest in made
    ]
    return Staged(
        output, tuple(beside), destination, prepared.options.overwrite, said, non_finite, _changed(prepared, said)
    )  # fmt: skip


def _described(prepared: Prepared) -> Described:
    """The network, for containers that hold the graph."""
    target, network = prepared.target, prepared.opened.network
    return Described(
        network.name, network.classes, prepared.graph, prepared.plan.target, prepared.destination.name,
        prepared.options.tool, target.opset, prepared.opened.traits, target.input_shape, target.heads or "raw",
        network.side,
    )  # fmt: skip


def _changed(prepared: Prepared, record: Record) -> tuple[Finding, ...]:
    """Whether the source is no longer the file that the sidecar beside it was written for."""
    file = prepared.opened.source.file
    stated, actual = stated_sha256(file), record.sources[-1].sha256
    # Of a file without a record of its own, the sidecar was looked at before.
    if prepared.opened.checkpoint.record is None or not stated or not actual or stated == actual:
        return ()
    fact = f"{file.name} is not the file that {sidecar_path(file).name} was written for: its sha256 differs"
    remedy = "If nobody changed it, it is damaged: convert it again from its own source."
    return (Finding("changed", fact, (), remedy),)


class _CheckedSource:
    """The sha256 of the source's files and a look at its own checksums, taken while its bytes are moved."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._hash = Task(lambda: tuple(map(sha256, checkpoint.files)), name="source-sha256")
        self._check = Task(checkpoint.check_sums, name="source-checksums")

    def sha256(self) -> tuple[str, ...]:
        """Wait for both; raises ``MalformedFileError`` when the file's checksums do not fit it."""
        self._check.result()
        return self._hash.result()


def _read_back(prepared: Prepared, file: Path, record: Record, progress: Progress) -> tuple[str, ...]:
    """Compare the written file with the source; returns the names that hold NaN or Inf."""
    opened = prepared.opened
    meant = Meant(prepared.plan, record, opened.network, opened.traits, prepared.folds)
    return read_back(file, meant, progress)


def record_of(prepared: Prepared, digests: tuple[str, ...]) -> Record:
    """What the output says of itself; a source that is a mere file passes on what its own record says."""
    opened, plan, target, source = prepared.opened, prepared.plan, prepared.target, prepared.opened.source
    earlier, files = opened.carried, opened.checkpoint.files
    these = tuple(
        SourceFile(file.path.name, opened.checkpoint.container, file.size, digest)
        for file, digest in zip(files, digests or repeat(""), strict=False)
    )
    passed_on = opened.passes_on
    operations = {f"{step.cast} → {step.target.spec.dtype}" for step in plan.steps if step.cast}
    if target.fold_bn:
        operations.add("BatchNorm folded into convolutions in float64, rounded once")
    held = opened.found.architecture.classes
    cut = (cut_said(held, opened.classes),) if opened.classes < held else ()
    alone = (said(opened.whole),) if opened.whole is not None else ()
    return Record(
        tool=prepared.options.tool,
        architecture=opened.network.as_dict(),
        dialect=target.dialect.name,
        container=target.codec.name,
        traits=opened.traits.as_dict(),
        origin=(earlier.text("origin") if passed_on else "") or source.origin.kind,
        pretrained=earlier.pretrained if passed_on else source.origin.pretrained,
        address=earlier.text("address") if source.origin.kind in ("file", "memory") else source.address,
        facts=dict(opened.facts),
        sources=(*earlier.sources, *these),
        dropped=plan.dropped,
        synthesised=tuple(collapse(plan.synthesised)),
        operations=(*earlier.texts("operations"), *opened.operations, *alone, *cut, *sorted(operations)),
        input_shape=target.input_shape or (),
        notices=tuple(finding.line for finding in plan.notices),
        read_back="bit-exact" if prepared.options.check else "not done (--no-check)",
    )
