"""Compare the preprocessing that weights were made for with what their users will do."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mshub_convert.converters.codecs import codecs
from mshub_convert.converters.errors import EnvironmentError_, UsageError
from mshub_convert.converters.pipeline import Progress
from mshub_convert.converters.preprocessing import Preprocessing, from_facts
from mshub_convert.converters.sources import Request, Stated, resolver
from mshub_convert.mappings.names import did_you_mean
from mshub_convert.request import SourceRequest
from mshub_convert.verify.preprocessing import Parity, Party
from mshub_convert.verify.preprocessing import preprocessing_parity as compared
from mshub_convert.verify.preprocessing.libraries import EXTRAS
from mshub_convert.verify.preprocessing.settings import parse_settings

__all__ = ["LIBRARIES", "Parity", "preprocessing_parity"]

LIBRARIES = tuple(EXTRAS)


def preprocessing_parity(
    source: str | Path,
    *,
    to: str = "mindcv",
    images: str | Path | None = None,
    settings: Mapping[str, str] | None = None,
    weights: str | Path | None = None,
    init: str | None = None,
    progress: Progress | None = None,
) -> Parity:
    """Prepare pictures as the source's library does and as its users will, and compare the tensors.

    ``source`` is an address (``timm:resnext50_32x4d.ra_in1k``; no weights are fetched) or a converted file, whose
    record says where it comes from. ``to`` is the users' library (``mindcv``, ``torchvision``, ``timm``,
    ``mmpretrain``, ``modelhub``) as it is without arguments, or ``FILE.py:FUNCTION``, a function of theirs from the
    path of a picture to an array, which is then run. ``settings`` are arguments that the users give (``resize``,
    ``crop``, ``interpolation``, ``edges``, ``antialias``, ``mean``, ``std``, ``channels``). ``images`` is a folder of
    pictures; without it they are drawn. With ``weights``, ``init``, or a file as the source the network runs on both,
    in float64. The result is true when the tensors are the same within the budget.

    Raises :class:`~mshub_convert.MshubConvertError`: EnvironmentError_ where the source states no preprocessing.
    """
    target = _target(to)
    changed = parse_settings(settings or {})
    if changed and target.function:
        raise UsageError(f"{to} is a function, which takes no settings", remedy="Leave out --set.")
    request = SourceRequest(str(source), weights, init)
    stated = _stated(request, progress)
    party = Party(_runs(stated), stated.name, _preprocessing(stated, str(source)))
    users = Party(target.library, stated.name, settings=changed, function=target.function)
    found = compared(
        party, users, images=Path(images) if images is not None else None,
        measure=_measure(request, progress), progress=progress,
    )  # fmt: skip
    return replace(found, notices=(*stated.notices, *found.notices))


def _target(to: str) -> Party:
    file, colon, function = to.rpartition(":")
    if colon and file.endswith(".py"):
        if not Path(file).is_file():
            raise EnvironmentError_(f"no file {file}", remedy="Say FILE.py:FUNCTION.")
        return Party(file, function=function)
    if to not in LIBRARIES:
        near = did_you_mean(to, LIBRARIES)
        raise UsageError(f"no library {to!r} whose preprocessing is known", remedy=f"{near} Or say FILE.py:FUNCTION.")
    return Party(to)


def _is_file(source: str) -> bool:
    return Path(source).is_file() and Path(source).suffix in {end for one in codecs().values() for end in one.suffixes}


def _stated(request: SourceRequest, progress: Progress | None) -> Stated:
    """What is said of the source, without its weights."""
    source = str(request.source)
    if _is_file(source):
        with SourceRequest(source).open(progress) as opened:
            facts = opened.carried.facts
            library = facts.get("library")
            name = opened.found.architecture.name
            return Stated(name, library if isinstance(library, str) else "", facts)
    scheme, colon, rest = source.partition(":")
    if Path(source).is_dir():
        scheme, rest = "modelhub", source
    elif not colon:
        raise EnvironmentError_(f"no file {source}", remedy="Give an address such as timm:resnext50_32x4d, or a file.")
    with tempfile.TemporaryDirectory(prefix="mshub-convert-") as scratch:
        weights = Path(request.weights) if request.weights is not None else None
        return resolver(scheme).stated(rest, Request(Path(scratch), weights, progress=progress))


def _preprocessing(stated: Stated, source: str) -> Preprocessing:
    found = from_facts(stated.facts.get("preprocessing"), stated_by=source)
    if found is None:
        other = "states another than a square crop with a mean and a deviation"
        said = other if "preprocessing" in stated.facts else "states no preprocessing"
        raise EnvironmentError_(
            f"{source} {said}, so there is nothing to compare with",
            remedy="Give the address that its weights come from, such as timm:resnext50_32x4d.ra_in1k.",
        )
    return found


def _runs(stated: Stated) -> str:
    """The library whose code does what a source states: its own, or the runner of modelhub, which does as told."""
    return stated.library if stated.library in LIBRARIES else "modelhub"


def _measure(request: SourceRequest, progress: Progress | None) -> Callable[..., Any] | None:
    """What runs the network, where weights are at hand."""
    if request.weights is None and request.init is None and not _is_file(str(request.source)):
        return None
    return partial(_effect, request, progress)


def _effect(request: SourceRequest, progress: Progress | None, ours: Any, theirs: Any, folder: Path) -> Any:
    from mshub_convert.verify.preprocessing.effect import measured
    from mshub_convert.verify.preprocessing.parity import TIMEOUT

    with request.open(progress) as opened:
        return measured(opened, ours, theirs, folder, timeout=TIMEOUT)
