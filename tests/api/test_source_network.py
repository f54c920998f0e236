"""``--source-network`` on the command line: no code runs without consent."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def words(weights_file: Callable[..., Path], tmp_path: Path) -> tuple[str, ...]:
    """A dry run with a network whose import would leave a trace."""
    (tmp_path / "net.py").write_text("open('trace', 'w')\ndef network(): pass\n")
    source = str(weights_file())
    return (source, "--to", "ckpt", "--verify", "--dry-run", "--source-network", "net.py:network")


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mshub_convert", *arguments]
    return subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )


def test_nobody_to_ask_is_no_consent(words: tuple[str, ...], tmp_path: Path) -> None:
    for command in (words, ("verify", "a.ckpt", "b.pth", "--source-network", "net.py:network")):
        result = run(*command, cwd=tmp_path)
        assert result.returncode == 2
        assert "--source-network runs the code in net.py, and nobody can be asked here" in result.stderr
        assert "add --trust-source-network" in result.stderr
    assert run(*words, "--trust-source-network", cwd=tmp_path).returncode == 0
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2), ("", 2)])
def test_a_person_is_asked(words: tuple[str, ...], tmp_path: Path, answer: str, code: int) -> None:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "mshub_convert", *words], cwd=tmp_path, stdin=theirs, stderr=theirs,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        os.write(ours, f"{answer}\n".encode())
        process.communicate(timeout=120)
        said = os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode == code
    assert "The code in net.py will be run, with your rights, to make the network by network. Run it?" in said
    assert ("the code in net.py was not run" in said) is (code == 2)


@pytest.mark.parametrize(
    ("network", "code", "said"),
    [
        ("none.py:network", 5, "no file none.py"),
        ("net.py", 2, "--source-network net.py is not FILE.py:FACTORY"),
    ],
)
def test_mistakes_are_told_before_anybody_is_asked(
    words: tuple[str, ...], tmp_path: Path, network: str, code: int, said: str
) -> None:
    result = run(*words[:-1], network, cwd=tmp_path)
    assert result.returncode == code
    assert said in result.stderr


def test_without_a_verification_there_is_nothing_to_run(words: tuple[str, ...], tmp_path: Path) -> None:
    kept = [word for word in words if word != "--verify"]
    result = run(*kept, "--trust-source-network", cwd=tmp_path)
    assert result.returncode == 2
    assert "Add --verify" in result.stderr
