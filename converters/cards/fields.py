"""The fields of a card: English key, Chinese label and the type of the value.

Source: mshub_res/README.md, the two examples and the cards of https://gitee.com/mindspore/hub.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from .card import Value

# What stands for nothing; a lone dash is not valid YAML either.
_NOTHING = frozenset({"", "-", "--", "[]", "n/a", "none", "null", "无"})
_FLAGS = {"true": True, "yes": True, "是": True, "false": False, "no": False, "否": False}
_WORDS = {
    "推理": "inference",
    "迁移学习": "transfer-learning",
    "传递学习": "transfer-learning",
    "特征抽取": "extract-feature",
}
_LONGEST = 200
_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
# ``F1 = 0.5`` or ``top1acc78.51``: a name, with or without a sign after it.
_MEASURE = re.compile(rf"(?:([^:=]*?)[ ]*[:=]|(.*?[A-Za-z@_)]))[ ]*({_NUMBER})[ ]*%?")
# Blanks and marks that text editors leave around a value.
_AROUND = " \t\r\n\f\v\u00a0\u3000\u200b\ufeff"


@dataclass(frozen=True, slots=True)
class Field:
    """One field; ``read`` turns its text into a value and raises ValueError with what is wrong."""

    key: str
    label: str
    read: Callable[[str], Value]


def clean(text: str) -> str:
    """Text without the blanks around it."""
    return text.strip(_AROUND)


def says_nothing(text: str) -> bool:
    """Whether a value stands for none."""
    return text.casefold() in _NOTHING


# Marks that come in pairs: one at an end of a value without its partner is a slip.
_PAIRS = (('"', '"'), ("'", "'"), ("[", "]"), ("(", ")"), ("{", "}"))


def stray_mark(text: str) -> str:
    """A bracket or quote at either end of a value whose partner is nowhere in it; empty if there is none."""
    for opening, closing in _PAIRS:
        same = opening == closing
        if text.startswith(opening) and text.count(closing) == same:
            return opening
        # An apostrophe may end a word.
        if text.endswith(closing) and closing != "'" and text.count(opening) == same:
            return closing
    return ""


def _text(text: str) -> Value:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def _purpose(text: str) -> Value:
    for chinese, english in _WORDS.items():
        text = text.replace(chinese, english)
    return text


def _backend(text: str) -> Value:
    return text.casefold()


def _flag(text: str) -> Value:
    try:
        return _FLAGS[text.casefold()]
    except KeyError:
        raise ValueError(f"{text!r} is not True or False") from None


def _shape(text: str) -> Value:
    narrow = unicodedata.normalize("NFKC", text).replace("、", ",").replace("【", "[").replace("】", "]")
    try:
        if len(narrow) > _LONGEST or not re.fullmatch(r"\[[0-9,\[\] ]*\]", narrow):
            raise ValueError
        return json.loads(narrow)
    except (ValueError, RecursionError):
        raise ValueError(f"{text!r} is not a list of sizes such as [224, 224, 3]") from None


def link(text: str) -> str:
    """An address, which cards put into <…> and sometimes end with a full stop."""
    bare = clean(text.rstrip("。")).removeprefix("<").removesuffix(">")
    if not re.fullmatch(r"https?://[^\s/<>][^\s<>]*", bare):
        raise ValueError(f"{text!r} is not an http or https address")
    return bare


def sha256(text: str) -> str:
    """Hex digits in lower case: 64, or at least the first 8."""
    bare = text.casefold()
    if not re.fullmatch("[0-9a-f]{8,64}", bare):
        raise ValueError(f"{text!r} is not a sha256: 64 hex digits, or at least the first 8")
    return bare


def file_format(text: str) -> str:
    """A format such as ``ckpt``; some cards write ``.ckpt``."""
    return text.removeprefix(".").casefold()


def _day(text: str) -> Value:
    found = re.fullmatch(r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?", unicodedata.normalize("NFKC", text))
    try:
        if found is None:
            raise ValueError
        return date(int(found[1]), int(found[2]), int(found[3])).isoformat()
    except ValueError:
        raise ValueError(f"{text!r} is not a date such as 2022-10-11") from None


def _measures(text: str) -> Value:
    """A number, or measures by name: ``top1acc78.51 | top5acc94.18``; other text stays text."""
    bare = text.removesuffix("%").strip()
    if re.fullmatch(_NUMBER, bare):
        return float(bare)
    found: dict[str, float] = {}
    narrow = unicodedata.normalize("NFKC", text[:_LONGEST])
    for part in re.split(r"[|,;、]", narrow):
        measure = _MEASURE.fullmatch(part.strip())
        name = (measure[1] or measure[2]).strip() if measure else ""
        if measure is None or not name or name in found:
            return text
        found[name] = float(measure[3])
    return found


FIELDS = (
    Field("model-name", "模型名称", _text),
    Field("backbone-name", "骨干网络", _text),
    Field("module-type", "模块类型", _text),
    Field("fine-tunable", "可微调", _flag),
    Field("input-shape", "输入形状", _shape),
    Field("model-version", "模型版本", _text),
    Field("train-dataset", "训练数据集", _text),
    Field("evaluation", "评估", _measures),
    Field("accuracy", "准确率", _measures),
    Field("author", "作者", _text),
    Field("update-time", "更新时间", _day),
    Field("repo-link", "代码仓链接", link),
    Field("user-id", "用户ID", _text),
    Field("used-for", "用途", _purpose),
    Field("featured-image", "特征图片", _text),
    Field("train-backend", "训练后端", _backend),
    Field("infer-backend", "推理后端", _backend),
    Field("mindspore-version", "MindSpore版本", _text),
    Field("allow-cache-ckpt", "可缓存检查点", _flag),
    Field("license", "许可证", _text),
    Field("summary", "摘要", _text),
)
# The parts of an asset, and the key of their list.
ASSET = Field("asset", "资源", _text)
ASSET_FIELDS = (
    Field("file-format", "文件格式", file_format),
    Field("asset-link", "资源链接", link),
    Field("asset-sha256", "资源SHA256校验码", sha256),
)
_ALIASES = {"assets": "asset", "licence": "license", "asset-sha-256": "asset-sha256"}


def normal(label: str) -> str:
    """A label as it is looked up: without case, with dashes for blanks and underscores, full-width forms narrowed."""
    return re.sub(r"[\s_-]+", "-", unicodedata.normalize("NFKC", clean(label)).casefold())


def _by_label() -> Mapping[str, Field]:
    every = (*FIELDS, ASSET, *ASSET_FIELDS)
    named = {normal(name): entry for entry in every for name in (entry.key, entry.label)}
    return named | {alias: named[key] for alias, key in _ALIASES.items()}


BY_LABEL = _by_label()
