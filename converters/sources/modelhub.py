"""``modelhub:NAME`` and folders: repositories of modelhub.ai, on GitHub or on disk."""

import contextlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TypedDict
from urllib.parse import urljoin

from ...mappings.architectures import architecture
from ...mappings.architectures import known as architectures
from ...mappings.dialects import preferred_dialect
from ...mappings.errors import UnknownNameError
from ...mappings.names import did_you_mean, listed
from ..cards.locate import ENTRY
from ..codecs import codecs
from ..errors import EnvironmentError_, NotOnServerError, PlanError, UsageError
from ..modelhub import config, known
from ..modelhub.fields import LIMIT
from ..modelhub.init import External
from ..modelhub.repository import Repository, read_repository
from . import Origin, Request, Source, Stated, calibrated, download

# Where NAME/master/PATH is a file of a repository; set it to use a mirror.
ENDPOINT_VARIABLE = "MSHUB_CONVERT_MODELHUB"
_ENDPOINT = "https://raw.githubusercontent.com/modelhub-ai"
_PAGE = "https://github.com/modelhub-ai"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class _Claims(TypedDict):
    claims: str | None
    promises: tuple[str, ...]


class Modelhub:
    """The resolver."""

    def resolve(self, rest: str, request: Request) -> Source:
        """A model by its repository's name, or a clone by its path (with a slash in it, or ``.``)."""
        return from_folder(Path(rest), request) if is_path(rest) else _from_hub(rest, request)

    def stated(self, rest: str, request: Request) -> Stated:
        """What a repository says of its model."""
        repository = find(rest, request)
        name = repository.architecture or repository.config.meta.name
        return Stated(name, "modelhub", repository.facts(), repository.notices)

    def names(self) -> tuple[str, ...]:
        """The models known here; other repositories of ResNets can be asked for too."""
        return tuple(known.models())


def is_path(text: str) -> bool:
    """Whether a text is meant as a path, not as a repository's name."""
    return "/" in text or os.sep in text or text in (".", "..")


def find(text: str, request: Request) -> Repository:
    """What a repository says, by its name or by its path."""
    if is_path(text) or Path(text).is_dir():
        return _read_folder(Path(text))
    return _read_hub(text, _Web(text, request))


def weights(repository: Repository) -> External:
    """The weight file of a repository; a PlanError where it has none that can be read."""
    return repository.weights(tuple(suffix for codec in codecs().values() for suffix in codec.suffixes))


def _read_folder(folder: Path) -> Repository:
    if not (folder / config.PATH).is_file():
        fact = f"is no repository of modelhub.ai: it has no {config.PATH}" if folder.is_dir() else "is no folder"
        remedy = "Give a file, or the folder that has contrib_src."
        if (folder / ENTRY).is_file():
            remedy = "It is an entry of MindSpore Hub: give the .ckpt in it."
        raise EnvironmentError_(f"{folder} {fact}", remedy=remedy)
    return read_repository(_Folder(folder), str(folder))


def from_folder(folder: Path, request: Request) -> Source:
    """A clone on disk, with its weight file in place or downloaded from where init.json says."""
    repository = _read_folder(folder)
    name = repository.config.meta.name
    model = name if _NAME.fullmatch(name) else folder.resolve().name or "model"
    facts = repository.facts()
    if request.init is not None or request.weights is not None:
        return _replaced(str(folder), model, repository, facts, request)
    external = weights(repository)
    file = folder / external.path
    if file.is_file():
        return _source(str(folder), file, model, Origin("file"), repository, facts)
    if not external.url:
        raise EnvironmentError_(
            f"{folder} has no {external.path}, and its init.json names no address to download it from",
            remedy="Give the weight file with --weights FILE.",
        )
    return _downloaded(str(folder), model, external, Origin("file"), repository, facts, request)


def _from_hub(name: str, request: Request) -> Source:
    address, page = f"modelhub:{name}", f"{_PAGE}/{name}"
    files = _Web(name, request)
    try:
        repository = _read_hub(name, files)
    except NotOnServerError as error:
        near = did_you_mean(name, known.models())
        raise UnknownNameError(f"modelhub.ai has no model {name}: {error.message}", remedy=near) from None
    except EnvironmentError_ as error:
        if name not in known.models() or (request.init is None and request.weights is None):
            raise
        return _offline(address, name, error, request)
    facts = {**repository.facts(), "repository": page}
    if request.init is not None or request.weights is not None:
        return _replaced(address, name, repository, facts, request)
    external = weights(repository)
    if not external.url:
        external = External(files.address(external.path), external.path)
    return _downloaded(address, name, external, Origin("pretrained"), repository, facts, request)


def _read_hub(name: str, files: "_Web") -> Repository:
    if not _NAME.fullmatch(name):
        remedy = "Say modelhub:resnet-50, or modelhub:./FOLDER."
        raise UsageError(f"modelhub:{name} is no repository's name", remedy=remedy)
    repository = read_repository(files, f"modelhub:{name}")
    if not files.kept:
        return repository
    fact = f"{_PAGE}/{name} cannot be reached: {listed(files.kept)} are those of the last time"
    return replace(repository, notices=(*repository.notices, fact))


class _Folder:
    """The files of a clone."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, path: str) -> bytes | None:
        file = self._root / path
        try:
            with file.open("rb") as stream:
                return stream.read(LIMIT + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise EnvironmentError_(
                f"{file} cannot be read: {error.strerror}", remedy="Check what it is, and its permissions."
            ) from None


class _Web:
    """The files of a repository on the web: asked for each time, kept for when there is no network.

    Of these, only config.json must be there. ``kept`` names those that had to be taken from the last time.
    """

    def __init__(self, name: str, request: Request) -> None:
        self._name, self._request = name, request
        self.kept: list[str] = []

    def address(self, path: str) -> str:
        """Where a file is."""
        endpoint = os.environ.get(ENDPOINT_VARIABLE) or _ENDPOINT
        return urljoin(f"{endpoint.rstrip('/')}/", f"{self._name}/master/{path}")

    def __call__(self, path: str) -> bytes | None:
        url = self.address(path)
        kept = download.cached_path(url)
        if self.kept:  # the server was not to be reached a moment ago
            return self._last(path, kept)
        try:
            file = download.fetch(url, sha256_prefix=None, cache=self._request.scratch / "modelhub", limit=LIMIT)
        except NotOnServerError:
            if path == config.PATH:
                raise
            return None
        except EnvironmentError_:
            if not kept.is_file():
                raise
            return self._last(path, kept)
        with contextlib.suppress(OSError):  # a cache that cannot be written costs only the copy
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, kept)
        return file.read_bytes()

    def _last(self, path: str, kept: Path) -> bytes | None:
        if not kept.is_file():
            return None
        self.kept.append(PurePosixPath(path).name)
        return kept.read_bytes()


def _downloaded(
    address: str, model: str, external: External, origin: Origin, repository: Repository,
    facts: Mapping[str, object], request: Request,
) -> Source:  # fmt: skip
    file = download.fetch(external.url, sha256_prefix=None, progress=request.progress)
    said = f"modelhub.ai publishes no sha256 of {file.name}: it cannot be checked, the record keeps the one it has"
    told = {**facts, "url": external.url, "fetched_from": external.url}
    return _source(address, file, model, origin, repository, told, (said,))


def _replaced(
    address: str, model: str, repository: Repository, facts: Mapping[str, object], request: Request
) -> Source:
    """Weights that are the user's, or drawn, under the name of a repository."""
    if request.init is not None:
        return _drawn(address, model, repository.architecture, request)
    file = download.given(request.weights or Path())
    notice = f"{file.name} is taken at your word for the weights of {repository.config.meta.name}"
    urls = [one.url for one in repository.init.files]
    return _source(
        address, file, model, Origin("stated"), repository, {**facts, **({"url": urls[0]} if urls else {})}, (notice,)
    )


def _drawn(address: str, model: str, name: str | None, request: Request) -> Source:
    if name is None:
        raise PlanError(
            f"{address}: config.json names no network of ours ({model}), so there is nothing to draw weights for",
            remedy="Draw them for a network: timm:resnet50 --init calibrated:0.",
        )
    network = architecture(name)
    file, origin = calibrated.stand_in(request, network, preferred_dialect(network, "torch").name)
    return Source(address, file, model, origin, architecture=name, facts={"library": "modelhub.ai"})


def _offline(address: str, name: str, error: EnvironmentError_, request: Request) -> Source:
    """A known model without its repository's files, for weights that need no download."""
    model = known.models()[name]
    notice = f"config.json of {name} cannot be had, so its facts are not recorded: {error.message}"
    if request.init is not None:
        return _drawn(address, name, model.architecture, request)
    file = download.given(request.weights or Path())
    facts = {"library": "modelhub.ai", "id": model.id, "name": name, "repository": f"{_PAGE}/{name}"}
    return Source(
        address, file, name, Origin("stated"), facts=facts, notices=(notice,), **_claims(model.architecture)
    )  # fmt: skip


def _source(
    address: str, file: Path, model: str, origin: Origin, repository: Repository,
    facts: Mapping[str, object], notices: tuple[str, ...] = (),
) -> Source:  # fmt: skip
    return Source(
        address, file, model, origin, facts=facts, classes=len(repository.labels) or None,
        notices=(*repository.notices, *notices), **_claims(repository.architecture),
    )  # fmt: skip


def _claims(name: str | None) -> _Claims:
    """What a name in a config.json may mean: a pre-activation v2 was also published under the plain name."""
    if name is None:
        return {"claims": None, "promises": ()}
    return {"claims": name, "promises": (name, *(v2 for v2 in (f"{name}_v2",) if v2 in architectures()))}


RESOLVER = Modelhub()
