"""The root of every error this package raises on purpose: a message, a remedy, an exit code."""


class MshubConvertError(Exception):
    """An error a user can act on.

    ``message`` says which file, tensor or name is concerned and which facts disagree; ``remedy`` says what to
    type next; ``exit_code`` is what the command line returns (2 usage, 3 plan or input, 4 verification,
    5 environment).
    """

    exit_code = 3

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} → {self.remedy}" if self.remedy else self.message


class MappingError(MshubConvertError):
    """A name, architecture or dialect that does not exist or does not fit."""


class UnknownNameError(MappingError):
    """A model, dialect, container or source that we do not know; exit code 2, with the nearest names."""

    exit_code = 2


class DialectFileError(MappingError):
    """A dialect file that is not valid; the message starts with file and line."""
