"""One file over HTTP: streamed, taken up again where a connection was cut, from http and https addresses only."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

from ..errors import EnvironmentError_, NotOnServerError

# Bytes; far above any network here, far below a disk.
LIMIT = 8 << 30
ELSEWHERE = "Check the network, or download it on another machine and give it with --weights FILE."

_TIMEOUTS = (5.0, 30.0)  # seconds to connect, seconds between two bytes
_CHUNK = 1 << 18
_REDIRECTS = 10
_ATTEMPTS = 3  # in a row that bring nothing new

Report = Callable[[int, int | None], None]  # bytes done, bytes in all (None when unknown)


@dataclass(frozen=True, slots=True)
class Part:
    """A file that is not whole yet: open, ours alone, with what the server calls this version of it.

    ``kept`` says whether the next run may go on with it.
    """

    path: Path
    stream: BinaryIO
    kept: bool

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return os.fstat(self.stream.fileno()).st_size

    @property
    def version(self) -> str:
        """ETag or date of the bytes that are there, empty when unknown."""
        try:
            return self._version_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""

    def begin(self, version: str) -> None:
        """Start with nothing, of this version."""
        self.stream.seek(0)
        self.stream.truncate()
        if self.kept:
            self._version_file.write_text(version, encoding="utf-8")

    def complete(self) -> None:
        """See the bytes on the disk, and drop the note of their version: there is nothing to go on with."""
        os.fsync(self.stream.fileno())
        self._version_file.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove the file and the note of its version."""
        self.path.unlink(missing_ok=True)
        self._version_file.unlink(missing_ok=True)

    @property
    def _version_file(self) -> Path:
        return self.path.with_name(f"{self.path.name}.version")


@contextmanager
def part_of(final: Path) -> Iterator[Part]:
    """The part file of a path, ``<path>.part``: an earlier one is gone on with; left behind when it holds anything.

    While another process has it open, a file of its own that is not left behind.
    """
    path = final.with_name(f"{final.name}.part")
    stream = path.open("ab")
    if not _is_ours(stream, path):
        stream.close()
        handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=final.parent)
        path, stream = Path(name), os.fdopen(handle, "wb")
    part = Part(path, stream, kept=path.name == f"{final.name}.part")
    try:
        yield part
    finally:
        if not part.kept or not part.size:
            part.forget()
        stream.close()


def _is_ours(stream: BinaryIO, path: Path) -> bool:
    """Lock a part file; false where another process has it, or has just given it its final name."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(stream.fileno()).st_ino == path.stat().st_ino
    except OSError:
        return False


class _CutError(Exception):
    """The connection ended before the file did."""


def receive(url: str, part: Part, *, checked: bool, limit: int = LIMIT, report: Report) -> None:
    """Fill a part file; where the connection is cut, go on from there.

    ``checked`` says that the whole will be compared with a sha256, so that bytes of an earlier run may be gone on
    with even where the server does not say their version. Raises EnvironmentError_.
    """
    import requests

    failures, most = 0, part.size
    while True:
        try:
            _stream(url, part, checked, limit, report)
            return
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "an error"
            kind = NotOnServerError if status in (404, 410) else EnvironmentError_
            raise kind(f"{url} answered HTTP {status}", remedy=ELSEWHERE) from None
        except (_CutError, requests.exceptions.ChunkedEncodingError, requests.ConnectionError) as error:
            # What never connected will not at once; what was cut may.
            started = part.size > 0 and not isinstance(error, requests.exceptions.ConnectTimeout)
            failures = 0 if part.size > most else failures + 1
            most = max(most, part.size)
            if not started or failures >= _ATTEMPTS:
                raise EnvironmentError_(_broken_off(url, part, error), remedy=ELSEWHERE) from None
        except requests.RequestException as error:
            raise EnvironmentError_(_broken_off(url, part, error), remedy=ELSEWHERE) from None


def _broken_off(url: str, part: Part, error: Exception) -> str:
    kept = f" ({part.size} bytes are kept, and the same command goes on from there)" if part.kept and part.size else ""
    return f"{url} could not be downloaded: {reason(error)}{kept}"


def _stream(url: str, part: Part, checked: bool, limit: int, report: Report) -> None:
    """One request, for what is not there yet."""
    headers = {"Accept-Encoding": "identity"}
    if part.size and (checked or part.version):
        headers["Range"] = f"bytes={part.size}-"
        if part.version:
            headers["If-Range"] = part.version
    with _get(url, headers) as response:
        if response.status_code == 416 and "Range" in headers:  # nothing after what we have, or another file by now
            if response.headers.get("Content-Range", "").rpartition("/")[2] == str(part.size):
                return
            part.begin("")
            _stream(url, part, checked, limit, report)
            return
        response.raise_for_status()
        goes_on = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(
            f"bytes {part.size}-"
        )
        if not goes_on:
            part.begin(_version(response.headers))
        total = _total(response.headers, part.size)
        _refuse_too_big(url, total or 0, limit, part)
        done = part.size
        report(done, total)
        for chunk in response.iter_content(_CHUNK):
            part.stream.write(chunk)
            part.stream.flush()
            done += len(chunk)
            _refuse_too_big(url, done, limit, part)
            report(done, total)
    if total is not None and done < total:
        raise _CutError(f"the connection ended after {done} of {total} bytes")


def _get(url: str, headers: Mapping[str, str]) -> Any:
    """Ask for an address, following redirects by hand: to the web only, and never back to an open connection."""
    import requests

    asked = url
    for _ in range(_REDIRECTS):
        response = requests.get(url, headers=headers, stream=True, timeout=_TIMEOUTS, allow_redirects=False)
        if not response.is_redirect:
            return response
        response.close()
        target = urljoin(url, response.headers["Location"])
        allowed = ("https",) if urlsplit(url).scheme == "https" else ("http", "https")
        if urlsplit(target).scheme not in allowed:
            raise EnvironmentError_(
                f"{asked} redirects to {target}, which is not followed: only {' and '.join(allowed)} addresses are",
                remedy=ELSEWHERE,
            )
        url = target
    raise EnvironmentError_(f"{asked} redirects more than {_REDIRECTS} times", remedy=ELSEWHERE)


def _version(headers: Mapping[str, str]) -> str:
    """What ``If-Range`` takes: a strong ETag, else a date."""
    etag = headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")


def _total(headers: Mapping[str, str], there: int) -> int | None:
    """Bytes of the whole file, where the server says it."""
    length = headers.get("Content-Length", "")
    return there + int(length) if length.isdecimal() and "Content-Encoding" not in headers else None


def _refuse_too_big(url: str, size: int, limit: int, part: Part) -> None:
    if size > limit:
        part.begin("")
        name = PurePosixPath(urlsplit(url).path).name
        raise EnvironmentError_(
            f"{url} is larger than {limit / 1e9:.3g} GB, the most that is downloaded: no network here is as large",
            remedy=f"If {name} is right, download it yourself and give it with --weights FILE.",
        )


def reason(error: BaseException) -> str:
    """The innermost cause of a transport's error, on one line."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
