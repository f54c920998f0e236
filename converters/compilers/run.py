"""Run a compiler: found on PATH, bounded in time, its own words shown where it fails."""

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

from ..errors import EnvironmentError_
from ..staging import refuse_taken
from . import Compiler

# Seconds; ATC takes minutes for a large network.
TIMEOUT = 1800.0
_TAIL_LINES = 20


class CompilerError(EnvironmentError_):
    """A compiler that is missing, failed, or did not finish; the file to compile is there."""


def make_room(compiled: Path, *, source: Path, overwrite: bool) -> None:
    """Refuse a name that is taken; an older output goes, for it would be of another file."""
    refuse_taken(compiled, source=source, overwrite=overwrite)
    compiled.unlink(missing_ok=True)


def run(compiler: Compiler, command: list[str], file: Path, compiled: Path, *, timeout: float = TIMEOUT) -> None:
    """Compile ``file``; raises CompilerError with the command line, so that it can be run elsewhere."""
    line = shlex.join(command)
    if shutil.which(command[0]) is None:
        raise CompilerError(
            f"{command[0]} is not on the PATH, so {compiled} was not made. {file} is there; the command is\n  {line}",
            remedy=f"{compiler.remedy}.",
        )
    try:
        code, log = _logged(command, timeout)
    except subprocess.TimeoutExpired as error:
        compiled.unlink(missing_ok=True)
        raise CompilerError(
            f"{command[0]} did not finish in {timeout:g} seconds. {file} is there; the command was\n  {line}\n"
            + _tail(error.output or ""),
            remedy="Run it by hand, without a limit.",
        ) from None
    if code or not compiled.is_file():
        compiled.unlink(missing_ok=True)
        how = f"failed (exit code {code})" if code else f"ended well, but made no {compiled}"
        raise CompilerError(
            f"{command[0]} {how}. {file} is there; the command was\n  {line}\n{_tail(log)}",
            remedy="Its own messages are above; a wrong --soc-version is the commonest cause.",
        )


def _logged(command: list[str], timeout: float) -> tuple[int, str]:
    """Exit code and output; at the end of the time it is killed with all that it started."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", start_new_session=True,
    ) as process:  # fmt: skip
        try:
            log, _ = process.communicate(timeout=timeout)
        except BaseException as stopped:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            if isinstance(stopped, subprocess.TimeoutExpired):
                raise subprocess.TimeoutExpired(command, timeout, output=said) from None
            raise
        return process.returncode, log


def _tail(log: str) -> str:
    lines = [f"  | {line}" for line in log.splitlines()]
    return "\n".join(lines[-_TAIL_LINES:]) or "  | (it said nothing)"
