"""The cards of the ResNet, ResNeXt and SSD-ResNet families that ship with the package, so that they need no network."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from ...mappings.names import closest
from .addresses import CardAddress
from .card import Asset, Card
from .fields import FIELDS

WHERE = "the index that ships with mshub-convert"


@cache
def _table() -> Mapping[str, Mapping[str, Any]]:
    text = resources.files(__package__).joinpath("index.toml").read_text(encoding="utf-8")
    cards: Mapping[str, Mapping[str, Any]] = tomllib.loads(text)["cards"]
    return cards


def uids() -> tuple[str, ...]:
    """All cards in the index, in the order of their names."""
    return tuple(_table())


def find(address: CardAddress) -> Card | None:
    """The card of a UID (in any case of letters), with the fields that the index has."""
    uid = next((uid for uid in _table() if uid.casefold() == address.uid.casefold()), None)
    if uid is None:
        return None
    row = _table()[uid]
    fields = {entry.key: entry.read(row[entry.key]) for entry in FIELDS if entry.key in row}
    link = row.get("asset-link", "")
    assets = (Asset(row["file-format"], link, row["asset-sha256"]),) if link else ()
    return Card(WHERE, row["model-name"], "en", fields, {}, assets, (), uid)


def called(name: str) -> tuple[str, ...]:
    """The cards whose UID ends so: ``resnext50_imagenet2012`` or ``1.9/resnext50_imagenet2012``."""
    end = f"/{name.removesuffix('.md').casefold()}"
    return tuple(uid for uid in uids() if uid.casefold().endswith(end))


def nearest(name: str) -> tuple[str, ...]:
    """Cards for a name that is none: the newest of each name that goes on from it, else of those spelt most alike."""
    newest: dict[str, str] = {}
    for uid in reversed(uids()):
        newest.setdefault(uid.rpartition("/")[2], uid)
    of_network = [uid for last, uid in newest.items() if last.casefold().startswith(f"{name.casefold()}_")]
    return tuple(of_network[:3]) or tuple(newest[last] for last in closest(name, newest))
