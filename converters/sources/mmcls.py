"""``mmcls:NAME``: the models of mmpretrain, mmclassification by its old name; their weights are on openmmlab.com."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from ...mappings.architectures import Architecture, architecture
from ...mappings.errors import UnknownNameError
from ...mappings.names import did_you_mean
from ..errors import EnvironmentError_
from . import Origin, Request, Source, Stated, calibrated, download
from .mmcls_index import Model, index, installed_version, settings

_INSTALL = "pip install 'mshub-convert[mmpretrain]'"
_LICENSED = "mmpretrain is licensed Apache-2.0; its model index states no other licence of these weights"
_UNLICENSED = "mmpretrain converted these weights from {}, whose licence it does not state"


class Mmcls:
    """The resolver."""

    def resolve(self, rest: str, request: Request) -> Source:
        """The weights of a model of mmpretrain's index: from openmmlab.com, from ``--weights``, or drawn."""
        address = f"mmcls:{rest}"
        model, notices = _find(rest, request.weights)
        described = architecture(model.network)
        preprocessing, classes = settings(model)
        facts: dict[str, object] = {"library": "mmpretrain"}
        if installed_version():
            facts["library_version"] = installed_version()
        if request.init is not None:
            file, origin = calibrated.stand_in(request, described.with_classes(classes), "mmcls")
            return _source(address, file, described, origin, facts, notices, classes)
        facts |= _facts(model, preprocessing)
        if request.weights:
            file, origin = download.given(request.weights), Origin("stated")
            notices += (f"{file.name} is taken at your word for {model.name}: it was not compared with mmpretrain's",)
        else:
            file, origin = _download(model, request), Origin("pretrained")
            facts["fetched_from"] = model.url
        licence = _UNLICENSED.format(model.converted_from) if model.converted_from else _LICENSED
        return _source(address, file, described, origin, facts, (*notices, licence), classes)

    def stated(self, rest: str, request: Request) -> Stated:
        """What mmpretrain's index and configuration say of a model."""
        model, notices = _find(rest, request.weights)
        return Stated(model.network, "mmpretrain", _facts(model, settings(model)[0]), notices)

    def names(self) -> tuple[str, ...]:
        """Every model of the index whose network we describe."""
        return tuple(model.name for model in index().values() if _described(model.network))


def _described(network: str) -> Architecture | None:
    try:
        return architecture(network) if network else None
    except UnknownNameError:
        return None


def _find(name: str, given: Path | None) -> tuple[Model, tuple[str, ...]]:
    """The model of a name, and a notice where it has another in the index or could be several."""
    models = index()
    if name in models:
        return _supported(models[name]), ()
    found = [model for model in models.values() if _key(name) in map(_key, (model.name, *model.aliases))]
    if found:
        return _supported(found[0]), (f"{name} is another name of {found[0].name}",)
    found = [model for model in models.values() if model.network and _key(name) == _key(model.network)]
    if not found:
        raise _unknown(name, models)
    for model in found:
        if given is not None and given.name == _file_name(model):
            return _supported(model), (f"{given.name} is the name of the file of {model.name}",)
    first, *others = found
    more = f"; mmpretrain also has {', '.join(model.name for model in others)}" if others else ""
    return _supported(first), (f"{name} is read as {first.name}{more}",)


def _key(name: str) -> str:
    """Names are compared without regard to case and to the kind of dash."""
    return name.lower().replace("_", "-")


def _supported(model: Model) -> Model:
    if not model.network:
        raise UnknownNameError(
            f"mmcls:{model.name} is not supported: mmpretrain's CIFAR networks have a 3x3 stem without a pool",
            remedy="Type: mshub-convert list mmcls:",
        )
    architecture(model.network)  # raises for a network that we do not describe
    return model


def _unknown(name: str, models: Mapping[str, Model]) -> Exception:
    ours = [model.name for model in models.values() if _described(model.network)]
    if not installed_version():
        return EnvironmentError_(
            f"mmpretrain, which knows its models, is not installed; without it known are {', '.join(ours)}",
            remedy=f"Type: {_INSTALL}",
        )
    candidates: Iterable[str] = [*ours, *dict.fromkeys(models[model].network for model in ours)]
    return UnknownNameError(
        f"mmpretrain {installed_version()} has no ResNet {name!r}", remedy=did_you_mean(name, list(candidates))
    )


def _facts(model: Model, preprocessing: Mapping[str, object]) -> dict[str, object]:
    """What mmpretrain states of a model, as plain values."""
    stated: dict[str, object] = {
        "tag": model.name,
        "url": model.url,
        "license": "unstated" if model.converted_from else "Apache-2.0",
        "preprocessing": preprocessing,
        "accuracy": model.accuracy,
        "num_params": model.parameters,
        "flops": model.flops,
        "converted_from": model.converted_from,
    }
    return {key: value for key, value in stated.items() if value}


def _download(model: Model, request: Request) -> Path:
    """The weight file: from the cache that mmengine shares with torch when it is there and right, else fetched."""
    prefix = download.prefix_in_name(model.url)
    theirs = _torch_cache() / _file_name(model)
    if prefix and download.matches(theirs, prefix):
        return theirs
    try:
        return download.fetch(model.url, sha256_prefix=prefix, progress=request.progress)
    except EnvironmentError_ as error:
        raise EnvironmentError_(
            f"the weights of {model.name} cannot be had: {error.message}",
            remedy="Download that file on another machine and give --weights FILE, "
            "or --init calibrated:0 for a trial without pretrained weights.",
        ) from None


def _file_name(model: Model) -> str:
    return PurePosixPath(urlsplit(model.url).path).name


def _torch_cache() -> Path:
    """Where ``torch.hub`` keeps files, as its documentation has it; torch itself takes a second to import."""
    home = os.environ.get("TORCH_HOME")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home or Path(base) / "torch").expanduser() / "hub" / "checkpoints"


def _source(
    address: str,
    file: Path,
    described: Architecture,
    origin: Origin,
    facts: Mapping[str, object],
    notices: tuple[str, ...],
    classes: int,
) -> Source:
    return Source(
        address, file, described.name, origin, architecture=described.name, dialect="mmcls",
        library="mmpretrain", library_model=described.name, facts=facts, notices=notices, classes=classes,
    )  # fmt: skip


RESOLVER = Mmcls()
