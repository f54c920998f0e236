"""The inert values that a pickle machine builds, and what it asks of the file around the pickle."""

from dataclasses import dataclass, field
from typing import Protocol

from .torch_faults import TorchFault, printable

_KEY_LENGTH = 16  # elements of a tuple that is a key
_KEY_LIMIT = 1 << 60  # larger integers can be made to collide


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function that a pickle names."""

    module: str
    name: str

    def __str__(self) -> str:
        return printable(f"{self.module}.{self.name}"[:200])


@dataclass(slots=True, eq=False)
class Stub:
    """An object of a class that is not needed: what it was made of, and nothing that could act."""

    kind: Global
    args: tuple[object, ...] = ()
    state: object = None
    entries: dict[object, object] = field(default_factory=dict)
    items: list[object] = field(default_factory=list)


class Persistent:
    """Base of what a ``World`` makes itself: values that may be given a state, which is ignored."""

    __slots__ = ()


class World(Protocol):
    """What names and calls mean."""

    def find(self, module: str, name: str) -> object:
        """The value that stands for a global; raises ``TorchFault`` if it has no place in a file of weights."""

    def call(self, function: object, args: tuple[object, ...]) -> object:
        """What stands for the result of a call."""

    def persistent(self, key: object) -> object:
        """The value that the file around the pickle holds under this key."""


def checked_key(key: object) -> object:
    """The key of a dictionary, if hashing and comparing it is cheap; raises ``TorchFault``."""
    # No nested tuples: hashing one recurses without a limit.
    if isinstance(key, tuple) and len(key) <= _KEY_LENGTH and not any(isinstance(part, tuple) for part in key):
        return tuple(checked_key(part) for part in key)
    if isinstance(key, int) and abs(key) >= _KEY_LIMIT:
        raise TorchFault("its pickle has an integer of over 60 bits as a key")
    if isinstance(key, (str, int, float, bytes, Global, Stub)) or key is None:
        return key
    raise TorchFault(f"its pickle has a {type(key).__name__} as a key")
