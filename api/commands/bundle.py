"""``mshub-convert bundle``: evidence to carry to another machine."""

from typing import Any

import click

from mshub_convert.options import (
    as_json,
    backbone,
    bn,
    classes,
    init,
    inputs_options,
    print_json,
    quiet,
    select,
    trait_option,
    weights,
)


@click.command(short_help="Put converted files and all evidence into one folder.")
@click.argument("source")
@click.option("--out", "-o", required=True, metavar="PATH", help="A folder, or a file name that ends in .zip.")
@click.option(
    "--to",
    "to",
    multiple=True,
    metavar="FORMAT[:DIALECT]",
    help="What to convert to, any number of times. Default: ckpt and onnx.",
)
@weights
@init
@select
@classes
@backbone
@bn
@trait_option("--trait", "Say a graph trait of the source.")
@inputs_options
@click.option("--overwrite", is_flag=True, help="Replace an existing bundle.")
@as_json
@quiet
def bundle(
    source: str,
    *,
    out: str,
    to: tuple[str, ...],
    weights: str | None,
    init: str | None,
    select: str | None,
    classes: int | None,
    backbone: bool,
    bn: str,
    trait: dict[str, str],
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **inputs: Any,
) -> None:
    """Convert SOURCE, prove every file, and put all of it into one folder or .zip.

    On another machine with NumPy and one runtime, `mshub-convert verify FOLDER --runtime mindspore:Ascend` verifies
    the files there against what the source gave here; it needs neither the source nor torch, and downloads nothing.
    """
    from mshub_convert import bundling, terminal
    from mshub_convert.request import SourceRequest
    from mshub_convert.verify.inputs import chosen

    request = SourceRequest(source, weights, init, trait, select, classes=classes, bn=bn, backbone=backbone)
    given = chosen(**inputs)
    with terminal.progress(enabled=not quiet) as progress:
        made = bundling.bundle(
            request, out, to=to or bundling.DEFAULT_TARGETS, inputs=given, overwrite=overwrite, progress=progress
        )
    if not quiet:
        terminal.show_bundle(made)
    if as_json:
        print_json(made.as_dict())
    else:
        click.echo(made.path)
