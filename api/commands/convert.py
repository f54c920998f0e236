"""``mshub-convert convert``, or no command at all: a model or a file to a file."""

from pathlib import Path
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
    input_shape,
    inputs_options,
    print_json,
    quiet,
    report,
    runtime_option,
    select,
    trait_option,
    weights,
)

_TO = (
    "ckpt, pth, safetensors, onnx or mindir, and whose names the tensors take: see `mshub-convert list`. "
    "modelhub writes a repository of modelhub.ai around an ONNX file, mshub an entry of MindSpore Hub around a .ckpt, "
    "into the folder -o. om writes an ONNX file and has CANN's atc compile it, or tells the command line."
)


@click.command(short_help="Convert a model or a file (the default).")
@click.argument("source")
@click.option("--to", "to", required=True, metavar="FORMAT[:DIALECT]", help=_TO)
@click.option(
    "--out",
    "-o",
    metavar="PATH",
    help="A folder (made if missing) or a file name with the container's suffix. Default: here.",
)
@weights
@init
@select
@click.option(
    "--from", "dialect", metavar="DIALECT", help="Names of the source: a dialect or a TOML file. Default: found out."
)
@trait_option(
    "--trait", "Say a graph trait of the source: stem_pool, padding (symmetric or same), norm_eps, bottleneck_stride."
)
@click.option(
    "--dtype", metavar="DTYPE", help="Round floating weights to float16 or bfloat16, or widen them to float32."
)
@classes
@backbone
@bn
@click.option("--opset", type=int, metavar="N", help="The ONNX opset, 13 (default) to 21.")
@click.option("--fold-bn", is_flag=True, help="ONNX: fold BatchNorm into the convolutions. Lossy: no way back.")
@click.option(
    "--input-shape",
    metavar="N,3,H,W",
    callback=input_shape,
    help="ONNX, MINDIR: fix the input, such as 1,3,224,224. Default: any number of pictures of any size.",
)
@click.option(
    "--heads",
    type=click.Choice(["raw", "boxes", "nms"]),
    help="ONNX of a detector: give loc and scores (default), decoded boxes, or what suppression leaves.",
)
@click.option(
    "--model-url",
    default="",
    metavar="URL",
    help="With --to modelhub or mshub: where its weight file will be downloaded from.",
)
@click.option(
    "--emit-network",
    type=click.Path(path_type=Path),
    metavar="FILE.py",
    help="ckpt: write a MindSpore module that builds the network of these weights; it needs nothing of this tool.",
)
@click.option(
    "--soc-version",
    default="",
    metavar="NAME",
    help="With --to om: the chip to compile for, as `npu-smi info` tells it. Default: Ascend310P3.",
)
@click.option("--verify", is_flag=True, help="Run source and target and compare them before the file takes its name.")
@runtime_option("--runtime", "With --verify: run the target there, not where it belongs: onnxruntime, torch:cuda:1, …")
@source_network_options
@device_precision
@inputs_options
@report
@click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--no-check", is_flag=True, help="Skip hashes and the bit-exact read-back. The record says so.")
@click.option(
    "--strict",
    is_flag=True,
    help="Treat every notice as a problem, also that the target library's own network has other traits.",
)
@as_json
@quiet
def convert(
    source: str,
    *,
    to: str,
    out: str | None,
    weights: str | None,
    init: str | None,
    select: str | None,
    dialect: str | None,
    trait: dict[str, str],
    dtype: str | None,
    classes: int | None,
    backbone: bool,
    bn: str,
    opset: int | None,
    fold_bn: bool,
    input_shape: tuple[int, ...] | None,
    heads: str | None,
    model_url: str,
    emit_network: Path | None,
    soc_version: str,
    verify: bool,
    dry_run: bool,
    overwrite: bool,
    no_check: bool,
    strict: bool,
    as_json: bool,
    quiet: bool,
    **verification: Any,
) -> None:
    """Convert SOURCE. The word `convert` may be left out.

    Prints the path of the output. Beside it stands <output>.mshub.json: what the weights are, where they come from,
    and what was done to them; the same record is inside the file.
    """
    from mshub_convert import conversion, terminal, verifying
    from mshub_convert.converters.pipeline import Options
    from mshub_convert.converters.target import Form
    from mshub_convert.request import SourceRequest

    request = SourceRequest(source, weights, init, trait, select, dialect, classes, bn, backbone)
    form = Form(dtype, opset, fold_bn, input_shape, model_url, emit_network, heads, soc_version)
    options = Options(overwrite=overwrite, check=not no_check, strict=strict, tool=conversion.TOOL)
    how = verifying.to_verify(verify, **verification)
    with (
        terminal.progress(enabled=not quiet) as progress,
        conversion.prepared(request, to=to, out=out, form=form, options=options, progress=progress) as prepared,
    ):
        if dry_run:
            _show_plan(prepared, as_json=as_json)
            return
        result = conversion.carry_out(prepared, request, verifying=how, progress=progress)
    if not quiet:
        terminal.show_conversion(result)
    if as_json:
        print_json(result.as_dict())
    else:
        click.echo(result.result)


def _show_plan(prepared: Any, *, as_json: bool) -> None:
    from mshub_convert import terminal
    from mshub_convert.converters.pipeline import refuse_taken_name

    if as_json:
        print_json(terminal.plan_as_dict(prepared))
    else:
        terminal.show_plan(prepared)
    if prepared.plan.problems:
        raise SystemExit(3)
    refuse_taken_name(prepared)
