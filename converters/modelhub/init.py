"""``init/init.json``: the Docker image of a repository, and where its large files are downloaded from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..errors import MalformedFileError
from .fields import Fields, read_json

PATH = "init/init.json"


@dataclass(frozen=True, slots=True)
class External:
    """A file that is not in the repository: its address, and its place there, relative to the repository."""

    url: str
    path: str


@dataclass(frozen=True, slots=True)
class Init:
    """A whole file. ``unknown`` keeps what modelhub's documentation does not have, by its path in the file."""

    docker_id: str = ""
    files: tuple[External, ...] = ()
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The JSON, with the leading slash that modelhub's own files have."""
        files = [{"src_url": one.url, "dest_file_path": f"/{one.path}"} for one in self.files]
        return {"docker_id": self.docker_id, "external_contrib_files": files}


def read_init(data: bytes, file: str = PATH) -> Init:
    """Read and check an init.json; a path out of the repository and an address that is no download are refused."""
    top = read_json(data, file)
    entries = top.each("external_contrib_files")
    unknown = top.others("docker_id", "external_contrib_files")
    for entry in entries:
        unknown |= entry.others("src_url", "dest_file_path")
    return Init(top.text("docker_id"), tuple(External(_url(entry), _path(entry)) for entry in entries), unknown)


def _url(entry: Fields) -> str:
    text = entry.text("src_url")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise entry.wrong("src_url", "an http or https address") from None
    if parts.scheme not in ("http", "https") or not parts.netloc or not parts.path.strip("/"):
        raise entry.wrong("src_url", "the http or https address of a file")
    return text


def _path(entry: Fields) -> str:
    """The place in the repository: modelhub's own loader strips slashes, so ``/contrib_src/…`` is relative too."""
    text = entry.text("dest_file_path")
    parts = text.removeprefix("/").split("/")
    odd = any(character in text for character in "\\:") or not text.isprintable()
    if odd or any(part in ("", ".", "..") for part in parts):
        error = entry.wrong("dest_file_path", "a path inside the repository")
        raise MalformedFileError(error.message, remedy="Correct the file; do not trust one that leads elsewhere.")
    return "/".join(parts)
