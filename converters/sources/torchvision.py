"""``torchvision:NAME[.WEIGHTS]``: torchvision's models, whose weights are on download.pytorch.org."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...mappings.architectures import Architecture, architecture
from ...mappings.dialects import dialect
from ...mappings.errors import UnknownNameError
from ...mappings.names import did_you_mean
from ..errors import EnvironmentError_
from . import Origin, Request, Source, Stated, calibrated, download

_INSTALL = "pip install 'mshub-convert[torch]'"
_UNLICENSED = "torchvision states no licence of its weights (its code is BSD-3-Clause)"


class Torchvision:
    """The resolver."""

    def resolve(self, rest: str, request: Request) -> Source:
        """The weights of a torchvision model: from pytorch.org, from ``--weights``, or drawn for ``--init``."""
        torchvision = _torchvision()
        address, (name, _, tag) = f"torchvision:{rest}", rest.partition(".")
        if torchvision is None:
            return _without_torchvision(address, name, tag, request)
        _check_name(torchvision, name)
        described = architecture(name)
        choices = torchvision.models.get_model_weights(name)
        facts: dict[str, object] = {"library": "torchvision", "library_version": torchvision.__version__}
        weights = _weights(name, choices, tag) if tag else None
        if request.init is not None:
            unused = (f"{weights.name} is not used: --init draws other weights",) if weights else ()
            return _drawn(address, described, request, facts, unused)
        notices: tuple[str, ...] = ()
        if weights is None:
            weights, notices = _default(name, choices, request.weights)
        facts |= _facts(weights)
        if request.weights:
            file, origin = download.given(request.weights), Origin("stated")
            full = f"{name}.{weights.name}"
            notices += (
                f"{file.name} is taken at your word for {full}: it was not compared with torchvision's own file",
            )
        else:
            file, origin = _download(f"{name}.{weights.name}", weights.url, request), Origin("pretrained")
            facts["fetched_from"] = weights.url
        classes = len(weights.meta["categories"])
        return _source(address, file, name, origin, facts, (*notices, _UNLICENSED), classes)

    def stated(self, rest: str, request: Request) -> Stated:
        """What torchvision says of weights."""
        torchvision = _torchvision()
        name, _, tag = rest.partition(".")
        if torchvision is None:
            message = f"torchvision:{rest} needs torchvision, which is not installed"
            raise EnvironmentError_(message, remedy=f"Type: {_INSTALL}")
        _check_name(torchvision, name)
        choices = torchvision.models.get_model_weights(name)
        weights, notices = (_weights(name, choices, tag), ()) if tag else _default(name, choices, request.weights)
        return Stated(name, "torchvision", {"library_version": torchvision.__version__, **_facts(weights)}, notices)

    def names(self) -> tuple[str, ...]:
        """Every NAME.WEIGHTS of a network that we describe."""
        torchvision = _torchvision()
        if torchvision is None:
            raise EnvironmentError_(
                "torchvision, which knows its weights, is not installed", remedy=f"Type: {_INSTALL}"
            )
        ours = [name for name in torchvision.models.list_models() if _described(name)]
        choices = torchvision.models.get_model_weights
        return tuple(f"{name}.{weights.name}" for name in ours for weights in choices(name))


def _torchvision() -> Any:
    """The library, or None where it is not installed."""
    try:
        import torchvision
    except ImportError:
        return None
    return torchvision


def _check_name(torchvision: Any, name: str) -> None:
    if name not in torchvision.models.list_models():
        ours = [model for model in torchvision.models.list_models() if _described(model)]
        raise UnknownNameError(
            f"torchvision {torchvision.__version__} has no model {name!r}", remedy=did_you_mean(name, ours)
        )


def _described(name: str) -> Architecture | None:
    try:
        return architecture(name)
    except UnknownNameError:
        return None


def _weights(name: str, choices: Any, tag: str) -> Any:
    """The member of torchvision's enum that a tag means: ``IMAGENET1K_V2``, ``V2`` or ``DEFAULT``, in any case."""
    for key, member in choices.__members__.items():  # with DEFAULT, which is an alias
        if tag.upper() in (key.upper(), key.upper().rpartition("_")[2]):
            return member
    known = [member.name for member in choices]
    raise UnknownNameError(f"torchvision has no weights {name}.{tag}", remedy=did_you_mean(tag, known))


def _default(name: str, choices: Any, given: Path | None) -> tuple[Any, tuple[str, ...]]:
    """The weights meant by a name alone, and a notice: those whose file this is, or torchvision's default."""
    for member in choices:
        if given is not None and given.name == member.url.rpartition("/")[2]:
            return member, (f"{given.name} is the name of the file of {name}.{member.name}",)
    default = choices.DEFAULT
    others = [member.name for member in choices if member is not default]
    choice = f"; torchvision also has {', '.join(others)}" if others else ""
    return default, (f"{name} is read as {name}.{default.name}, torchvision's default{choice}",)


def _facts(weights: Any) -> dict[str, object]:
    """What torchvision states of weights, as plain values."""
    transforms = weights.transforms()
    crop = transforms.crop_size[0]
    dataset, accuracy = next(iter(weights.meta.get("_metrics", {}).items()), ("", {}))
    stated = {
        "tag": weights.name,
        "url": weights.url,
        "license": "unstated",
        "preprocessing": {
            "input_size": [3, crop, crop],
            "resize_size": transforms.resize_size[0],
            "crop_size": crop,
            "interpolation": transforms.interpolation.value,
            "mean": list(transforms.mean),
            "std": list(transforms.std),
        },
        "accuracy": {"dataset": dataset, **accuracy} if accuracy else None,
        "num_params": weights.meta.get("num_params"),
        "recipe": weights.meta.get("recipe"),
    }
    return {key: value for key, value in stated.items() if value is not None}


def _download(full: str, url: str, request: Request) -> Path:
    """The weight file: from torch's own cache when it is there and right, else from ours or the net."""
    import torch

    prefix = download.prefix_in_name(url)
    theirs = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if prefix and download.matches(theirs, prefix):
        return theirs
    try:
        return download.fetch(url, sha256_prefix=prefix, progress=request.progress)
    except EnvironmentError_ as error:
        raise EnvironmentError_(
            f"the weights of {full} cannot be had: {error.message}",
            remedy="Download that file on another machine and give --weights FILE, "
            "or --init calibrated:0 for a trial without pretrained weights.",
        ) from None


def _drawn(
    address: str, drawn: Architecture, request: Request, facts: Mapping[str, object], notices: tuple[str, ...]
) -> Source:
    file, origin = calibrated.stand_in(request, drawn, "torchvision")
    return _source(address, file, drawn.name, origin, facts, notices)


def _without_torchvision(address: str, name: str, tag: str, request: Request) -> Source:
    """A model by our own list of torchvision's networks, where the weights are the user's or drawn."""
    if request.weights is None and request.init is None:
        raise EnvironmentError_(f"{address} needs torchvision, which is not installed", remedy=f"Type: {_INSTALL}")
    naming = dialect("torchvision")
    described = architecture(name)
    if not naming.builds(described):
        raise UnknownNameError(f"torchvision has no model {name}", remedy=did_you_mean(name, naming.models))
    facts = {"library": "torchvision"}
    ignored = f" ({tag} is not looked up)" if tag else ""
    notices = (f"torchvision is not installed ({_INSTALL}): accuracy and preprocessing are unknown{ignored}",)
    if request.init is not None or request.weights is None:
        return _drawn(address, described, request, facts, notices)
    return _source(address, download.given(request.weights), name, Origin("stated"), facts, notices)


def _source(
    address: str,
    file: Path,
    name: str,
    origin: Origin,
    facts: Mapping[str, object],
    notices: tuple[str, ...],
    classes: int | None = None,
) -> Source:
    return Source(
        address, file, name, origin, architecture=name, dialect="torchvision",
        library="torchvision", library_model=name, facts=facts, notices=notices, classes=classes,
    )  # fmt: skip


RESOLVER = Torchvision()
