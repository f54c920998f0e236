"""Compiled files: the exact command line, and a compiler that works, fails, takes too long, or is not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mshub_convert as mc
from mshub_convert.converters.compilers import COMPILERS, compiler
from mshub_convert.converters.compilers.run import CompilerError, run
from mshub_convert.converters.errors import MalformedFileError, UsageError
from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.request import SourceRequest

NETWORK = ResNet((1, 1), cardinality=4, base_width=8, classes=10)
# What it is given goes to a file; what it makes is where ATC makes it.
WORKS = """#!/bin/sh
printf '%s\\n' "$@" > "$0.arguments"
for argument in "$@"; do
  case "$argument" in --output=*) printf 'IMOD compiled' > "${argument#--output=}.om";; esac
done
echo "ATC run success"
"""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    calibrated.write(NETWORK, "timm", 0, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def put_atc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """An atc that is this script, first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    atc = folder / "atc"
    atc.write_text(script, encoding="utf-8")
    atc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return atc


@pytest.fixture
def no_atc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def test_the_command_keeps_precision_and_sets_the_shape() -> None:
    assert COMPILERS == ("om",)
    command = compiler("om").command(Path("a.onnx"), Path("a.om"), device="Ascend910B", input_shape=(2, 3, 225, 231))
    assert command == [
        "atc", "--framework=5", "--model=a.onnx", "--output=a", "--input_format=NCHW",
        "--input_shape=input:2,3,225,231", "--soc_version=Ascend910B", "--precision_mode_v2=origin",
    ]  # fmt: skip


def test_atc_is_run_on_the_onnx(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atc = put_atc(tmp_path, monkeypatch, WORKS)
    out = tmp_path / "out" / "my net.om"
    result = mc.convert(weights, to="om", out=out, soc_version="Ascend910B", input_shape=(4, 3, 64, 64))
    assert (result.result, result.compiled) == (out, out)
    assert result.path == out.with_suffix(".onnx")
    given = Path(f"{atc}.arguments").read_text(encoding="utf-8").splitlines()
    assert given == [
        "--framework=5", f"--model={result.path}", f"--output={out.with_suffix('')}", "--input_format=NCHW",
        "--input_shape=input:4,3,64,64", "--soc_version=Ascend910B", "--precision_mode_v2=origin",
    ]  # fmt: skip
    assert result.as_dict()["command"] == result.command
    assert f"'--model={result.path}'" in result.command  # quoted: it has a blank
    # The graph takes what it was compiled for, so that both can be compared.
    assert list(mc.inspect(result.path).record["input_shape"]) == [4, 3, 64, 64]


def test_without_atc_the_command_is_told_and_the_onnx_kept(weights: Path, tmp_path: Path, no_atc: None) -> None:
    command = [sys.executable, "-m", "mshub_convert", str(weights), "--to", "om", "-o", "out/"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 5, done.stderr
    assert done.stdout == ""
    assert "atc is not on the PATH, so out/w.om was not made. out/w.onnx is there" in done.stderr
    line = (
        "atc --framework=5 --model=out/w.onnx --output=out/w --input_format=NCHW --input_shape=input:1,3,224,224"
        " --soc_version=Ascend310P3 --precision_mode_v2=origin\n"
    )
    assert f"  {line}" in done.stderr
    assert "→ Run it where CANN is installed" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["w.onnx", "w.onnx.mshub.json"]


def test_a_dry_run_tells_the_command(weights: Path, tmp_path: Path, no_atc: None) -> None:
    command = [sys.executable, "-m", "mshub_convert", str(weights), "--to", "om", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "atc --framework=5 --model=w.onnx --output=w " in done.stdout
    assert not (tmp_path / "w.onnx").exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "#!/bin/sh\necho E10001: soc_version is invalid; exit 3\n",
            r"atc failed \(exit code 3\).*E10001: soc_version",
        ),
        ("#!/bin/sh\necho done\n", r"atc ended well, but made no .*w\.om.*\| done"),
        ("#!/bin/sh\nexit 1\n", r"it said nothing"),
    ],
)
def test_a_compiler_that_fails(
    script: str, said: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_atc(tmp_path, monkeypatch, script)
    with pytest.raises(CompilerError, match=f"(?s){said}") as caught:
        mc.convert(weights, to="om", out=tmp_path / "w.om")
    assert caught.value.exit_code == 5
    assert "--precision_mode_v2=origin" in caught.value.message
    assert (tmp_path / "w.onnx").is_file()
    assert not (tmp_path / "w.om").exists()


@pytest.mark.slow
def test_a_compiler_that_does_not_finish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_atc(tmp_path, monkeypatch, "#!/bin/sh\necho begun\ntouch half.om\nsleep 600\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CompilerError, match=r"(?s)did not finish in 1 seconds\. m\.onnx is there.*begun"):
        run(compiler("om"), ["atc"], Path("m.onnx"), Path("half.om"), timeout=1)
    assert not (tmp_path / "half.om").exists()


def test_an_older_output_is_not_left_beside_another_graph(weights: Path, tmp_path: Path, no_atc: None) -> None:
    (tmp_path / "w.om").write_text("old")
    with pytest.raises(UsageError, match=r"w\.om exists"):
        mc.convert(weights, to="om", out=tmp_path / "w.om")
    assert not (tmp_path / "w.onnx").exists()
    with pytest.raises(CompilerError):
        mc.convert(weights, to="om", out=tmp_path / "w.om", overwrite=True)
    assert not (tmp_path / "w.om").exists()


def test_what_is_not_for_compilers(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--soc-version is what to compile for, and --to onnx compiles nothing"):
        mc.convert(weights, to="onnx", soc_version="Ascend310P3")
    with pytest.raises(UsageError, match="'310P3; rm' is no --soc-version"):
        mc.convert(weights, to="om", soc_version="310P3; rm")
    with pytest.raises(UsageError, match=r"there is no \.om to run yet") as caught:
        mc.convert(weights, to="onnx", out=tmp_path, verify=True, runtime="om", sizes=[(64, 64)])
    assert "verify SOURCE FILE.onnx --runtime om" in caught.value.remedy


def test_a_bundle_holds_nothing_compiled(weights: Path, tmp_path: Path) -> None:
    from mshub_convert.bundling import bundle

    with pytest.raises(UsageError, match=r"\.om is compiled for one device") as caught:
        bundle(SourceRequest(weights), to=["om"], out=tmp_path / "evidence")
    assert "--to onnx" in caught.value.remedy


def test_an_om_is_told_from_weights(tmp_path: Path) -> None:
    (tmp_path / "w.om").write_bytes(b"IMOD" + bytes(300))
    with pytest.raises(MalformedFileError, match="compiled for an Ascend device") as caught:
        mc.inspect(tmp_path / "w.om")
    assert "--runtime om" in caught.value.remedy
