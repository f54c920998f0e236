"""Dialects: naming conventions as data. A TOML file maps module patterns and leaves to names; grounding it on an
architecture gives a plain dict from canonical keys to the tensors a file of that dialect holds.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .architectures import Architecture, architecture, samples
from .dialect_file import Lines, parse, read
from .errors import DialectFileError, MappingError, UnknownNameError
from .graph import Module, Parameter, Shape
from .names import did_you_mean, listed
from .traits import Traits

# In order of preference when a file's names fit several.
BUILTIN = (
    "timm", "torchvision", "mmcls", "mindcv", "mindcv-senet", "modelzoo", "modelzoo-gpu", "modelzoo-resnet",
    "gluon", "gluon-ms", "modelzoo-ssd", "ssd",
)  # fmt: skip

_FIELD = re.compile(r"\{([sbk])(?:\+([0-9]+))?\}")


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a canonical parameter lives in a dialect.

    The row-major bytes of the tensors ``names`` (of shape ``shape`` each), one after the other, are the row-major
    bytes of the canonical parameter: one name for one tensor, one name a group where a dialect splits grouped
    kernels on axis 0. A 1x1 kernel of a dense layer lacks the last two axes.
    """

    parameter: Parameter
    names: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True, slots=True)
class Grounding:
    """A dialect applied to an architecture.

    ``slots`` go by canonical key; ``unnamed`` are the parameters the dialect has no name for; ``specs`` are name and
    shape of every tensor in a complete file, in the dialect's order.
    """

    dialect: "Dialect"
    architecture: Architecture
    slots: Mapping[str, Slot]
    unnamed: tuple[Parameter, ...]
    specs: Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One naming convention.

    ``traits`` are those of the networks that the library of this name builds, ``models`` the architectures it can
    build (others are extensions of its naming), ``modules`` and ``leaves`` the rules, ``dense`` the kinds of module
    whose 1x1 kernels have two axes, ``wrapper`` what its checkpoints have before every name (files without are read
    too), ``source`` the file and ``lines`` the places in it.
    """

    name: str
    title: str
    framework: str
    library: str
    traits: Traits
    models: frozenset[str]
    modules: Mapping[str, str]
    leaves: Mapping[str, Mapping[str, str]]
    dense: frozenset[str]
    source: str
    lines: Lines = field(repr=False, compare=False)
    wrapper: str = ""

    @property
    def reference(self) -> str:
        """What :func:`dialect` takes to give this one: the name of a built-in, the path of a file."""
        return self.name if self.name in BUILTIN else self.source

    def builds(self, target: Architecture) -> bool:
        """Whether the dialect's own library has this network (any class count), be it as a backbone of another."""
        return target.name in self.models or any(architecture(name).backbone == target for name in self.models)

    def can_name(self, target: Architecture) -> bool:
        """Whether there is a rule for every module of this network."""
        return all(self.rules(module.pattern, module.indices) for module in target.graph().modules)

    def ground(self, target: Architecture) -> Grounding:
        """Name every parameter of an architecture; raises when a module has no rule or two names collide."""
        slots: dict[str, Slot] = {}
        unnamed: list[Parameter] = []
        owner: dict[str, Slot] = {}
        for module in target.graph().modules:
            rules = self.rules(module.pattern, module.indices)
            if not rules:
                raise MappingError(
                    f"dialect {self.name} has no name for {module.path} of {target.name}:"
                    f" {self.library} has no such network",
                    remedy=f"Dialects that can name it: {listed(dialects_for(target), 'or') or 'none'}.",
                )
            template = _fill(self.modules[rules[0]], module.indices)
            leaves = self.leaves[module.kind]
            by_leaf = {parameter.leaf: parameter for parameter in module.parameters}
            unnamed += [parameter for leaf, parameter in by_leaf.items() if leaf not in leaves]
            for leaf, leaf_name in leaves.items():
                slot = _slot(template, module, by_leaf[leaf], leaf_name, dense=module.kind in self.dense)
                for name in slot.names:
                    if name in owner:
                        raise self._collision(rules[0], name, owner[name].parameter, slot.parameter, target)
                    owner[name] = slot
                slots[slot.parameter.key] = slot
        specs = {name: slot.shape for name, slot in owner.items()}
        return Grounding(self, target, MappingProxyType(slots), tuple(unnamed), MappingProxyType(specs))

    def rules(self, pattern: str, indices: Mapping[str, int]) -> tuple[str, ...]:
        """The rules that fit a module; those with more literal numbers come first, and the first one counts."""
        return tuple(key for key in _specialised(pattern, tuple(sorted(indices.items()))) if key in self.modules)

    def template(self, pattern: str, indices: Mapping[str, int]) -> str | None:
        """The name of a module, ``{g}`` still open, or None where no rule fits."""
        rules = self.rules(pattern, indices)
        return _fill(self.modules[rules[0]], indices) if rules else None

    def _collision(
        self, rule: str, name: str, first: Parameter, second: Parameter, target: Architecture
    ) -> DialectFileError:
        message = f"{first.key} and {second.key} of {target.name} are both called {name}"
        return self.lines.error([self.lines.fault(message, "modules", rule)])


@lru_cache(maxsize=4096)
def _specialised(pattern: str, indices: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    """A pattern with numbers for all, some and none of its variables."""
    keys = []
    for count in range(len(indices), -1, -1):
        for fixed in combinations(indices, count):
            key = pattern
            for variable, number in fixed:
                key = key.replace(f"{{{variable}}}", str(number))
            keys.append(key)
    return tuple(keys)


def _fill(template: str, indices: Mapping[str, int]) -> str:
    """Replace ``{s}`` and ``{s+1}`` by numbers; ``{g}`` stays."""
    return _FIELD.sub(lambda found: str(indices[found[1]] + int(found[2] or 0)), template)


def _slot(template: str, module: Module, parameter: Parameter, leaf_name: str, *, dense: bool) -> Slot:
    if "{g}" not in template:
        return Slot(parameter, (f"{template}.{leaf_name}",), parameter.shape[:2] if dense else parameter.shape)
    names = tuple(f"{template.replace('{g}', str(group))}.{leaf_name}" for group in range(module.groups))
    return Slot(parameter, names, (parameter.shape[0] // module.groups, *parameter.shape[1:]))


def dialect(name: str) -> Dialect:
    """A built-in dialect by name, or a dialect file by its path (``my.toml``)."""
    if name in BUILTIN:
        return _builtin(name)
    if not name.endswith(".toml"):
        raise UnknownNameError(f"unknown dialect {name!r}", remedy=did_you_mean(name, BUILTIN))
    try:
        content = Path(name).read_bytes()
    except OSError as error:
        message = f"the dialect file {name} cannot be read: {error.strerror}"
        raise UnknownNameError(message, remedy="Check the path.") from None
    return _from_file(name, content)


@cache
def _builtin(name: str) -> Dialect:
    file = resources.files(__package__).joinpath(f"{name}.toml")
    # Its form is checked by the tests, not at every start.
    return _made(*parse(file.read_text(encoding="utf-8"), source=f"{name}.toml"))


@lru_cache(maxsize=16)  # by content, so that an edited file is read again
def _from_file(name: str, content: bytes) -> Dialect:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DialectFileError(f"{name}:{line}: not UTF-8 text", remedy="Save it as UTF-8.") from None
    result = load(text, source=name)
    if result.name in BUILTIN:
        message = f"the name {result.name} is that of a built-in dialect"
        raise result.lines.error([result.lines.fault(message, "name")])
    check(result)
    return result


def dialects_for(target: Architecture) -> tuple[str, ...]:
    """Built-in dialects that can name an architecture."""
    return tuple(name for name in BUILTIN if dialect(name).can_name(target))


def preferred_dialect(target: Architecture, framework: str) -> Dialect:
    """The first built-in dialect of a framework that can name an architecture."""
    names = dialects_for(target)
    found = next((naming for naming in map(dialect, names) if naming.framework == framework), None)
    if found is None:
        remedy = f"Dialects that can name it: {listed(names, 'or') or 'none'}."
        raise MappingError(f"no dialect of {framework} has names for {target.name}", remedy=remedy)
    return found


def load(text: str, *, source: str) -> Dialect:
    """Read a dialect file and validate its form; the message of a DialectFileError starts with file and line."""
    return _made(*read(text, source=source))


def _made(data: Mapping[str, Any], lines: Lines) -> Dialect:
    leaves = {kind: MappingProxyType(dict(table)) for kind, table in data["leaves"].items()}
    wrapper = data.get("wrapper", "")
    return Dialect(
        name=data["name"], title=data["title"], framework=data["framework"], library=data["library"],
        traits=Traits().with_values(data["traits"]), models=frozenset(data["models"]),
        modules=MappingProxyType({key: f"{wrapper}{template}" for key, template in data["modules"].items()}),
        leaves=MappingProxyType(leaves), wrapper=wrapper,
        dense=frozenset(kind for kind, form in data.get("shapes", {}).items() if form == "dense"),
        source=lines.source, lines=lines,
    )  # fmt: skip


def check(result: Dialect) -> None:
    """Raise unless a dialect names all it claims to build, and every rule names some module of some network.

    Done for dialect files of the user's when they are read; the tests do it for the built-in ones.
    """
    faults = [*_model_faults(result), *_rule_faults(result)]
    if faults:
        raise result.lines.error(faults)
    for target in (*samples(), *map(architecture, sorted(result.models))):
        if result.can_name(target):
            result.ground(target)


def _model_faults(result: Dialect) -> Iterator[str]:
    for name in sorted(result.models):
        line = result.lines.number_of_item("models", name)
        try:
            target = architecture(name)
        except UnknownNameError as error:
            yield result.lines.at(line, f"models: {error.message}. {error.remedy}")
            continue
        modules = target.graph().modules
        bare = next((module for module in modules if not result.rules(module.pattern, module.indices)), None)
        if target.name != name:
            yield result.lines.at(line, f"models: {name} is spelt {target.name}")
        elif bare:
            yield result.lines.at(line, f"models: there is no rule for {bare.path} of {name}")


def _rule_faults(result: Dialect) -> Iterator[str]:
    """Rules that never count, and pairs of rules of which none goes before the other."""
    chosen: set[str] = set()
    for module in (module for network in samples() for module in network.graph().modules):
        first, *others = result.rules(module.pattern, module.indices) or ("",)
        chosen.add(first)
        if others and first.count("{") == others[0].count("{"):
            later = max(first, others[0], key=lambda rule: result.lines.number("modules", rule))
            earlier = others[0] if later == first else first
            yield result.lines.fault(f"{later} and {earlier} fit {module.path} equally well", "modules", later)
    for key in result.modules:
        if key not in chosen:
            yield result.lines.fault(f"the rule for {key} names no module of any architecture", "modules", key)
