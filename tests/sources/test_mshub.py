"""Cards of MindSpore Hub from address to converted file, over a web server on this machine."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.cards import addresses, index, locate
from mshub_convert.converters.codecs import open_checkpoint
from mshub_convert.converters.errors import EnvironmentError_, MalformedFileError, PlanError, UsageError
from mshub_convert.converters.sources import Request, calibrated, download, mshub, resolve
from mshub_convert.mappings.architectures.resnet import ResNet

NETWORK = ResNet((1, 1), cardinality=4, base_width=2, classes=1001)
UID = "mindspore/1.9/small_imagenet2012"


def plain_ckpt(arrays):
    """What MindSpore itself writes: protobuf, no record (Checkpoint.value = {tag, TensorProto})."""

    def varint(number):
        out = b""
        while number > 127:
            out, number = out + bytes([number & 127 | 128]), number >> 7
        return out + bytes([number])

    def field(number, data):
        return varint(number << 3 | 2) + varint(len(data)) + data

    out = b""
    for name, array in arrays.items():
        kinds = {"float32": b"Float32", "int32": b"Int32"}
        dims = b"".join(b"\x08" + varint(size) for size in array.shape)
        tensor = dims + field(2, kinds[str(array.dtype)]) + field(3, array.tobytes())
        out += field(1, field(1, name.encode()) + field(2, tensor))
    return out


def arrays_of(path):
    with open_checkpoint(path) as held:
        return {name: ref.read().copy() for name, ref in held.tensors.items()}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Drawn weights under model_zoo's split names, as a training run on Ascend leaves them."""
    path = tmp_path_factory.mktemp("drawn") / "drawn.safetensors"
    calibrated.write(NETWORK, "modelzoo", 0, path)
    held = arrays_of(path)
    assert "backbone.layer1.0.conv2.convs.3.weight" in held
    return held


@pytest.fixture(scope="module")
def asset(weights):
    moments = {f"moments.{name}": np.zeros_like(array) for name, array in weights.items() if name.endswith("weight")}
    strays = {"global_step": np.array([7], np.int32), "learning_rate": np.array(0.1, np.float32)}
    prefixed = {f"network.{name}": array for name, array in weights.items()}
    return plain_ckpt({**prefixed, **moments, **strays})


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(locate.VARIABLE, raising=False)


def card_text(link, sha256, *, name=NETWORK.name, dataset="imagenet2012", more=""):
    return f"""# {name}

---

model-name: {name}

train-dataset: {dataset}

evaluation: top1acc78.51 | top5acc94.18

author: MindSpore team

update-time: 2022-10-11

mindspore-version: 1.9

asset:

-
    file-format: ckpt
    asset-link: <{link}>
    asset-sha256: {sha256}
{more}
license: Apache2.0

---
"""


@pytest.fixture
def hub(web, asset, tmp_path, monkeypatch):
    """A folder laid out as the hub's, with one card whose file the web server has; returns the card's path."""
    monkeypatch.setenv(locate.VARIABLE, str(tmp_path / "assets"))
    web.files["/models/small.ckpt"], web.ranged = asset, True
    card = tmp_path / "assets" / f"{UID}.md"
    card.parent.mkdir(parents=True)
    card.write_text(card_text(f"{web.url}/models/small.ckpt", hashlib.sha256(asset).hexdigest()), encoding="utf-8")
    return card


def record_of(result):
    return json.loads(result.path.with_name(f"{result.path.name}.mshub.json").read_text(encoding="utf-8"))


def test_from_uid_to_timm_names(hub, web, weights, asset, tmp_path):
    steps = []
    result = mc.convert(f"mshub:{UID}", to="safetensors", out=tmp_path, progress=lambda *step: steps.append(step))
    assert result.path == tmp_path / "small_imagenet2012.safetensors"
    made = arrays_of(result.path)
    split = [weights[f"backbone.layer1.0.conv2.convs.{group}.weight"] for group in range(4)]
    assert np.array_equal(made["layer1.0.conv2.weight"], np.concatenate(split))
    assert made["fc.weight"].shape == (1001, 512)
    assert not any("moments" in name or "step" in name for name in made)
    assert ("small.ckpt", len(asset), len(asset)) in steps
    record = record_of(result)
    digest = hashlib.sha256(asset).hexdigest()
    assert record["address"] == f"mshub:{UID}"
    assert (record["origin"], record["pretrained"]) == ("pretrained", True)
    assert record["facts"] == {
        "hub": "MindSpore Hub", "card": UID, "model_name": NETWORK.name, "dataset": "imagenet2012",
        "author": "MindSpore team", "updated": "2022-10-11", "mindspore_version": "1.9", "license": "Apache2.0",
        "accuracy": {"dataset": "imagenet2012", "top1acc": 78.51, "top5acc": 94.18},
        "card_url": f"{addresses.HOME}/{UID}.md",
        "url": f"{web.url}/models/small.ckpt", "sha256": digest, "sha256_checked": "full",
    }  # fmt: skip
    assert (record["sources"][0]["name"], record["sources"][0]["sha256"]) == ("small.ckpt", digest)
    assert record["traits"]["stem_pool"] == "same"
    notices = " ".join(result.notices)
    for said in ("stripped the prefix network.", "left out", "of optimiser and training loop", "stem_pool=same"):
        assert said in notices
    assert "small.ckpt has 1001 classes for ImageNet's 1000" in notices
    assert "--classes 1000" in notices
    # The second time nothing is downloaded, and the file is checked all the same.
    count = len(web.seen)
    mc.convert(f"mshub:{UID}", to="ckpt", out=tmp_path)
    assert len(web.seen) == count
    download.cached_path(f"{web.url}/models/small.ckpt").write_bytes(asset[:-1] + b"x")
    with pytest.raises(EnvironmentError_, match="set aside as"):
        mc.convert(f"mshub:{UID}", to="pth", out=tmp_path)


def test_a_thousand_classes(hub, weights, tmp_path):
    result = mc.convert(f"mshub:{UID}", to="ckpt:modelzoo", out=tmp_path, classes=1000)
    made = arrays_of(result.path)
    for leaf in ("weight", "bias"):
        assert np.array_equal(made[f"head.fc.{leaf}"], weights[f"head.fc.{leaf}"][:1000])
    record = record_of(result)
    assert record["architecture"]["classes"] == 1000
    said = "the first 1000 of 1001 classes kept, row 1000 of the classifier left out"
    assert record["operations"] == [said]
    assert any(said in notice for notice in result.notices)
    assert not any("is unused" in notice for notice in result.notices)


@pytest.mark.parametrize("spelling", ["{uid}", "{uid}.md", "MindSpore/1.9/small_imagenet2012", "{url}", "{card}"])
def test_spellings_lead_to_the_same_weights(hub, tmp_path, spelling):
    url = f"https://gitee.com/mindspore/hub/blob/master/mshub_res/assets/{UID}.md"
    found = resolve(f"mshub:{spelling.format(uid=UID, url=url, card=hub)}", Request(tmp_path))
    assert found.facts["card"] in (UID, hub.name)
    assert found.promises == (NETWORK.name,)
    assert found.likely_classes == (1000, 1001)
    assert found.file.name.endswith("small.ckpt")


def test_card_file_and_address_without_the_scheme(hub, tmp_path, monkeypatch):
    found = resolve(str(hub), Request(tmp_path))
    assert found.address == f"mshub:{hub.name}"
    assert str(tmp_path) not in json.dumps([found.address, *found.notices, dict(found.facts)]), "records hold no paths"
    monkeypatch.chdir(hub.parent)
    assert resolve(f"mshub:./{hub.name}", Request(tmp_path)).file == found.file
    url = f"https://gitee.com/mindspore/hub/raw/master/mshub_res/assets/{UID}.md"
    assert resolve(url, Request(tmp_path)).address == f"mshub:{UID}"


def test_card_in_a_clone_of_the_hub_knows_its_uid(hub, tmp_path):
    clone = tmp_path / "clone" / "mshub_res" / "assets" / f"{UID}.md"
    clone.parent.mkdir(parents=True)
    clone.write_bytes(hub.read_bytes())
    assert resolve(str(clone), Request(tmp_path)).address == f"mshub:{UID}"


def test_chinese_card(hub, web, asset, tmp_path):
    digest = hashlib.sha256(asset).hexdigest()
    hub.with_name("small_imagenet2012_cn.md").write_text(
        f"# x\n---\n模型名称：{NETWORK.name}\n训练数据集：CIFAR-10\n资源：\n-\n    文件格式：.ckpt  \n"  # noqa: RUF001
        f"    资源链接：<{web.url}/models/small.ckpt>  \n    资源SHA256校验码： {digest}\n许可证：Apache 2.0\n---\n",  # noqa: RUF001
        encoding="utf-8",
    )
    result = mc.convert(f"mshub:{UID}_cn", to="ckpt", out=tmp_path)
    assert record_of(result)["facts"]["license"] == "Apache 2.0"
    assert any(f"mshub:{UID} promises 10 classes" in notice and "has 1001" in notice for notice in result.notices)


def test_card_from_the_web(hub, web, tmp_path, monkeypatch, nowhere):
    monkeypatch.setenv(locate.VARIABLE, f"{web.url}/assets")
    web.files[f"/assets/{UID}.md"] = hub.read_bytes()
    assert resolve(f"mshub:{UID}", Request(tmp_path)).facts["license"] == "Apache2.0"
    assert resolve(f"mshub:{UID}", Request(tmp_path)).facts["license"] == "Apache2.0"
    assert web.seen.count(f"GET /assets/{UID}.md") == 1
    web.files["/assets/mindspore/1.9/page.md"] = b"<html>log in</html>"
    with pytest.raises(MalformedFileError, match="is no card"):
        resolve("mshub:mindspore/1.9/page", Request(tmp_path))
    web.files["/assets/mindspore/1.9/page.md"] = hub.read_bytes()
    assert resolve("mshub:mindspore/1.9/page", Request(tmp_path))
    with pytest.raises(EnvironmentError_, match="cannot be had") as caught:
        resolve("mshub:mindspore/1.9/resnext50_imagenet2013", Request(tmp_path))
    assert "Did you mean" in caught.value.remedy
    assert "mindspore/1.9/resnext50_imagenet2012" in caught.value.remedy
    with pytest.raises(EnvironmentError_, match="HTTP 404") as caught:
        resolve("mshub:other/1.9/x", Request(tmp_path))
    assert locate.VARIABLE in caught.value.remedy


def test_indexed_card_needs_only_its_file(web, asset, tmp_path, monkeypatch):
    fetched = []

    def fetch(url, **options):
        fetched.append((url, options["sha256_prefix"]))
        path = tmp_path / "fetched.ckpt"
        path.write_bytes(asset)
        return path

    monkeypatch.setattr(download, "fetch", fetch)
    found = resolve("mshub:2.5/resnext50_32x4d_imagenet2012", Request(tmp_path))
    url = "https://download-mindspore.osinfra.cn/toolkits/mindcv/resnext/resnext50_32x4d-988f75bc-910v2.ckpt"
    assert fetched == [(url, "988f75bc")]
    assert found.facts["sha256_checked"] == "first 8 digits"
    assert found.facts["license"] == "see the card (not in the index)"
    assert any("only the first 8 digits of the sha256" in notice for notice in found.notices)
    assert any("card mindspore/ascend/1.2" in notice and "227" in notice
               for notice in resolve("mshub:resnext50_v1.2_imagenet2012", Request(tmp_path)).notices)  # fmt: skip
    assert mshub.RESOLVER.names() == index.uids()


def test_cut_download_is_resumed(hub, web, asset, tmp_path):
    web.cut_once.add("/models/small.ckpt")
    assert resolve(f"mshub:{UID}", Request(tmp_path)).file.read_bytes() == asset
    assert len(web.ranges) == 1


@pytest.mark.parametrize("digits", [64, 8])
def test_wrong_sha256_is_set_aside(hub, web, tmp_path, digits):
    hub.write_text(card_text(f"{web.url}/models/small.ckpt", ("0" * 64)[:digits]), encoding="utf-8")
    with pytest.raises(EnvironmentError_) as caught:
        mc.convert(f"mshub:{UID}", to="ckpt", out=tmp_path / "out")
    assert caught.value.exit_code == 5
    for fact in (UID, f"{web.url}/models/small.ckpt", "0" * digits, "set aside as", ".mismatch"):
        assert fact in caught.value.message
    assert [file.name for file in (tmp_path / "cache").rglob("*.*")] == ["small.ckpt.mismatch"]
    assert caught.value.remedy.startswith("Try again; if it stays so, something on the way changes files")
    assert not (tmp_path / "out").exists()


def test_redirect_to_a_local_file_is_refused(hub, web, tmp_path):
    web.redirects["/models/small.ckpt"] = "file:///etc/hostname"
    with pytest.raises(EnvironmentError_, match="file:///etc/hostname"):
        resolve(f"mshub:{UID}", Request(tmp_path))


def test_sha256_that_cannot_be_read_or_is_missing(hub, web, tmp_path):
    hub.write_text(card_text(f"{web.url}/models/small.ckpt", "see the page"), encoding="utf-8")
    found = resolve(f"mshub:{UID}", Request(tmp_path))
    notices = " ".join(found.notices)
    assert "gives no sha256 of small.ckpt: the download was not checked" in notices
    assert f"in the card {UID}, line 22: asset-sha256: 'see the page' is not a sha256" in notices
    assert found.facts["sha256_checked"] == "not given"


def test_weights_that_the_user_has(hub, web, asset, tmp_path):
    file = tmp_path / "mine.ckpt"
    file.write_bytes(asset)
    found = resolve(f"mshub:{UID}", Request(tmp_path, weights=file))
    assert (found.file, found.origin.kind, web.seen) == (file, "pretrained", [])
    file.write_bytes(asset + b"\n")
    with pytest.raises(
        EnvironmentError_, match=r"mine\.ckpt is not small\.ckpt .* its sha256 does not equal"
    ) as caught:
        resolve(f"mshub:{UID}", Request(tmp_path, weights=file))
    assert "by its path" in caught.value.remedy


def test_a_download_that_nothing_was_compared_with(hub, asset, tmp_path):
    digest = hashlib.sha256(asset).hexdigest()
    text = hub.read_text(encoding="utf-8")
    assert resolve(f"mshub:{UID}", Request(tmp_path)).origin.pretrained is True
    hub.write_text(text.replace(digest, digest[:8]), encoding="utf-8")
    assert resolve(f"mshub:{UID}", Request(tmp_path)).origin.pretrained is True
    hub.write_text("".join(line for line in text.splitlines(True) if digest not in line), encoding="utf-8")
    found = resolve(f"mshub:{UID}", Request(tmp_path))
    assert (found.origin.kind, found.origin.pretrained) == ("stated", None)
    assert "the card gives no sha256 of small.ckpt: the download was not checked" in found.notices
    assert found.facts["sha256_checked"] == "not given"


def test_card_without_a_file(hub, asset, tmp_path):
    text = hub.read_text(encoding="utf-8")
    hub.write_text(text[: text.index("asset:")] + "license: Apache2.0\n---\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"the card {UID} has no file") as caught:
        resolve(f"mshub:{UID}", Request(tmp_path))
    assert "--weights FILE" in caught.value.remedy
    file = tmp_path / "mine.ckpt"
    file.write_bytes(asset)
    found = resolve(f"mshub:{UID}", Request(tmp_path, weights=file))
    assert found.origin.kind == "stated"
    assert any("at your word" in notice for notice in found.notices)


def test_several_files(hub, web, asset, tmp_path):
    digest = hashlib.sha256(asset).hexdigest()
    web.files["/models/other.ckpt"] = asset
    more = "".join(
        f"-\n    file-format: {kind}\n    asset-link: {web.url}/models/{name}\n    asset-sha256: {digest}\n"
        for kind, name in (("air", "small.geir"), ("ckpt", "other.ckpt"))
    )
    hub.write_text(card_text(f"{web.url}/models/small.ckpt", digest, more=more), encoding="utf-8")
    found = resolve(f"mshub:{UID}", Request(tmp_path))
    assert found.file.name.endswith("small.ckpt")
    assert found.notices == ("of the card's 3 files small.ckpt is taken; other.ckpt and small.geir left aside",)
    picked = resolve(f"mshub:{UID}#other.ckpt", Request(tmp_path))
    assert picked.file.name.endswith("other.ckpt")
    assert (picked.address, picked.notices) == (f"mshub:{UID}#other.ckpt", ())
    with pytest.raises(UsageError, match=r"small\.geir of .* is no checkpoint but air"):
        resolve(f"mshub:{UID}#air", Request(tmp_path))
    for wrong in ("none.ckpt", "ckpt"):
        with pytest.raises(UsageError, match=f"called '{wrong}'") as caught:
            resolve(f"mshub:{UID}#{wrong}", Request(tmp_path))
        assert "small.ckpt (ckpt), small.geir (air) and other.ckpt (ckpt)" in caught.value.remedy
    mine = tmp_path / "other.ckpt"
    mine.write_bytes(asset)
    assert "other.ckpt is taken" in resolve(f"mshub:{UID}", Request(tmp_path, weights=mine)).notices[0]


def test_only_files_that_are_no_checkpoints(hub, web, tmp_path):
    text = card_text(f"{web.url}/models/small.mindir", "0" * 64).replace("file-format: ckpt", "file-format: .mindir")
    hub.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"offers only small\.mindir \(mindir\), and no checkpoint"):
        resolve(f"mshub:{UID}", Request(tmp_path))
    hub.write_text(card_text(f"{web.url}/models/small.tar.gz", "0" * 64), encoding="utf-8")
    with pytest.raises(UsageError, match=r"small\.tar\.gz is an archive"):
        resolve(f"mshub:{UID}", Request(tmp_path))
    assert web.seen == []


def test_card_of_another_family(hub, web, tmp_path):
    hub.write_text(card_text(f"{web.url}/models/small.ckpt", "0" * 64, name="STGAN"), encoding="utf-8")
    with pytest.raises(UsageError, match=f"{UID} is a card of STGAN .*, which cannot be converted: no ResNet"):
        resolve(f"mshub:{UID}", Request(tmp_path))
    assert web.seen == []


def test_card_that_is_contradicted_by_its_file(hub, web, tmp_path):
    other = replace(NETWORK, cardinality=8).name
    hub.write_text(hub.read_text(encoding="utf-8").replace(NETWORK.name, other), encoding="utf-8")
    with pytest.raises(PlanError) as caught:
        mc.convert(f"mshub:{UID}", to="ckpt", out=tmp_path / "out")
    assert f"mshub:{UID} is {other}, the file" in caught.value.message
    assert f"holds {NETWORK.name}" in caught.value.message


def test_what_means_no_card(hub, tmp_path):
    for text, remedy in (("resnext", "list mshub:"), ("https://example.org/x.md", "list mshub:")):
        with pytest.raises(UsageError, match="means no card") as caught:
            resolve(f"mshub:{text}", Request(tmp_path))
        assert remedy in caught.value.remedy
    with pytest.raises(UsageError, match="means no card"):
        resolve("https://example.org/net.pth", Request(tmp_path))
    for text, card in (
        ("resnext50", "mindspore/1.10/resnext50_imagenet2012"),
        ("resnet50_imagenet", "mindspore/2.5/resnet50_imagenet2012"),
    ):
        with pytest.raises(UsageError, match="means no card") as caught:
            resolve(f"mshub:{text}", Request(tmp_path))
        assert caught.value.remedy.startswith("Did you mean ")
        assert card in caught.value.remedy
    with pytest.raises(UsageError, match=r"is the name of 7 cards: .* and mindspore/1\.10/resnext50_imagenet2012"):
        resolve("mshub:resnext50_imagenet2012", Request(tmp_path))
    with pytest.raises(EnvironmentError_, match=r"no card \./none\.md"):
        resolve("mshub:./none.md", Request(tmp_path))
    with pytest.raises(UsageError, match="--init draws the weights of one network"):
        resolve("mshub:mindspore/ascend/1.2/resnext50_v1.2_imagenet2012", Request(tmp_path, init="calibrated:0"))
    drawn = resolve(f"mshub:{UID}", Request(tmp_path, init="calibrated:0"))
    assert (drawn.origin.kind, drawn.architecture, drawn.dialect) == ("calibrated:0", NETWORK.name, "mindcv")


def test_inspection(hub, tmp_path):
    hub.write_text(hub.read_text(encoding="utf-8").replace("author:", "evaluation: -\nauthor:"), encoding="utf-8")
    found = mc.inspect_card(f"mshub:{UID}")
    assert found.problems == ("line 11: evaluation is given again (first in line 9): ignored",)
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["fields"]["evaluation"] == {"top1acc": 78.51, "top5acc": 94.18}
    assert plain["problems"] == [{"line": 11, "message": "evaluation is given again (first in line 9): ignored"}]
    assert (plain["uid"], plain["architectures"], plain["classes"]) == (UID, [NETWORK.name], [1000, 1001])
    assert mc.inspect_card(hub).card.fields == found.card.fields
    ssd = mc.inspect_card("mindspore/ascend/1.3/ssdresnet50_v1.3_coco2017")
    assert "640x640" in ssd.notices[0]
