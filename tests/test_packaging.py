"""What is installed: one import package with every module and data file, and nothing else."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"api": "mshub_convert", "converters": "mshub_convert/converters", "mappings": "mshub_convert/mappings",
           "verify": "mshub_convert/verify"}  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built through the source distribution, as a release is."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        assert any(name.endswith("/README.md") for name in archive.getnames())
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def expected() -> set[str]:
    found = set()
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".toml", ".jinja") or path.name == "py.typed":
                found.add(f"{package}/{path.relative_to(ROOT / folder)}")
    return found


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == expected()


@pytest.mark.slow
def test_the_wheel_installs_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    entry = next(name for name in names if name.endswith("entry_points.txt"))
    assert b"mshub-convert = mshub_convert.cli:main" in wheel.read(entry)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_imports_only_point_down() -> None:
    """api → verify → converters → mappings; a framework is never imported at the top of what --help reaches."""
    above = {"mappings": ("converters", "verify"), "converters": ("verify",), "verify": ()}
    for folder, forbidden in above.items():
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for name in forbidden:
                assert f"..{name}" not in text, f"{path.relative_to(ROOT)} imports {name}"
            for front in (
                "mshub_convert.cli",
                "mshub_convert.conversion",
                "mshub_convert.terminal",
                "mshub_convert.request",
            ):
                assert front not in text, f"{path.relative_to(ROOT)} imports {front}"


def test_mappings_are_standard_library_only() -> None:
    code = (
        "import sys\n"
        "from mshub_convert.mappings import architectures, dialects, identify\n"
        "assert dialects.dialect('timm').ground(architectures.architecture('resnet50'))\n"
        "foreign = {'numpy', 'ml_dtypes', 'click', 'rich', 'torch', 'mindspore'} & set(sys.modules)\n"
        "assert not foreign, foreign\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
