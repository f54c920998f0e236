"""``mshub-convert list``: formats, dialects, architectures, models."""

import click

from mshub_convert.options import as_json, print_json


@click.command(name="list", short_help="List formats, dialects, architectures, models.")
@click.argument("what", default="")
@as_json
def list_(what: str, *, as_json: bool) -> None:
    """List formats, dialects and architectures; with `timm:` or another source, its models.

    With `timm:resnext50` those models of it whose names have that."""
    from mshub_convert import listing, terminal_inspection

    found = listing.models(what) if what else listing.everything()
    if as_json:
        print_json(found)
    else:
        terminal_inspection.show_list(found)
