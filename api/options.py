"""Options that several commands have, and how their texts are read."""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def _traits(_context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    traits: dict[str, str] = {}
    for value in values:
        name, equals, setting = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE", param=parameter)
        traits[name] = setting
    return traits


def input_shape(_context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Read N,3,H,W."""
    if value is None:
        return None
    sizes = value.split(",")
    if not all(size.isascii() and size.isdigit() and len(size) < 7 for size in sizes):
        raise click.BadParameter(f"{value!r} is not N,3,H,W, such as 1,3,224,224", param=parameter)
    return tuple(map(int, sizes))


def trait_option(name: str, help_: str) -> Callable[[Any], Any]:
    """An option that takes NAME=VALUE, any number of times."""
    return click.option(name, multiple=True, metavar="NAME=VALUE", callback=_traits, help=help_)


def runtime_option(name: str, help_: str) -> Callable[[Any], Any]:
    """An option that takes a runtime and a device of it."""
    return click.option(name, metavar="RUNTIME[:DEVICE[:N]]", callback=_where, help=help_)


device_precision = click.option(
    "--device-precision",
    metavar="PRECISION",
    help="What the device of --runtime computes in: float32, hf32, float16 or bfloat16. Default: as it is told to.",
)


def _where(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    from mshub_convert.verify.runtimes.where import where

    return where(value)


weights = click.option("--weights", metavar="FILE", help="Use this file instead of downloading the model's weights.")
init = click.option(
    "--init", metavar="calibrated[:SEED]", help="Draw healthy random weights, to try things offline. Not pretrained."
)
select = click.option(
    "--select", metavar="NAME", help="Which weights to take where a file holds several (state_dict_ema, ema)."
)
classes = click.option(
    "--classes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep the first N classes and leave out the others, such as the unused one of model_zoo's 1001.",
)
backbone = click.option(
    "--backbone", is_flag=True, help="The backbone alone: SOURCE without its classifier, or without a detector's heads."
)
bn = click.option(
    "--bn",
    type=click.Choice(["identity", "calibrated"]),
    default="identity",
    help="What stands for BatchNorms that an ONNX source has folded away: identities, or statistics to train on with.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, also for errors.")
quiet = click.option("--quiet", "-q", is_flag=True, help="No progress and no summary on stderr.")


def _size_list(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    from mshub_convert.verify.inputs import parse_sizes

    return parse_sizes(value)


def inputs_options(command: Any) -> Any:
    """The options that say what a verification runs on; they arrive as keywords of ``verify``."""
    for option in reversed((
        click.option("--images", metavar="DIR", help="Verify on photographs of this folder, not on drawn pictures."),
        click.option("--inputs", metavar="FILE.npz", help="Verify on exactly these arrays: float32, (N, 3, H, W)."),
        click.option(
            "--sizes", metavar="HxW,…", callback=_size_list, help="Sizes of the pictures. Default: 224x224,225x231."
        ),
        click.option("--count", type=int, metavar="N", help="How many pictures of each size. Default: 8."),
        click.option("--seed", type=int, metavar="N", help="What the pictures are drawn from. Default: 0."),
    )):  # fmt: skip
        command = option(command)
    return command


def _report(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    from mshub_convert.reporting import Report

    return Report(Path(value), shlex.join(["mshub-convert", *sys.argv[1:]]))


report = click.option(
    "--report",
    metavar="FILE.html",
    callback=_report,
    help="Write what was verified, on what and how near it came, as one page with figures; replaces an earlier one.",
)


def print_json(value: object) -> None:
    """Print one JSON object as the result."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))
