"""What a file of mmcls or mmpretrain says of itself in ``meta``: versions, epoch, classes, and traits in its config."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ..mappings.architectures import Architecture
from ..mappings.traits import Traits
from .errors import shown
from .findings import Finding

_VERSIONS = ("mmcls_version", "mmpretrain_version", "mmengine_version", "mmcv_version")
_COUNTS = ("epoch", "iter")
_NAMES_LIMIT = 100_000  # characters of all class names; ImageNet's have 20,000

# The config is a Python file as text; it is searched, never run. Both dict(key=value) and {'key': value} are in use.
_SETTINGS: Mapping[str, re.Pattern[str]] = {
    "style": re.compile(r"""\bstyle['"]?\s*[=:]\s*['"](pytorch|caffe)['"]"""),
    "to_rgb": re.compile(r"""\bto_rgb['"]?\s*[=:]\s*(True|False)"""),
    "mean": re.compile(r"""\bmean['"]?\s*[=:]\s*\[([0-9.,\s]{1,200})\]"""),
    "std": re.compile(r"""\bstd['"]?\s*[=:]\s*\[([0-9.,\s]{1,200})\]"""),
}
_NORM = re.compile(r"""\bnorm_cfg['"]?\s*[=:]\s*(?:dict\(|\{)([^(){}]{0,500})""")
_EPS = re.compile(r"""\beps['"]?\s*[=:]\s*([0-9.]{1,20}(?:[eE]-?[0-9]{1,2})?)""")
_STRIDES = {"pytorch": "3x3", "caffe": "1x1"}


@dataclass(frozen=True, slots=True)
class Said:
    """Facts for the record, traits, and what to tell."""

    facts: Mapping[str, object] = field(default_factory=dict)
    traits: Mapping[str, str | float] = field(default_factory=dict)
    notices: tuple[Finding, ...] = ()


def said_by(
    metadata: Mapping[str, object], network: Architecture, *, file: str, known: Collection[str], pretrained: bool
) -> Said:
    """What a file in mmcls names says of itself; ``known`` are the traits that are known from elsewhere.

    ``pretrained`` is for a file of mmpretrain's model index, whose configurations all have ``style='pytorch'``.
    """
    meta = metadata.get("meta")
    if not isinstance(meta, Mapping):
        meta = {}
    texts = [text for key in ("cfg", "config") if isinstance(text := meta.get(key), str)]
    found = {key: _values(pattern, texts) for key, pattern in _SETTINGS.items()}
    epsilons = _epsilons(texts)
    traits: dict[str, str | float] = {}
    if len(found["style"]) == 1 and _strides(network):
        traits["bottleneck_stride"] = _STRIDES[found["style"][0]]
    if len(epsilons) == 1 and 0 < epsilons[0] < 1:
        traits["norm_eps"] = epsilons[0]
    facts = _facts(meta, {key: values[0] for key, values in found.items() if len(values) == 1})
    notices = _class_notices(facts, network, file)
    if "bottleneck_stride" not in known and _strides(network) and not pretrained:
        notices += _style_notices(found["style"], file)
    if "norm_eps" not in known and traits.get("norm_eps", 1e-5) != 1e-5:
        notices += (Finding("traits", f"the config in {file} says norm_eps={traits['norm_eps']}"),)
    return Said(facts, traits, notices)


def _values(pattern: re.Pattern[str], texts: list[str]) -> list[str]:
    """The different values that a setting has."""
    return list(dict.fromkeys(" ".join(value.split()) for text in texts for value in pattern.findall(text)))


def _epsilons(texts: list[str]) -> list[float]:
    """The different epsilons of BatchNorm; 1e-5 is torch's, where a ``norm_cfg`` says none."""
    found = []
    for text in texts:
        for norm in _NORM.findall(text):
            value = _EPS.search(norm)
            try:
                found.append(float(value[1]) if value else 1e-5)
            except ValueError:  # 1.2.3
                continue
    return list(dict.fromkeys(found))


def _strides(network: Architecture) -> bool:
    """Whether it matters to a network where its bottlenecks stride; basic blocks have one place only."""
    places = (network.graph(Traits(bottleneck_stride=place)).nodes for place in _STRIDES.values())
    return next(places) != next(places)


def _facts(meta: Mapping[str, object], settings: Mapping[str, str]) -> dict[str, object]:
    facts: dict[str, object] = {}
    for key in _VERSIONS:
        if isinstance(text := meta.get(key), str):
            facts[key] = shown(text)
    for key in _COUNTS:
        if type(number := meta.get(key)) is int:
            facts[key] = number
    dataset = meta.get("dataset_meta")
    dataset = dataset if isinstance(dataset, Mapping) else {}
    names = meta.get("CLASSES") or dataset.get("classes") or dataset.get("CLASSES")
    if isinstance(names, (list, tuple)) and names:
        facts["classes"] = len(names)
        texts = [shown(name) for name in names if isinstance(name, str)]
        if len(texts) == len(names) and sum(map(len, texts)) <= _NAMES_LIMIT:
            facts["class_names"] = texts
    if settings:
        facts["config"] = dict(settings)
    return facts


def _class_notices(facts: Mapping[str, object], network: Architecture, file: str) -> tuple[Finding, ...]:
    if not network.classes or facts.get("classes", network.classes) == network.classes:
        return ()
    fact = f"{file} names {facts['classes']} classes in its meta, but its classifier has {network.classes}"
    return (Finding("classes", fact, (), "Do not rely on the names: the head was changed after they were written."),)


def _style_notices(styles: list[str], file: str) -> tuple[Finding, ...]:
    """Where the stride was taken from, unless the file says what is the rule."""
    if styles == ["pytorch"]:
        return ()
    if styles == ["caffe"]:
        return (Finding("traits", f"the config in {file} says style='caffe': bottleneck_stride=1x1"),)
    what = "says both style='pytorch' and style='caffe'" if styles else "says no style"
    fact = f"{file} {what}: taking mmcls's default, style='pytorch' (bottleneck_stride=3x3)"
    remedy = "If it was trained with style='caffe', say --trait bottleneck_stride=1x1."
    return (Finding("traits", fact, (), remedy),)
