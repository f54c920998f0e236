"""Convert a source to a file: the whole flow, with verification before the file takes its final name."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_convert import __version__
from mshub_convert.converters.errors import PlanError
from mshub_convert.converters.opened import open_source
from mshub_convert.converters.pipeline import (
    Options,
    Prepared,
    Progress,
    Staged,
    check_destination,
    prepare,
    refuse_problems,
    write,
)  # fmt: skip
from mshub_convert.converters.plan import Finding, Plan
from mshub_convert.converters.record import Record
from mshub_convert.converters.sources import Origin, Source
from mshub_convert.converters.target import output_path, parse_target
from mshub_convert.mappings.names import counted
from mshub_convert.request import SourceRequest

if TYPE_CHECKING:
    from mshub_convert.verify.proof import Proof


@dataclass(frozen=True, slots=True)
class Conversion:
    """A finished conversion.

    ``path`` is the output; ``sha256`` and ``record`` are also in its sidecar; ``notices`` are worth reading;
    ``proof`` is the verification, if one was asked for.
    """

    path: Path
    sha256: str
    nbytes: int
    record: Record
    notices: tuple[str, ...]
    proof: "Proof | None"
    request: SourceRequest = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "output": str(self.path), "sha256": self.sha256, "bytes": self.nbytes, "record": self.record.as_dict(),
            "notices": list(self.notices), "proof": self.proof.as_dict() if self.proof else None,
        }  # fmt: skip


def convert(
    source: Any,
    *,
    to: str = "ckpt",
    out: str | Path | None = None,
    weights: str | Path | None = None,
    init: str | None = None,
    traits: Mapping[str, str] | None = None,
    select: str | None = None,
    dialect: str | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
    check: bool = True,
    strict: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """Convert a model, a file, a live module or a state dict to a file.

    ``to`` is ``FORMAT[:DIALECT]``: ``ckpt``, ``pth`` or ``safetensors``, and whose names the tensors take. ``out``
    is a folder or a file name with the container's suffix (default: the model's name, here). ``dtype`` rounds to
    ``float16`` or ``bfloat16``. ``check`` hashes, reads back and compares bit for bit. ``verify`` also runs source
    and target; a failure leaves ``<name>.failed``. Other arguments as in :class:`SourceRequest`.

    Raises :class:`~mshub_convert.MshubConvertError`, whose ``exit_code`` and ``remedy`` say what to do.
    """
    request = SourceRequest(source, weights, init, traits or {}, select, dialect)
    options = Options(overwrite=overwrite, check=check, strict=strict, tool=f"mshub-convert {__version__}")
    with _prepared(request, to, out, dtype, options, progress) as prepared:
        return _carry_out(prepared, request, verify, progress)


def plan(
    source: Any,
    *,
    to: str = "ckpt",
    weights: str | Path | None = None,
    init: str | None = None,
    traits: Mapping[str, str] | None = None,
    select: str | None = None,
    dialect: str | None = None,
    dtype: str | None = None,
) -> Plan:
    """What :func:`convert` would do, without writing anything: steps, problems and notices.

    Step references read from the source's file; it is closed when this returns, so they tell but do not read.
    """
    return dry_run(
        source, to=to, weights=weights, init=init, traits=traits, select=select, dialect=dialect, dtype=dtype
    ).plan


def dry_run(
    source: Any,
    *,
    to: str,
    out: str | Path | None = None,
    weights: str | Path | None = None,
    init: str | None = None,
    traits: Mapping[str, str] | None = None,
    select: str | None = None,
    dialect: str | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
    check: bool = True,
    strict: bool = False,
    verify: bool = False,
) -> Prepared:
    """The prepared conversion with its plan, for ``--dry-run``; it takes all that :func:`convert` takes."""
    request = SourceRequest(source, weights, init, traits or {}, select, dialect)
    options = Options(overwrite=overwrite, check=check, strict=strict)
    with _prepared(request, to, out, dtype, options, None) as prepared:
        return prepared


@contextmanager
def _prepared(
    request: SourceRequest,
    to: str,
    out: str | Path | None,
    dtype: str | None,
    options: Options,
    progress: Progress | None,
) -> Iterator[Prepared]:
    target = parse_target(to, dtype=dtype)
    with request.open(progress) as opened:
        yield prepare(
            opened, target, output_path(None if out is None else str(out), target, opened.source.model), options
        )


def _carry_out(prepared: Prepared, request: SourceRequest, verify: bool, progress: Progress | None) -> Conversion:
    refuse_problems(prepared.plan)
    check_destination(prepared)
    with write(prepared, progress) as staged:
        findings = [*prepared.plan.notices, *_non_finite(staged, refuse=verify or prepared.options.strict)]
        proof = _proof(prepared, staged, progress) if verify else None
        if proof is not None and proof.library_difference is not None:
            # Measured on these weights, and told by the proof: the general remark says no more.
            findings = [finding for finding in findings if not finding.code.startswith("trait-")]
        notices = tuple(_told(finding) for finding in findings)
        extra = {"notices": list(notices), **({"proof": proof.as_dict()} if proof is not None else {})}
        if proof is not None and not proof:
            raise proof.failed(kept=staged.fail(extra))
        path = staged.commit(extra)
        return Conversion(path, staged.sha256, staged.nbytes, staged.record, notices, proof, request)


def _non_finite(staged: Staged, *, refuse: bool) -> list[Finding]:
    """What there is to say of NaN and Inf; ``refuse`` raises instead."""
    if not staged.non_finite:
        return []
    found = Finding("non-finite", f"NaN or Inf in {counted(len(staged.non_finite), 'tensor')}", staged.non_finite)
    if refuse:
        remedy = "Such weights cannot be verified; look at the training run that made them."
        raise PlanError(f"{found.line}; nothing was written", remedy=remedy)
    return [found]


def _proof(prepared: Prepared, staged: Staged, progress: Progress | None) -> "Proof":
    """Compare the written file, read as any user's file would be, with its source."""
    from mshub_convert.verify.proof import prove

    written = open_source(Source(prepared.destination.name, staged.file, staged.file.stem, Origin("file")))
    with closing(written):
        return prove(prepared.opened, written, progress=progress)


def _told(finding: Finding) -> str:
    return finding.line + (f" → {finding.remedy}" if finding.remedy else "")
