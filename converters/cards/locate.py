"""Find a card: a file, a folder laid out as the hub's, the index that ships with the package, or the hub itself."""

import os
from collections.abc import Callable
from pathlib import Path

from ...mappings.names import closest, listed
from ..errors import EnvironmentError_, MalformedFileError, UsageError
from . import addresses, index
from .addresses import CardAddress
from .card import Card
from .parse import parse

# A folder or an address laid out as mshub_res/assets of the hub, such as a clone's: instead of the hub.
VARIABLE = "MSHUB_CONVERT_CARDS"
_SHORT = 2  # parts of a UID that name a card well enough to look for it: 1.9/resnet50_cifar10

# What a folder has that is an entry of the hub.
ENTRY = "mindspore_hub_conf.py"
# Where a clone of the hub has its cards: there a file's path says its UID.
_HUB_FOLDER = "/mshub_res/assets/"

# Downloads a text file: its address → a path.
Fetch = Callable[[str], Path]


def split_asset(text: str) -> tuple[str, str]:
    """What comes before and after the ``#`` that picks a file of a card."""
    card, _, asset = text.partition("#")
    return card, asset


def is_card(address: str) -> bool:
    """Whether an address on the command line means a card: a ``.md`` file, ``mshub:…``, or a web address."""
    return address.startswith("mshub:") or addresses.is_url(address) or address.endswith(".md")


def card_of_entry(folder: Path) -> Path | None:
    """The card in a folder that is an entry of the hub, where that has one."""
    if not (folder / ENTRY).is_file():
        return None
    cards = [file for file in sorted(folder.glob("*.md")) if file.stem.casefold() != "readme"]
    return cards[0] if len(cards) == 1 else None


def own_uids() -> tuple[str, ...]:
    """The UIDs of the cards in the user's own folder, if there is one."""
    home = os.environ.get(VARIABLE, "")
    if not home or addresses.is_url(home):
        return ()
    files = sorted(file.relative_to(home) for file in Path(home).rglob("*.md"))
    found = (addresses.read(file.as_posix()) for file in files)
    return tuple(dict.fromkeys(place.uid for place in found if place is not None))


def locate(text: str, fetch: Fetch) -> Card:
    """The card that a UID, an address or a path means; ``fetch`` is called where it has to come from the web."""
    path = Path(text)
    if not addresses.is_url(text) and path.is_file():
        full = path.absolute().as_posix()
        place = addresses.read(full) if _HUB_FOLDER in full else None
        return parse(_read(path), where=str(path), uid=place.uid if place else "")
    found = _address(text)
    home = os.environ.get(VARIABLE, "")
    if home and not addresses.is_url(home):
        file = Path(home) / found.file
        if file.is_file():
            return parse(_read(file), where=str(file), uid=found.uid)
    if not found.chinese and (card := index.find(found)) is not None:
        return card
    url = f"{home.rstrip('/')}/{found.file}" if addresses.is_url(home) else found.url
    try:
        file = fetch(url)
    except EnvironmentError_ as error:
        near = closest(found.uid, index.uids())
        remedy = (
            f"Did you mean {listed(near, 'or')}?" if near else f"Give the card's file, or its folder in ${VARIABLE}."
        )
        raise EnvironmentError_(f"the card {found.uid} cannot be had: {error.message}", remedy=remedy) from None
    try:
        return parse(_read(file), where=url, uid=found.uid)
    except MalformedFileError:
        file.unlink(missing_ok=True)  # not to be found again where it is kept
        raise


def _address(text: str) -> CardAddress:
    """The UID that is meant; a name alone will do where the index has one card of it."""
    found = addresses.read(text)
    if found is not None and (index.find(found) or text.count("/") >= _SHORT):
        return found
    if text.endswith(".md") and not addresses.is_url(text):
        raise EnvironmentError_(f"no card {text}", remedy="Check the path, or give the UID without .md.")
    named = () if addresses.is_url(text) else index.called(text)
    if len(named) == 1:
        return CardAddress(named[0])
    if named:
        raise UsageError(f"{text} is the name of {len(named)} cards: {listed(named)}", remedy="Give one of them whole.")
    near = () if addresses.is_url(text) else index.nearest(text)
    remedy = "A card is meant by its UID, its address in the hub or a file; see `mshub-convert list mshub:`."
    if near:
        remedy = f"Did you mean {listed(near, 'or')}? {remedy}"
    raise UsageError(f"{text!r} means no card of MindSpore Hub", remedy=remedy)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EnvironmentError_(f"cannot read {path}: {error.strerror}", remedy="Check the path.") from None
