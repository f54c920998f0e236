"""``mshub-convert verify``: prove that a converted file is its source."""

from typing import Any

import click

from mshub_convert.consent import source_network_options
from mshub_convert.options import (
    as_json,
    backbone,
    bn,
    classes,
    device_precision,
    init,
    inputs_options,
    print_json,
    quiet,
    report,
    runtime_option,
    select,
    trait_option,
    weights,
)


@click.command(short_help="Prove that a converted file is its source.")
@click.argument("source")
@click.argument("target", required=False)
@weights
@init
@select
@classes
@backbone
@bn
@trait_option("--trait", "Say a graph trait of TARGET, where it has no record: stem_pool=symmetric.")
@trait_option("--source-trait", "Say a graph trait of SOURCE.")
@runtime_option(
    "--runtime",
    "Run TARGET there instead of where it belongs, on a network built by us if need be: torch[:cuda|npu], "
    "mindspore[:Ascend|GPU], onnxruntime[:CUDA|CANN], mindir[:Ascend|GPU], om, reference.",
)
@runtime_option("--source-runtime", "The same for SOURCE.")
@source_network_options
@click.option("--sha256", default="", metavar="DIGEST", help="What the manifest of a bundle must have.")
@device_precision
@inputs_options
@click.option(
    "--self-test", type=int, metavar="N",
    help="Also mutate TARGET N times (64, say) and tell what these pictures would have caught.",
)  # fmt: skip
@report
@as_json
@quiet
def verify(
    source: str,
    target: str | None,
    *,
    trait: dict[str, str],
    source_trait: dict[str, str],
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Prove that TARGET is SOURCE: equal weights, and equal outputs on the same inputs.

    SOURCE runs in its own library (timm, torchvision) where it has one, TARGET in its framework, an .onnx file in
    ONNX Runtime, a .mindir in MindSpore, each in a process of its own; both are compared with a float64 run of the
    source. Exit code 0 is a pass or a warning, 4 is not.

    The folder or .zip of a bundle (`mshub-convert bundle`) is verified alone, in a runtime that is installed here.
    """
    from mshub_convert import terminal, verification

    with terminal.progress(enabled=not quiet) as progress:
        proof = verification.verify(
            source, target, traits=trait, source_traits=source_trait, progress=progress, **options
        )
    if as_json:
        print_json(proof.as_dict())
    else:
        terminal.show_proof(proof)
    if not proof:
        raise SystemExit(4)
