"""What a file, a card or a repository holds, and what there is to convert, for a person to read."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mshub_convert.mappings.architectures import spoken
from mshub_convert.mappings.names import counted
from mshub_convert.sizes import size_told
from mshub_convert.tables import columns, console, escape, print_findings, rows, show

if TYPE_CHECKING:
    from rich.console import Console

    from mshub_convert.cards import CardInspection
    from mshub_convert.inspection import Inspection
    from mshub_convert.repositories import RepositoryInspection

# Those in which the dialects' libraries differ.
_TELLING_TRAITS = ("stem_pool", "padding", "norm_eps")
# Pixels of a side of the pictures that a classifier is made for.
_SIDE = 224


def show_inspection(found: "Inspection") -> None:
    """What a file holds."""
    out = console(to_stderr=False)
    dtypes = ", ".join(f"{count} {dtype}" for dtype, count in found.dtypes.items())
    size = f"{found.container}, {found.nbytes / 1e6:.1f} MB, {counted(found.tensors, 'tensor')} ({dtypes})"
    out.print(f"[bold]{escape(str(found.path))}[/]  {size}")
    lines = rows()
    network = found.network
    if network:
        same = f" (also {', '.join(network['same_names'])})" if network["same_names"] else ""
        lines.add_row("network", f"{spoken(network['name'], network['classes'])}, {size_told(network)}")
        lines.add_row("names", network["dialect"] + same)
        lines.add_row("traits", " ".join(f"{k}={v}" for k, v in network["traits"].items()))
        lines.add_row("", f"from {escape(network['traits_from'])}")
    else:
        lines.add_row("network", escape(found.reason))
    graph = [f"{key} {found.metadata[key]}" for key in ("opset", "producer", "input_shape") if found.metadata.get(key)]
    if found.container in ("onnx", "mindir") and graph:
        lines.add_row("graph", escape(", ".join(graph)))
    record = found.record
    if record:
        lines.add_row(
            "record",
            escape(", ".join(filter(None, (_origin_told(record), f"by {record.get('tool', '')}")))),
        )
        for item in record.get("sources", []):
            lines.add_row("source", escape(f"{item.get('name')}  sha256 {item.get('sha256', '')[:16] or '(none)'}…"))
    show(out, lines)
    print_findings(out, "note", list(found.notices), "yellow")
    print_findings(out, "problem", list(found.problems), "bold red")


def _origin_told(record: Mapping[str, Any]) -> str:
    """Where weights come from: an address and how it was had, else the first file of the chain."""
    address, origin = record.get("address"), record.get("origin", "")
    if address:
        return f"{address}, {origin}"
    first = next((str(item.get("name")) for item in record.get("sources", [])), "a file")
    return first if origin == "file" else f"{first}, {origin}"


def show_card(found: "CardInspection") -> None:
    """What a card says, and what is wrong with it."""
    out, card = console(to_stderr=False), found.card
    out.print(f"[bold]{escape(card.title or card.uid)}[/]  {escape(card.uid or card.where)}")
    lines = rows()
    for key, value in {**card.fields, **card.unknown}.items():
        told = ", ".join(f"{name} {number:g}" for name, number in value.items()) if isinstance(value, dict) else value
        lines.add_row(escape(key), escape("" if told is None else str(told)))
    for asset in card.assets:
        lines.add_row(
            "asset", escape(f"{asset.name or 'no address'} ({asset.file_format or 'no format stated'}) {asset.link}")
        )
        digest = asset.sha256 or "(none)"
        lines.add_row("", f"sha256 {digest}{'' if asset.fully_checked or not asset.sha256 else '… (only its start)'}")
    claims = found.claims
    classes = f", {' or '.join(map(str, claims.classes))} classes" if claims.classes else ""
    lines.add_row("claims", escape(f"{' or '.join(claims.architectures) or claims.network}{classes}"))
    show(out, lines)
    print_findings(out, "note", list(found.notices), "yellow")
    print_findings(out, "problem", list(found.problems), "bold red")


def show_repository(found: "RepositoryInspection") -> None:
    """What a repository of modelhub.ai says, and the weight file in it."""
    out, said = console(to_stderr=False), found.repository
    config = said.config
    out.print(f"[bold]{escape(config.meta.name)}[/]  {escape(said.where)}")
    lines = rows()
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
            lines.add_row(escape(key), escape(str(value)))
    for one in config.inputs:
        limits = " x ".join(f"{limit.smallest}..{limit.largest or ''}" for limit in one.limits)
        lines.add_row("input", escape(f"{one.name}: {', '.join(one.formats)}, {limits}"))
    for output in config.outputs:
        lines.add_row("output", escape(f"{output.name}: {output.type}"))
    for external in said.init.files:
        lines.add_row("file", escape(f"{external.path} from {external.url}"))
    if said.preprocessing is not None:
        before = said.preprocessing.as_dict()
        lines.add_row("pictures", escape(", ".join(f"{key} {value}" for key, value in before.items())))
    show(out, lines)
    print_findings(out, "note", list(found.notices), "yellow")
    if found.file is not None:
        show_inspection(found.file)


def show_list(found: dict[str, Any]) -> None:
    """Sources, formats, dialects and architectures, or the models of a source."""
    out = console(to_stderr=False)
    if "models" in found:
        for name in found["models"]:
            out.print(escape(name))
        return
    lines = rows()
    lines.add_row("sources", ", ".join(escape(item) for item in found["sources"]))
    lines.add_row("formats", ", ".join(f"{item['name']} ({item['title']})" for item in found["formats"]))
    lines.add_row("compiled", ", ".join(f"{item['name']} ({item['title']})" for item in found["compiled"]))
    lines.add_row("publications", ", ".join(f"{item['name']} ({item['title']})" for item in found["publications"]))
    show(out, lines)
    out.print()
    _table(out, ("dialect", "framework", "names of", "its own networks"), [
        (d["name"], d["framework"], d["title"], " ".join(f"{k}={d['traits'][k]}" for k in _TELLING_TRAITS))
        for d in found["dialects"]
    ])  # fmt: skip
    out.print()
    _table(out, ("architecture", "parameters", f"multiply-adds at {_SIDE}", "dialects"), [
        (a["name"], f"{a['parameters'] / 1e6:.2f} M",
         f"{a['macs'] / 1e9:.2f} G" + ("" if a["side"] == _SIDE else f" at {a['side']}"),
         " ".join(d if d in a["built_by"] else f"({d})" for d in a["dialects"]))
        for a in found["architectures"]
    ])  # fmt: skip
    out.print(
        "\n(in brackets: the names extend the dialect's convention; its own library has no network with these names)",
        style="dim",
    )


def _table(out: "Console", titles: tuple[str, ...], cells: list[tuple[str, ...]]) -> None:
    table = columns(*titles)
    for row in cells:
        table.add_row(*row)
    show(out, table)
