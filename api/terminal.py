"""What a person sees: progress, plans, summaries, proofs, on stderr unless it is the result asked for."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mshub_convert.mappings.architectures import spoken
from mshub_convert.mappings.names import collapse, counted
from mshub_convert.tables import columns as _columns
from mshub_convert.tables import console as _console
from mshub_convert.tables import escape, print_findings
from mshub_convert.tables import rows as _rows
from mshub_convert.tables import show as _show

if TYPE_CHECKING:
    from mshub_convert.bundling import Bundle
    from mshub_convert.conversion import Conversion
    from mshub_convert.converters.pipeline import Prepared, Progress
    from mshub_convert.converters.plan import Plan
    from mshub_convert.verify.compare import Comparison
    from mshub_convert.verify.proof import Proof

_STYLE = {"pass": "bold green", "warn": "bold yellow", "fail": "bold red", "inconclusive": "bold yellow"}


@contextmanager
def progress(*, enabled: bool) -> Iterator["Progress | None"]:
    """A callback that draws one bar a task on a terminal, and nothing elsewhere."""
    if not enabled or not sys.stderr.isatty():
        yield None
        return
    console = _console()
    from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(escape(what), total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield report


def show_conversion(result: "Conversion") -> None:
    """The summary of a finished conversion."""
    console, record = _console(), result.record
    size = f"{result.nbytes / 1e6:.1f} MB" if result.nbytes >= 1e5 else f"{result.nbytes / 1e3:.1f} kB"
    digest = f"sha256 {result.sha256[:16]}…" if result.sha256 else "not hashed"
    console.print(f"[bold green]✓[/] [bold]{escape(str(result.path))}[/]  {size}  {digest}")
    rows = _rows()
    file = record.sources[-1].name if record.sources else ""
    asked = result.request.source
    told = record.address or file
    if record.address and str(asked) != record.address:
        told = f"{file}, originally {record.address}"
    rows.add_row("from", escape(told) + _origin(record.origin))
    network = record.architecture
    rows.add_row("network", f"{spoken(network['name'], network['classes'])}, {record.dialect} names")
    rows.add_row("traits", " ".join(f"{name}={value}" for name, value in record.traits.items()))
    alone = result.network == result.path
    rows.add_row("weights", "left as they are" if alone else _weights(result))
    if result.network is not None and not alone:
        rows.add_row("module", escape(str(result.network)))
    if result.compiled is not None:
        rows.add_row("compiled", escape(f"{result.compiled}, not run: {result.command}"))
    licence = record.facts.get("license")
    if licence:
        rows.add_row("licence", escape(str(licence)))
    if result.proof is None and not alone:
        rows.add_row("forward", "not run; add --verify")
    _show(console, rows)
    print_findings(console, "note", list(result.notices), "yellow")
    if result.proof is not None:
        show_proof(result.proof, to_stderr=True)


def _origin(origin: str) -> str:
    if origin.startswith("calibrated"):
        return f"  [bold yellow]drawn weights ({origin}), not pretrained[/]"
    return {"pretrained": "  pretrained", "stated": "  as stated, compared with nothing"}.get(origin, "")


def _weights(result: "Conversion") -> str:
    record = result.record
    counters = sum(1 for entry in record.dropped if entry.values is not None)
    parts = [
        _exactness(record.read_back) if not record.operations else f"changed as asked ({', '.join(record.operations)})"
    ]
    parts.append("read back bit for bit" if record.read_back == "bit-exact" else "read-back skipped (--no-check)")
    if counters:
        parts.append(f"{counted(counters, 'BatchNorm counter')} kept in the record")
    return "; ".join(parts)


def _exactness(read_back: str) -> str:
    return "exact" if read_back == "bit-exact" else "meant to be exact"


def show_plan(prepared: "Prepared") -> None:
    """What a conversion would do, as the result of ``--dry-run``."""
    plan, console = prepared.plan, _console(to_stderr=False)
    source, target = plan.source, plan.target
    network = source.architecture
    route = f"{source.dialect.name} names → {target.dialect.name} names, {prepared.target.codec.title}"
    console.print(f"[bold]{network.name}[/]{spoken('', network.classes)}: {route}")
    rows = _rows()
    source_said = prepared.opened.source
    rows.add_row("from", escape(source_said.address) + _origin(source_said.origin.kind))
    if not prepared.alone:
        rows.add_row("output", f"{escape(str(prepared.destination))} ({plan.nbytes / 1e6:.1f} MB)")
    if prepared.target.emit_network is not None:
        rows.add_row("module", escape(str(prepared.target.emit_network)))
    if prepared.target.compiler is not None:
        rows.add_row("compile", escape(_command(prepared)))
    rows.add_row("traits", " ".join(f"{k}={v}" for k, v in prepared.opened.traits.as_dict().items()))
    for how in ("copy", "cut", "reshape", "join", "split", "fold", "restore", "synthesise"):
        names = [step.target.spec.name for step in plan.steps if step.how == how]
        if names:
            patterns = collapse(names)
            more = f" and {len(patterns) - 6} more patterns" if len(patterns) > 6 else ""
            rows.add_row(how, f"{counted(len(names), 'tensor')}: {escape(', '.join(patterns[:6]))}{more}")
    if plan.dropped:
        rows.add_row("drop", f"{counted(len(plan.dropped), 'BatchNorm counter')}, values kept in the record")
    _show(console, rows)
    print_findings(console, "note", [finding.told for finding in plan.notices], "yellow")
    print_findings(console, "problem", [finding.told for finding in plan.problems], "bold red")
    console.print("Nothing was written (--dry-run).")


def _command(prepared: "Prepared") -> str:
    from mshub_convert.compiling import command_line

    return shlex.join(command_line(prepared))


def plan_as_dict(prepared: "Prepared") -> dict[str, Any]:
    """A plan for JSON."""
    plan: Plan = prepared.plan
    return {
        "output": None if prepared.alone else str(prepared.destination),
        "network": str(prepared.target.emit_network) if prepared.target.emit_network else None,
        "command": _command(prepared) if prepared.target.compiler is not None else "",
        "architecture": plan.source.architecture.as_dict(),
        "source_dialect": plan.source.dialect.name, "target_dialect": plan.target.dialect.name,
        "traits": prepared.opened.traits.as_dict(),
        "steps": [{"target": s.target.spec.name, "shape": list(s.target.spec.shape), "dtype": s.target.spec.dtype,
                   "sources": list(s.sources), "how": s.how, "cast_from": s.cast} for s in plan.steps],
        "dropped": [entry.name for entry in plan.dropped],
        "problems": [finding.as_dict() for finding in plan.problems],
        "notices": [finding.as_dict() for finding in plan.notices],
    }  # fmt: skip


def show_proof(proof: "Proof", *, to_stderr: bool = False) -> None:
    """A verification as a table and a verdict."""
    from mshub_convert.verify.verdicts import SIGNS, parts

    console = _console(to_stderr=to_stderr)
    console.print(f"[{_STYLE[proof.verdict.value]}]{proof.verdict.value.upper()}[/]  {escape(proof.reason)}")
    rows = _rows()
    for part in parts(proof):
        if part.verdict is not None:
            said = "as the first line says" if part.said == proof.reason else part.said
            name = part.name[0].lower() + part.name[1:]
            rows.add_row(name, f"[{_STYLE[part.verdict.value]}]{SIGNS[part.verdict]}[/] {escape(said)}")
    for label, text in proof.facts():
        rows.add_row(label, escape(text))
    _show(console, rows)
    if proof.comparisons:
        columns = ("inputs", "source error", "target error", "worst ratio", "largest difference", "top-1", "top-5")
        table = _columns(*columns, justify="right")
        for item in proof.comparisons:
            style = _STYLE[item.verdict.value]
            table.add_row(
                item.label, f"{item.source_error:.2e}", f"{item.target_error:.2e}", f"[{style}]{_short(item.ratio)}[/]",
                f"{item.max_abs:.1e} of {item.largest:.3g}", *_ranks(item),
            )  # fmt: skip
        _show(console, table)
    if proof.diagnosis is not None and not proof:
        print_findings(console, "why", list(proof.diagnosis.lines), "bold red")
    if proof.detection is not None:
        print_findings(console, "self-test", list(proof.detection.lines), "cyan")
    print_findings(console, "note", list(proof.notices), "yellow")


def _ranks(item: "Comparison") -> tuple[str, str]:
    order = item.ranking
    return (f"{order.top1}/{order.of}", f"{order.top5}/{order.of}") if order is not None else ("", "")


def show_bundle(made: "Bundle") -> None:
    """What a bundle holds, and how to use it."""
    console = _console()
    console.print(f"[bold green]✓[/] [bold]{escape(str(made.path))}[/]  manifest sha256 {made.sha256}")
    rows = _rows()
    for name, proof in made.proofs.items():
        rows.add_row(escape(name), f"[{_STYLE[proof.verdict.value]}]{proof.verdict.value}[/]  {escape(proof.reason)}")
    _show(console, rows)
    console.print(f"There: mshub-convert verify {escape(made.path.name)} --runtime RUNTIME --sha256 {made.sha256}")


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 100 else f"{ratio:.1e}"
