"""The command line: ``mshub-convert SOURCE --to FORMAT`` and its subcommands. Results on stdout, talk on stderr."""

import difflib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from mshub_convert import __version__
from mshub_convert.commands.bundle import bundle
from mshub_convert.commands.convert import convert
from mshub_convert.commands.inspect import inspect
from mshub_convert.commands.list import list_
from mshub_convert.commands.preprocessing import preprocessing
from mshub_convert.commands.verify import verify
from mshub_convert.options import print_json

_EPILOG = """\b
Exit codes: 0 done · 1 a bug · 2 usage, or the output exists · 3 the file or the plan has problems, nothing written ·
4 verification failed or inconclusive · 5 something is missing (file, network, package) · 130 interrupted.
"""


class _ReaderGoneError(Exception):
    """Nobody reads what is printed, as after ``| head``."""


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

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except BrokenPipeError:  # click would end the program with 1, which means a bug here
            raise _ReaderGoneError from None


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
      mmcls:resnext50-32x4d_8xb32_in1k    a model of mmpretrain's index, by its name, or by mmcls 0.x's
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


for _command in (convert, verify, bundle, preprocessing, inspect, list_):
    cli.add_command(_command)


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
    except _ReaderGoneError:
        # Whoever reads has read enough. Not 0: what was not said may have been a failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.stderr.close()
        code = 128 + signal.SIGPIPE
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
        print_json(found | ({"proof": proof.as_dict()} if proof is not None else {}))
    sys.exit(code)


if __name__ == "__main__":
    main()
