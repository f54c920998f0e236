"""The header of a card to be published: what is known of the weights, and which fields that leaves empty."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ...mappings.architectures import Architecture, from_dict
from ...mappings.architectures.ssd_resnet50 import BACKBONE
from ..record import Record

# The MindSpore that the networks of entries are tested with.
MINDSPORE = "2.10"
# What the Hub's own check of cards asks for (mindspore_hub/_utils/check.py), but for what is always known.
_REQUIRED = ("input-shape", "train-dataset", "author", "repo-link", "user-id", "license")
_UNKNOWN = ("", "unstated")
# Measures of top-1 and top-5 accuracy as sources call them, and as cards do.
_MEASURES = {"acc@1": "top1acc", "acc@5": "top5acc"}
_PLAIN = re.compile(r"[A-Za-z0-9][\w .,/+@|()\[\]=%-]*")


@dataclass(frozen=True, slots=True)
class Header:
    """The fields before the asset and after it, as text, and the keys of those that nobody states."""

    before: Mapping[str, str]
    after: Mapping[str, str]
    lacks: tuple[str, ...]


def header(record: Record, summary: str) -> Header:
    """The header for weights with this record."""
    facts, network = record.facts, from_dict(record.architecture)
    size, detects = input_size(record), is_detector(network)
    before = {
        "model-name": network.name,
        "backbone-name": BACKBONE.name if detects else family(network.name),
        "module-type": "cv-object_detection" if detects else "cv",
        "fine-tunable": "True",
        "input-shape": f"[{size[0]}, {size[1]}, 3]" if size else "",
        "model-version": f'"{MINDSPORE}"',
        "train-dataset": _line(facts.get("dataset")),
        "evaluation": " | ".join(measures(facts)),
        "author": _line(facts.get("author")),
        "update-time": datetime.now(UTC).date().isoformat(),
        "repo-link": "",
        "user-id": _line(facts.get("user_id")),
        "used-for": "inference",
        "train-backend": _line(facts.get("train_backend")),
        "infer-backend": "cpu",
        "mindspore-version": f'"{MINDSPORE}"',
    }
    after = {"license": licence(record), "summary": _line(summary)}
    told = {**before, **after}
    lacks = tuple(key for key in (*_REQUIRED, "evaluation") if not told[key])
    return Header(_stated(before), _stated(after), lacks)


def _stated(fields: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in fields.items() if value}


def _line(value: object) -> str:
    """Text as the value of a field: one line, without the colon that the Hub refuses, quoted where YAML needs it."""
    if not isinstance(value, str) or value in _UNKNOWN:
        return ""
    text = " ".join("".join(c if c.isprintable() and c not in ':"\\' else " " for c in value).split())
    return text if _PLAIN.fullmatch(text) or not text else f'"{text}"'


def is_detector(network: Architecture) -> bool:
    """Whether it gives boxes."""
    return "loc" in network.graph().outputs


def family(name: str) -> str:
    """The family of a network, which cards call its backbone: ``resnext`` of ``resnext50_32x4d``."""
    found = re.match(r"(wide_)?[a-z]+", name)
    return found[0] if found else name


def licence(record: Record) -> str:
    """The licence as cards spell it, where it is known."""
    stated = _line(record.facts.get("license"))
    if "see the card" in stated:
        return ""
    return "Apache2.0" if re.sub(r"[^a-z0-9]", "", stated.casefold()) in ("apache20", "apachelicense20") else stated


def input_size(record: Record) -> tuple[int, int] | None:
    """Height and width that the weights are stated to be for; a detector's anchors are for one size."""
    network = from_dict(record.architecture)
    if is_detector(network):
        return network.side, network.side
    before = record.facts.get("preprocessing")
    size = before.get("input_size") if isinstance(before, Mapping) else None
    if size is None:  # a card of the Hub
        card = record.facts.get("input_shape")
        size = [3, *card[:2]] if isinstance(card, list) and len(card) == 3 else None
    if not isinstance(size, list) or len(size) != 3 or not all(type(side) is int and side > 0 for side in size):
        return None
    return size[1], size[2]


def measures(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The stated accuracy in the words of cards, such as ``top1acc77.62``."""
    stated = facts.get("accuracy")
    if not isinstance(stated, Mapping):
        return ()
    return tuple(
        f"{_MEASURES.get(key, key)}{value:.4f}".rstrip("0").rstrip(".")
        for key, value in stated.items()
        if isinstance(value, (int, float)) and re.fullmatch(r"[A-Za-z0-9@]{1,20}", key)
    )
