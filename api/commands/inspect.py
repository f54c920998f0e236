"""``mshub-convert inspect``: tell what a file holds, or what a card or a repository says."""

from pathlib import Path

import click

from mshub_convert.options import as_json, print_json, select


@click.command(short_help="Tell what a file holds, or what a card says.")
@click.argument("file")
@select
@as_json
def inspect(file: str, *, as_json: bool, select: str | None) -> None:
    """Tell what a FILE holds: container, network, dialect, traits, record; or what a card of MindSpore Hub says.

    A card is meant by mshub:UID, its address, a .md file or the folder of an entry: its fields, its files, and its
    problems with their lines.
    A repository of modelhub.ai is meant by modelhub:NAME or a folder.
    """
    from mshub_convert import inspection, terminal_inspection
    from mshub_convert.converters.cards.locate import card_of_entry, is_card

    card = file if is_card(file) else card_of_entry(Path(file))
    if card is not None:
        _inspect_card(str(card), as_json=as_json, select=select)
        return
    if file.startswith("modelhub:") or Path(file).is_dir():
        _inspect_repository(file, as_json=as_json, select=select)
        return
    found = inspection.inspect(file, select=select)
    if as_json:
        print_json(found.as_dict())
    else:
        terminal_inspection.show_inspection(found)
    if not found.network or found.problems:
        raise SystemExit(3)


def _inspect_repository(address: str, *, as_json: bool, select: str | None) -> None:
    from mshub_convert import repositories, terminal_inspection

    if select is not None:
        raise click.UsageError("--select picks weights in a file, and a repository has none")
    found = repositories.inspect_repository(address)
    if as_json:
        print_json(found.as_dict())
    else:
        terminal_inspection.show_repository(found)
    if found.file is not None and (not found.file.network or found.file.problems):
        raise SystemExit(3)


def _inspect_card(card: str, *, as_json: bool, select: str | None) -> None:
    from mshub_convert import cards, terminal_inspection

    if select is not None:
        raise click.UsageError("--select picks weights in a file, and a card has none")
    found = cards.inspect_card(card)
    if as_json:
        print_json(found.as_dict())
    else:
        terminal_inspection.show_card(found)
    if found.problems:
        raise SystemExit(3)
