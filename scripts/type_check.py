"""Run mypy over the package as it installs: the top-level folders under one import name, put together by links."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TYPING = ROOT / ".typing" / "mshub_convert"


def main() -> int:
    """Link api/*.py and the three folders into one package and check it."""
    TYPING.mkdir(parents=True, exist_ok=True)
    for link in TYPING.iterdir():
        link.unlink()
    for path in [*(ROOT / "api").iterdir(), ROOT / "converters", ROOT / "mappings", ROOT / "verify"]:
        if path.name != "__pycache__":
            (TYPING / path.name).symlink_to(path)
    command = [sys.executable, "-m", "mypy", "-p", "mshub_convert"]
    return subprocess.run(
        command, cwd=ROOT / ".typing", env={**os.environ, "MYPYPATH": str(TYPING.parent)}, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
