"""The pipeline: plan, write to a temporary file, read back, and only then take the final name."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from ..mappings.names import collapse, counted, listed
from .background import RunningHash, Task
from .codecs import EmbeddedRecord, open_checkpoint
from .codecs.record_text import parse_record
from .errors import MalformedFileError, PlanError, ReadBackError
from .findings import Finding
from .opened import Opened
from .plan import Plan, make_plan
from .readback import check_tensors
from .record import Record, SourceFile, placeholder, sha256, sidecar_path, stated_sha256
from .sources import Progress
from .splice import splice
from .staging import Staged, make_folder, refuse_taken, sync_file, temporary_path
from .target import Target
from .tensors import Checkpoint

__all__ = [
    "Options", "Prepared", "Progress", "Staged", "check_destination", "prepare", "refuse_problems", "write",
]  # fmt: skip

# How far the logits move when a network has the other trait: relative L2 at 224 pixels, measured with timm's
# resnext50_32x4d and resnet50 and drawn weights (trained ones: 1e-2 for the pool).
_TRAIT_EFFECT = {
    "stem_pool": "by 1 to 3 %",
    "padding": "by about 5 %",
    "norm_eps": "by 0.05 % at 1e-4 and 0.5 % at 1e-3",
    "bottleneck_stride": "by about 3 %",
}


@dataclass(frozen=True, slots=True)
class Options:
    """How to convert. ``check`` hashes, reads back and compares; ``strict`` makes notices problems."""

    overwrite: bool = False
    check: bool = True
    strict: bool = False
    tool: str = "mshub-convert"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A conversion that could be carried out: source, plan and destination."""

    opened: Opened
    target: Target
    plan: Plan
    destination: Path
    options: Options


def prepare(opened: Opened, target: Target, destination: Path, options: Options) -> Prepared:
    """Make the plan; its problems are for the caller to look at, nothing is written."""
    grounding = target.dialect.ground(opened.found.architecture)
    plan = make_plan(opened.tensors, opened.found, grounding, carried=opened.carried, dtype=target.dtype)
    plan = plan.with_findings(
        problems=(*opened.problems, *_dtype_problems(plan, target)),
        notices=(*opened.notices, *_target_notices(opened, target)),
    )
    return Prepared(opened, target, plan.strict() if options.strict else plan, destination, options)


def _dtype_problems(plan: Plan, target: Target) -> list[Finding]:
    unsupported = {step.target.spec.dtype for step in plan.steps} - target.codec.dtypes
    if not unsupported:
        return []
    return [Finding("dtype", f"{target.codec.title} cannot hold {listed(sorted(unsupported))}")]


def _target_notices(opened: Opened, target: Target) -> list[Finding]:
    network, library = opened.found.architecture, target.dialect.library
    loader = "load_mindspore" if target.framework == "mindspore" else "load_torch"
    if not target.dialect.builds(network):
        return [Finding(
            "extension", f"{library} has no {network.name}: the names extend {target.dialect.name}'s convention", (),
            f"The file loads with mshub_convert.{loader}, not in {library}'s own network.",
        )]  # fmt: skip
    return [
        Finding(
            f"library-{trait}",
            f"these weights need {trait}={ours}, {library}'s own {network.name} has {theirs}: there they load, but"
            f" compute something else (the logits move {_TRAIT_EFFECT[trait]})",
            (),
            f"Load the file with mshub_convert.{loader}, which builds the network with the weights' traits.",
        )
        for trait, (ours, theirs) in opened.traits.differences(target.dialect.traits).items()
    ]


def refuse_problems(plan: Plan) -> None:
    """Raise one PlanError with every problem."""
    if not plan.problems:
        return
    lines = [f"  - {finding.told}" for finding in plan.problems]
    message = f"{counted(len(lines), 'problem')}, nothing was written:\n" + "\n".join(lines)
    raise PlanError(message, problems=[finding.as_dict() for finding in plan.problems])


def check_destination(prepared: Prepared) -> None:
    """Make the folder of the output; refuse an output that exists, is the source, or has no room."""
    make_folder(
        prepared.destination,
        source=prepared.opened.source.file,
        nbytes=prepared.plan.nbytes,
        overwrite=prepared.options.overwrite,
    )


def refuse_taken_name(prepared: Prepared) -> None:
    """What of ``check_destination`` can be told without making a folder, for ``--dry-run``."""
    options, source = prepared.options, prepared.opened.source.file
    refuse_taken(prepared.destination, source=source, overwrite=options.overwrite)


def write(prepared: Prepared, progress: Progress | None = None) -> Staged:
    """Carry out a plan without problems: write, hash, read back, compare."""
    refuse_problems(prepared.plan)
    check_destination(prepared)
    temporary = temporary_path(prepared.destination, prepared.target.codec.suffixes[0])
    try:
        return _write(prepared, temporary, progress or (lambda *_: None))
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _write(prepared: Prepared, temporary: Path, progress: Progress) -> Staged:
    check = prepared.options.check
    source = _CheckedSource(prepared.opened.checkpoint) if check else None

    def record() -> Record:
        return _record(prepared, source.sha256() if source else "")

    draft = _record(prepared, placeholder() if source else "")
    embedded = EmbeddedRecord(draft.as_bytes(), lambda: record().as_bytes())
    tensors = [step.target for step in prepared.plan.steps]
    pieces = prepared.target.codec.layout(tensors, embedded, framework=prepared.target.framework)
    done, total = 0, prepared.plan.nbytes

    def moved(count: int) -> None:
        nonlocal done
        done += count
        progress(f"writing {prepared.destination.name}", done, total)

    output = RunningHash() if check else None
    nbytes = splice(temporary, pieces, progress=moved, sync=not check, in_order=output.feed if output else None)
    said = record()
    non_finite = _read_back(temporary, prepared.plan, said, progress) if check else ()
    digest = output.result() if output else ""
    return Staged(
        temporary, prepared.destination, prepared.options.overwrite, said, digest, nbytes, non_finite,
        _changed(prepared, said),
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
    """The sha256 of the source's file and a look at its own checksums, taken while its bytes are moved."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._hash = Task(lambda: sha256(checkpoint.file) if checkpoint.file else "", name="source-sha256")
        self._check = Task(checkpoint.check_sums, name="source-checksums")

    def sha256(self) -> str:
        """Wait for both; raises ``MalformedFileError`` when the file's checksums do not fit it."""
        self._check.result()
        return self._hash.result()


def _read_back(temporary: Path, plan: Plan, record: Record, progress: Progress) -> tuple[str, ...]:
    """Compare the written file with the source and see it on the disk; returns the names that hold NaN or Inf."""
    try:
        written = open_checkpoint(temporary)
    except MalformedFileError as error:
        raise ReadBackError(f"the output cannot be read back, and was removed: {error.message}") from error
    with written:
        synced = Task(lambda: sync_file(temporary), name="output-sync")
        if written.record != parse_record(record.as_bytes()):
            raise ReadBackError("the record in the output is not the one meant for it, as read back; it was removed")
        non_finite = check_tensors(plan, written, progress)
        synced.result()
        return non_finite


def _record(prepared: Prepared, source_sha256: str) -> Record:
    """What the output says of itself; a source that is a mere file passes on what its own record says."""
    opened, plan, target, source = prepared.opened, prepared.plan, prepared.target, prepared.opened.source
    earlier, file = opened.carried, opened.checkpoint.file
    this = SourceFile(source.file.name, opened.checkpoint.container, file.size if file else 0, source_sha256)
    passed_on = source.origin.kind in ("file", "memory") and bool(earlier.data)
    casts = {f"{step.cast} → {step.target.spec.dtype}" for step in plan.steps if step.cast}
    return Record(
        tool=prepared.options.tool,
        architecture=opened.found.architecture.as_dict(),
        dialect=target.dialect.name,
        container=target.codec.name,
        traits=opened.traits.as_dict(),
        origin=(earlier.text("origin") if passed_on else "") or source.origin.kind,
        pretrained=earlier.pretrained if passed_on else source.origin.pretrained,
        address=earlier.text("address") if source.origin.kind in ("file", "memory") else source.address,
        facts=dict(earlier.facts if passed_on else source.facts),
        sources=(*earlier.sources, this),
        dropped=plan.dropped,
        synthesised=tuple(collapse(plan.synthesised)),
        operations=(*earlier.texts("operations"), *sorted(casts)),
        notices=tuple(finding.line for finding in plan.notices),
        read_back="bit-exact" if prepared.options.check else "not done (--no-check)",
    )
