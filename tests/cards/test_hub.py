"""How cards are pointed at, which ones ship with the package, and what they claim."""

import re
from collections import Counter

import pytest

from mshub_convert.converters.cards import addresses, index
from mshub_convert.converters.cards.card import Card
from mshub_convert.converters.cards.claims import Claims, claims
from mshub_convert.mappings.architectures import architecture

UID = "mindspore/1.9/resnext50_imagenet2012"
SSD = "mindspore/ascend/1.3/ssdresnet50_v1.3_coco2017"


@pytest.mark.parametrize(
    "text",
    [
        "{}", "{}.md", "MindSpore/{rest}", "mshub_res/assets/{}.md", "hub/mshub_res/assets/{}.md",
        "https://gitee.com/mindspore/hub/raw/master/mshub_res/assets/{}.md",
        "https://gitee.com/mindspore/hub/blob/master/mshub_res/assets/{}.md",
        "https://gitcode.com/mindspore/hub/blob/master/mshub_res/assets/{}.md",
        "https://raw.gitcode.com/mindspore/hub/raw/master/mshub_res/assets/{}.md",
        "https://github.com/mindspore-ai/hub/blob/master/mshub_res/assets/{}.md#usage",
        "https://raw.githubusercontent.com/mindspore-ai/hub/master/mshub_res/assets/{}.md",
        "https://www.mindspore.cn/resources/hub/details?{}",
        "https://www.mindspore.cn/resources/hub/details/en?MindSpore%2F{quoted}",
        "https://hub.mindspore.com/{}/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("uid", [UID, SSD])
def test_spellings_of_a_card(text: str, uid: str) -> None:
    rest = uid.partition("/")[2]
    spelt = text.format(uid, rest=rest, quoted=rest.replace("/", "%2F"))
    assert addresses.read(spelt) == addresses.CardAddress(uid)


def test_chinese_card_and_its_places() -> None:
    found = addresses.read(f"{UID}_cn.md")
    assert found == addresses.CardAddress(UID, chinese=True)
    assert found.file == f"{UID}_cn.md"
    assert addresses.CardAddress(UID).url == f"https://gitee.com/mindspore/hub/raw/master/mshub_res/assets/{UID}.md"


@pytest.mark.parametrize(
    "text",
    [
        "resnext50", "mindspore/resnext50", "a/b/c/d/e", "mindspore/../../etc/passwd", "mindspore/1.9/with blank", "",
        "https://example.org/mindspore/hub/raw/master/mshub_res/assets/mindspore/1.9/x.md",
        "https://notgitee.com/mshub_res/assets/mindspore/1.9/x.md", "https://gitee.com/mindspore/hub", "https://",
        "https://gitee.com/mindspore/hub/raw/master/mshub_res/assets/../../secret/1/x.md",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_card(text: str) -> None:
    assert addresses.read(text) is None


def card_of(uid: str) -> Card:
    address = addresses.read(uid)
    assert address is not None
    found = index.find(address)
    assert found is not None
    return found


def test_index_is_whole_and_typed() -> None:
    uids = index.uids()
    assert len(uids) == len(set(uids)) == 169
    cards = [card_of(uid) for uid in uids]
    assert all(card.uid == uid and not card.problems for card, uid in zip(cards, uids, strict=True))
    lengths = Counter(len(asset.sha256) for card in cards for asset in card.assets)
    assert lengths == {64: 160, 8: 6}
    assert [card.uid for card in cards if not card.assets] == [
        "mindspore/ascend/1.0/resnet101_v1.0",
        "mindspore/ascend/1.0/resnet50_thor_v1.5",
        "mindspore/ascend/1.0/resnext50_v1.0",
    ]
    for asset in (asset for card in cards for asset in card.assets):
        assert asset.file_format == "ckpt"
        assert re.fullmatch(r"https://download(-mindspore)?\.(mindspore\.cn|osinfra\.cn)/\S+\.ckpt", asset.link)
        assert re.fullmatch("[0-9a-f]{8}|[0-9a-f]{64}", asset.sha256)


def test_card_of_the_index() -> None:
    """As the card itself says, read on gitee."""
    found = card_of("MINDSPORE/1.9/ResNext50_imagenet2012")
    assert dict(found.fields) == {
        "model-name": "resnext50", "model-version": "1.9", "train-dataset": "imagenet2012",
        "evaluation": {"top1acc": 78.51, "top5acc": 94.18}, "mindspore-version": "1.9",
        "repo-link": "https://gitee.com/mindspore/models/tree/r1.9/official/cv/resnext",
    }  # fmt: skip
    (asset,) = found.assets
    assert asset.name == "resnext50_ascend_v190_imagenet2012_official_cv_top1acc78.51_top5acc94.18.ckpt"
    assert asset.sha256 == "22857131a4cc5186af07582907888c7cf0d8361aeb78545ca20bace4e8f3961e"
    assert card_of(SSD).fields["accuracy"] == 32.2
    assert card_of(SSD).fields["input-shape"] == [227, 227, 3]


def test_cards_by_their_last_name() -> None:
    assert index.called("resnext50_v1.0") == ("mindspore/ascend/1.0/resnext50_v1.0",)
    assert index.called("1.9/resnext50_imagenet2012") == (UID,)
    assert len(index.called("resnext50_imagenet2012")) == 7
    assert index.called("50_imagenet2012") == ()


def claimed(uid: str = "", **fields: object) -> Claims:
    return claims(Card("card.md", fields={key.replace("_", "-"): value for key, value in fields.items()}, uid=uid))


@pytest.mark.parametrize(
    ("uid", "names", "classes"),
    [
        (UID, ("resnext50_32x4d", "resnext50_64x4d"), (1000, 1001)),
        ("mindspore/1.10/resnext15264x4d_imagenet2012", ("resnext152_64x4d",), (1000, 1001)),
        ("mindspore/2.5/resnext50_32x4d_imagenet2012", ("resnext50_32x4d",), (1000, 1001)),
        ("mindspore/ascend/1.2/resnet101_v1.2_imagenet2012", ("resnet101",), (1000, 1001)),
        ("mindspore/ascend/1.3/resnet50_v1.3_cifar10", ("resnet50",), (10,)),
        ("mindspore/ascend/1.2/resnet50thorcp_v1.2_imagenet2012", ("resnet50",), (1000, 1001)),
        ("mindspore/1.7/resnet50_triplet_sop", ("resnet50",), ()),
    ],
)
def test_claims_of_cards(uid: str, names: tuple[str, ...], classes: tuple[int, ...]) -> None:
    found = claims(card_of(uid))
    assert (found.architectures, found.classes, found.reason) == (names, classes, "")


def test_every_card_of_the_index_claims_a_network_or_says_why_not() -> None:
    for uid in index.uids():
        found = claims(card_of(uid))
        assert bool(found.architectures) != bool(found.reason)
        assert all(architecture(name).name == name for name in found.architectures)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"model_name": "STGAN", "backbone_name": "STGAN"}, "no ResNet or ResNeXt"),
        ({"model_name": "DeepLab_v3_s16", "backbone_name": "ResNet-101"}, "no ResNet or ResNeXt"),
        ({"model_name": "faster_rcnn_resnet50"}, "no ResNet or ResNeXt"),
        ({"model_name": "wideresnet", "train_dataset": "cifar10"}, "another network"),
        ({"model_name": "ssd_resnet50_fpn"}, "ssd_resnet50_fpn is not supported: its feature pyramid"),
    ],
)
def test_cards_of_other_networks(fields: dict[str, object], reason: str) -> None:
    found = claimed(**fields)
    assert found.architectures == ()
    assert reason in found.reason
    assert found.network == fields["model_name"]


def test_names_of_a_card_that_contradict_each_other() -> None:
    for name in ("resnet50", "ResNet-50"):
        found = claimed(uid="mindspore/1.9/resnet101_x", model_name=name)
        assert found.architectures == ("resnet50",)
        assert found.doubts == (
            f"the card contradicts itself: its model-name says {name} and its UID says resnet101_x",
        )
    assert claimed(model_name="resnet", backbone_name="resnet101").architectures == ("resnet101",)


@pytest.mark.parametrize("dataset", ["imagenet2012", "ImageNet-1K", "imagenet"])
def test_data_sets_tell_the_classes(dataset: str) -> None:
    assert claimed(model_name="resnet50", train_dataset=dataset).classes == (1000, 1001)
    assert claimed(model_name="resnet50", train_dataset="CIFAR-100").classes == (100,)
    assert claimed(model_name="resnet50", train_dataset=f"{dataset}-22k").classes == ()
    assert claimed(model_name="ssd_resnet50", train_dataset=dataset).classes == ()


def test_wrong_input_shapes() -> None:
    (doubt,) = claims(card_of(SSD)).doubts
    assert doubt.startswith(
        "its input-shape [227, 227, 3] is wrong: model_zoo's ssd_resnet50 takes pictures of 640x640"
    )
    (doubt,) = claims(card_of("mindspore/ascend/1.2/resnext50_v1.2_imagenet2012")).doubts
    assert "contradicts the cards of MindSpore 0.7 to 1.1, which say 224x224 for resnext50" in doubt
    assert claimed(model_name="ssd_resnet50", input_shape=[640, 640, 3]).doubts == ()
    assert claimed(model_name="resnet50", input_shape=[224, 224, 3]).doubts == ()
    assert claimed(model_name="resnet50", input_shape="[224, x]").doubts == ()


@pytest.mark.parametrize(
    "uid", ["mindspore/1.9/resnet18_imagenet2012", "mindspore/ascend/1.3/resnet34_v1.3_imagenet2012"]
)
def test_cards_whose_file_may_be_another_network(uid: str) -> None:
    doubt = claims(card_of(uid)).doubts[0]
    assert "may be refused: model_zoo's own network calls the BatchNorms in its blocks bn1d and bn2d" in doubt
    assert ("resnet18" in uid) == ("a file of resnet18 may" in doubt)
    for other in ("mindspore/1.9/resnet50_imagenet2012", "mindspore/2.5/seresnet18_imagenet2012"):
        assert not any("refused" in doubt for doubt in claims(card_of(other)).doubts)


def test_what_the_doubt_rests_on() -> None:
    """Cards up to 1.1 say 224 for these networks."""
    early = [card_of(uid) for uid in index.uids() if re.search(r"/(0\.7|1\.[01])/", uid)]
    shapes = {(c.text("model-name"), tuple(c.fields["input-shape"])) for c in early if "input-shape" in c.fields}
    for name in ("resnet50", "resnet101", "resnext50"):
        assert {shape for named, shape in shapes if named == name} == {(224, 224, 3)}
