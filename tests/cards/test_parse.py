"""Cards in both languages, valid YAML or not: typed fields, nothing lost, and problems with their lines."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mshub_convert.converters.cards.card import Asset, Card
from mshub_convert.converters.cards.fields import ASSET, ASSET_FIELDS, BY_LABEL, FIELDS, normal
from mshub_convert.converters.cards.parse import SIZE_LIMIT, parse
from mshub_convert.converters.errors import MalformedFileError

SHA256 = "22857131a4cc5186af07582907888c7cf0d8361aeb78545ca20bace4e8f3961e"

# The forms are those of cards in https://gitee.com/mindspore/hub; the second asset is of the 0.7 card of resnet50.
ENGLISH = f"""# resnext50

---

model-name: resnext50

backbone-name: resnext

module-type: cv

fine-tunable: True

input-shape: [224, 224, 3]

model-version: 1.9

train-dataset: imagenet2012

evaluation: top1acc78.51 | top5acc94.18

author: MindSpore team

update-time: 2022-10-11

repo-link: <https://gitee.com/mindspore/models/tree/r1.9/official/cv/resnext>

user-id: MindSpore

used-for: inference

train-backend: Ascend

mindspore-version: 1.9

allow-cache-ckpt: False

MindSpore Lite: True

asset:

-
    file-format: ckpt
    asset-link: <https://download.mindspore.cn/models/r1.9/resnext50.ckpt>
    asset-sha256: {SHA256}
  -
    file-format: air
    asset-link: https://download.mindspore.cn/models/r1.9/resnext50.geir
    asset-sha256: B06031E2
    opset: 11

license: Apache2.0
summary: resnext is used for cv
---

## Introduction

model-name: prose that looks like a field
"""

CHINESE = f"""# ResNeXt-50

---

模型名称：resnext50

骨干网络： resnext

可微调：是

输入形状： [224, 224, 3]

训练数据集：ImageNet2012

准确率：0.785\x20\x20

作者：MindSpore团队

更新时间：2022-9-3

代码仓链接：<https://gitee.com/mindspore/models/tree/master/official/cv/resnext>。

用户ID：MindSpore

用途：推理/迁移学习

训练后端：Ascend

MindSpore版本：1.9

MindSpore Lite：True

资源：

-
    文件格式：.ckpt\u3000
    资源链接：<https://download.mindspore.cn/models/r1.9/resnext50.ckpt>\x20\x20
    资源SHA256校验码： {SHA256}
    资源链接：<https://download.mindspore.cn/models/r1.9/finetuned.ckpt>
    资源SHA256校验码: 28659633

许可证：Apache 2.0

摘要：使用resnext50进行图片分类。

---

## 简介
"""  # noqa: RUF001 - the full-width colons are the point


def card(text: str) -> Card:
    return parse(text.encode(), where="card.md")


def problems(text: str) -> dict[int, str]:
    return {problem.line: problem.message for problem in card(text).problems}


def header(*lines: str) -> str:
    return "\n".join(("# net", "---", "model-name: net", *lines, "---", ""))


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def test_english_card() -> None:
    found = card(ENGLISH)
    assert (found.title, found.language, found.problems) == ("resnext50", "en", ())
    assert dict(found.fields) == {
        "model-name": "resnext50", "backbone-name": "resnext", "module-type": "cv", "fine-tunable": True,
        "input-shape": [224, 224, 3], "model-version": "1.9", "train-dataset": "imagenet2012",
        "evaluation": {"top1acc": 78.51, "top5acc": 94.18}, "author": "MindSpore team", "update-time": "2022-10-11",
        "repo-link": "https://gitee.com/mindspore/models/tree/r1.9/official/cv/resnext", "user-id": "MindSpore",
        "used-for": "inference", "train-backend": "ascend", "mindspore-version": "1.9", "allow-cache-ckpt": False,
        "license": "Apache2.0", "summary": "resnext is used for cv",
    }  # fmt: skip
    assert dict(found.unknown) == {"MindSpore Lite": "True", "asset 2: opset": "11"}
    first, second = found.assets
    link = "https://download.mindspore.cn/models/r1.9/resnext50.ckpt"
    assert first == Asset("ckpt", link, SHA256, line_of(ENGLISH, "file-format: ckpt"))
    assert (first.name, first.fully_checked) == ("resnext50.ckpt", True)
    assert (second.file_format, second.name, second.sha256) == ("air", "resnext50.geir", "b06031e2")
    assert not second.fully_checked


def test_chinese_card() -> None:
    found = card(CHINESE)
    assert (found.title, found.language, found.problems) == ("ResNeXt-50", "zh", ())
    assert dict(found.fields) == {
        "model-name": "resnext50", "backbone-name": "resnext", "fine-tunable": True, "input-shape": [224, 224, 3],
        "train-dataset": "ImageNet2012", "accuracy": 0.785, "author": "MindSpore团队", "update-time": "2022-09-03",
        "repo-link": "https://gitee.com/mindspore/models/tree/master/official/cv/resnext", "user-id": "MindSpore",
        "used-for": "inference/transfer-learning", "train-backend": "ascend", "mindspore-version": "1.9",
        "license": "Apache 2.0", "summary": "使用resnext50进行图片分类。",
    }  # fmt: skip
    assert dict(found.unknown) == {"MindSpore Lite": "True"}
    # Two links in one entry are two files of its format.
    assert [(asset.file_format, asset.name, asset.sha256) for asset in found.assets] == [
        ("ckpt", "resnext50.ckpt", SHA256),
        ("ckpt", "finetuned.ckpt", "28659633"),
    ]


@pytest.mark.parametrize("ending", ["\r\n", "\r", "\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_line_endings_and_byte_order_mark(start: str, ending: str) -> None:
    assert card(start + ENGLISH.replace("\n", ending)) == card(ENGLISH)


def test_every_label_means_its_field() -> None:
    for entry in (*FIELDS, ASSET, *ASSET_FIELDS):
        assert BY_LABEL[normal(entry.key)] is BY_LABEL[normal(entry.label)] is entry
        assert BY_LABEL[normal(entry.key.upper().replace("-", "_"))] is entry


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("evaluation: -", "evaluation has no value: '-', which is not valid YAML"),
        ("repo-link:", "repo-link has no value"),
        ("fine-tunable: maybe", "fine-tunable: 'maybe' is not True or False: kept as text"),
        ("input-shape: [224, x]", "input-shape: '[224, x]' is not a list of sizes such as [224, 224, 3]: kept as text"),
        ("update-time: 2022-13-40", "update-time: '2022-13-40' is not a date such as 2022-10-11: kept as text"),
        ("repo-link: gitee.com/x", "repo-link: 'gitee.com/x' is not an http or https address: kept as text"),
        ("model-name: other", "model-name is given again (first in line 3): ignored"),
        ("a line of prose", "this is no field (KEY: VALUE), so it is ignored: 'a line of prose'"),
        ("asset: nothing", "asset is a list of files, not 'nothing': ignored"),
        ("asset-link: file:///etc/passwd", "asset-link: 'file:///etc/passwd' is not an http or https address: ignored"),
        ("evaluation: [top1acc70.47", "evaluation: [ without its partner in '[top1acc70.47': left out"),
        ('license: "Apache2.0', "license: \" without its partner in '\"Apache2.0': left out"),
        ("special: kept]", "special: ] without its partner in 'kept]': left out"),
        ("-", "a '-' with nothing after it, outside of the list of files: ignored"),
        ("asset-sha256: 1234567",
         "asset-sha256: '1234567' is not a sha256: 64 hex digits, or at least the first 8: ignored"),
    ],
)  # fmt: skip
def test_problems_tell_their_line(line: str, message: str) -> None:
    assert f"line 5: {message}" in [problem.told for problem in card(header("", line)).problems]


def test_stray_marks_and_dashes_are_not_in_the_values() -> None:
    found = card(header(
        "evaluation: [top1acc70.47", 'license: "Apache2.0', "author: us", "-", "special: kept]",
        f'asset-sha256: {SHA256}"',
    ))  # fmt: skip
    assert dict(found.fields) == {
        "model-name": "net", "evaluation": {"top1acc": 70.47}, "license": "Apache2.0", "author": "us",
    }  # fmt: skip
    assert dict(found.unknown) == {"special": "kept"}
    assert found.assets[0].sha256 == SHA256


@pytest.mark.parametrize("value", ["[a]", "(a) b", "'tis it's", "a (b)", '"a" or "b"', "the authors'", "{a}"])
def test_marks_with_their_partners_stay(value: str) -> None:
    found = card(header(f"special: {value}"))
    assert (dict(found.unknown), found.problems) == ({"special": value}, ())


def test_what_is_wrong_does_not_take_the_rest_with_it() -> None:
    found = card(header("evaluation: -", "fine-tunable: maybe", "license: Apache2.0"))
    assert dict(found.fields) == {
        "model-name": "net", "fine-tunable": "maybe", "evaluation": None, "license": "Apache2.0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("top1acc78.51 | top5acc94.18", {"top1acc": 78.51, "top5acc": 94.18}),
        ("top1caa79.38 | top5acc94.71", {"top1caa": 79.38, "top5acc": 94.71}),
        ("mAP32.2", {"mAP": 32.2}),
        ("acc: 94%, f1=0.5", {"acc": 94.0, "f1": 0.5}),
        ("93.5%", 93.5),
        ("0.91", 0.91),
        ("acc1 | acc2", {"acc": 1.0}),
        ("state of the art", "state of the art"),
    ],
)
def test_measures(text: str, value: object) -> None:
    expected = "acc1 | acc2" if text == "acc1 | acc2" else value  # one name twice: left as it is
    assert card(header(f"evaluation: {text}")).fields["evaluation"] == expected


def test_values_over_several_lines() -> None:
    found = card(header("summary: one", "two", "train-dataset:", "  - imagenet", "  - coco", "author:", "  us"))
    assert found.fields["summary"] == "one two"
    assert found.fields["train-dataset"] == "imagenet, coco"
    assert found.fields["author"] == "us"
    assert found.problems == ()


def test_assets_without_the_word_asset() -> None:
    link = "https://x.org/a.ckpt"
    for lines in (("- file-format: ckpt", f"  asset-link: {link}"), ("file-format: ckpt", f"asset-link: {link}"),
                  ("assets", "  - file-format: ckpt", f"    asset-link: <{link}>")):  # fmt: skip
        found = card(header(*lines, "license: MIT"))
        assert [(asset.file_format, asset.link) for asset in found.assets] == [("ckpt", link)]
        assert found.fields["license"] == "MIT"
        assert [problem.message for problem in found.problems] == [
            "this asset has no asset-sha256: its file cannot be checked"
        ]


def test_asset_without_a_link() -> None:
    assert problems(header("asset:", "-", "  file-format: ckpt", "-")) == {6: "this asset has no asset-link"}


def test_headers_without_their_rules() -> None:
    whole = header("license: MIT")
    assert problems(whole) == {}
    no_start = whole.replace("---\n", "", 1).replace("---", "## Introduction\na: b")
    assert problems(no_start) == {2: "the header has no --- at its beginning", 4: "the header has no --- at its end"}
    assert card(no_start).fields == card(whole).fields
    assert problems(whole.removesuffix("---\n")) == {5: "the header has no --- at its end"}


def test_missing_name_and_damaged_text() -> None:
    found = parse("# net\n---\nlicense: MIT\nauthor: caf\xe9\n---\n".encode("latin-1"), where="card.md")
    assert [problem.told for problem in found.problems] == [
        "model-name is missing",
        "line 4: not UTF-8 text: characters that cannot be read are replaced",
    ]
    assert found.fields["author"] == "caf\ufffd"


def test_many_problems_are_not_all_told() -> None:
    found = card(header(*["prose"] * 1000))
    assert len(found.problems) == 51
    assert found.problems[-1].message == "more than 50 problems: no further ones are told"


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"# Only a title", b"\x00\xff\xfe", b"<html><body>login: no</body></html>"]
)
def test_what_is_no_card(data: bytes) -> None:
    with pytest.raises(MalformedFileError, match=r"card\.md is no card: no line of it is a field") as caught:
        parse(data, where="card.md")
    assert caught.value.exit_code == 3
    assert "mshub_res/assets" in caught.value.remedy


def test_too_long_for_a_card() -> None:
    with pytest.raises(MalformedFileError, match=f"more than {SIZE_LIMIT}"):
        parse(b"model-name: x\n" + b"#" * SIZE_LIMIT, where="card.md")


_LINES = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(["---", "-", "资源：", "asset:", "  -", "## x", "# t", "evaluation: -"]),  # noqa: RUF001
        st.builds(
            lambda indent, entry, colon, value: f"{indent}{entry}{colon}{value}",
            st.sampled_from(["", "  ", "- ", "\u3000"]),
            st.sampled_from([name for entry in (*FIELDS, ASSET, *ASSET_FIELDS) for name in (entry.key, entry.label)]),
            st.sampled_from([":", "\uff1a ", ": "]),
            st.one_of(
                st.text(max_size=40), st.sampled_from(["[[1]", "[1,[2]]", "9" * 5000, "2020-02-31", "<http://>"])
            ),
        ),
    ),
    max_size=30,
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(_LINES)
@example(["---", "input-shape: " + "[" * 190])
@example(["---", "update-time: \u0662\u0660\u0662\u0662-1-1"])
@example(["---", "evaluation: " + "a" * 100_000])
@example(["---", "repo-link: https://" + "a" * 100_000 + " "])
def test_any_text_is_a_card_or_said_to_be_none(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        found = parse(text.encode("utf-8", errors="surrogatepass"), where="card.md")
    except MalformedFileError:
        return
    count = len(re.split(r"\r\n|\r|\n", text))
    assert all(0 <= problem.line <= count for problem in found.problems)
    for key, value in found.fields.items():
        assert key in {entry.key for entry in FIELDS}
        assert value is None or isinstance(value, (str, bool, float, list, dict))
    for asset in found.assets:
        assert not asset.link or asset.link.startswith(("http://", "https://"))
        assert asset.sha256 == "" or re.fullmatch("[0-9a-f]{8,64}", asset.sha256)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    assert parse(b"---\nmodel-name: net\n" + data, where="card.md").text("model-name").startswith("net")
