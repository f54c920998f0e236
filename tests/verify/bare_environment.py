"""An environment that holds this package, its base dependencies and chosen packages, and nothing else of this one."""

import re
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def make(folder: Path, *packages: str) -> Path:
    """Links to the installed packages and what they require, in a new environment; returns its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    site = next((folder / "lib").glob("python3*/site-packages"))
    for found in _closure(["click", "rich", "numpy", "ml_dtypes", "pooch", *packages]):
        _link(found, site)
    _link_ourselves(site)
    return python


def run(python: Path, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """The command line in that environment."""
    command = [str(python), "-m", "mshub_convert", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def _closure(names: list[str]) -> list[Distribution]:
    """Distributions and all that they require, without extras."""
    found: dict[str, Distribution] = {}
    while names:
        name = names.pop().lower().replace("_", "-")
        if name in found:
            continue
        found[name] = distribution(name)
        for requirement in found[name].requires or ():
            needed, _, condition = requirement.partition(";")
            if "extra" not in condition and _holds(condition):
                match = _NAME.match(needed)
                assert match
                names.append(match.group())
    return list(found.values())


def _holds(condition: str) -> bool:
    from packaging.markers import Marker

    return not condition.strip() or Marker(condition.strip()).evaluate()


def _link(found: Distribution, site: Path) -> None:
    tops = {file.parts[0] for file in found.files or () if not file.is_absolute() and file.parts[0] != ".."}
    for top in tops:
        place, there = site / top, Path(str(found.locate_file(top)))
        if top != "__pycache__" and there.exists() and not place.exists():
            place.symlink_to(there)


def _link_ourselves(site: Path) -> None:
    package = site / "mshub_convert"
    package.mkdir()
    folders = [ROOT / "converters", ROOT / "mappings", ROOT / "verify"]
    for path in [*(ROOT / "api").iterdir(), *folders]:
        if path.name != "__pycache__":
            (package / path.name).symlink_to(path)


def importable(python: Path, *names: str) -> list[str]:
    """Which of these packages the environment has."""
    code = f"import importlib.util as u; print(*[n for n in {names!r} if u.find_spec(n)])"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


if __name__ == "__main__":
    print(make(Path(sys.argv[1]), *sys.argv[2:]))
