"""``mshub-convert preprocessing``: whether the users of converted weights prepare pictures as these were trained on."""

import click

from mshub_convert.options import as_json, init, print_json, quiet, trait_option, weights


@click.command(short_help="Compare the preprocessing of a source with its users'.")
@click.argument("source")
@click.option(
    "--to",
    default="mindcv",
    metavar="LIBRARY",
    help="What the users prepare pictures with: mindcv (default), torchvision, timm, mmpretrain, modelhub; or "
    "FILE.py:FUNCTION, which is run: from the path of a picture to an array.",
)
@trait_option("--set", "An argument that the users give: resize, crop, interpolation, edges, antialias, mean, std.")
@click.option("--images", metavar="DIR", help="Compare on the pictures of this folder, instead of drawn ones.")
@weights
@init
@as_json
@quiet
def preprocessing(
    source: str,
    *,
    to: str,
    set: dict[str, str],
    images: str | None,
    weights: str | None,
    init: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare what SOURCE's library makes of pictures with what another library makes of them.

    Resize, crop, interpolation, mean, deviation and channel order, each by the library's own code, in levels of 255;
    where they differ, the causes by name. SOURCE is an address such as timm:resnext50_32x4d.ra_in1k, whose weights are
    not fetched, or a converted file. With weights (--weights, --init, or a file) the network runs on both. Exit code 0
    is the same within the budget, 4 is not.
    """
    from mshub_convert import terminal
    from mshub_convert.preprocessing import preprocessing_parity
    from mshub_convert.terminal_preprocessing import show_preprocessing

    with terminal.progress(enabled=not quiet) as progress:
        found = preprocessing_parity(
            source, to=to, images=images, settings=set, weights=weights, init=init, progress=progress
        )
    if as_json:
        print_json(found.as_dict())
    else:
        show_preprocessing(found)
    if not found:
        raise SystemExit(4)
