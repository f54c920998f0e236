"""Tell dialect, architecture, cardinality, width, stem and class count of a file from names and shapes alone."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .architectures import Architecture, infer, kinds, why_not_file, why_not_tensors
from .architectures.relatives import Relative
from .dialects import BUILTIN, Dialect, Grounding, dialect
from .errors import MappingError
from .graph import Lookup, Shape
from .names import listed
from .unidentified import Nearest, describe
from .wrappers import is_averaged, is_training, wrapper_prefix

# Below this share of explained names a file is another network, not a damaged one.
_RECOGNISED = 0.5


@dataclass(frozen=True, slots=True)
class Identification:
    """What a file holds.

    ``names`` maps names of the dialect to names in the file (they differ by ``prefix``), and tensors that belong to
    no set of weights to themselves, under names that no dialect has; ``training`` are the tensors of optimisers and
    counters, ``copies`` those of another set of weights (such as EMA beside raw ones); ``also`` are other dialects
    whose names are the same.
    """

    grounding: Grounding
    prefix: str
    names: Mapping[str, str]
    training: tuple[str, ...]
    copies: tuple[str, ...]
    also: tuple[str, ...] = ()

    @property
    def dialect(self) -> Dialect:
        """The dialect of the file."""
        return self.grounding.dialect

    @property
    def architecture(self) -> Architecture:
        """The network of the file."""
        return self.grounding.architecture


class UnidentifiedError(MappingError):
    """A file whose tensors are none of our networks."""


@dataclass(frozen=True, slots=True)
class _Weights:
    """A set of weights of a file, read in one dialect: ``names`` without ``prefix`` → names in the file."""

    dialect: Dialect
    prefix: str
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Fit:
    """A set of weights as a network, and the share of its names that the network explains."""

    weights: _Weights
    grounding: Grounding
    score: float


def identify(
    shapes: Mapping[str, Shape], *, dialects: tuple[str, ...] = BUILTIN, select: str | None = None
) -> Identification:
    """Identify a set of named shapes.

    ``select`` picks one set of weights by its prefix where a file holds several (``ema.``); otherwise the raw ones
    are taken and the others reported in ``copies``. Raises UnidentifiedError with what the file looks like.
    """
    training = tuple(name for name in shapes if is_training(name))
    bare = _without_wrappers(shapes, frozenset(training))
    sets = [weights for name in dialects for weights in _sets(dialect(name), bare)]
    selected = [weights for weights in sets if select is None or _is_selected(weights.prefix, select)]
    if select is not None and not selected:
        found = [repr(prefix) for prefix in dict.fromkeys(weights.prefix for weights in sets)]
        raise UnidentifiedError(
            f"no tensor has the prefix {select!r}; there is {listed(found) or 'no tensor of a network'}",
            remedy="See `mshub-convert inspect`.",
        )
    fits = [fit for weights in selected if (fit := _fit(weights, shapes))]
    # Recognised before damaged, raw before averaged, then what explains most; of equals, the first.
    best = min(
        fits, key=lambda fit: (fit.score < _RECOGNISED, is_averaged(fit.weights.prefix), -fit.score), default=None
    )
    relative = _relative(selected, best, shapes)
    if best is None or best.score < _RECOGNISED or relative:
        raise _unidentified(shapes, training, relative, best, dialects)
    expected, prefix = best.grounding.specs, best.weights.prefix
    copies: list[str] = []
    names = dict(best.weights.names)
    for other in _sets(best.weights.dialect, bare):
        if other.prefix == prefix:
            continue
        if sum(name in expected for name in other.names) > len(expected) // 2:
            copies += other.names.values()
        else:
            names |= {f"beside {full}": full for full in other.names.values()}
    also = (fit for fit in fits if fit is not best and fit.weights.prefix == prefix and fit.grounding.specs == expected)
    twins = tuple(fit.grounding.dialect.name for fit in also)
    return Identification(best.grounding, prefix, names, training, tuple(copies), twins)


def _without_wrappers(names: Iterable[str], training: Collection[str]) -> dict[str, dict[str, str]]:
    """Wrapper prefix → the names that have it, without it → the names in the file, in order of appearance."""
    bare: dict[str, dict[str, str]] = {}
    for full in names:
        if full not in training:
            prefix = wrapper_prefix(full)
            bare.setdefault(prefix, {})[full[len(prefix) :]] = full
    return bare


def _sets(naming: Dialect, bare: Mapping[str, Mapping[str, str]]) -> list[_Weights]:
    """The sets of weights as a dialect sees them: its own names may begin like a wrapper's (``model.``)."""
    if naming.wrapper:
        return [
            _Weights(naming, prefix, {f"{naming.wrapper}{name}": full for name, full in names.items()})
            for prefix, names in bare.items()
        ]
    own = {(wrapper_prefix(template), template.partition("{")[0]) for template in naming.modules.values()}
    if {wrapper for wrapper, _ in own} == {""}:
        return [_Weights(naming, prefix, names) for prefix, names in bare.items()]
    longest_first = sorted(own, key=lambda item: len(item[0]), reverse=True)
    sets: dict[str, dict[str, str]] = {}
    for wrappers, names in bare.items():
        for name, full in names.items():
            kept = (
                part
                for part, start in longest_first
                if f".{wrappers}".endswith(f".{part}") and f"{part}{name}".startswith(start)
            )
            prefix = wrappers.removesuffix(next(kept, ""))
            sets.setdefault(prefix, {})[full[len(prefix) :]] = full
    return [_Weights(naming, prefix, names) for prefix, names in sets.items()]


def _is_selected(prefix: str, select: str) -> bool:
    return prefix == select or (bool(select) and prefix.startswith(f"{select.removesuffix('.')}."))


def _fit(weights: _Weights, shapes: Mapping[str, Shape]) -> _Fit | None:
    """What the weights are in their dialect, or None where they are nothing."""
    naming, names = weights.dialect, weights.names
    network = _inferred(weights, _lookup(weights, shapes))
    # A hostile shape may claim more groups than the file has tensors; a network it would not half fill is none.
    if network is None or not naming.can_name(network) or _parts(naming, network) * _RECOGNISED > len(names):
        return None
    grounding = naming.ground(network)
    expected = grounding.specs
    return _Fit(weights, grounding, sum(key in names for key in expected) / max(len(expected), len(names)))


def _inferred(weights: _Weights, lookup: Lookup) -> Architecture | None:
    """The network that the shapes are of: a backbone where they are one's, whole, and nothing else is there.

    A file that lacks more than the classifier is a damaged classifier's.
    """
    network = infer(lookup)
    body = network.backbone if network is not None else None
    if body is None or lookup("head", "kernel") or lookup("head", "bias"):
        return network
    naming, names = weights.dialect, weights.names.keys()
    if not naming.can_name(body) or _parts(naming, body) > len(names):
        return network
    slots = naming.ground(body).slots.values()
    every = {name for slot in slots for name in slot.names}
    counters = {name for slot in slots if slot.parameter.leaf == "count" for name in slot.names}
    return body if every - counters <= names <= every else network


def _parts(naming: Dialect, network: Architecture) -> int:
    """In how many tensors a dialect splits the grouped kernels of a network, counted without naming them."""
    split = (
        module.groups
        for module in network.graph().modules
        if "{g}" in (naming.template(module.pattern, module.indices) or "")
    )
    return sum(split)


def _lookup(weights: _Weights, shapes: Mapping[str, Shape]) -> Lookup:
    """Canonical parameters in a file, read through one dialect; split kernels are joined."""
    naming, names, kind_of = weights.dialect, weights.names, kinds()

    def lookup(pattern: str, leaf: str, **indices: int) -> Shape | None:
        template = naming.template(pattern, indices)
        if template is None:
            return None
        leaf_name = naming.leaves[kind_of[pattern]].get(leaf)
        if leaf_name is None:
            return None
        if "{g}" not in template:
            full = names.get(f"{template}.{leaf_name}")
            return None if full is None else shapes[full]
        return _joined(tuple(_parts_found(f"{template}.{leaf_name}", weights, shapes)))

    return lookup


def _parts_found(template: str, weights: _Weights, shapes: Mapping[str, Shape]) -> Iterator[tuple[int, Shape]]:
    """Group and shape of the parts of a split kernel; single ones may be missing."""
    group, gap = 0, 0
    while gap < 2:
        full = weights.names.get(template.replace("{g}", str(group)))
        if full is not None:
            yield group, shapes[full]
        gap = gap + 1 if full is None else 0
        group += 1


def _joined(parts: tuple[tuple[int, Shape], ...]) -> Shape | None:
    """The shape of a kernel split on axis 0, as its first part tells it."""
    if not parts or not parts[0][1]:
        return None
    (_, first), (last, _) = parts[0], parts[-1]
    return (first[0] * (last + 1), *first[1:])


def _relative(sets: Sequence[_Weights], best: _Fit | None, shapes: Mapping[str, Shape]) -> Relative | None:
    """Which relative of our networks a file holds that none of them explains whole."""
    if best is not None and best.score == 1:
        return None
    # What an optimiser has of the network, or another set of weights, is no sign of a relative.
    sets_read = [weights for weights in sets if best is None or weights.dialect == best.weights.dialect]
    expected = best.grounding.specs if best else {}
    left = {full: None for weights in sets_read for name, full in weights.names.items() if name not in expected}
    if relative := why_not_tensors(left):
        return relative
    return next((Relative(text) for weights in sets if (text := why_not_file(_lookup(weights, shapes)))), None)


def _unidentified(
    shapes: Mapping[str, Shape],
    training: tuple[str, ...],
    relative: Relative | None,
    best: _Fit | None,
    dialects: tuple[str, ...],
) -> UnidentifiedError:
    """The error that says what a file looks like, and whether another dialect would read it."""
    nearest = Nearest(best.grounding, frozenset(best.weights.names), best.score) if best else None
    spoken = "any dialect" if dialects == BUILTIN else f"{listed(dialects, 'or')} names"
    remedy = relative.remedy if relative else ""
    if dialects != BUILTIN:
        try:
            found = identify(shapes)
            remedy = f"Its names are those of {found.architecture.name} in dialect {found.dialect.name}."
        except UnidentifiedError:
            pass
    return UnidentifiedError(
        describe(shapes, training, relative.reason if relative else "", nearest, spoken), remedy=remedy
    )
