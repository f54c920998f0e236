"""Files from the web: from an address, or from a repository of huggingface.co; checked, cached, never half there."""

import importlib
import inspect
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ..digest import file_sha256
from ..errors import EnvironmentError_, UsageError
from . import Progress, transfer

CACHE_VARIABLE = "MSHUB_CONVERT_CACHE"

_TIMEOUT = 5.0  # seconds to connect


def given(weights: Path) -> Path:
    """A file that the user gives instead of a download."""
    if not weights.is_file():
        what = "is a folder" if weights.is_dir() else "does not exist"
        raise EnvironmentError_(f"--weights {weights} {what}", remedy="Give the path of a weight file.")
    return weights


def prefix_in_name(url: str) -> str | None:
    """The start of the sha256 that PyTorch's and timm's release files carry in their names.

    >>> prefix_in_name("https://download.pytorch.org/models/resnext50_32x4d-7cdf4587.pth")
    '7cdf4587'
    """
    found = re.search(r"-([0-9a-f]{8,64})\.\w+$", urlsplit(url).path)
    return found.group(1) if found else None


def matches(file: Path, sha256_prefix: str) -> bool:
    """Whether this file exists and has a sha256 of this start."""
    return file.is_file() and file_sha256(file).startswith(sha256_prefix)


def cached_path(url: str, cache: Path | None = None) -> Path:
    """Where ``fetch`` keeps the file of an address."""
    import pooch

    folder = cache or Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("mshub-convert"))
    # A folder for each address, so that files keep their own names: those are told and recorded.
    unique, _, name = str(pooch.utils.unique_file_name(url)).partition("-")
    return folder / unique / name


def fetch(
    url: str,
    *,
    sha256_prefix: str | None,
    cache: Path | None = None,
    progress: Progress | None = None,
    limit: int = transfer.LIMIT,
) -> Path:
    """Download a file once and return its local path.

    The sha256 is compared with its known start, or all of it, every time, for cached files too; one that differs is
    set aside as ``<name>.mismatch``. A connection that is cut is taken up again, by this call or the next one:
    ``<name>.part`` is what is there so far. ``cache`` is the folder to keep files in (else ``$MSHUB_CONVERT_CACHE``,
    else the user's cache folder), ``limit`` the most bytes to take. Everything that goes wrong is an
    EnvironmentError_ that names the address.
    """
    name = PurePosixPath(urlsplit(url).path).name
    if urlsplit(url).scheme not in ("http", "https") or not name:
        raise UsageError(f"{url} is not the http or https address of a file", remedy="Download it, and give the file.")
    path = cached_path(url, cache)
    if path.exists():
        _check(path, path, url, sha256_prefix)
        return path

    def report(done: int, total: int | None) -> None:
        if progress is not None:
            progress(name, done, total)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with transfer.part_of(path) as part:
            transfer.receive(url, part, checked=bool(sha256_prefix), limit=limit, report=report)
            part.complete()
            _check(part.path, path, url, sha256_prefix)
            part.path.replace(path)
    except OSError as error:
        raise _unwritable(path.parent.parent, error) from None
    return path


def _check(file: Path, name: Path, url: str, prefix: str | None) -> None:
    """Compare a file's sha256 with what is known of it; one that differs is moved to ``<name>.mismatch``."""
    digest = file_sha256(file) if prefix else ""
    if digest.startswith(prefix or ""):
        return
    aside = name.with_name(f"{name.name}.mismatch")
    file.replace(aside)
    expected = f"the sha256 {prefix}" if len(prefix or "") == 64 else f"a sha256 that starts with {prefix}"
    raise EnvironmentError_(
        f"{url} should have {expected}, the file has {digest}: it was set aside as {aside}",
        remedy="Try again; if it stays so, something on the way changes files: give a good copy with --weights FILE.",
    )


def fetch_hub(
    repository: str, names: Sequence[str], *, progress: Progress | None = None, endpoint: str | None = None
) -> tuple[Path, str]:
    """The first of these files that a repository of huggingface.co (``timm/resnet50.a1_in1k``) has, and its address.

    Cached by huggingface_hub, whose variables (HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN) hold. Without network
    a cached file is used; none is an EnvironmentError_ within the time of one attempt.
    """
    try:
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.utils import EntryNotFoundError
    except ImportError:
        raise EnvironmentError_(
            f"{repository} cannot be downloaded: huggingface_hub is not installed",
            remedy="Type: pip install 'mshub-convert[torch]'",
        ) from None
    repo, _, revision = repository.partition("@")
    address = f"{endpoint or constants.ENDPOINT}/{repo}"
    problem = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE or hub_is_offline() else None
    for name in names:
        if problem is None:
            try:
                problem = _probe(repo, name, revision or None, endpoint)
            except EntryNotFoundError:
                continue
        try:
            found = hf_hub_download(
                repo, name, revision=revision or None, endpoint=endpoint, local_files_only=problem is not None,
                library_name="mshub-convert", **_bar_option(hf_hub_download, name, progress),
            )  # fmt: skip
        except EntryNotFoundError:  # in the cache
            continue
        except Exception as error:
            # The transport's own exceptions: requests', httpx's or httpx2's, as the version of huggingface_hub has it.
            raise EnvironmentError_(
                f"{address}/{name} broke off: {transfer.reason(error)}", remedy=transfer.ELSEWHERE
            ) from None
        path = _checked_blob(Path(found), address)
        # The cache keeps snapshots/COMMIT/FILE.
        return path, f"{address}/resolve/{path.parent.name}/{name}"
    if problem is None:
        raise EnvironmentError_(f"{address} has no {' or '.join(names)}", remedy=transfer.ELSEWHERE)
    raise EnvironmentError_(f"{address} is not cached and cannot be reached: {problem}", remedy=transfer.ELSEWHERE)


def hub_is_offline() -> bool:
    """Whether the user set HF_HUB_OFFLINE."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _probe(repo: str, name: str, revision: str | None, endpoint: str | None) -> str | None:
    """Why a file cannot be had from the hub now, or None; a file that the hub does not have raises EntryNotFoundError.

    Asked first because ``hf_hub_download`` itself tries for 23 seconds to reach a hub that is not there.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import EntryNotFoundError, RepositoryNotFoundError

    url = hf_hub_url(repo, name, revision=revision, endpoint=endpoint)
    timeout = constants.HF_HUB_ETAG_TIMEOUT if "HF_HUB_ETAG_TIMEOUT" in os.environ else _TIMEOUT
    try:
        get_hf_file_metadata(url, timeout=timeout)
    except EntryNotFoundError:
        raise
    except RepositoryNotFoundError:
        return "there is no such repository, or it is not public"
    except Exception as error:  # as above: the transport's own
        return transfer.reason(error)
    return None


def _bar_option(download: Any, name: str, progress: Progress | None) -> dict[str, type[Any]]:
    """A bar class for huggingface_hub that draws nothing and tells the callback; older releases take none."""
    if "tqdm_class" not in inspect.signature(download).parameters:
        return {}
    bars: Any = importlib.import_module("tqdm")  # huggingface_hub depends on it

    class Reporter(bars.tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            self.bytes, self.whole = int(kwargs.get("initial") or 0), kwargs.get("total")

        def update(self, n: float | None = 1) -> None:
            self.bytes += int(n or 0)
            if progress is not None:
                progress(name, self.bytes, self.whole)

    return {"tqdm_class": Reporter}


def _checked_blob(path: Path, address: str) -> Path:
    """A file of huggingface_hub's cache, compared with its sha256, which is the name of the blob it links to."""
    expected = path.resolve().name
    if not re.fullmatch("[0-9a-f]{64}", expected):
        return path
    digest = file_sha256(path)
    if digest != expected:
        raise EnvironmentError_(
            f"{path} from {address} should have the sha256 {expected}, the file has {digest}",
            remedy=f"Remove {path.resolve()} and try again.",
        )
    return path


def _unwritable(folder: Path, error: OSError) -> EnvironmentError_:
    return EnvironmentError_(
        f"cannot write in the cache folder {folder}: {error.strerror or error}",
        remedy=f"Free space or set {CACHE_VARIABLE} to another folder.",
    )
