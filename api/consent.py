"""``--source-network``: the user's own network, whose code is run only with their consent."""

import sys
from typing import Any

import click

_TRUSTED = f"{__name__}.trusted"


def _consented(context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """Look whether the file is there, and ask whether its code may run, unless that was said."""
    if text is None:
        return None
    from mshub_convert.converters.errors import UsageError
    from mshub_convert.verify.sides import split_source_network

    file, factory = split_source_network(text)
    if context.meta[_TRUSTED]:
        return text
    remedy = "Read the file; if you trust it, add --trust-source-network."
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"--source-network runs the code in {file}, and nobody can be asked here", remedy=remedy)
    question = f"The code in {file} will be run, with your rights, to make the network by {factory}. Run it?"
    if not click.confirm(question, err=True):
        raise UsageError(f"the code in {file} was not run", remedy=remedy)
    return text


def source_network_options(command: Any) -> Any:
    """The options for the user's own network; ``source_network`` arrives as a keyword."""
    trust = click.option(
        "--trust-source-network",
        is_flag=True,
        is_eager=True,  # known before the other is read
        expose_value=False,
        callback=lambda context, _, trusted: context.meta.update({_TRUSTED: trusted}),
        help="Run the code of --source-network without a question.",
    )
    network = click.option(
        "--source-network",
        metavar="FILE.py:FACTORY",
        callback=_consented,
        help="Verify in your own network for SOURCE: FACTORY() or FACTORY(classes) of FILE makes it. Its code is run.",
    )
    return trust(network(command))
