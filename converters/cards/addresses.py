"""How people point at a card: by its UID, by the page or the raw file in one of the hub's homes, or by a file."""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

HOME = "https://gitee.com/mindspore/hub/raw/master/mshub_res/assets"

_FOLDER = "mshub_res/assets/"
# publisher / (backend) / version / name
_UID = re.compile(r"[\w.+-]+(?:/[\w.+-]+){2,3}")
_HUB_HOSTS = ("mindspore.cn", "mindspore.com", "gitee.com", "gitcode.com", "gitcode.net", "github.com",
              "githubusercontent.com")  # fmt: skip


@dataclass(frozen=True, slots=True)
class CardAddress:
    """A card in the hub: its UID, and whether the Chinese version (``<uid>_cn.md``) is meant."""

    uid: str
    chinese: bool = False

    @property
    def file(self) -> str:
        """Its path in the hub's ``mshub_res/assets`` folder."""
        return f"{self.uid}_cn.md" if self.chinese else f"{self.uid}.md"

    @property
    def url(self) -> str:
        """Where the card itself is."""
        return f"{HOME}/{self.file}"


def is_url(text: str) -> bool:
    """Whether this is an address in the web."""
    return text.startswith(("http://", "https://"))


def read(text: str) -> CardAddress | None:
    """The card that a UID or an address means, or None for something else.

    >>> read("mindspore/1.9/resnext50_imagenet2012").uid
    'mindspore/1.9/resnext50_imagenet2012'
    >>> read("https://gitee.com/mindspore/hub/blob/master/mshub_res/assets/mindspore/1.9/resnet50_cifar10.md").uid
    'mindspore/1.9/resnet50_cifar10'
    >>> read("https://www.mindspore.cn/resources/hub/details?MindSpore/1.9/resnet50_cifar10").uid
    'mindspore/1.9/resnet50_cifar10'
    """
    path = _path_of(text) if is_url(text) else text.partition(_FOLDER)[2] or text
    if path is None:
        return None
    bare = path.strip("/").removesuffix(".md")
    chinese = bare.endswith("_cn")
    bare = bare.removesuffix("_cn")
    if not _UID.fullmatch(bare) or ".." in bare.split("/"):
        return None
    publisher, slash, rest = bare.partition("/")
    return CardAddress(publisher.lower() + slash + rest, chinese)


def _path_of(url: str) -> str | None:
    """The part of an address that names the card."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not any(host == known or host.endswith(f".{known}") for known in _HUB_HOSTS):
        return None
    path, query = unquote(parts.path), unquote(parts.query)
    if _FOLDER in path:
        return path.partition(_FOLDER)[2]
    if "hub" in path and query:  # mindspore.cn/resources/hub/details?UID
        return query.partition("=")[2] or query
    if host.startswith("hub."):  # hub.mindspore.com/UID
        return path
    return path.rpartition("/hub/details/")[2] if "/hub/details/" in path else None
