"""What a dialect calls the layers of a network, taken apart into the cells that give MindSpore such names."""

import re
from dataclasses import dataclass

from ...mappings.dialects import Dialect, Grounding
from ...mappings.graph import Module
from .errors import EmissionError

# What MindSpore's layers call their parameters, whoever builds them.
_LEAVES = {
    "conv": {"kernel": "weight"},
    "linear": {"kernel": "weight", "bias": "bias"},
    "squeeze": {"kernel": "weight", "bias": "bias"},
    "predictor": {"kernel": "weight", "bias": "bias"},
    "norm": {"mean": "moving_mean", "var": "moving_variance", "scale": "gamma", "shift": "beta"},
}
_VARIABLE = re.compile(r"\{([sbkg])(?:\+([0-9]+))?\}")
_IN_BLOCK = "stages.{s}.{b}."

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a network's layers, cut at the dots.

    ``outside`` are layers outside the stages, by canonical path; ``stage`` is the path of a stage and ``block`` the
    name of a block in it, with ``{s}`` and ``{b}``; ``inside`` are the layers of a block, by their part of the
    canonical path (``conv2``), relative to it. ``{g}`` stands for the groups of a layer that is split.
    """

    outside: dict[str, Path]
    stage: Path
    block: str
    inside: dict[str, Path]

    def stage_path(self, index: int) -> Path:
        """The path of a stage, counted from 0."""
        return tuple(_VARIABLE.sub(lambda found: str(index + int(found[2] or 0)), part) for part in self.stage)

    @property
    def block_name(self) -> str:
        """A block's name as an f-string of the variable ``block``; empty where it is the block's number."""
        if self.block == "{b}":
            return ""
        return 'f"' + _VARIABLE.sub(lambda found: f"{{block{f' + {found[2]}' if found[2] else ''}}}", self.block) + '"'


def names_of(grounding: Grounding) -> Names:
    """Take a dialect's names apart; raises EmissionError where they do not nest stage, block and layer."""
    dialect = grounding.dialect
    for kind, leaves in _LEAVES.items():
        for leaf, name in leaves.items():
            if dialect.leaves.get(kind, {}).get(leaf, name) != name:
                said = dialect.leaves[kind][leaf]
                raise EmissionError(
                    f"dialect {dialect.name} calls {leaf} of a {kind} {said!r}, and MindSpore's layers call it {name}"
                )
    outside: dict[str, Path] = {}
    whole: dict[str, Path] = {}
    for module in grounding.architecture.graph().modules:
        path = _template(dialect, module)
        if not module.pattern.startswith(_IN_BLOCK):
            outside[module.path] = path
            continue
        role = module.path.removeprefix(_IN_BLOCK.format(**module.indices))
        if whole.setdefault(role, path) != path:
            raise EmissionError(f"dialect {dialect.name} calls {role} differently in several blocks")
    stage, block = _prefix(whole)
    inside = {role: path[len(stage) + 1 :] for role, path in whole.items()}
    _check(outside, inside)
    return Names(outside, stage, block, inside)


def _template(dialect: Dialect, module: Module) -> Path:
    """A module's name with stage and block open, cut at the dots."""
    rule = dialect.rules(module.pattern, module.indices)[0]
    in_block = module.pattern.startswith(_IN_BLOCK)
    filled = {name: number for name, number in module.indices.items() if name == "k" or not in_block}

    def fill(found: re.Match[str]) -> str:
        return str(filled[found[1]] + int(found[2] or 0)) if found[1] in filled else found[0]

    path = tuple(_VARIABLE.sub(fill, dialect.modules[rule]).split("."))
    wrong = next((part for part in path if not re.fullmatch(r"[A-Za-z0-9_]+", _VARIABLE.sub("0", part))), None)
    if wrong is not None:
        raise EmissionError(f"{wrong!r} can be no part of the name of a cell")
    return path


def _prefix(whole: dict[str, Path]) -> tuple[Path, str]:
    """The path of a stage and the name of a block, which all layers of a block have in common."""
    first = next(iter(whole.values()))
    place = next((index for index, part in enumerate(first) if _variables(part) == {"b"}), 0)
    prefix = first[: place + 1]
    stage = prefix[:-1]
    if not stage or _variables(stage[-1]) != {"s"} or any(map(_variables, stage[:-1])):
        raise EmissionError(f"{'.'.join(first)} does not name a stage and then a block")
    if any(path[: len(prefix)] != prefix for path in whole.values()):
        raise EmissionError(f"not all layers of a block begin with {'.'.join(prefix)}")
    return stage, prefix[-1]


def _check(outside: dict[str, Path], inside: dict[str, Path]) -> None:
    for name, path in (*outside.items(), *inside.items()):
        split = name in inside and path[-1:] == ("{g}",) and len(path) > 2
        if not path or any(map(_variables, path[:-1] if split else path)):
            raise EmissionError(f"{'.'.join(path) or name} is no name of one layer, or of a layer's groups")


def _variables(part: str) -> set[str]:
    return {found[1] for found in _VARIABLE.finditer(part)}
