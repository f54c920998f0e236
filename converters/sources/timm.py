"""``timm:NAME[.TAG]``: the models of timm's own registry, whose weights are on huggingface.co."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...mappings.architectures import Architecture, architecture
from ...mappings.dialects import dialect
from ...mappings.errors import UnknownNameError
from ...mappings.names import closest, did_you_mean
from ..errors import EnvironmentError_, UsageError
from . import Origin, Request, Source, Stated, calibrated, download

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # in timm's order
_PREPROCESSING = (
    "input_size", "test_input_size", "interpolation", "crop_pct", "test_crop_pct", "crop_mode", "mean", "std",
)  # fmt: skip
_PUBLISHER = re.compile("^(?:tv|ig|gluon|ssl|swsl)_")
_INSTALL = "pip install 'mshub-convert[torch]'"

_Cfgs = Mapping[str, Any]  # tag → timm's PretrainedCfg


class Timm:
    """The resolver."""

    def resolve(self, rest: str, request: Request) -> Source:
        """The weights of a timm model: from its hub, from ``--weights``, or drawn for ``--init``."""
        timm = _timm()
        if timm is None:
            return _without_timm(rest, request)
        name, tag, notices, cfgs = _named(timm, rest)
        described = architecture(name)
        address = f"timm:{rest}"
        if request.init is not None:
            classes = cfgs[tag].num_classes if tag else timm.models.get_pretrained_cfg(name).num_classes
            drawn = described.with_classes(classes or 1000)
            facts = {"library": "timm", "library_version": timm.__version__}
            return _drawn(address, drawn, request, facts, (*notices, *_tag_unused(tag)))
        if not tag:
            tag, notice = _choose_tag(name, cfgs, request.weights)
            notices += notice
        return _trained(address, timm, name, tag, cfgs, request, notices)

    def stated(self, rest: str, request: Request) -> Stated:
        """What timm says of the weights of a tag."""
        timm = _timm()
        if timm is None:
            raise EnvironmentError_(f"timm:{rest} needs timm, which is not installed", remedy=f"Type: {_INSTALL}")
        name, tag, notices, cfgs = _named(timm, rest)
        if not tag:
            tag, notice = _choose_tag(name, cfgs, request.weights)
            notices += notice
        facts = {"library_version": timm.__version__, **(_facts(tag, cfgs[tag]) if tag else {})}
        return Stated(name, "timm", facts, notices)

    def names(self) -> tuple[str, ...]:
        """Every NAME.TAG with weights of a network that we describe."""
        timm = _timm()
        if timm is None:
            raise EnvironmentError_("timm is not installed, so its tags are unknown", remedy=f"Type: {_INSTALL}")
        names = {full.partition(".")[0] for full in timm.list_pretrained()}
        ours = sorted((name for name in names if _described(name)), key=timm.list_models().index)
        return tuple(f"{name}.{tag}" for name in ours for tag, cfg in _cfgs(timm, name).items() if cfg.num_classes)


def _timm() -> Any:
    """The library, or None where it is not installed."""
    try:
        import timm
    except ImportError:
        return None
    return timm


def _named(timm: Any, rest: str) -> tuple[str, str, tuple[str, ...], _Cfgs]:
    """Name and tag (which may be empty) of an address, a notice where the name is an old one, and the name's tags."""
    name, tag, notices = _current_name(timm, rest)
    cfgs = _cfgs(timm, name)
    if tag and tag not in cfgs:
        near = f"{did_you_mean(tag, cfgs)} " if closest(tag, cfgs) else ""
        raise UnknownNameError(
            f"timm {timm.__version__} has no weights {name}.{tag}",
            remedy=f"{near}Its tags: {', '.join(cfgs) or 'none'}.",
        )
    return name, tag, notices, cfgs


def _current_name(timm: Any, rest: str) -> tuple[str, str, tuple[str, ...]]:
    """Name and tag after timm's table of old names, and a notice if that changed them; the tag may be empty."""
    name, _, tag = rest.partition(".")
    renamed = timm.models.get_deprecated_models()
    if name not in renamed:
        if not timm.is_model(name):
            ours = [model for model in timm.list_models() if _described(model)]
            raise UnknownNameError(f"timm {timm.__version__} has no model {name!r}", remedy=did_you_mean(name, ours))
        return name, tag, ()
    if renamed[name] is None:
        raise UnknownNameError(f"timm {timm.__version__} removed {name}", remedy="Give its weight file.")
    current, _, current_tag = renamed[name].partition(".")
    _refuse_wrong_size(timm, name, current, current_tag)
    if tag:
        raise UsageError(
            f"{name} is timm's old name of {renamed[name]} and takes no tag", remedy=f"Give timm:{current}.{tag}."
        )
    return current, current_tag, (f"{name} is timm's old name of {renamed[name]}",)


def _refuse_wrong_size(timm: Any, alias: str, current: str, tag: str) -> None:
    """Refuse an old name whose network timm replaced by a smaller one (``ig_resnext101_32x16d`` by a 32x8d)."""
    spelt, built = _described(_PUBLISHER.sub("", alias)), _described(current)
    if spelt is None or built is None or spelt == built:
        return
    tags = _cfgs(timm, spelt.name) if timm.is_model(spelt.name) else {}
    if tag in tags:
        remedy = f"Give timm:{spelt.name}.{tag}."
    elif tags:
        remedy = f"Give one of {', '.join(f'timm:{spelt.name}.{other}' for other in tags)}."
    else:
        remedy = "Give the publisher's own file."
    raise UsageError(
        f"{alias} is spelt as a {spelt.name}, but timm {timm.__version__} builds a {built.name} for it: other weights",
        remedy=remedy,
    )


def _described(name: str) -> Architecture | None:
    try:
        return architecture(name)
    except UnknownNameError:
        return None


def _cfgs(timm: Any, name: str) -> _Cfgs:
    """The tags of a model that have weights, timm's default first."""
    found = {cfg.tag: cfg for cfg in timm.models.get_arch_pretrained_cfgs(name).values() if cfg.tag and cfg.has_weights}
    default = timm.models.get_pretrained_cfg(name).tag
    return dict(sorted(found.items(), key=lambda item: item[0] != default))


def _choose_tag(name: str, cfgs: _Cfgs, weights: Path | None) -> tuple[str, tuple[str, ...]]:
    """The tag meant by a name alone, and a notice that says so: the one whose release file this is, or the default."""
    if not cfgs:
        return "", ()
    if weights is not None:
        for tag, cfg in cfgs.items():
            if weights.name in (f"{name}.{tag}.safetensors", (_url(cfg) or "").rpartition("/")[2]):
                return tag, (f"{weights.name} is the name of the file of {name}.{tag}",)
    tag, *others = cfgs
    choice = f"; timm also has {', '.join(others)}" if others else ""
    return tag, (f"{name} is read as {name}.{tag}, timm's default{choice}",)


def _trained(
    address: str, timm: Any, name: str, tag: str, cfgs: _Cfgs, request: Request, notices: tuple[str, ...]
) -> Source:
    """Weights of one tag: the user's file, or the hub's."""
    full = f"{name}.{tag}" if tag else name
    facts: dict[str, object] = {"library": "timm", "library_version": timm.__version__}
    if tag:
        cfg = cfgs[tag]
        if not cfg.num_classes:
            raise UsageError(f"{full} has no classifier", remedy="Give another tag: mshub-convert list timm:")
        facts |= _facts(tag, cfg)
        if cfg.license and "-nc" in cfg.license.lower():
            notices += (f"the licence of {full} is {cfg.license}: converted weights are not for commercial use either",)
    if request.weights:
        file, origin = download.given(request.weights), Origin("stated")
        notices += (f"{file.name} is taken at your word for {full}: it was not compared with timm's own file",)
    elif tag:
        file, facts["fetched_from"] = _download(full, cfgs[tag], request)
        origin = Origin("pretrained")
    else:
        raise UsageError(
            f"timm {timm.__version__} has no weights of {name}", remedy="Give --weights FILE or --init calibrated:0."
        )
    return Source(
        address, file, name, origin, architecture=name, dialect="timm",
        library="timm", library_model=name, facts=facts, notices=notices,
        classes=(cfgs[tag].num_classes or None) if tag else None,
    )  # fmt: skip


def _facts(tag: str, cfg: Any) -> dict[str, object]:
    """What timm states of the weights of a tag, as plain values."""
    papers = (cfg.paper_ids,) if isinstance(cfg.paper_ids, str) else cfg.paper_ids
    stated = {
        "tag": tag,
        "hub": cfg.hf_hub_id,
        "url": _url(cfg),
        "license": cfg.license or "unstated",
        "preprocessing": {
            key: value for key in _PREPROCESSING if (value := _plain(getattr(cfg, key, None))) is not None
        },
        "publisher": cfg.origin_url,
        "papers": list(papers or ()) or None,
    }
    return {key: value for key, value in stated.items() if value is not None}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _url(cfg: Any) -> str | None:
    """The address of the release file; timm has (address, file name) where a server's addresses say no name."""
    return cfg.url[0] if isinstance(cfg.url, tuple) else (cfg.url or None)


def _download(full: str, cfg: Any, request: Request) -> tuple[Path, str]:
    """The weight file and the address it came from: the hub's, or else timm's older release file."""
    problems = []
    if cfg.hf_hub_id:
        try:
            names = (cfg.hf_hub_filename,) if cfg.hf_hub_filename else _HUB_FILES
            return download.fetch_hub(cfg.hf_hub_id, names, progress=request.progress)
        except EnvironmentError_ as error:
            problems.append(error.message)
    url = _url(cfg)
    if url and (download.cached_path(url).exists() or not download.hub_is_offline()):
        try:
            prefix = download.prefix_in_name(url)
            return download.fetch(url, sha256_prefix=prefix, progress=request.progress), url
        except EnvironmentError_ as error:
            problems.append(error.message)
    where = f"where FILE is model.safetensors of huggingface.co/{cfg.hf_hub_id}" if cfg.hf_hub_id else "with its file"
    raise EnvironmentError_(
        f"the weights of {full} cannot be had: {'; '.join(problems)}",
        remedy=f"Give --weights FILE, {where}, or --init calibrated:0 for a trial without pretrained weights.",
    )


def _drawn(
    address: str, drawn: Architecture, request: Request, facts: dict[str, object], notices: tuple[str, ...]
) -> Source:
    file, origin = calibrated.stand_in(request, drawn, "timm")
    return Source(
        address, file, drawn.name, origin, architecture=drawn.name, dialect="timm",
        library="timm", library_model=drawn.name, facts=facts, notices=notices,
    )  # fmt: skip


def _tag_unused(tag: str) -> tuple[str, ...]:
    return (f"of the tag {tag} only the number of classes is used: --init draws other weights",) if tag else ()


def _without_timm(rest: str, request: Request) -> Source:
    """A model by our own list of timm's networks, where the weights are the user's or drawn."""
    if request.weights is None and request.init is None:
        raise EnvironmentError_(f"timm:{rest} needs timm, which is not installed", remedy=f"Type: {_INSTALL}")
    name, _, tag = rest.partition(".")
    described = architecture(name)
    if not dialect("timm").builds(described):
        raise UnknownNameError(f"timm has no model {name}", remedy=did_you_mean(name, dialect("timm").models))
    facts: dict[str, object] = {"library": "timm"}
    notices = (f"timm is not installed ({_INSTALL}): tag, licence and preprocessing are unknown",)
    if request.init is not None:
        return _drawn(f"timm:{rest}", described, request, facts, notices + _tag_unused(tag))
    file = download.given(request.weights or Path())
    return Source(
        f"timm:{rest}", file, name, Origin("stated"), architecture=name, dialect="timm",
        library="timm", library_model=name, facts=facts, notices=notices,
    )  # fmt: skip


RESOLVER = Timm()
