"""Which of the tensors in a saved object are the weights: the sets it holds, and the one to take."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..tensors import TensorRef
from .pickle_values import Global, Stub
from .torch_faults import TorchFault, printable
from .torch_metadata import plain
from .torch_tensors import OddTensor, Tensor, named

TOP = "."
# Keys under which training programs keep weights, in the order in which they are taken: averaged ones first, as timm.
_AVERAGED = ("state_dict_ema", "model_ema")
_OTHERS = ("net", "network", "weights", "params", "module", "ema", "model_state_dict", "model_state")
_KNOWN = (*_AVERAGED, "state_dict", "model", *_OTHERS)
# Beginnings of keys below which tensors are no weights.
_TRAINING = ("optim", "lr_", "sched", "scaler", "amp", "rng", "loss", "callbacks", "loops", "hyper_parameters")
_DEPTH_LIMIT = 50
_NAMES_LIMIT = 10_000_000  # characters of all names
_LISTED = 8
_ADVICE = "Give a file that torch.save(model.state_dict(), path) wrote."


@dataclass(frozen=True, slots=True)
class Contents:
    """The sets of weights by path, the path of the one taken, and what else to tell."""

    taken: str
    sets: Mapping[str, Mapping[str, TensorRef]]
    notes: tuple[str, ...]
    metadata: Mapping[str, object]


def gather(value: object) -> Contents:
    """Sort a saved object into sets; raises ``TorchFault`` if it has no weights by name."""
    if isinstance(value, (list, tuple, Tensor, OddTensor)):
        what = f"a {type(value).__name__} of {len(value)}" if isinstance(value, (list, tuple)) else "a single tensor"
        raise TorchFault(f"it holds {what}, which has no names", remedy=_ADVICE)
    if _children(value) is None:
        kind = str(value.kind) if isinstance(value, Stub) else type(value).__name__
        raise TorchFault(f"it holds an object of {kind}, no tensors by name", remedy=_ADVICE)
    sorter = _Sorter()
    taken = sorter.sort(value, TOP)
    sets = {path: found.tensors for path, found in sorter.sets.items() if found.tensors}
    if taken is None or taken not in sets:
        what = _listing([*sorter.rest, *sorter.sets]) or "nothing"
        raise TorchFault(f"it holds no weights that can be converted, but: {what}", remedy=_ADVICE)
    odd, rest = sorter.sets[taken].odd, sorter.rest | sorter.sets[taken].rest
    return Contents(taken, sets, tuple(_notes(taken, sets, odd, list(rest))), plain(rest))


@dataclass(slots=True)
class _Set:
    """Tensors below one path: those that can be read, the others with what they are, and what is no tensor."""

    tensors: dict[str, TensorRef] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)
    rest: dict[str, object] = field(default_factory=dict)


class _Sorter:
    """One walk over a saved object, which may contain itself, and unfold to far more than is in the file."""

    def __init__(self) -> None:
        self.sets: dict[str, _Set] = {}
        self.rest: dict[str, object] = {}
        self._holding: dict[int, bool] = {}
        self._spent = 0

    def sort(self, node: object, path: str, depth: int = 0) -> str | None:
        """Enter the sets in and below a container, and return the path of the one to take."""
        entries = self._entries(node, path, depth)
        inner = {key: value for key, value in entries.items() if self._holds(value, depth)}
        direct: dict[str, object] = {
            key: value for key, value in entries.items() if isinstance(value, (Tensor, OddTensor))
        }
        known = [key for key in _KNOWN if key in inner and not isinstance(inner[key], (list, tuple))]
        if not known and path != TOP:
            self._enter(path, entries)
            return path
        parts = [key for key in inner if not key.startswith(_TRAINING)]
        if not known and not direct and len(parts) > 1:
            # Dictionaries within dictionaries, one for each module.
            direct = {key: inner.pop(key) for key in parts}
        tensors = inner.keys() | direct.keys()
        self.rest |= {_joined(path, key): value for key, value in entries.items() if key not in tensors}
        if direct:
            self._enter(path, direct)
        found = {key: self.sort(value, _joined(path, key), depth + 1) for key, value in inner.items()}
        if known:
            return found[known[0]]
        return path if direct else found[parts[0]] if parts else None

    def _enter(self, path: str, entries: Mapping[str, object]) -> None:
        if path in self.sets:
            raise TorchFault(f"{path} comes twice")
        self.sets[path] = _Set()
        self._fill(self.sets[path], entries, "", 0)

    def _fill(self, found: _Set, entries: Mapping[str, object], prefix: str, depth: int) -> None:
        for key, value in entries.items():
            name = prefix + key
            if isinstance(value, Tensor):
                if name in found.tensors:
                    raise TorchFault(f"{name} comes twice")
                found.tensors[name] = named(value, name)
            elif isinstance(value, OddTensor):
                found.odd[name] = value.kind
            elif self._holds(value, depth):
                self._fill(found, self._entries(value, name, depth), f"{name}.", depth + 1)
            else:
                found.rest[name] = value

    def _entries(self, node: object, path: str, depth: int) -> dict[str, object]:
        """The items of a container by name; counts what the walk has cost."""
        if depth > _DEPTH_LIMIT:
            raise TorchFault(f"{path[:80]} is nested more than {_DEPTH_LIMIT} deep")
        entries: dict[str, object] = {}
        for key, value in _children(node) or ():
            name = _name(key)
            self._spent += len(path) + len(name) + 1
            if name in entries:
                raise TorchFault(f"{_joined(path, name)} comes twice")
            entries[name] = value
        if self._spent > _NAMES_LIMIT:
            raise TorchFault(f"its names have over {_NAMES_LIMIT:,} characters, which no weights need")
        return entries

    def _holds(self, node: object, depth: int) -> bool:
        """Whether there are tensors in a container."""
        children = _children(node)
        if children is None:
            return False
        known = self._holding.get(id(node))
        if known is not None:
            return known
        if depth > _DEPTH_LIMIT:
            raise TorchFault(f"it is nested more than {_DEPTH_LIMIT} deep")
        self._holding[id(node)] = False  # while a container that contains itself is looked at
        holds = any(isinstance(value, (Tensor, OddTensor)) or self._holds(value, depth + 1) for _, value in children)
        self._holding[id(node)] = holds
        return holds


def _children(node: object) -> Iterable[tuple[object, object]] | None:
    if isinstance(node, dict):
        return node.items()
    if isinstance(node, (list, tuple)):
        return enumerate(node)
    return node.entries.items() if isinstance(node, Stub) and node.entries else None


def _name(key: object) -> str:
    if isinstance(key, (str, Global)) or key is None or isinstance(key, (int, float)):
        return str(key)
    return key.decode("latin-1") if isinstance(key, bytes) else f"a {type(key).__name__}"


def _joined(path: str, key: str) -> str:
    return key if path == TOP else f"{path}.{key}"


def _notes(taken: str, sets: Mapping[str, object], odd: Mapping[str, str], rest: Sequence[str]) -> Iterable[str]:
    if taken != TOP or len(sets) > 1:
        averaged = ", the averaged weights" if taken.rpartition(".")[2] in _AVERAGED else ""
        others = _listing([_counted(path, sets) for path in sets if path != taken])
        left = f"; also in the file: {others}: left out, pick one with --select" if others else ""
        yield f"took {printable(_counted(taken, sets))}{averaged}{left}"
    if odd:
        listed = _listing([f"{name} ({kind})" for name, kind in odd.items()])
        yield f"left out {len(odd)} {_plural('tensor', len(odd))} that cannot be converted: {listed}"
    if rest:
        what = "entry that is no tensor" if len(rest) == 1 else "entries that are no tensors"
        yield f"left out {len(rest)} {what}: {_listing(rest)}"


def _counted(path: str, sets: Mapping[str, object]) -> str:
    tensors = sets[path]
    count = len(tensors) if isinstance(tensors, Mapping) else 0
    return f"{'the top level' if path == TOP else path} ({count} {_plural('tensor', count)})"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _listing(names: Sequence[str]) -> str:
    shown = printable(", ".join(name[:80] for name in names[:_LISTED]))
    return f"{shown} and {len(names) - _LISTED} more" if len(names) > _LISTED else shown
