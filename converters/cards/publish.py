"""``--to mshub``: an entry of MindSpore Hub around a converted .ckpt: card, mindspore_hub_conf.py, and the network."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...mappings.architectures import from_dict
from ..digest import file_sha256
from ..findings import Finding
from ..publications import Published
from ..record import Record
from .header import MINDSPORE, Header, header, input_size, is_detector, licence, measures


class HubEntry:
    """The publication."""

    name = "mshub"
    title = "an entry of MindSpore Hub"
    container = "ckpt"
    weights = "MODEL_v2100_…_cv_….ckpt"
    has_module = True

    def path(self, network: str, facts: Mapping[str, Any]) -> str:
        """The file's name as the Hub's are: network, backend, MindSpore, data set, field and measures, where known."""
        version = "v" + "".join([*MINDSPORE.split("."), "0"])
        parts = (
            network, _word(facts.get("train_backend")), version, _word(facts.get("dataset")), "cv", *measures(facts)
        )  # fmt: skip
        return "_".join(filter(None, parts)) + ".ckpt"

    def write(self, folder: Path, published: Published) -> tuple[Finding, ...]:
        """Write the card, the network and mindspore_hub_conf.py beside the weight file."""
        record = published.record
        network = from_dict(record.architecture)
        name = network.name
        said = header(record, f"{name} with {network.classes} classes, {_from(record)}")
        module = re.sub(r"\W", "_", name)
        card = "_".join(filter(None, (name, _word(record.facts.get("dataset"))))) + ".md"
        filled = {"name": name, "module_name": module, "module": f"{module}.py"}
        texts = {
            card: _render("card.md.jinja", **filled, **_card(folder, published, said)),
            "mindspore_hub_conf.py": _render("mindspore_hub_conf.py.jinja", **filled),
            f"{module}.py": published.module,
        }
        for path, text in texts.items():
            (folder / path).write_text(text, encoding="utf-8")
        return _gaps(card, published, said)


def _word(value: object) -> str:
    """A fact as part of a file's name."""
    return re.sub(r"[^a-z0-9]", "", value.casefold())[:40] if isinstance(value, str) else ""


def _render(template: str, **filled: object) -> str:
    from ..templates import environment

    return environment(__package__).get_template(template).render(**filled)


def _from(record: Record) -> str:
    """Where the weights come from, in words."""
    return f"converted from {record.address or (record.sources[0].name if record.sources else 'a file')}"


def _card(folder: Path, published: Published, said: Header) -> dict[str, Any]:
    """What the card says below its name."""
    record = published.record
    network = from_dict(record.architecture)
    height, width = input_size(record) or (network.side, network.side)
    traits = ", ".join(f"{name}={value}" for name, value in record.traits.items())
    drawn = " The weights are drawn, **not pretrained**." if record.pretrained is False else ""
    return {
        "header": said.before, "footer": said.after, "url": published.url, "height": height, "width": width,
        "sha256": published.sha256 or file_sha256(folder / published.weights),
        "introduction": f"{network.name} with {network.classes} classes, {_from(record)}.{drawn}",
        "detects": is_detector(network),
        "traits": traits, "weights": published.weights,
        "evaluation": _evaluation(record), "preprocessing": _preprocessing(record), "origin": _origin(record),
    }  # fmt: skip


def _evaluation(record: Record) -> str:
    stated = record.facts.get("accuracy")
    found = ", ".join(measures(record.facts))
    dataset = stated.get("dataset") if isinstance(stated, Mapping) else None
    return f"As the source states{f' for {dataset}' if dataset else ''}: {found}." if found else ""


def _preprocessing(record: Record) -> str:
    stated = record.facts.get("preprocessing")
    if not isinstance(stated, Mapping):
        return ""
    return f"As the source states: {', '.join(f'{key} {value}' for key, value in stated.items())}."


def _origin(record: Record) -> list[str]:
    files = [f"{file.name} ({file.container}), sha256 {file.sha256 or 'not taken'}" for file in record.sources]
    return [*files, f"Written by {record.tool}, parameters called as in {record.dialect}."]


def _gaps(card: str, published: Published, said: Header) -> tuple[Finding, ...]:
    """What a person should fill in, or ask, before the entry is sent to the Hub."""
    record, found = published.record, []
    lacks = [*said.lacks, *([] if published.url else ["asset-link"])]
    if lacks:
        fact = f"{card} has no {', '.join(lacks)}: the source does not say"
        found.append(Finding("card", fact, (), "Fill them in before you publish it; --model-url gives the asset-link."))
    stated = licence(record)
    if stated not in ("", "Apache2.0"):
        fact = f"the licence of the weights is {stated}, and the Hub takes Apache 2.0 only"
        found.append(Finding("licence", fact, (), "Ask the authors of the weights before you publish them."))
    if record.pretrained is False:
        found.append(Finding("drawn", "the weights are drawn, not pretrained", (), "Publish no such entry."))
    return tuple(found)


PUBLICATION = HubEntry()
