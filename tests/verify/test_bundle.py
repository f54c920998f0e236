"""Evidence that travels: verified again with one runtime, refused when anything of it was changed."""

import json
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mshub_convert import bundling
from mshub_convert.converters.digest import file_sha256
from mshub_convert.converters.errors import MalformedFileError, UsageError
from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.request import SourceRequest
from mshub_convert.verification import verify
from mshub_convert.verify.bundle.manifest import NAME, TamperedError
from mshub_convert.verify.compare import Verdict
from mshub_convert.verify.inputs import Inputs
from mshub_convert.verify.proof import ProofFailedError

sys.path.insert(0, str(Path(__file__).parent))
import bare_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

INPUTS = Inputs(count=3, sizes=((64, 64), (65, 71)))
NETWORK = ResNet((1, 2, 1), cardinality=4, base_width=8, classes=10)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("source") / "small.safetensors"
    calibrated.write(NETWORK, "timm", 0, file)
    return file


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> bundling.Bundle:
    folder = tmp_path_factory.mktemp("made") / "evidence"
    return bundling.bundle(SourceRequest(source), folder, to=("ckpt", "onnx"), inputs=INPUTS)


@pytest.fixture
def copy(made: bundling.Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.path, tmp_path / "evidence"))


def test_it_holds_everything_that_was_compared(made: bundling.Bundle) -> None:
    assert set(made.proofs) == {"small.ckpt", "small.onnx"}
    assert all(made.proofs.values())
    manifest = json.loads((made.path / NAME).read_bytes())
    assert made.sha256 == file_sha256(made.path / NAME)
    assert set(manifest["files"]) == {
        path.relative_to(made.path).as_posix() for path in made.path.rglob("*") if path.is_file()
    } - {NAME}
    label = INPUTS.labels[1]
    exact = np.load(made.path / manifest["outputs"]["reference"][label]["head"])
    assert (exact.shape, exact.dtype) == ((3, 10), np.float64)
    assert np.load(made.path / manifest["inputs"]["files"][1]).shape == (3, 3, 65, 71)
    stem = np.load(made.path / manifest["stages"][label]["stem"])
    assert (stem.shape[0], stem.dtype) == (1, np.float32)
    # float16 is far coarser than float32, and known before any device was seen.
    assert all(1e-5 < error < 1e-1 for error in manifest["budgets"]["float16"].values())
    assert all(target["verdict"] in ("pass", "warn") for target in manifest["targets"])
    assert str(made.path.parent) not in json.dumps(manifest)


@pytest.mark.parametrize(
    ("package", "runtime", "file"),
    [("mindspore", "mindspore", "small.ckpt"), ("onnxruntime", "onnxruntime", "small.onnx")],
)
def test_one_runtime_is_enough(package: str, runtime: str, file: str, made: bundling.Bundle, tmp_path: Path) -> None:
    python = bare_environment.make(tmp_path / "bare", package)
    others = {"torch", "torchvision", "timm", "mindspore", "mindcv", "onnxruntime", "onnx", "mmpretrain"} - {package}
    assert bare_environment.importable(python, *others) == []
    done = bare_environment.run(python, "verify", str(made.path), "--runtime", runtime, "--json")
    assert done.returncode == 0, done.stderr
    proof = json.loads(done.stdout)
    assert proof["verdict"] in ("pass", "warn")
    assert proof["float64"]["error"] <= proof["float64"]["limit"]
    assert "recorded" in proof["source_network"]
    assert len(proof["forward"]) == 2
    # Without a word on the runtime, what is installed is taken.
    assert bare_environment.run(python, "verify", str(made.path)).returncode == 0
    lacking = bare_environment.run(python, "verify", str(made.path), "--runtime", "torch")
    assert lacking.returncode == 5
    assert "torch is not installed" in lacking.stderr


def test_what_is_known_of_the_source_and_the_manifest_is_told(made: bundling.Bundle) -> None:
    proof = verify(made.path, runtime="reference")
    said = proof.as_dict()
    assert said["bundle"] == made.sha256
    assert said["source"]["dialect"] == "timm"
    assert said["source"]["address"] == json.loads((made.path / NAME).read_bytes())["source"]["address"]
    assert said["source"]["traits"]["stem_pool"] == "symmetric"
    assert said["source"]["files"][0]["container"] == "safetensors"
    assert len(said["source"]["files"][0]["sha256"]) == 64
    assert [notice for notice in proof.notices if made.sha256 in notice and "--sha256" in notice]
    assert not [
        notice
        for notice in verify(made.path, runtime="reference", sha256=made.sha256.upper()).notices
        if "--sha256" in notice
    ]


def test_what_a_bundle_has_cannot_be_said_otherwise(made: bundling.Bundle, tmp_path: Path) -> None:
    others = {
        "weights": tmp_path / "none.pth", "init": "calibrated:0", "select": "ema", "classes": 5, "bn": "calibrated",
        "traits": {"norm_eps": "1e-3"}, "source_traits": {"norm_eps": "1e-3"}, "source_runtime": "torch",
        "source_network": "a.py:b", "images": tmp_path, "sizes": [(64, 64)], "count": 2, "seed": 5, "self_test": 8,
    }  # fmt: skip
    for name, value in others.items():
        option = {"traits": "trait", "source_traits": "source-trait"}.get(name, name.replace("_", "-"))
        with pytest.raises(UsageError, match=f"a bundle is verified as it is.*: --{option} cannot be said"):
            verify(made.path, runtime="reference", **{name: value})


@pytest.mark.parametrize("part", [slice(12), slice(63), slice(0, None, -1)])
def test_what_is_no_sha256_of_the_manifest(made: bundling.Bundle, part: slice) -> None:
    digest = made.sha256[part]
    whole = len(digest) == 64
    with pytest.raises(TamperedError if whole else UsageError) as caught:
        verify(made.path, runtime="reference", sha256=digest)
    said = f"the manifest of {made.path} has the sha256 {made.sha256}, not {digest}"
    assert caught.value.message == (said if whole else f"{digest} is no sha256, which has 64 hexadecimal digits")


def test_a_report_of_a_bundle_looks_into_layers_and_tells_the_source(made: bundling.Bundle, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    proof = verify(made.path, runtime="onnxruntime", report=page)
    assert proof.diagnosis is not None
    assert proof.diagnosis.curve
    text = page.read_text()
    for said in (
        f"its manifest has the sha256 <code>{made.sha256}</code>", "Error along the network",
        "Every tensor has the sha256 that it had where the bundle was made", "a bundle is verified as it is",
        "recorded</td>", "<h3>Source</h3>",
    ):  # fmt: skip
        assert said in text, said


def test_a_changed_file_is_refused_by_name(copy: Path) -> None:
    pictures = next((copy / "inputs").iterdir())
    data = bytearray(pictures.read_bytes())
    data[-1] ^= 1
    pictures.write_bytes(data)
    (copy / "small.ckpt").unlink()
    (copy / "extra.py").write_text("print()")
    with pytest.raises(TamperedError) as caught:
        verify(copy, runtime="mindspore")
    assert caught.value.exit_code == 5
    for said in (f"inputs/{pictures.name} is another file", "small.ckpt is missing", "extra.py is not in the manifest"):
        assert said in caught.value.message


def test_a_changed_manifest_is_told_by_its_digest(made: bundling.Bundle, copy: Path) -> None:
    manifest = json.loads((copy / NAME).read_bytes())
    manifest["source"]["address"] = "timm:resnet50"
    (copy / NAME).write_text(json.dumps(manifest))
    with pytest.raises(TamperedError, match=r"manifest of .* has the sha256"):
        verify(copy, runtime="reference", sha256=made.sha256)
    assert verify(made.path, runtime="reference", sha256=made.sha256)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "its schema is 2, this version reads 1"),
        ({"kind": "other"}, "it is none of a bundle"),
        ({"inputs": None}, "cannot be used"),
        ({"files": {}}, "has no sha256"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(change: dict[str, object], said: str, copy: Path) -> None:
    manifest = json.loads((copy / NAME).read_bytes())
    (copy / NAME).write_text(json.dumps({**manifest, **change}))
    with pytest.raises(MalformedFileError, match=said):
        verify(copy, runtime="reference")


def test_other_tensors_fail_by_their_digests(copy: Path, tmp_path: Path) -> None:
    """A forger who knows how to write the manifest's list of files still has the tensors' digests to forge."""
    other = tmp_path / "other.safetensors"
    calibrated.write(NETWORK, "timm", 1, other)
    import mshub_convert as mc

    mc.convert(other, to="ckpt", out=copy / "small.ckpt", overwrite=True)
    manifest = json.loads((copy / NAME).read_bytes())
    for name in ("small.ckpt", "small.ckpt.mshub.json"):
        manifest["files"][name] = {"bytes": (copy / name).stat().st_size, "sha256": file_sha256(copy / name)}
    (copy / NAME).write_text(json.dumps(manifest))
    proof = verify(copy, runtime="mindspore")
    assert proof.verdict is Verdict.FAIL
    assert "are not those that the manifest has a sha256 of" in proof.reason


def test_a_wrong_reference_is_not_passed(copy: Path) -> None:
    manifest = json.loads((copy / NAME).read_bytes())
    for of_output in manifest["outputs"]["reference"].values():
        for name in of_output.values():
            np.save(copy / name, np.load(copy / name) * (1 + 1e-6))
            manifest["files"][name]["sha256"] = file_sha256(copy / name)
    (copy / NAME).write_text(json.dumps(manifest))
    assert not verify(copy, runtime="onnxruntime")


def test_it_travels_as_one_file(made: bundling.Bundle, copy: Path, tmp_path: Path) -> None:
    archive = tmp_path / "packed.zip"
    bundling._pack(copy, archive, overwrite=False)
    assert verify(archive, runtime="reference", sha256=made.sha256)
    with pytest.raises(UsageError, match="exists"):
        bundling._pack(copy, archive, overwrite=False)
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr("../outside.txt", "x")
    with pytest.raises(MalformedFileError, match="leads out of it"):
        verify(archive, runtime="reference")
    archive.write_bytes(b"PK not a zip")
    with pytest.raises(MalformedFileError, match="is no bundle"):
        verify(archive, runtime="reference")


def test_what_it_has_nothing_for_is_told(copy: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing for torch, only small.ckpt for mindspore and small.onnx for"):
        verify(copy, runtime="torch")


def test_a_target_that_fails_leaves_no_bundle(
    made: bundling.Bundle, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = replace(made.proofs["small.ckpt"], verdict=Verdict.FAIL, reason="made to fail")
    monkeypatch.setattr(bundling.Prover, "prove", lambda *_: bad)
    folder = tmp_path / "new" / "evidence"
    with pytest.raises(ProofFailedError, match="fail: made to fail; nothing was written"):
        bundling.bundle(SourceRequest(source), folder, to=("ckpt",), inputs=INPUTS)
    assert list(tmp_path.iterdir()) == []


def test_folders_of_others_are_left_alone(source: Path, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    request = SourceRequest(source)
    with pytest.raises(UsageError, match="is not empty"):
        bundling.bundle(request, tmp_path / "mine", inputs=INPUTS)
    with pytest.raises(UsageError, match="something else than a whole bundle"):
        bundling.bundle(request, tmp_path / "mine", inputs=INPUTS, overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"
    again = bundling.bundle(request, copy, to=("ckpt",), inputs=INPUTS, overwrite=True)
    assert set(again.proofs) == {"small.ckpt"}
    assert not (copy / "small.onnx").exists()
    assert verify(copy, runtime="reference")
