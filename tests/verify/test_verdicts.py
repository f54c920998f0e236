"""The separate verdicts, as the terminal tells them."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mshub_convert.terminal import show_proof

sys.path.insert(0, str(Path(__file__).parent))
from handmade import DEVICE, passing


def test_the_terminal_gives_each_verdict_a_line_and_what_decides_once(capsys: pytest.CaptureFixture[str]) -> None:
    proof = replace(passing(), devices=(DEVICE,))
    show_proof(proof)
    lines = capsys.readouterr().out.splitlines()
    told = {line.split()[0]: line for line in lines}
    assert lines[0] == f"PASS  {proof.reason}"
    assert told["runtimes"].endswith("✓ as the first line says")
    assert "mindspore:Ascend:0" in told["device"]
    assert "✓ near enough" in told["device"]
    assert sum("near enough" in line for line in lines) == 1
    assert "preprocessing" not in told
