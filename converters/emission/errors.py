"""What cannot be emitted."""

from ..errors import UsageError


class EmissionError(UsageError):
    """Names of a dialect that no cells of MindSpore nest into."""

    def __init__(self, why: str) -> None:
        remedy = "Leave out --emit-network, or take a dialect of `mshub-convert list`."
        super().__init__(f"no MindSpore module can be written with these names: {why}", remedy=remedy)
