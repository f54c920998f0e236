"""The command line: ``mshub-convert SOURCE --to FORMAT`` and its subcommands. Results on stdout, talk on stderr."""

import difflib
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from mshub_convert import __version__

_EPILOG = """\b
Exit codes: 0 done · 1 a bug · 2 usage, or the output exists · 3 the file or the plan has problems, nothing written ·
4 verification failed or inconclusive · 5 something is missing (file, network, package) · 130 interrupted.
"""


class _DefaultToConvert(click.Group):
    """A group whose first word may be a source: then the command is ``convert``."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if not args:
            click.echo(self.get_help(context))
            context.exit(2)
        if args[0] not in self.commands and args[0] not in ("--help", "-h", "--version"):
            near = difflib.get_close_matches(args[0], self.commands, n=1)
            if near and "--to" not in args and not Path(args[0]).exists():
                raise click.UsageError(f"no command {args[0]!r}. Did you mean {near[0]}?", context)
            args = ["convert", *args]
        return super().parse_args(context, args)


def _traits(_context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    traits: dict[str, str] = {}
    for value in values:
        name, equals, setting = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE, such as stem_pool=symmetric", param=parameter)
        traits[name] = setting
    return traits


def _input_shape(_context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    sizes = value.split(",")
    if not all(size.isascii() and size.isdigit() and len(size) < 7 for size in sizes):
        raise click.BadParameter(f"{value!r} is not N,3,H,W, such as 1,3,224,224", param=parameter)
    return tuple(map(int, sizes))


def _trait_option(name: str, help_: str) -> Callable[[Any], Any]:
    return click.option(name, multiple=True, metavar="NAME=VALUE", callback=_traits, help=help_)


def _runtime_option(name: str, help_: str) -> Callable[[Any], Any]:
    return click.option(name, type=click.Choice(("torch", "mindspore", "onnxruntime")), help=help_)


_weights = click.option("--weights", metavar="FILE", help="Use this file instead of downloading the model's weights.")
_init = click.option(
    "--init", metavar="calibrated[:SEED]", help="Draw healthy random weights, to try things offline. Not pretrained."
)
_select = click.option(
    "--select", metavar="NAME", help="Which weights to take where a file holds several (state_dict_ema, ema)."
)
_classes = click.option(
    "--classes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep the first N classes and leave out the others, such as the unused one of model_zoo's 1001.",
)
_bn = click.option(
    "--bn",
    type=click.Choice(["identity", "calibrated"]),
    default="identity",
    help="What stands for BatchNorms that an ONNX source has folded away: identities, or statistics to train on with.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, also for errors.")
_TO = (
    "ckpt, pth, safetensors, onnx or mindir, and whose names the tensors take: see `mshub-convert list`. "
    "modelhub writes a repository of modelhub.ai around an ONNX file, into the folder -o."
)
_quiet = click.option("--quiet", "-q", is_flag=True, help="No progress and no summary on stderr.")


@click.group(
    cls=_DefaultToConvert,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=_EPILOG,
    options_metavar="",
    subcommand_metavar="SOURCE --to FORMAT[:DIALECT] [OPTIONS] | COMMAND [ARGS]",
)
@click.version_option(__version__, prog_name="mshub-convert")
def cli() -> None:
    """Convert ResNet and ResNeXt weights between PyTorch, MindSpore and ONNX, with proof.

    \b
    SOURCE is a model or a file:
      timm:resnext50_32x4d            timm's default weights, downloaded
      timm:resnext50_32x4d.ra_in1k    one of its tags
      torchvision:resnext101_64x4d    torchvision's weights (.IMAGENET1K_V1 picks one)
      mmcls:resnext50-32x4d_8xb32_in1k    a model of mmpretrain's index, by its name there or in mmcls 0.x
      mshub:mindspore/1.9/resnext50_imagenet2012    the checkpoint of a card of MindSpore Hub; or the card's address
      card.md                         a card on disk
      modelhub:resnet-50              a model of modelhub.ai; or the folder of such a repository
      my_finetuned.pth                a file; its network and names are found out

    \b
    Examples:
      mshub-convert timm:resnext50_32x4d --to ckpt --verify
      mshub-convert timm:resnext50_32x4d --init calibrated:0 --to ckpt --verify      (offline)
      mshub-convert timm:resnext50_32x4d --to onnx
      mshub-convert model.onnx --to ckpt                        (from any producer)
      mshub-convert my_finetuned.pth --to ckpt:modelzoo -o out/
      mshub-convert out/resnext50_32x4d.ckpt --to pth
      mshub-convert verify timm:resnext50_32x4d out/resnext50_32x4d.ckpt

    `mshub-convert convert --help` lists the options of a conversion.
    """


@cli.command(short_help="Convert a model or a file (the default).")
@click.argument("source")
@click.option("--to", "to", required=True, metavar="FORMAT[:DIALECT]", help=_TO)
@click.option(
    "--out",
    "-o",
    metavar="PATH",
    help="A folder (made if missing) or a file name with the container's suffix. Default: here.",
)
@_weights
@_init
@_select
@click.option(
    "--from", "dialect", metavar="DIALECT", help="Names of the source: a dialect or a TOML file. Default: found out."
)
@_trait_option(
    "--trait", "Say a graph trait of the source: stem_pool, padding (symmetric or same), norm_eps, bottleneck_stride."
)
@click.option(
    "--dtype", metavar="DTYPE", help="Round floating weights to float16 or bfloat16, or widen them to float32."
)
@_classes
@_bn
@click.option("--opset", type=int, metavar="N", help="The ONNX opset, 13 (default) to 21.")
@click.option("--fold-bn", is_flag=True, help="ONNX: fold BatchNorm into the convolutions. Lossy: no way back.")
@click.option(
    "--input-shape",
    metavar="N,3,H,W",
    callback=_input_shape,
    help="ONNX, MINDIR: fix the input, such as 1,3,224,224. Default: any number of pictures of any size.",
)
@click.option(
    "--model-url", default="", metavar="URL", help="With --to modelhub: where its weight file will be downloaded from."
)
@click.option("--verify", is_flag=True, help="Run source and target and compare them before the file takes its name.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--no-check", is_flag=True, help="Skip hashes and the bit-exact read-back. The record says so.")
@click.option(
    "--strict",
    is_flag=True,
    help="Treat every notice as a problem, also that the target library's own network has other traits.",
)
@_json
@_quiet
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
    bn: str,
    opset: int | None,
    fold_bn: bool,
    input_shape: tuple[int, ...] | None,
    model_url: str,
    verify: bool,
    dry_run: bool,
    overwrite: bool,
    no_check: bool,
    strict: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Convert SOURCE. The word `convert` may be left out.

    Prints the path of the output. Beside it stands <output>.mshub.json: what the weights are, where they come from,
    and what was done to them; the same record is inside the file.
    """
    from mshub_convert import conversion, terminal
    from mshub_convert.converters.pipeline import Options
    from mshub_convert.converters.target import Form
    from mshub_convert.request import SourceRequest

    request = SourceRequest(source, weights, init, trait, select, dialect, classes, bn)
    form = Form(dtype, opset, fold_bn, input_shape, model_url)
    options = Options(overwrite=overwrite, check=not no_check, strict=strict, tool=conversion.TOOL)
    with (
        terminal.progress(enabled=not quiet) as progress,
        conversion.prepared(request, to=to, out=out, form=form, options=options, progress=progress) as prepared,
    ):
        if dry_run:
            _show_plan(prepared, as_json=as_json)
            return
        result = conversion.carry_out(prepared, request, verify=verify, progress=progress)
    if not quiet:
        terminal.show_conversion(result)
    if as_json:
        _print_json(result.as_dict())
    else:
        click.echo(result.path)


def _show_plan(prepared: Any, *, as_json: bool) -> None:
    from mshub_convert import terminal
    from mshub_convert.converters.pipeline import refuse_taken_name

    if as_json:
        _print_json(terminal.plan_as_dict(prepared))
    else:
        terminal.show_plan(prepared)
    if prepared.plan.problems:
        raise SystemExit(3)
    refuse_taken_name(prepared)


@cli.command(short_help="Prove that a converted file is its source.")
@click.argument("source")
@click.argument("target")
@_weights
@_init
@_select
@_classes
@_bn
@_trait_option("--trait", "Say a graph trait of TARGET, where it has no record: stem_pool=symmetric.")
@_trait_option("--source-trait", "Say a graph trait of SOURCE.")
@_runtime_option("--runtime", "Run TARGET there instead of where it belongs, on a network built by us if need be.")
@_runtime_option("--source-runtime", "The same for SOURCE.")
@_json
@_quiet
def verify(
    source: str,
    target: str,
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
    """
    from mshub_convert import terminal, verification

    with terminal.progress(enabled=not quiet) as progress:
        proof = verification.verify(
            source, target, traits=trait, source_traits=source_trait, progress=progress, **options
        )
    if as_json:
        _print_json(proof.as_dict())
    else:
        terminal.show_proof(proof)
    if not proof:
        raise SystemExit(4)


@cli.command(short_help="Tell what a file holds, or what a card says.")
@click.argument("file")
@_select
@_json
def inspect(file: str, *, as_json: bool, select: str | None) -> None:
    """Tell what a FILE holds: container, network, dialect, traits, record; or what a card of MindSpore Hub says.

    A card is meant by mshub:UID, its address or a .md file: its fields, its files, and its problems with their lines.
    A repository of modelhub.ai is meant by modelhub:NAME or a folder.
    """
    from mshub_convert import inspection, terminal
    from mshub_convert.converters.cards.locate import is_card

    if is_card(file):
        _inspect_card(file, as_json=as_json, select=select)
        return
    if file.startswith("modelhub:") or Path(file).is_dir():
        _inspect_repository(file, as_json=as_json, select=select)
        return
    found = inspection.inspect(file, select=select)
    if as_json:
        _print_json(found.as_dict())
    else:
        terminal.show_inspection(found)
    if not found.network or found.problems:
        raise SystemExit(3)


def _inspect_repository(address: str, *, as_json: bool, select: str | None) -> None:
    from mshub_convert import repositories, terminal

    if select is not None:
        raise click.UsageError("--select picks weights in a file, and a repository has none")
    found = repositories.inspect_repository(address)
    if as_json:
        _print_json(found.as_dict())
    else:
        terminal.show_repository(found)
    if found.file is not None and (not found.file.network or found.file.problems):
        raise SystemExit(3)


def _inspect_card(card: str, *, as_json: bool, select: str | None) -> None:
    from mshub_convert import cards, terminal

    if select is not None:
        raise click.UsageError("--select picks weights in a file, and a card has none")
    found = cards.inspect_card(card)
    if as_json:
        _print_json(found.as_dict())
    else:
        terminal.show_card(found)
    if found.problems:
        raise SystemExit(3)


@cli.command(name="list", short_help="List formats, dialects, architectures, models.")
@click.argument("what", default="")
@_json
def list_(what: str, *, as_json: bool) -> None:
    """List formats, dialects and architectures; with `timm:` or another source, its models."""
    from mshub_convert import listing, terminal

    found = listing.models(what) if what else listing.everything()
    if as_json:
        _print_json(found)
    else:
        terminal.show_list(found)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    # A terminated run cleans up like an interrupted one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = cli.main(standalone_mode=False)
    except SystemExit as stop:
        code = stop.code
    except click.ClickException as error:
        _fail(error.format_message(), _hint(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing was left half-written", err=True)
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    except Exception as error:
        from mshub_convert.mappings.errors import MshubConvertError

        if not isinstance(error, MshubConvertError):
            raise
        problems = getattr(error, "problems", ())
        _fail(error.message, error.remedy, error.exit_code, getattr(error, "proof", None), problems)
    sys.exit(code if isinstance(code, int) else 0)


def _hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"See `{context.command_path} --help`." if context is not None else "See `mshub-convert --help`."


def _fail(message: str, remedy: str, code: int, proof: Any = None, problems: Sequence[Any] = ()) -> NoReturn:
    if proof is not None:
        from mshub_convert import terminal

        terminal.show_proof(proof, to_stderr=True)
    click.echo(f"error: {message}", err=True)
    if remedy:
        click.echo(f"  → {remedy}", err=True)
    if "--json" in sys.argv:
        found = {"error": message, "remedy": remedy, "exit_code": code, "problems": list(problems)}
        _print_json(found | ({"proof": proof.as_dict()} if proof is not None else {}))
    sys.exit(code)


if __name__ == "__main__":
    main()
