"""What emitted modules look like, and which names none can be written for."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mshub_convert.converters.emission.emit import CONTEXTS, Emitted, emit
from mshub_convert.converters.errors import UsageError
from mshub_convert.mappings.architectures import Architecture, architecture, samples
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.traits import Traits

from .conftest import CASES, OWN, OWN_FILES

PUBLISHED = (
    ("resnext101_64x4d", "modelzoo"), ("seresnext26t_32x4d", "mindcv-senet"), ("resnet152_v2", "gluon-ms"),
    ("wide_resnet101_2", "mindcv"), ("resnet18", "modelzoo-resnet"),
)  # fmt: skip
DETECTOR = ("ssd_resnet50", "modelzoo-ssd")


def text_of(network: Architecture, names: str, traits: Traits | None = None, file: str = "weights.ckpt") -> str:
    grounding = dialect(names).ground(network)
    return emit(Emitted(grounding, traits or Traits(), "float32", file, "mshub-convert 1.0"))


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., str]:
    """Makes a dialect file like OWN with some texts replaced."""

    def make(*changes: tuple[str, str]) -> str:
        text = OWN
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        path = tmp_path / "own.toml"
        path.write_text(text)
        return str(path)

    return make


def test_modules_pass_a_linter_and_a_formatter(tmp_path: Path) -> None:
    for name, case in CASES.items():
        names = case.dialect
        if names in OWN_FILES:
            (tmp_path / names).write_text(OWN_FILES[names])
            names = str(tmp_path / names)
        text = text_of(case.network, names, Traits().with_values(case.traits))
        (tmp_path / f"{name.replace('-', '_')}.py").write_text(text)
    for name, names in (*PUBLISHED, DETECTOR):
        (tmp_path / f"{name}.py").write_text(text_of(architecture(name), names))
    rules = "E,F,W,I,UP,B,C4,SIM,RET,PIE,PT,RUF,D1,N,ANN,S"
    for command in (["check", "--select", rules, "--ignore", "D107"], ["format", "--diff"]):
        words = [sys.executable, "-m", "ruff", command[0], "--isolated", "--no-cache", *command[1:], str(tmp_path)]
        result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stdout


def test_modules_are_short_and_need_mindspore_alone() -> None:
    for name, names in PUBLISHED:
        text = text_of(architecture(name), names)
        imports = {line for line in text.splitlines() if line.startswith(("import ", "from "))}
        assert imports <= {"import mindspore", "from mindspore import Tensor, nn, ops",
                           "from collections import OrderedDict"}  # fmt: skip
        told = [line for line in text.splitlines() if "mshub" in line]
        assert told == ["# Written by mshub-convert 1.0. It needs MindSpore only."]
        assert len(text.splitlines()) < 190


def test_a_module_reads_as_a_person_would_write_it() -> None:
    text = text_of(architecture("resnext50_32x4d"), "mindcv")
    for line in (
        "DEPTHS = (3, 4, 6, 3)",
        "GROUPS = 32",
        "        self.conv2 = conv(width, width, 3, stride, groups=GROUPS)",
        "        out = ops.relu(self.bn2(self.conv2(out)))",
        "        self.layer4 = stage(3)",
        "        return self.classifier(x)",
    ):
        assert line in text.splitlines()


def test_names_of_files_and_dialects_cannot_become_code(own: Callable[..., str]) -> None:
    network = ResNet((1,), squeeze=(4,))
    text = text_of(network, own(('name = "own"', 'name = \'a"""b\'')), file='x"""\nimport os\n.ckpt')
    assert "the checkpoint" in text
    assert "import os" not in text
    assert 'a"""b' not in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([('= "net.class"', '= "net.cl-ass"')], "'cl-ass' can be no part of the name of a cell"),
        ([('"net.stem.norm"', '"net.stem.conv.norm"')], "conv is the name of a layer and the beginning of another's"),
        ([('= "net.class"', '= "net.stem.class"')], "between two layers of stem another one runs"),
        ([('"net.class"', '"class"')], "'class', which begins the name of a layer, can be no attribute"),
        ([(".part{s+1}.block_{b+1}.", ".part{s}x{b}.")], "does not name a stage and then a block"),
        ([("{b+1}.side_conv", "{b+2}.side_conv")], "not all layers of a block begin with net.part{s+1}.block_{b+1}"),
        ([("gate.c{k}", "gate{k}.c")], "squeeze-and-excitation, are not in one cell of a block"),
        (
            [('scale = "gamma"', 'scale = "scale"')],
            "calls scale of a norm 'scale', and MindSpore's layers call it gamma",
        ),
        ([("body.c{k}", "body.{k}.{g}.c")], "is no name of one layer, or of a layer's groups"),
        (
            [('"head"', '"stages.0.0.conv1" = "net.part1.block_1.body.first"\n"head"')],
            "calls conv1 differently in several blocks",
        ),
    ],
)
def test_names_that_no_cells_nest_into_are_refused(
    own: Callable[..., str], changes: list[tuple[str, str]], said: str
) -> None:
    network = ResNet((1, 2), squeeze=(4, 4))
    with pytest.raises(UsageError) as raised:
        text_of(network, own(*changes))
    assert said in raised.value.message
    assert "mshub-convert list" in raised.value.remedy


def test_every_family_has_a_template() -> None:
    assert set(CONTEXTS) == {str(network.as_dict().get("family", "resnet")) for network in samples()}
