"""What everything shown to a person is made of: a console, tables without lines, text that is no markup."""

from typing import TYPE_CHECKING, Literal, NoReturn

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# More than a row has: into a file or a pipe nothing is broken in two.
_WIDE = 1 << 20


def escape(text: str) -> str:
    """Text in which nothing is taken for markup."""
    from rich.markup import escape as escaped

    return escaped(text)


def console(*, to_stderr: bool = True) -> "Console":
    """A console on stdout or stderr."""
    # rich is imported when something is shown: a quiet run starts faster.
    from rich.console import Console

    class OurConsole(Console):
        def on_broken_pipe(self) -> NoReturn:
            raise BrokenPipeError  # rich would end the program with 1, which means a bug here

    found = OurConsole(stderr=to_stderr, highlight=False, soft_wrap=True)
    if not found.is_terminal:
        # Into a file or a pipe, rows stay on one line.
        found.width = _WIDE
    return found


def show(console: "Console", table: "Table") -> None:
    """Print a table; into a file or a pipe without the blanks that fill its rows."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.print(line.rstrip(), markup=False)


def columns(first: str, *others: str, justify: 'Literal["left", "right"]' = "left") -> "Table":
    """A table without lines; all columns but the first are set as ``justify`` says."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(first)
    for column in others:
        table.add_column(column, justify=justify)
    return table


def rows() -> "Table":
    """A table of names and what is said of them."""
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def print_findings(console: "Console", word: str, lines: list[str], style: str) -> None:
    """Print lines, each after a word in this style."""
    for line in lines:
        console.print(f"[{style}]{word}[/]  {escape(line)}")
