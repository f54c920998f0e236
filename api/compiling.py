"""Convert, and have a vendor's compiler make of it what its devices run: the converted file stays beside the result."""

import shlex
from dataclasses import replace
from pathlib import Path

from mshub_convert.conversion import Conversion, carry_out
from mshub_convert.converters.compilers import Compiler
from mshub_convert.converters.compilers.run import make_room, run
from mshub_convert.converters.pipeline import Prepared, Progress, refuse_problems, refuse_taken_name
from mshub_convert.request import SourceRequest
from mshub_convert.verifying import Verifying


def compile_(
    conversion: Prepared,
    compiler: Compiler,
    request: SourceRequest,
    *,
    verifying: Verifying | None,
    progress: Progress | None = None,
) -> Conversion:
    """Carry out a conversion and compile its output; a verification is of the file that is compiled.

    Where the compiler is missing or fails, the converted file is kept, and the error has the command line.
    """
    refuse_problems(conversion.plan)
    refuse_taken_name(conversion)
    target = conversion.target
    compiled, command = compiled_file(conversion), command_line(conversion)
    make_room(compiled, source=conversion.opened.source.file, overwrite=conversion.options.overwrite)
    inner = replace(conversion, target=replace(target, compiler=None))
    result = carry_out(inner, request, verifying=verifying, progress=progress)
    if progress is not None:
        progress(f"compiling with {compiler.program}", 0, None)
    run(compiler, command, result.path, compiled)
    return replace(result, compiled=compiled, command=shlex.join(command))


def compiled_file(conversion: Prepared) -> Path:
    """What the compiler makes: beside the converted file, under its name."""
    compiler = conversion.target.compiler
    if compiler is None:
        raise TypeError("nothing is to be compiled")
    return conversion.destination.with_suffix(compiler.suffix)


def command_line(conversion: Prepared) -> list[str]:
    """The compiler's command line for a conversion."""
    target = conversion.target
    if target.compiler is None or target.input_shape is None:
        raise TypeError("nothing is to be compiled")
    return target.compiler.command(
        conversion.destination, compiled_file(conversion), device=target.soc_version, input_shape=target.input_shape
    )
