"""Convert a source to a file: the whole flow, with verification before the file takes its final name."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_convert import __version__
from mshub_convert.converters.codecs import Described
from mshub_convert.converters.errors import PlanError, UsageError
from mshub_convert.converters.opened import open_source
from mshub_convert.converters.pipeline import (
    Options,
    Prepared,
    Progress,
    Staged,
    prepare,
    record_of,
    refuse_problems,
    write,
    write_network,
)  # fmt: skip
from mshub_convert.converters.plan import Finding, Plan
from mshub_convert.converters.record import Record
from mshub_convert.converters.sources import Origin, Source
from mshub_convert.converters.target import Form, output_path, parse_target
from mshub_convert.mappings.names import counted
from mshub_convert.reporting import Report
from mshub_convert.request import SourceRequest
from mshub_convert.verifying import Verifying, to_verify

if TYPE_CHECKING:
    from mshub_convert.verify.inputs import InputSet
    from mshub_convert.verify.proof import Proof


TOOL = f"mshub-convert {__version__}"


@dataclass(frozen=True, slots=True)
class Conversion:
    """A finished conversion.

    ``path`` is the output; ``sha256`` and ``record`` are also in its sidecar; ``notices`` are worth reading;
    ``proof`` is the verification and ``network`` the module of the network, if they were asked for;
    ``compiled`` is what the ``command`` of a compiler made of the output.
    """

    path: Path
    sha256: str
    nbytes: int
    record: Record
    notices: tuple[str, ...]
    proof: "Proof | None"
    request: SourceRequest = field(repr=False)
    network: Path | None = None
    compiled: Path | None = None
    command: str = ""

    @property
    def result(self) -> Path:
        """What was asked for: the compiled file, or the output itself."""
        return self.compiled or self.path

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "output": str(self.path), "sha256": self.sha256, "bytes": self.nbytes, "record": self.record.as_dict(),
            "notices": list(self.notices), "proof": self.proof.as_dict() if self.proof else None,
            "network": str(self.network) if self.network else None,
            "compiled": str(self.compiled) if self.compiled else None, "command": self.command,
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
    classes: int | None = None,
    backbone: bool = False,
    bn: str = "identity",
    opset: int | None = None,
    fold_bn: bool = False,
    input_shape: Sequence[int] | None = None,
    heads: str | None = None,
    model_url: str = "",
    emit_network: str | Path | None = None,
    soc_version: str = "",
    overwrite: bool = False,
    check: bool = True,
    strict: bool = False,
    verify: bool = False,
    runtime: str | None = None,
    source_network: str | None = None,
    device_precision: str | None = None,
    images: str | Path | None = None,
    inputs: "str | Path | InputSet | None" = None,
    sizes: Sequence[tuple[int, int]] | None = None,
    count: int | None = None,
    seed: int | None = None,
    report: str | Path | Report | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Convert a model, a file, a live module or a state dict to a file.

    ``to`` is ``FORMAT[:DIALECT]``: ``ckpt``, ``pth``, ``safetensors``, ``onnx`` or ``mindir``, and whose names the
    tensors take. ``out`` is a folder or a file name with the container's suffix (default: the model's name, here).
    ``dtype`` rounds to ``float16`` or ``bfloat16``. For ONNX ``opset`` (13 to 21) and ``fold_bn`` (BatchNorm into
    convolutions, lossy); for ONNX and MINDIR ``input_shape`` fixes (N, 3, H, W). An ONNX model of a detector gives what
    ``heads`` says: ``raw`` (loc and scores, the default), ``boxes`` (decoded) or ``nms`` (suppressed). ``check``
    hashes, reads back and compares bit for bit. ``verify`` also runs source and target, in ``runtime``
    (``device_precision``) and ``source_network``, on ``images``, ``inputs``, ``sizes``, ``count`` and ``seed``, with a
    ``report``, as :func:`verify` takes them; a failure leaves ``<name>.failed``. With ``to="modelhub"`` ``out`` is the
    folder of a repository, and ``model_url`` where its weight file will be downloaded from. For a .ckpt
    ``emit_network`` is a .py file for a MindSpore module that builds its network; where the output would be the source
    itself, that is all that is written. ``to="om"`` writes an .onnx and has ATC compile it for ``soc_version``; where
    that is missing or fails, the error has its command line and the .onnx is kept. Other arguments as in
    :class:`SourceRequest`.

    Raises :class:`~mshub_convert.MshubConvertError`, whose ``exit_code`` and ``remedy`` say what to do.
    """
    request = SourceRequest(source, weights, init, traits or {}, select, dialect, classes, bn, backbone)
    options = Options(overwrite=overwrite, check=check, strict=strict, tool=TOOL)
    form = Form(dtype, opset, fold_bn, _sizes(input_shape), model_url, _path(emit_network), heads, soc_version)
    how = to_verify(
        verify, runtime=runtime, source_network=source_network, device_precision=device_precision, report=report,
        images=images, inputs=inputs, sizes=sizes, count=count, seed=seed,
    )  # fmt: skip
    with prepared(request, to=to, out=out, form=form, options=options, progress=progress) as conversion:
        return carry_out(conversion, request, verifying=how, progress=progress)


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
    classes: int | None = None,
    backbone: bool = False,
    bn: str = "identity",
    opset: int | None = None,
    fold_bn: bool = False,
    input_shape: Sequence[int] | None = None,
    heads: str | None = None,
) -> Plan:
    """What :func:`convert` would do, without writing anything: steps, problems and notices.

    Step references read from the source's file; it is closed when this returns, so they tell but do not read.
    """
    request = SourceRequest(source, weights, init, traits or {}, select, dialect, classes, bn, backbone)
    form = Form(dtype, opset, fold_bn, _sizes(input_shape), heads=heads)
    with prepared(request, to=to, form=form) as found:
        return found.plan


def _path(file: str | Path | None) -> Path | None:
    return None if file is None else Path(file)


def _sizes(input_shape: Sequence[int] | None) -> tuple[int, ...] | None:
    if input_shape is None:
        return None
    if isinstance(input_shape, str) or not all(type(size) is int for size in input_shape):
        raise UsageError(f"input_shape is {input_shape!r}, no numbers", remedy="Use (1, 3, 224, 224), for instance.")
    return tuple(input_shape)


@contextmanager
def prepared(
    request: SourceRequest,
    *,
    to: str,
    out: str | Path | None = None,
    form: Form | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Iterator[Prepared]:
    """A conversion planned and ready to be carried out, its source open; nothing is written."""
    target = parse_target(to, form or Form())
    with request.open(progress) as opened:
        destination = output_path(
            None if out is None else str(out), target, opened.source.model, opened.network.name, opened.facts
        )
        yield prepare(opened, target, destination, options or Options(tool=TOOL))


def carry_out(
    conversion: Prepared, request: SourceRequest, *, verifying: Verifying | None, progress: Progress | None = None
) -> Conversion:
    """Write what was prepared, check it, verify it if that is wanted, and give it its final name."""
    if conversion.alone:
        return _network_alone(conversion, request, verify=verifying is not None)
    if conversion.target.compiler is not None:
        from mshub_convert.compiling import compile_

        return compile_(conversion, conversion.target.compiler, request, verifying=verifying, progress=progress)
    if conversion.target.publication is not None:
        from mshub_convert.publishing import publish

        return publish(conversion, conversion.target.publication, request, verifying=verifying, progress=progress)
    with write(conversion, progress, export=export) as staged:
        refuse = verifying is not None or conversion.options.strict
        # What only the bytes could tell goes first.
        findings = [*_non_finite(staged, refuse=refuse), *staged.findings, *conversion.plan.notices]
        proof = _proof(conversion, staged, verifying, progress) if verifying is not None else None
        if proof is not None and proof.library_difference is not None:
            # Measured on these weights, and told by the proof: the general remark says no more.
            findings = [finding for finding in findings if not finding.code.startswith("library-")]
        notices = tuple(finding.told for finding in findings)
        extra = {"notices": list(notices), **({"proof": proof.as_dict()} if proof is not None else {})}
        if proof is not None and not proof:
            raise proof.failed(kept=staged.fail(extra))
        path = staged.commit(extra)
        network = write_network(conversion)
        return Conversion(path, staged.sha256, staged.nbytes, staged.record, notices, proof, request, network)


def _network_alone(conversion: Prepared, request: SourceRequest, *, verify: bool) -> Conversion:
    """Write the network of a file that is left as it is."""
    source = conversion.opened.source.file
    if verify:
        message = f"--verify compares what was written with its source, and {source.name} is left as it is"
        raise UsageError(message, remedy="Leave it out, or give another -o for the weights.")
    refuse_problems(conversion.plan)
    if conversion.options.check:
        conversion.opened.checkpoint.check_sums()
    path = write_network(conversion)
    if path is None:
        raise TypeError("no network was asked for")
    content = conversion.module.encode()
    notices = tuple(finding.told for finding in conversion.plan.notices)
    record = record_of(conversion, ())
    return Conversion(path, sha256(content).hexdigest(), len(content), record, notices, None, request, path)


def export(network: Described) -> bytes:
    """Have MindSpore export a network."""
    from mshub_convert.verify.export import export_mindir

    return export_mindir(network)


def _non_finite(staged: Staged, *, refuse: bool) -> list[Finding]:
    """What there is to say of NaN and Inf; ``refuse`` raises instead."""
    if not staged.non_finite:
        return []
    found = Finding("non-finite", f"NaN or Inf in {counted(len(staged.non_finite), 'tensor')}", staged.non_finite)
    if refuse:
        remedy = "Such weights cannot be verified; look at the training run that made them."
        raise PlanError(f"{found.line}; nothing was written", remedy=remedy)
    return [found]


def _proof(conversion: Prepared, staged: Staged, how: Verifying, progress: Progress | None) -> "Proof":
    """Compare the written file, read as any user's file would be, with its source."""
    from mshub_convert.verify.prover import prove

    source = Source(conversion.destination.name, staged.file, staged.file.stem, Origin("file"))
    written = open_source(source, dialect=conversion.target.dialect.reference)
    with closing(written):
        proof = prove(
            conversion.opened, written, runtime=how.runtime, source_network=how.source_network, inputs=how.inputs,
            layers="on failure" if how.report is None else "always", progress=progress,
            device_precision=how.device_precision,
        )  # fmt: skip
    return how.report.write(proof) if how.report is not None else proof
