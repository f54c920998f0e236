"""What a person sees: progress, plans, summaries, proofs, on stderr unless it is the result asked for."""

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mshub_convert.mappings.names import collapse, counted
from mshub_convert.tables import columns as _columns
from mshub_convert.tables import console as _console
from mshub_convert.tables import escape
from mshub_convert.tables import rows as _rows
from mshub_convert.tables import show as _show

if TYPE_CHECKING:
    from rich.console import Console

    from mshub_convert.bundling import Bundle
    from mshub_convert.cards import CardInspection
    from mshub_convert.conversion import Conversion
    from mshub_convert.converters.pipeline import Prepared, Progress
    from mshub_convert.converters.plan import Plan
    from mshub_convert.inspection import Inspection
    from mshub_convert.repositories import RepositoryInspection
    from mshub_convert.verify.compare import Comparison
    from mshub_convert.verify.proof import Proof

# Those in which the dialects' libraries differ.
_TELLING_TRAITS = ("stem_pool", "padding", "norm_eps")
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
    rows.add_row("network", f"{network['name']}, {network['classes']} classes, {record.dialect} names")
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
    _print_findings(console, "note", list(result.notices), "yellow")
    if result.proof is not None:
        show_proof(result.proof, to_stderr=True)


def _origin(origin: str) -> str:
    if origin.startswith("calibrated"):
        return f"  [bold yellow]drawn weights ({origin}), not pretrained[/]"
    return {"pretrained": "  pretrained", "stated": "  from your file"}.get(origin, "")


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


def _print_findings(console: "Console", word: str, lines: list[str], style: str) -> None:
    for line in lines:
        console.print(f"[{style}]{word}[/]  {escape(line)}")


def show_plan(prepared: "Prepared") -> None:
    """What a conversion would do, as the result of ``--dry-run``."""
    plan, console = prepared.plan, _console(to_stderr=False)
    source, target = plan.source, plan.target
    network = source.architecture
    route = f"{source.dialect.name} names → {target.dialect.name} names, {prepared.target.codec.title}"
    console.print(f"[bold]{network.name}[/], {network.classes} classes: {route}")
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
    _print_findings(console, "note", [finding.told for finding in plan.notices], "yellow")
    _print_findings(console, "problem", [finding.told for finding in plan.problems], "bold red")
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
        _print_findings(console, "why", list(proof.diagnosis.lines), "bold red")
    if proof.detection is not None:
        _print_findings(console, "self-test", list(proof.detection.lines), "cyan")
    _print_findings(console, "note", list(proof.notices), "yellow")


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


def show_inspection(found: "Inspection") -> None:
    """What a file holds."""
    console = _console(to_stderr=False)
    dtypes = ", ".join(f"{count} {dtype}" for dtype, count in found.dtypes.items())
    size = f"{found.container}, {found.nbytes / 1e6:.1f} MB, {counted(found.tensors, 'tensor')} ({dtypes})"
    console.print(f"[bold]{escape(str(found.path))}[/]  {size}")
    rows = _rows()
    network = found.network
    if network:
        same = f" (also {', '.join(network['same_names'])})" if network["same_names"] else ""
        size = f"{network['parameters'] / 1e6:.2f} M parameters, {network['macs_224'] / 1e9:.2f} G multiply-adds at 224"
        rows.add_row("network", f"{network['name']}, {network['classes']} classes, {size}")
        rows.add_row("names", network["dialect"] + same)
        rows.add_row("traits", " ".join(f"{k}={v}" for k, v in network["traits"].items()))
        rows.add_row("", f"from {escape(network['traits_from'])}")
    else:
        rows.add_row("network", escape(found.reason))
    graph = [f"{key} {found.metadata[key]}" for key in ("opset", "producer", "input_shape") if found.metadata.get(key)]
    if found.container in ("onnx", "mindir") and graph:
        rows.add_row("graph", escape(", ".join(graph)))
    record = found.record
    if record:
        rows.add_row(
            "record",
            escape(", ".join(filter(None, (_origin_told(record), f"by {record.get('tool', '')}")))),
        )
        for item in record.get("sources", []):
            rows.add_row("source", escape(f"{item.get('name')}  sha256 {item.get('sha256', '')[:16] or '(none)'}…"))
    _show(console, rows)
    _print_findings(console, "note", list(found.notices), "yellow")
    _print_findings(console, "problem", list(found.problems), "bold red")


def _origin_told(record: Mapping[str, Any]) -> str:
    """Where weights come from: an address and how it was had, else the first file of the chain."""
    address, origin = record.get("address"), record.get("origin", "")
    if address:
        return f"{address}, {origin}"
    first = next((str(item.get("name")) for item in record.get("sources", [])), "a file")
    return first if origin == "file" else f"{first}, {origin}"


def show_card(found: "CardInspection") -> None:
    """What a card says, and what is wrong with it."""
    console, card = _console(to_stderr=False), found.card
    console.print(f"[bold]{escape(card.title or card.uid)}[/]  {escape(card.uid or card.where)}")
    rows = _rows()
    for key, value in {**card.fields, **card.unknown}.items():
        told = ", ".join(f"{name} {number:g}" for name, number in value.items()) if isinstance(value, dict) else value
        rows.add_row(escape(key), escape("" if told is None else str(told)))
    for asset in card.assets:
        rows.add_row(
            "asset", escape(f"{asset.name or 'no address'} ({asset.file_format or 'no format stated'}) {asset.link}")
        )
        digest = asset.sha256 or "(none)"
        rows.add_row("", f"sha256 {digest}{'' if asset.fully_checked or not asset.sha256 else '… (only its start)'}")
    claims = found.claims
    classes = f", {' or '.join(map(str, claims.classes))} classes" if claims.classes else ""
    rows.add_row("claims", escape(f"{' or '.join(claims.architectures) or claims.network}{classes}"))
    _show(console, rows)
    _print_findings(console, "note", list(found.notices), "yellow")
    _print_findings(console, "problem", list(found.problems), "bold red")


def show_repository(found: "RepositoryInspection") -> None:
    """What a repository of modelhub.ai says, and the weight file in it."""
    console, said = _console(to_stderr=False), found.repository
    config = said.config
    console.print(f"[bold]{escape(config.meta.name)}[/]  {escape(said.where)}")
    rows = _rows()
    publication = config.as_dict().get("publication", {})
    told = {
        "id": config.id, **{key: value for key, value in config.as_dict()["meta"].items() if key != "name"},
        **{key: value for key, value in config.as_dict()["model"].items() if key != "io"},
        "publication": ", ".join(str(publication[key]) for key in ("title", "authors", "year") if publication.get(key)),
        "names": said.architecture or "no network of ours", "docker": said.init.docker_id, "license": said.licence,
        "classes": f"{len(said.labels)} names, {said.labels[0]} to {said.labels[-1]}" if said.labels else "",
        **config.unknown,
    }  # fmt: skip
    for key, value in told.items():
        if value not in ("", None):
            rows.add_row(escape(key), escape(str(value)))
    for one in config.inputs:
        limits = " x ".join(f"{limit.smallest}..{limit.largest or ''}" for limit in one.limits)
        rows.add_row("input", escape(f"{one.name}: {', '.join(one.formats)}, {limits}"))
    for output in config.outputs:
        rows.add_row("output", escape(f"{output.name}: {output.type}"))
    for external in said.init.files:
        rows.add_row("file", escape(f"{external.path} from {external.url}"))
    if said.preprocessing is not None:
        before = said.preprocessing.as_dict()
        rows.add_row("pictures", escape(", ".join(f"{key} {value}" for key, value in before.items())))
    _show(console, rows)
    _print_findings(console, "note", list(found.notices), "yellow")
    if found.file is not None:
        show_inspection(found.file)


def show_list(found: dict[str, Any]) -> None:
    """Sources, formats, dialects and architectures, or the models of a source."""
    console = _console(to_stderr=False)
    if "models" in found:
        for name in found["models"]:
            console.print(escape(name))
        return
    rows = _rows()
    rows.add_row("sources", ", ".join(escape(item) for item in found["sources"]))
    rows.add_row("formats", ", ".join(f"{item['name']} ({item['title']})" for item in found["formats"]))
    rows.add_row("compiled", ", ".join(f"{item['name']} ({item['title']})" for item in found["compiled"]))
    rows.add_row("publications", ", ".join(f"{item['name']} ({item['title']})" for item in found["publications"]))
    _show(console, rows)
    console.print()
    _table(console, ("dialect", "framework", "names of", "its own networks"), [
        (d["name"], d["framework"], d["title"], " ".join(f"{k}={d['traits'][k]}" for k in _TELLING_TRAITS))
        for d in found["dialects"]
    ])  # fmt: skip
    console.print()
    _table(console, ("architecture", "parameters", "multiply-adds", "dialects"), [
        (a["name"], f"{a['parameters'] / 1e6:.2f} M", f"{a['macs_224'] / 1e9:.2f} G",
         " ".join(d if d in a["built_by"] else f"({d})" for d in a["dialects"]))
        for a in found["architectures"]
    ])  # fmt: skip
    console.print(
        "\n(in brackets: the names extend the dialect's convention; its own library has no such network)", style="dim"
    )


def _table(console: "Console", columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = _columns(*columns)
    for row in rows:
        table.add_row(*row)
    _show(console, table)
