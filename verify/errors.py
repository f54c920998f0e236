"""Errors of running networks and of comparing what they give."""

from collections.abc import Iterable

from ..converters.errors import EnvironmentError_
from ..mappings.errors import MshubConvertError
from ..mappings.names import collapse, counted


class VerificationError(MshubConvertError):
    """A verification that failed or could not come to a verdict."""

    exit_code = 4


class NetworkError(VerificationError):
    """A network that a framework cannot build as asked."""


class LoadError(VerificationError):
    """Weights that do not fit a network: names it lacks, names it does not know, shapes that differ.

    ``shapes`` holds lines such as ``fc.weight: (10, 2048) in the file, (1000, 2048) in the network``.
    """

    def __init__(
        self, message: str, *, remedy: str = "",
        missing: Iterable[str] = (), unexpected: Iterable[str] = (), shapes: Iterable[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(message, remedy=remedy)
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.shapes = tuple(shapes)

    @classmethod
    def of(
        cls, what: str, *, missing: Iterable[str] = (), unexpected: Iterable[str] = (), shapes: Iterable[str] = ()
    ) -> "LoadError":
        """The error that lists what does not fit, names that differ only in numbers folded."""
        missing, unexpected, shapes = tuple(missing), tuple(unexpected), tuple(shapes)
        lines = [f"{what}: the weights do not fit the network"]
        for names, said in ((missing, "missing from the weights"), (unexpected, "unknown to the network")):
            if names:
                lines.append(f"  {counted(len(names), 'tensor')} {said}: {', '.join(collapse(names))}")
        if shapes:
            lines.append(f"  {counted(len(shapes), 'shape')} that differ:")
            lines += [f"    {line}" for line in shapes[:10]] + ["    ..."] * (len(shapes) > 10)
        return cls(
            "\n".join(lines), remedy="Check architecture, class count and dialect with `mshub-convert inspect FILE`.",
            missing=missing, unexpected=unexpected, shapes=shapes,
        )  # fmt: skip


class RuntimeRefusedError(VerificationError):
    """Something a runtime cannot do, such as float64 convolutions in MindSpore."""


class RuntimeTimeoutError(VerificationError):
    """A runtime that did not finish in time and was ended."""


class RuntimeCrashError(VerificationError):
    """A runtime process that died; the message ends with the last lines it wrote."""


class MissingPackageError(EnvironmentError_):
    """A package that is not installed, or that is there and cannot be imported."""
