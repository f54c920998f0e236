"""Every network that we describe is found again in the ONNX file that is written of it, folded or not."""

from pathlib import Path

import pytest

import mshub_convert as mc
from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures import architecture, known
from mshub_convert.mappings.dialects import dialects_for

# Larger ones have the same blocks.
LIMIT = 30e6
NAMES = [name for name in known() if sum(p.size for p in architecture(name).graph().parameters) < LIMIT]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_found_again(name: str, tmp_path: Path) -> None:
    network = architecture(name, classes=7)
    source = tmp_path / "net.safetensors"
    calibrated.write(network, dialects_for(network)[0], 0, source)
    for fold_bn in (False, True):
        # Reading back compares the network that structure tells with the one meant, and every bit.
        path = mc.convert(source, to="onnx", out=tmp_path / "net.onnx", fold_bn=fold_bn, overwrite=True).path
        assert mc.inspect(path).network["name"] == name
