"""Cards on the command line: what is printed, and the exit codes."""

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mshub_convert.cli import main
from mshub_convert.converters.cards import index
from mshub_convert.converters.cards.locate import VARIABLE

pytestmark = pytest.mark.slow

CARD = """# net

---

model-name: resnext50
evaluation: -
train-dataset: imagenet2012
special: [kept]
asset:
- file-format: ckpt
  asset-link: <https://download.mindspore.cn/net-22857131.ckpt>
  asset-sha256: 22857131

---
"""

Run = Callable[..., "Result"]


@dataclass(frozen=True)
class Result:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process, in a folder of its own."""

    def command(*arguments: str) -> Result:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["mshub-convert", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    # Cards that are nowhere here are asked of a port where nobody listens.
    monkeypatch.setenv(VARIABLE, "http://127.0.0.1:9/assets")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(signal, "signal", lambda *_: handler)
    return command


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "card.md"
    path.write_text(CARD, encoding="utf-8")
    return path


def test_inspect_tells_fields_files_and_problems(run: Run, card: Path) -> None:
    result = run("inspect", card.name)
    assert result.returncode == 3, result.stderr
    for said in (
        "model-name", "resnext50", "special", "[kept]", "net-22857131.ckpt (ckpt)", "22857131… (only its start)",
        "resnext50_32x4d or resnext50_64x4d, 1000 or 1001 classes",
        "problem  line 6: evaluation has no value: '-', which is not valid YAML",
    ):  # fmt: skip
        assert said in result.stdout


def test_inspect_in_json(run: Run, card: Path) -> None:
    found = json.loads(run("inspect", card.name, "--json").stdout)
    assert found["fields"] == {"model-name": "resnext50", "train-dataset": "imagenet2012", "evaluation": None}
    assert found["unknown"] == {"special": "[kept]"}
    assert found["assets"][0]["asset-sha256"] == "22857131"
    assert [problem["line"] for problem in found["problems"]] == [6]
    assert found["architectures"] == ["resnext50_32x4d", "resnext50_64x4d"]


def test_inspect_a_card_of_the_index(run: Run) -> None:
    uid = "mindspore/1.9/resnext50_imagenet2012"
    for spelling in (f"mshub:{uid}", f"https://gitee.com/mindspore/hub/blob/master/mshub_res/assets/{uid}.md"):
        result = run("inspect", spelling)
        assert result.returncode == 0, result.stderr
        assert "22857131a4cc5186af07582907888c7cf0d8361aeb78545ca20bace4e8f3961e" in result.stdout
        assert (
            f"the card itself is https://gitee.com/mindspore/hub/raw/master/mshub_res/assets/{uid}.md" in result.stdout
        )
    assert run("inspect", f"mshub:{uid}", "--select", "ema").returncode == 2


def test_list_works_offline(run: Run) -> None:
    everything = run("list", "mshub:")
    assert everything.stdout.split() == [f"mshub:{uid}" for uid in index.uids()]
    some = json.loads(run("list", "mshub:mindspore/2.5/resn", "--json").stdout)
    assert some["models"] == [
        "mshub:mindspore/2.5/resnet50_imagenet2012", "mshub:mindspore/2.5/resnext50_32x4d_imagenet2012",
    ]  # fmt: skip
    assert "mshub:NAME" in run("list").stdout


def test_list_finds_any_part_of_a_name(run: Run) -> None:
    found = run("list", "mshub:1.9/RESNEXT").stdout.split()
    assert found == [f"mshub:{uid}" for uid in index.uids() if "1.9/resnext" in uid]
    assert len(found) > 1
    # What begins so goes first.
    assert run("list", "mshub:mindspore/1.9").stdout.split()[0].startswith("mshub:mindspore/1.9")


def test_a_list_of_nothing_says_so(run: Run) -> None:
    result = run("list", "mshub:vgg")
    assert (result.returncode, result.stdout) == (2, "")
    assert "no model of mshub: has 'vgg' in its name" in result.stderr
    assert "mshub-convert list mshub:" in result.stderr


def test_list_has_the_cards_of_ones_own_folder(run: Run, card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = card.parent / "assets"
    (home / "me" / "1.0").mkdir(parents=True)
    for name in ("net.md", "net_cn.md"):
        (home / "me" / "1.0" / name).write_text(CARD, encoding="utf-8")
    (home / "README.md").write_text("no card", encoding="utf-8")
    monkeypatch.setenv(VARIABLE, str(home))
    assert run("list", "mshub:").stdout.split()[-1] == "mshub:me/1.0/net"
    assert run("list", "mshub:me/").stdout.split() == ["mshub:me/1.0/net"]


def test_addresses_stay_whole_in_a_pipe(run: Run, card: Path) -> None:
    long = f"https://download.mindspore.cn/{'a' * 300}/net-22857131.ckpt"
    card.write_text(CARD.replace("https://download.mindspore.cn/net-22857131.ckpt", long), encoding="utf-8")
    assert long in run("inspect", card.name).stdout


def test_the_folder_of_an_entry_is_its_card(run: Run, card: Path) -> None:
    folder = card.parent / "entry"
    folder.mkdir()
    (folder / "net.md").write_text(CARD, encoding="utf-8")
    (folder / "README.md").write_text("# Not it", encoding="utf-8")
    assert "is no repository of modelhub.ai" in run("inspect", "entry").stderr
    (folder / "mindspore_hub_conf.py").write_text("", encoding="utf-8")
    result = run("inspect", "entry")
    assert result.returncode == 3, result.stderr
    assert "net-22857131.ckpt (ckpt)" in result.stdout


def test_errors_and_exit_codes(run: Run, card: Path) -> None:
    for arguments, code, said in (
        (["mshub:resnext50_imagenet2012", "--to", "ckpt"], 2, "is the name of 7 cards"),
        (
            ["mshub:mindspore/1.9/wideresnet", "--to", "ckpt", "--init", "calibrated:0"],
            5,
            "127.0.0.1:9/assets/mindspore/1.9/wideresnet.md",
        ),
        (["mshub:resnext50_v1.0", "--to", "ckpt"], 2, "has no file"),
        ([card.name, "--to", "ckpt", "--weights", card.name], 5, "its sha256 does not begin with 22857131"),
        (["mshub:resnext50", "--to", "ckpt"], 2, "or mindspore/ascend/1.2/resnext50_v1.2_imagenet2012?"),
        (["timm:resnetblur50", "--to", "ckpt"], 2, "See `mshub-convert list` for the networks"),
        (["inspect", "none.md"], 5, "no card none.md"),
        ([card.name, "--to", "ckpt", "--classes", "0"], 2, "--classes"),
    ):
        result = run(*arguments)
        assert (result.returncode, said in result.stderr) == (code, True), result.stderr
