"""Look into a card of MindSpore Hub: its fields, its files, what it claims, and what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mshub_convert.converters.cards import index
from mshub_convert.converters.cards.addresses import HOME
from mshub_convert.converters.cards.card import Card
from mshub_convert.converters.cards.claims import Claims, claims
from mshub_convert.converters.cards.locate import split_asset
from mshub_convert.converters.sources import Progress
from mshub_convert.converters.sources.mshub import find_card


@dataclass(frozen=True, slots=True)
class CardInspection:
    """A card and what it claims; ``problems`` tell the line, ``notices`` what the card does not say or says wrongly."""

    card: Card
    claims: Claims
    problems: tuple[str, ...]
    notices: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **self.card.as_dict(), "network": self.claims.network, "architectures": list(self.claims.architectures),
            "reason": self.claims.reason, "classes": list(self.claims.classes), "notices": list(self.notices),
        }  # fmt: skip


def inspect_card(card: str | Path, *, progress: Progress | None = None) -> CardInspection:
    """Inspect a card: ``mshub:UID`` or a UID, its address in the hub, or a file. No weights are downloaded.

    Raises :class:`~mshub_convert.MshubConvertError` for what is no card or cannot be had.
    """
    text, _ = split_asset(str(card).removeprefix("mshub:"))
    found = find_card(text, progress)
    promised = claims(found)
    return CardInspection(found, promised, tuple(problem.told for problem in found.problems), _notices(found, promised))


def _notices(card: Card, promised: Claims) -> tuple[str, ...]:
    notices = list(promised.doubts)
    if promised.reason:
        notices.append(f"it cannot be converted: {promised.reason}")
    if not card.assets:
        notices.append("it has no file: the checkpoint is needed with --weights FILE")
    notices += [
        f"only the first {len(asset.sha256)} digits of the sha256 of {asset.name} are given: no more can be checked"
        for asset in card.assets
        if asset.sha256 and not asset.fully_checked
    ]
    if card.where == index.WHERE:
        notices.append(f"the index has the fields that a conversion needs; the card itself is {HOME}/{card.uid}.md")
    return tuple(notices)
