"""What is wrong with a PyTorch file, before the file's name is known."""


class TorchFault(Exception):  # noqa: N818 - the codec turns it into a MalformedFileError that names the file
    """A fact about a file that cannot be read, and what to do about it."""

    def __init__(self, fact: str, *, remedy: str = "Download or save it again.") -> None:
        super().__init__(fact)
        self.fact = printable(fact)
        self.remedy = remedy


def printable(text: str) -> str:
    """The text without what could draw on a terminal: names in a file may be anything."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
