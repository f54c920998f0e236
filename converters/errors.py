"""Errors of reading, planning and writing; each knows the exit code it means on the command line."""

from collections.abc import Mapping, Sequence

from ..mappings.errors import MshubConvertError

_TEXT_LIMIT = 300


def shown(text: str) -> str:
    """Text out of a file, fit for a message: short, and without what would control a terminal."""
    if len(text) > _TEXT_LIMIT:
        text = f"{text[:_TEXT_LIMIT]}…"
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class UsageError(MshubConvertError):
    """A request that cannot be meant, or an output that exists already."""

    exit_code = 2


class MalformedFileError(MshubConvertError):
    """A file that is truncated, corrupt, encrypted, hostile or of no container we read."""

    exit_code = 3


class PlanError(MshubConvertError):
    """A plan with problems: nothing was written. ``problems`` has each as plain values for JSON."""

    exit_code = 3

    def __init__(self, message: str, *, remedy: str = "", problems: Sequence[Mapping[str, object]] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.problems = tuple(problems)


class EnvironmentError_(MshubConvertError):  # noqa: N801, N818 - EnvironmentError is a built-in name
    """Something the machine lacks: a file, a package, the network, disk space, a device."""

    exit_code = 5


class NotOnServerError(EnvironmentError_):
    """A server that answers, but has no such file."""


class ReadBackError(MshubConvertError):
    """The written file does not hold what was meant to be written; it was removed. The disk is to blame, or a bug."""

    exit_code = 5
