"""Python expressions, laid out as a formatter would."""

from dataclasses import dataclass
from keyword import iskeyword

WIDTH = 88
_INDENT = 4


@dataclass(frozen=True, slots=True)
class Call:
    """A call or a list: what it begins with (``nn.Dense(``), its arguments (``groups=`` or nothing before each)."""

    head: str
    arguments: tuple[tuple[str, "str | Call"], ...]
    tail: str = ")"


def sequence(cells: list["str | Call"]) -> Call:
    """A SequentialCell whose cells are called by their numbers."""
    return Call("nn.SequentialCell(", (("", Call("[", tuple(("", cell) for cell in cells), "]")),))


def named_sequence(cells: dict[str, "str | Call"]) -> Call:
    """A SequentialCell whose cells have names."""
    if all(name.isidentifier() and not iskeyword(name) for name in cells):
        table = Call("OrderedDict(", tuple((f"{name}=", cell) for name, cell in cells.items()))
    else:
        pairs = tuple(("", Call("(", (("", f'"{name}"'), ("", cell)))) for name, cell in cells.items())
        table = Call("OrderedDict(", (("", Call("[", pairs, "]")),))
    return Call("nn.SequentialCell(", (("", table),))


def assignment(name: str, value: "str | Call", *, indent: int) -> str:
    """``name = value``, in as many lines as it takes."""
    return statement(f"{name} = ", value, indent=indent)


def statement(begin: str, value: "str | Call", *, indent: int) -> str:
    """A value behind what its statement begins with (``return ``), in as many lines as it takes."""
    return f"{' ' * indent}{begin}{_laid_out(value, indent, before=len(begin))}"


def signature(name: str, parameters: list[str], returned: str, *, indent: int) -> str:
    """The first line of a function."""
    arguments = tuple(("", parameter) for parameter in parameters)
    return " " * indent + _laid_out(Call(f"def {name}(", arguments, f") -> {returned}:"), indent, before=0)


def _laid_out(value: "str | Call", indent: int, *, before: int, after: int = 0) -> str:
    """An expression whose first line has ``before`` characters before it and whose last ``after`` behind it."""
    line = _in_a_line(value)
    if isinstance(value, str) or indent + before + len(line) + after <= WIDTH:
        return line
    pad, inner = " " * indent, indent + _INDENT
    # A lone argument takes no comma: it is a list or a call that is broken itself.
    comma = "" if len(value.arguments) == 1 else ","
    lines = [
        f"{' ' * inner}{keyword}{_laid_out(argument, inner, before=len(keyword), after=len(comma))}{comma}\n"
        for keyword, argument in value.arguments
    ]
    return f"{value.head}\n{''.join(lines)}{pad}{value.tail}"


def _in_a_line(value: "str | Call") -> str:
    if isinstance(value, str):
        return value
    inner = ", ".join(f"{keyword}{_in_a_line(argument)}" for keyword, argument in value.arguments)
    return f"{value.head}{inner}{value.tail}"
