"""``mshub:UID``: the cards of MindSpore Hub, by UID, address or file, and the checkpoints they point to."""

import re
from pathlib import Path

from ...mappings.architectures import architecture
from ...mappings.dialects import preferred_dialect
from ...mappings.names import counted, listed
from ..cards import addresses, index
from ..cards.card import Asset, Card
from ..cards.claims import Claims, claims
from ..cards.locate import locate, own_uids, split_asset
from ..cards.parse import SIZE_LIMIT
from ..errors import EnvironmentError_, UsageError
from . import Origin, Progress, Request, Source, Stated, calibrated, download

_UNLISTED = "see the card (not in the index)"
_LIST = "See `mshub-convert list mshub:`."
_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip", ".7z", ".rar")
# Fields of a card that the record keeps, under the names that other sources use where they have them too.
_FACTS = {
    "model-name": "model_name", "backbone-name": "backbone_name", "model-version": "model_version",
    "train-dataset": "dataset", "author": "author", "user-id": "user_id", "update-time": "updated",
    "mindspore-version": "mindspore_version", "train-backend": "train_backend", "repo-link": "repository",
    "input-shape": "input_shape",
}  # fmt: skip


class MindSporeHub:
    """The resolver."""

    def resolve(self, rest: str, request: Request) -> Source:
        """The checkpoint of a card: downloaded and checked, or the user's own with ``--weights``."""
        text, chosen = split_asset(rest)
        card = find_card(text, request.progress)
        promised = claims(card)
        if request.init is not None:
            return _drawn(card, promised, request)
        if not promised.architectures:
            raise UsageError(
                f"{_said(card)} is a card of {promised.network} ({_kind(card)}), which cannot be converted:"
                f" {promised.reason}",
                remedy=_LIST,
            )
        asset, notices = _asset(card, chosen, request.weights)
        if request.weights is not None:
            file, origin = _given(card, asset, download.given(request.weights))
        elif asset is not None:
            # What nothing was compared with is what the card says, and no more is known of it.
            file, origin = _fetched(card, asset, request), Origin("pretrained" if asset.sha256 else "stated")
        else:
            raise _nothing_to_convert(card)
        return Source(
            address=f"mshub:{_name(card)}{'#' if chosen else ''}{chosen}", file=file, model=_model(card), origin=origin,
            facts=_facts(card, asset), promises=promised.architectures, likely_classes=promised.classes,
            notices=(*notices, *_check_notices(card, asset, request.weights), *_card_notices(card, promised)),
        )  # fmt: skip

    def stated(self, rest: str, request: Request) -> Stated:
        """What a card says of its model; no card has a field for the preprocessing."""
        card = find_card(split_asset(rest)[0], request.progress)
        promised = claims(card)
        return Stated(next(iter(promised.architectures), promised.network), "mindcv", {"card": _name(card)})

    def names(self) -> tuple[str, ...]:
        """The UIDs of the index and of the user's own folder of cards; others work too, with network."""
        return tuple(dict.fromkeys((*index.uids(), *own_uids())))


def _drawn(card: Card, promised: Claims, request: Request) -> Source:
    """Drawn weights for the network of a card: that of MindSpore, where the card says exactly which it is."""
    if len(promised.architectures) != 1:
        said = f"may be {listed(promised.architectures, 'or')}" if promised.architectures else promised.reason
        raise UsageError(
            f"--init draws the weights of one network, and that of {_said(card)} {said}",
            remedy="Give the name of the network, such as resnext50_32x4d, instead of the card.",
        )
    (name,) = promised.architectures
    network = architecture(name)
    naming = preferred_dialect(network, "mindspore")
    file, origin = calibrated.stand_in(request, network, naming.name)
    return Source(
        address=f"mshub:{_name(card)}", file=file, model=_model(card), origin=origin, architecture=name,
        dialect=naming.name, notices=_card_notices(card, promised),
    )  # fmt: skip


def find_card(text: str, progress: Progress | None = None) -> Card:
    """The card behind a UID, an address or a path; from the hub only where it is nowhere here."""

    def fetch(url: str) -> Path:
        return download.fetch(url, sha256_prefix=None, progress=progress, limit=SIZE_LIMIT)

    return locate(text, fetch)


def _said(card: Card) -> str:
    """The card for an error message."""
    return card.uid or card.where


def _name(card: Card) -> str:
    """The card for the record, which holds no paths."""
    return card.uid or Path(card.where).name


def _kind(card: Card) -> str:
    return card.text("module-type") or card.text("train-dataset") or "of no stated kind"


def _model(card: Card) -> str:
    """The name for outputs: the card's own, without what a file name should not have."""
    name = card.uid.rpartition("/")[2] or card.text("model-name") or Path(card.where).stem
    return re.sub(r"[^\w.+-]+", "_", name).strip("._") or "card"


def _is_checkpoint(asset: Asset) -> bool:
    return asset.file_format == "ckpt" or (not asset.file_format and asset.name.endswith(".ckpt"))


def _asset(card: Card, chosen: str, weights: Path | None) -> tuple[Asset | None, tuple[str, ...]]:
    """The checkpoint that is meant, if the card has one, and a notice where there was a choice."""
    # A file of the user's needs no address, but is compared all the same.
    assets = tuple(asset for asset in card.assets if asset.link or weights is not None)
    if chosen:
        picked = [asset for asset in assets if chosen in (asset.name, asset.file_format)]
        if len(picked) != 1:
            found = "no file" if not picked else counted(len(picked), "file")
            raise UsageError(
                f"{_said(card)} has {found} called {chosen!r}", remedy=f"It has {_offered(card) or 'none'}."
            )
        if not _is_checkpoint(picked[0]):
            message = f"{picked[0].name} of {_said(card)} is no checkpoint but {picked[0].file_format}"
            raise UsageError(message, remedy="Only the .ckpt of a card can be converted.")
        return picked[0], ()
    usable = [asset for asset in assets if _is_checkpoint(asset)]
    if not usable:
        return None, ()
    # In the card's order, but what the user's file is called goes first.
    first, *others = sorted(usable, key=lambda asset: weights is None or asset.name != weights.name)
    left = [_called(asset) for asset in (*others, *(asset for asset in assets if not _is_checkpoint(asset)))]
    if not left:
        return first, ()
    return first, (
        f"of the card's {counted(len(assets), 'file')} {_called(first)} is taken; {listed(left)} left aside",
    )


def _nothing_to_convert(card: Card) -> UsageError:
    offers = f"offers only {_offered(card)}, and no checkpoint to download" if card.assets else "has no file"
    return UsageError(
        f"the card {_said(card)} {offers}",
        remedy="Give the checkpoint with --weights FILE, or another card of the network: mshub-convert list mshub:",
    )


def _offered(card: Card) -> str:
    return listed([f"{_called(asset)} ({asset.file_format or '?'})" for asset in card.assets])


def _called(asset: Asset) -> str:
    """A file of a card for a message."""
    return asset.name or "a file without address"


def _given(card: Card, asset: Asset | None, file: Path) -> tuple[Path, Origin]:
    """The user's file: what the card offers, if it has the sha256 of that; any other is refused."""
    if asset is None or not asset.sha256:
        return file, Origin("stated")
    if not download.matches(file, asset.sha256):
        raise EnvironmentError_(
            f"--weights {file} is not {asset.name or 'the file'} of {_said(card)}: its sha256 does not"
            f" {'equal' if asset.fully_checked else 'begin with'} {asset.sha256}",
            remedy=f"{f'Download {asset.link} again' if asset.link else 'Look for the right file'}, or convert the file"
            " by its path.",
        )
    # Of an entry that is not published the file itself tells more: its record says whether it is pretrained.
    return file, Origin("pretrained" if asset.link else "file")


def _fetched(card: Card, asset: Asset, request: Request) -> Path:
    """The file of an asset, downloaded or cached, and checked."""
    if asset.link.lower().endswith(_ARCHIVES):
        raise UsageError(
            f"{asset.link} is an archive", remedy="Download and unpack it, and give the checkpoint with --weights FILE."
        )
    try:
        return download.fetch(asset.link, sha256_prefix=asset.sha256 or None, progress=request.progress)
    except EnvironmentError_ as error:
        raise EnvironmentError_(
            f"the weights of {_said(card)} cannot be had: {error.message}",
            remedy=error.remedy,
        ) from None


def _extent(asset: Asset) -> str:
    """How much of the sha256 was compared."""
    if not asset.sha256:
        return "not given"
    return "full" if asset.fully_checked else f"first {len(asset.sha256)} digits"


def _check_notices(card: Card, asset: Asset | None, given: Path | None) -> tuple[str, ...]:
    """What was not checked of the file."""
    if given is not None and (asset is None or not asset.sha256):
        return (f"the file is taken at your word for {_name(card)}: the card gives no sha256 to compare it with",)
    if asset is not None and not asset.sha256:
        return (f"the card gives no sha256 of {asset.name}: the download was not checked",)
    if asset is not None and not asset.fully_checked:
        digits = len(asset.sha256)
        return (f"the card gives only the first {digits} digits of the sha256 of {asset.name}: they fit",)
    return ()


def _card_notices(card: Card, promised: Claims) -> tuple[str, ...]:
    notices = [f"the card {_name(card)}: {doubt}" for doubt in promised.doubts]
    if card.problems:
        first, *more = card.problems
        rest = f", and {counted(len(more), 'more problem')}: see `mshub-convert inspect`" if more else ""
        notices.append(f"in the card {_name(card)}, {first.told}{rest}")
    return tuple(notices)


def _facts(card: Card, asset: Asset | None) -> dict[str, object]:
    """What the card states, as plain values."""
    facts: dict[str, object] = {"hub": "MindSpore Hub", "card": _name(card)}
    facts |= {name: card.fields[key] for key, name in _FACTS.items() if card.fields.get(key) is not None}
    facts["license"] = card.text("license") or (_UNLISTED if card.where == index.WHERE else "unstated")
    accuracy = card.fields.get("evaluation") or card.fields.get("accuracy")
    if accuracy is not None:
        dataset = card.text("train-dataset")
        measures = accuracy if isinstance(accuracy, dict) else {"stated": accuracy}
        facts["accuracy"] = ({"dataset": dataset} if dataset else {}) | measures
    if card.uid:
        facts["card_url"] = f"{addresses.HOME}/{card.uid}.md"
    if asset is not None:
        facts |= {
            **({"url": asset.link} if asset.link else {}),
            "sha256": asset.sha256,
            "sha256_checked": _extent(asset),
        }
    return facts


RESOLVER = MindSporeHub()
