"""The command line as a user meets it: exit codes, stdout and stderr, messages with a remedy."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mshub_convert.converters.codecs import open_checkpoint

pytestmark = pytest.mark.slow


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mshub_convert", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_converts_and_prints_only_the_path(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    result = run(str(weights_file()), "--to", "ckpt", "-o", "made/here", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "made/here/small.ckpt\n"
    assert "bit for bit" in result.stderr
    assert "not run; add --verify" in result.stderr
    assert (tmp_path / "made/here/small.ckpt.mshub.json").is_file()


def test_the_word_convert_may_be_said(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    assert run("convert", str(weights_file()), "--to", "ckpt", "-q", cwd=tmp_path).returncode == 0


def test_options_may_come_first(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    result = run("--to", "pth", str(weights_file()), "-q", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


def test_json_goes_to_stdout(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    result = run(str(weights_file()), "--to", "ckpt", "--json", "-q", cwd=tmp_path)
    data = json.loads(result.stdout)
    assert data["output"] == "small.ckpt"
    assert data["record"]["traits"]["stem_pool"] == "symmetric"
    assert data["proof"] is None


def test_errors_are_json_too(tmp_path: Path) -> None:
    result = run("missing.pth", "--to", "ckpt", "--json", cwd=tmp_path)
    assert result.returncode == 5
    data = json.loads(result.stdout)
    assert data["exit_code"] == 5
    assert "missing.pth" in data["error"]
    assert data["remedy"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("weights.safetensors", "--to", "ckp"), 2, "Did you mean ckpt"),
        (("weights.safetensors", "--to", "ckpt:mindvc"), 2, "Did you mean mindcv"),
        (("weights.safetensors", "--to", "ckpt:timm"), 2, "safetensors:timm"),
        (("weights.safetensors", "--to", "ckpt", "--trait", "stem_pol=same"), 2, "Did you mean stem_pool"),
        (("weights.safetensors", "--to", "ckpt", "--trait", "stem_pool"), 2, "NAME=VALUE"),
        (("weights.safetensors", "--to", "ckpt", "--trait", "stem_pool=Same"), 2, "symmetric or same"),
        (("weights.safetensors", "--to", "ckpt", "--dtype", "float8"), 2, "float16"),
        (("weights.safetensors", "--to", "ckpt", "-o", "x.pth"), 2, "--to pth"),
        (("weights.safetensors", "--to", "ckpt", "--init", "calibrated"), 2, "--init"),
        (("weights.safetensors",), 2, "--to"),
        (("weights.safetensors", "--to", "ckpt", "--select", "ema"), 2, "ema"),
        (("tim:resnext50_32x4d", "--to", "ckpt"), 2, "Did you mean timm"),
        (("weights.safetensors", "--to", "safetensors"), 2, "is the source itself"),
        (("nowhere/weights.pth", "--to", "ckpt"), 5, "no file"),
        (("timm:resnext50_32x4d", "--weights", "nowhere.pth", "--to", "ckpt"), 5, "no file"),
        (("text.pth", "--to", "ckpt"), 3, "text.pth"),
    ],
)
def test_mistakes_get_a_code_and_a_remedy(
    weights_file: Callable[..., Path], tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    weights_file(name="weights.safetensors")
    (tmp_path / "text.pth").write_text("this is no checkpoint\n")
    before = sorted(tmp_path.iterdir())
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert sorted(tmp_path.iterdir()) == before


def test_existing_output_is_kept(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "small.ckpt").write_text("mine")
    file = str(weights_file())
    result = run(file, "--to", "ckpt", cwd=tmp_path)
    assert result.returncode == 2
    assert "--overwrite" in result.stderr
    assert (tmp_path / "small.ckpt").read_text() == "mine"
    assert run(file, "--to", "ckpt", "--overwrite", cwd=tmp_path).returncode == 0
    assert open_checkpoint(tmp_path / "small.ckpt").container == "ckpt"


def test_dry_run_writes_nothing(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    file = weights_file()
    result = run(str(file), "--to", "ckpt:modelzoo", "--dry-run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "split" in result.stdout
    assert list(tmp_path.iterdir()) == [file]
    data = json.loads(run(str(file), "--to", "ckpt:modelzoo", "--dry-run", "--json", cwd=tmp_path).stdout)
    assert {step["how"] for step in data["steps"]} == {"copy", "split"}


def test_strict_makes_notices_problems(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    result = run(str(weights_file()), "--to", "ckpt", "--strict", cwd=tmp_path)
    assert result.returncode == 3
    assert not (tmp_path / "small.ckpt").exists()


def test_inspect_tells_and_says_no(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    result = run("inspect", str(weights_file()))
    assert result.returncode == 0
    assert "10 classes" in result.stdout
    assert (
        json.loads(run("inspect", str(tmp_path / "small.safetensors"), "--json").stdout)["network"]["dialect"] == "timm"
    )
    (tmp_path / "bad.ckpt").write_bytes(b"")
    assert run("inspect", str(tmp_path / "bad.ckpt")).returncode == 3


def test_list_knows_dialects_and_architectures() -> None:
    result = run("list")
    assert result.returncode == 0
    assert "modelzoo-gpu" in result.stdout
    assert "resnext101_64x4d" in result.stdout
    assert "25.03 M" in result.stdout


def test_list_tells_the_work_of_a_network_at_its_own_size() -> None:
    found = {item["name"]: item for item in json.loads(run("list", "--json").stdout)["architectures"]}
    assert (found["resnet50"]["side"], found["resnet50"]["macs"]) == (224, 4089184256)
    detector = found["ssd_resnet50"]
    assert (detector["side"], f"{detector['macs'] / 1e9:.2f}") == (640, "40.41")
    assert "40.41 G at 640" in run("list").stdout


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_reader_that_is_gone_is_no_bug(more: list[str]) -> None:
    command = [sys.executable, "-m", "mshub_convert", "list", "mshub:", *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, talk = process.communicate(timeout=60)
    assert (process.returncode, talk) == (141, "")


def test_a_file_called_like_a_command_is_reached_by_its_path(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    weights_file(name="verify")
    assert run("./verify", "--to", "ckpt", "-q", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("arguments", [("--help",), ("list",), ("inspect", "FILE")])
def test_no_framework_is_imported(weights_file: Callable[..., Path], arguments: tuple[str, ...]) -> None:
    arguments = tuple(str(weights_file()) if word == "FILE" else word for word in arguments)
    code = (
        "import sys\n"
        "from mshub_convert.cli import cli\n"
        f"cli.main({list(arguments)!r}, standalone_mode=False)\n"
        "heavy = {'torch', 'timm', 'torchvision', 'mindspore', 'mindcv', 'onnx', 'onnxruntime'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


def test_top_level_folders_do_not_leak_into_the_import_path() -> None:
    code = (
        "import sys, mshub_convert as mc\n"
        "mc.convert, mc.verify, mc.inspect, mc.mapping, mc.translate, mc.plan\n"
        "from mshub_convert.verify.compare import Verdict\n"
        "assert callable(mc.verify)\n"
        "leaked = {'converters', 'mappings', 'verify', 'api'} & set(sys.modules)\n"
        "assert not leaked, leaked\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


def test_a_dry_run_refuses_what_the_run_would(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    file = str(weights_file())
    (tmp_path / "small.ckpt").write_text("mine")
    taken = run(file, "--to", "ckpt", "--dry-run", cwd=tmp_path)
    assert (taken.returncode, "exists" in taken.stderr) == (2, True)
    itself = run(file, "--to", "safetensors", "--dry-run", cwd=tmp_path)
    assert (itself.returncode, "is the source itself" in itself.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("insepct", "x.ckpt"), "Did you mean inspect?"),
        (("resnext50_32x4d", "--to", "ckpt"), "timm:resnext50_32x4d"),
        (("small.safetensors", "--to", "mindcv"), "ckpt:mindcv"),
    ],
)
def test_near_misses_are_understood(
    weights_file: Callable[..., Path], tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    weights_file()
    assert said in run(*arguments, cwd=tmp_path).stderr


def test_option_values_are_no_commands(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    assert run("-o", "list/", "--to", "ckpt", str(weights_file()), "-q", cwd=tmp_path).returncode == 0
    assert (tmp_path / "list" / "small.ckpt").is_file()


def test_without_words_there_is_help() -> None:
    result = run()
    assert result.stdout.startswith("Usage: ")
    assert result.stderr == ""


def test_problems_are_structured_in_json(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    arrays = load_file(weights_file())
    arrays["layer1.0.convX.weight"] = arrays.pop("layer1.0.conv2.weight")
    save_file(arrays, tmp_path / "renamed.safetensors")
    data = json.loads(run("renamed.safetensors", "--to", "ckpt", "--json", cwd=tmp_path).stdout)
    assert [problem["code"] for problem in data["problems"]] == ["missing", "unexpected"]
    assert "layer1.0.convX.weight layer1.0.conv2.weight" in data["problems"][1]["remedy"]


def test_a_changed_file_beside_its_sidecar_is_told(weights_file: Callable[..., Path], tmp_path: Path) -> None:
    run(str(weights_file()), "--to", "ckpt", "-q", cwd=tmp_path)
    data = bytearray((tmp_path / "small.ckpt").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "small.ckpt").write_bytes(data)
    result = run("small.ckpt", "--to", "pth", cwd=tmp_path)
    assert "its sha256 differs" in result.stderr
