"""Dialects: laws of grounding over drawn networks, what built-in files say, and every fault of a user's file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.dialects import BUILTIN, check, dialect, dialects_for, load
from mshub_convert.mappings.errors import DialectFileError, MappingError, UnknownNameError
from mshub_convert.mappings.graph import LEAVES

MINDCV = Path(__file__).parents[2] / "mappings" / "mindcv.toml"
SENET = MINDCV.with_name("mindcv-senet.toml")


# Laws


@pytest.mark.slow
@given(network=st.from_type(ResNet), data=st.data())
@settings(max_examples=100, deadline=None)
def test_grounding_is_injective_and_complete(network: ResNet, data: st.DataObject) -> None:
    grounding = dialect(data.draw(st.sampled_from(dialects_for(network)))).ground(network)
    parameters = {parameter.key: parameter for parameter in network.graph().parameters}

    names = [name for slot in grounding.slots.values() for name in slot.names]
    assert len(set(names)) == len(names)
    assert list(grounding.specs) == names

    unnamed = {parameter.key for parameter in grounding.unnamed}
    assert unnamed.isdisjoint(grounding.slots)
    assert unnamed | set(grounding.slots) == set(parameters)
    assert {parameters[key].leaf for key in unnamed} <= {"count"}

    for key, slot in grounding.slots.items():
        assert slot.parameter == parameters[key]
        parts = [grounding.specs[name] for name in slot.names]
        assert set(parts) == {slot.shape}
        # The parts one after the other are the whole, cut on axis 0; a dense kernel lacks two axes of 1.
        if len(parts) > 1:
            assert (slot.shape[0] * len(parts), *slot.shape[1:]) == parameters[key].shape
        elif slot.shape != parameters[key].shape:
            assert (*slot.shape, 1, 1) == parameters[key].shape
            assert ".squeeze" in key
            assert "squeeze" in grounding.dialect.dense


@given(network=st.from_type(ResNet), data=st.data())
@settings(max_examples=50, deadline=None)
def test_any_dialect_joins_any_other(network: ResNet, data: st.DataObject) -> None:
    first, second, *_ = data.draw(st.permutations(dialects_for(network)))
    source, target = dialect(first).ground(network), dialect(second).ground(network)
    assert {slot.parameter.leaf for key, slot in target.slots.items() if key not in source.slots} <= {"count"}
    lost = {slot.parameter.key for key, slot in source.slots.items() if key not in target.slots}
    assert lost <= {parameter.key for parameter in target.unnamed}


@given(network=st.from_type(ResNet))
@settings(max_examples=50, deadline=None)
def test_networks_have_names_where_all_of_their_modules_have(network: ResNet) -> None:
    # Without a shortcut there is nothing to name it by.
    strided = any("shortcut" in module.path for module in network.graph().modules)
    assume(strided)
    expected = [name for name in BUILTIN if not name.startswith("gluon") and "ssd" not in name]
    if len(network.stem) == 3 or network.shortcut == "avg":
        expected = ["timm", "mmcls", "mindcv", "mindcv-senet"]
    if network.squeeze:
        expected = [name for name in expected if name not in ("torchvision", "mindcv", "modelzoo-resnet")]
    assert list(dialects_for(network)) == expected


@pytest.mark.parametrize("name", ["mindcv-senet", "modelzoo", "modelzoo-gpu"])
def test_squeeze_and_excitation_is_dense_in_mindspore_and_convolution_in_torch(name: str) -> None:
    network = architecture("seresnext50_32x4d")
    key = "stages.3.0.squeeze2.kernel"
    assert dialect(name).ground(network).slots[key].shape == (2048, 128)
    for other in ("timm", "mmcls"):
        assert dialect(other).ground(network).slots[key].shape == (2048, 128, 1, 1)


# What the built-in files say


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILTIN)
def test_builtin_files_pass_their_own_check(name: str) -> None:
    found = dialect(name)
    check(found)
    assert found.name == name
    assert found.source == f"{name}.toml"
    for model in found.models:
        assert found.builds(architecture(model, classes=7))


def test_rules_with_numbers_go_before_general_ones() -> None:
    mmcls = dialect("mmcls")
    pattern = "stages.{s}.{b}.avg_shortcut.conv"
    assert mmcls.template(pattern, {"s": 0, "b": 0}) == "backbone.layer1.0.downsample.0"
    assert mmcls.template(pattern, {"b": 0, "s": 1}) == "backbone.layer2.0.downsample.1"
    assert mmcls.rules(pattern, {"s": 0, "b": 0}) == ("stages.0.{b}.avg_shortcut.conv", pattern)
    split = dialect("modelzoo")
    assert split.template("stages.{s}.{b}.conv{k}", {"s": 0, "b": 2, "k": 2}) == "backbone.layer1.2.conv2.convs.{g}"
    assert split.template("stages.{s}.{b}.conv{k}", {"s": 0, "b": 2, "k": 3}) == "backbone.layer1.2.conv3"
    assert split.template("stem.conv{k}", {"k": 1}) is None


def test_split_kernels_are_numbered_from_0_and_cut_on_axis_0() -> None:
    slot = dialect("modelzoo").ground(architecture("resnext50_32x4d")).slots["stages.1.0.conv2.kernel"]
    assert slot.names == tuple(f"backbone.layer2.0.conv2.convs.{group}.weight" for group in range(32))
    assert slot.shape == (8, 8, 3, 3)
    assert slot.parameter.shape == (256, 8, 3, 3)


def test_a_dialect_extends_beyond_what_its_library_builds() -> None:
    deep = architecture("resnext50d_32x4d")
    assert dialect("mindcv").can_name(deep)
    assert not dialect("mindcv").builds(deep)
    # model_zoo's ResNeXt has no network of cardinality 1; its names are an extension.
    plain = architecture("resnet50")
    for name in ("modelzoo", "modelzoo-gpu"):
        assert dialect(name).can_name(plain)
        assert not dialect(name).builds(plain)
    slot = dialect("modelzoo").ground(plain).slots["stages.0.0.conv2.kernel"]
    assert slot.names == ("backbone.layer1.0.conv2.convs.0.weight",)
    assert slot.shape == (64, 64, 3, 3)


@pytest.mark.parametrize("name", ["torchvision", "modelzoo", "modelzoo-gpu", "modelzoo-resnet"])
def test_a_module_without_a_rule_is_refused_with_the_dialects_that_have_one(name: str) -> None:
    with pytest.raises(MappingError, match=rf"dialect {name} has no name for stem\.conv1 of resnet50d") as caught:
        dialect(name).ground(architecture("resnet50d"))
    assert not isinstance(caught.value, DialectFileError)
    assert caught.value.exit_code == 3
    assert caught.value.remedy == "Dialects that can name it: timm, mmcls, mindcv or mindcv-senet."


def test_an_unknown_dialect_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown dialect 'torchvison'") as caught:
        dialect("torchvison")
    assert caught.value.remedy == "Did you mean torchvision?"
    assert caught.value.exit_code == 2


# A user's file


def writer(base: Path, folder: Path) -> Callable[..., str]:
    """Writes a dialect file: that of ``base`` with another name, and with texts replaced."""

    def make(*changes: tuple[str, str]) -> str:
        text = base.read_text(encoding="utf-8").replace(f'name = "{base.stem}"', 'name = "mine"', 1)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = folder / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    return writer(MINDCV, tmp_path)


def line_of(path: str, text: str) -> int:
    """The only line of a file that has this text."""
    (number,) = (n for n, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1) if text in line)
    return number


def test_a_valid_file_is_a_dialect(write: Callable[..., str]) -> None:
    path = write(('= "layer{s+1}.{b}.conv{k}"', '= "body.{s}.{b}.c{k+10}"'), ('shift = "beta"', 'shift = "offset"'))
    found = dialect(path)
    assert found.name == "mine"
    assert found.source == path
    names = found.ground(architecture("resnext50_32x4d")).specs
    assert names["body.3.2.c13.weight"] == (2048, 1024, 1, 1)
    assert names["bn1.offset"] == (64,)
    assert found.builds(architecture("resnet50"))


def test_a_file_is_read_again_when_it_changes(write: Callable[..., str]) -> None:
    assert dialect(write()).leaves["norm"]["scale"] == "gamma"
    assert dialect(write(('scale = "gamma"', 'scale = "factor"'))).leaves["norm"]["scale"] == "factor"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="cannot be read: No such file"):
        dialect(str(tmp_path / "none.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UnknownNameError, match="cannot be read: Is a directory"):
        dialect(str(tmp_path / "folder.toml"))


CONV = '"stages.{s}.{b}.conv{k}" = "layer{s+1}.{b}.conv{k}"'
HEAD = '"head" = "classifier"'
FAULTS: dict[str, tuple[str, str, str, str]] = {
    # what: text, its replacement, a text in the line to blame, the message
    "unknown key": ("[traits]", "titel = 1\n[traits]", "titel", "unknown key 'titel'. Did you mean title?"),
    "unknown table": ("[leaves.conv]", "[leafs.conv]", "[leafs.conv]", "unknown key 'leafs'. Did you mean leaves?"),
    "missing key": ('title = "mindcv"', "", "# mindcv.models", "missing key 'title'"),
    "key that is no text": ('title = "mindcv"', "title = 3", "title = 3", "title must be text"),
    "empty name": ('name = "mine"', 'name = ""', 'name = ""', "name must be text"),
    "name of a built-in": ('name = "mine"', 'name = "timm"', '"timm"', "the name timm is that of a built-in dialect"),
    "framework": ('"mindspore"', '"jax"', '"jax"', "framework must be torch or mindspore, not 'jax'"),
    "models as text": (
        'models = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152",',
        'models = "resnet50"\nspare = [',
        "models =",
        "must be a list of names",
    ),
    "unknown model": (
        '"resnext101_64x4d"',
        '"rexnext101_64x4d"',
        "rexnext101",
        "models: unknown architecture 'rexnext101_64x4d'",
    ),
    "unsupported model": (
        '"resnext101_64x4d"',
        '"resnet18_gn"',
        "resnet18_gn",
        "models: resnet18_gn is not supported: its depth, stem, width or norm",
    ),
    "model spelt otherwise": (
        '"resnet101"',
        "'wide_resnet101_1'",
        "wide_resnet101_1",
        "wide_resnet101_1 is spelt resnet101",
    ),
    "model without names": (
        '"stem.conv" = "conv1"',
        "",
        'models = ["resnet18"',
        "there is no rule for stem.conv of resnet50",
    ),
    "traits as text": ("[traits]", "traits = 1\n[spare]", "traits = 1", "traits must be a table"),
    "unknown trait": (
        'stem_pool = "same"',
        'stem_pol = "same"',
        "stem_pol",
        "unknown trait 'stem_pol'. Did you mean stem_pool?",
    ),
    "bad trait": ('padding = "symmetric"', 'padding = "valid"', '"valid"', "trait padding cannot be 'valid'"),
    "bad eps": ("norm_eps = 1e-5", "norm_eps = 1e5", "1e5", "trait norm_eps cannot be 100000.0"),
    "rule that is no text": (HEAD, '"head" = 1', '"head"', "the rule for head must be text"),
    "rule without quotes": (
        '"stem.conv" = "conv1"',
        'stem.conv = "conv1"',
        "stem.conv =",
        "put the whole pattern in quotes",
    ),
    "unknown module": (
        HEAD,
        '"heads" = "classifier"',
        '"heads"',
        "'heads' is no module of any architecture. Did you mean head?",
    ),
    "unknown variable on the left": (CONV, CONV.replace("{b}", "{j}", 1), "{j}", "{j} is none of {s}, {b} and {k}"),
    "unknown variable on the right": (CONV, CONV[:-1] + '{j}"', "{j}", "{j} is none of {s}, {b}, {k}, {g}"),
    "variable of another rule": (
        HEAD,
        '"head" = "classifier{s}"',
        "classifier{s}",
        "uses {s}, which 'head' does not have",
    ),
    "offset of the group": (CONV, CONV[:-1] + '.{g+1}"', "{g+1}", "{g+1} is none of"),
    "format": (CONV, CONV[:-1] + '{s:03d}"', "{s:03d}", "{s:03d} is none of"),
    "group of a norm": (
        '= "bn1"',
        '= "bn1.{g}"',
        "bn1.{g}",
        "splits 'stem.norm' by group, which only a convolution has",
    ),
    "lone brace": (HEAD, '"head" = "classifier}"', "classifier}", "a brace without its partner"),
    "doubled braces": (HEAD, '"head" = "{{s}}"', "{{s}}", "which 'head' does not have"),
    "unused rule": (HEAD, HEAD + '\n"stages.7.{b}.conv1" = "x{b}"', "stages.7", "names no module of any architecture"),
    "shadowed rule": (
        '"stem.conv1" = "conv1.0"',
        '"stem.conv1" = "conv1.0"\n"stem.conv{k}" = "c{k}"',
        "stem.conv{k}",
        "names no module",
    ),
    "two rules alike": (
        CONV,
        CONV + '\n"stages.0.{b}.conv{k}" = "a{b}{k}"\n"stages.{s}.{b}.conv1" = "b{s}{b}"',
        "stages.{s}.{b}.conv1",
        "stages.{s}.{b}.conv1 and stages.0.{b}.conv{k} fit stages.0.0.conv1 equally well",
    ),
    "colliding names": (
        '"layer{s+1}.{b}.bn{k}"',
        '"layer{s+1}.{b}.bn"',
        '.{b}.bn"',
        "are both called layer1.0.bn.moving_mean",
    ),
    "modules as list": ("[modules]", "[[modules]]", "[[modules]]", "modules must be a table"),
    "unknown kind": ("[leaves.conv]", "[leaves.dense]\n[leaves.conv]", "dense", "unknown kind of module 'dense'"),
    "kind as text": ("[leaves.conv]\nkernel", "[leaves]\nconv", "conv = ", "leaves.conv must be a table"),
    "missing kind": ('[leaves.linear]\nkernel = "weight"\nbias = "bias"', "", "[leaves.conv]", "no [leaves.linear]"),
    "unknown leaf": ('bias = "bias"', 'bias = "bias"\nscale = "x"', '"x"', "a linear has no 'scale'"),
    "missing leaf": ('var = "moving_variance"', "", "[leaves.norm]", "[leaves.norm] has no name for var"),
    "leaf that is no text": ('bias = "bias"', "bias = 1", "bias = 1", "the name of bias must be text"),
    "leaves of one name": (
        'bias = "bias"',
        'bias = "weight"',
        "bias =",
        "kernel and bias of a linear are both called weight",
    ),
    "no TOML": (HEAD, '"head" = classifier', "= classifier", "not valid TOML"),
    "key twice": (HEAD, f'{HEAD}\n"head" = "again"', "again", "not valid TOML: Cannot overwrite a value"),
}


@pytest.fixture
def write_senet(tmp_path: Path) -> Callable[..., str]:
    return writer(SENET, tmp_path)


def test_without_a_shape_squeeze_and_excitation_is_convolution(write_senet: Callable[..., str]) -> None:
    key = "stages.0.0.squeeze1.kernel"
    network = architecture("seresnet50")
    assert dialect(write_senet()).ground(network).slots[key].shape == (16, 256)
    for change in (('[shapes]\nsqueeze = "dense"', ""), ('squeeze = "dense"', 'squeeze = "conv"')):
        assert dialect(write_senet(change)).ground(network).slots[key].shape == (16, 256, 1, 1)


SQUEEZE_LEAVES = '[leaves.squeeze]\nkernel = "weight"\nbias = "bias"'
DENSE = '[shapes]\nsqueeze = "dense"'
SHAPE_FAULTS = {
    "kind": ('squeeze = "dense"', 'linear = "dense"', '"dense"', "shapes are said of squeeze, not of 'linear'"),
    "form": ('"dense"', '"flat"', '"flat"', "the shape of squeeze must be conv or dense, not 'flat'"),
    "form that is no text": ('"dense"', "[2]", "[2]", "the shape of squeeze must be conv or dense, not [2]"),
    "no table": ("[traits]", "shapes = 1\n[traits]", "shapes = 1", "shapes must be a table"),
    "leaves missing": (SQUEEZE_LEAVES, "", "[leaves.conv]", "no [leaves.squeeze]"),
}


@pytest.mark.parametrize("what", SHAPE_FAULTS)
def test_faults_of_shapes_name_file_and_line(what: str, write_senet: Callable[..., str]) -> None:
    old, new, blamed, message = SHAPE_FAULTS[what]
    path = write_senet(*([(DENSE, "")] if what == "no table" else []), (old, new))
    with pytest.raises(DialectFileError) as caught:
        dialect(path)
    assert f"{path}:{line_of(path, blamed)}: {message}" in caught.value.message.splitlines()


@pytest.mark.parametrize("table", [SQUEEZE_LEAVES, DENSE])
def test_what_is_said_of_a_kind_that_no_rule_names_is_a_fault(table: str, write: Callable[..., str]) -> None:
    path = write(("[leaves.conv]", f"{table}\n[leaves.conv]"))
    with pytest.raises(DialectFileError, match="has squeeze, but no rule names a module of that kind"):
        dialect(path)


@pytest.mark.parametrize("what", FAULTS)
def test_every_fault_names_file_and_line(what: str, write: Callable[..., str]) -> None:
    old, new, blamed, message = FAULTS[what]
    path = write((old, new))
    with pytest.raises(DialectFileError) as caught:
        dialect(path)
    said = [line for line in caught.value.message.splitlines() if message in line]
    assert said, caught.value.message
    assert said[0].startswith(f"{path}:{line_of(path, blamed)}: ")
    assert all(line.startswith(f"{path}:") for line in caught.value.message.splitlines())
    assert caught.value.exit_code == 3
    assert "CONTRIBUTING.md" in caught.value.remedy


def test_all_faults_come_at_once_in_the_order_of_the_file(write: Callable[..., str]) -> None:
    path = write(('"mindspore"', '"jax"'), (HEAD, '"head" = 1'), ('shift = "beta"', 'shfit = "beta"'))
    with pytest.raises(DialectFileError) as caught:
        dialect(path)
    numbers = [int(line.removeprefix(path).split(":")[1]) for line in caught.value.message.splitlines()]
    assert numbers == [
        line_of(path, '"jax"'),
        line_of(path, '"head"'),
        line_of(path, "[leaves.norm]"),
        line_of(path, "shfit"),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[leaves]\nnorm.scale = "a"\nnorm.moving = "b"\n', 3),
        ('[leaves."norm"]\n"scale" = "a"\n\'moving\' = "b"\n', 3),
        ('leaves.norm.scale = "a"\nleaves.norm.moving = "b"\n', 2),
        ('[leaves.conv]\nmoving = "x"\n[leaves.norm]\nmoving = "b"\n', 4),
        ('[ leaves . norm ] # moving = 1\n  "mov\\u0069ng"   =   "b"\n', 2),
        ('# moving = 1\nleaves = { norm = { moving = "b" } }\n', 2),
        ('# a\u2028b is one line\n[leaves.norm]\nmoving = "b"\n', 3),
        ("text = '''\nmoving = 1\n[leaves.norm]\n\"\\q\" = 1\n'''\n[leaves.norm]\nmoving = 1\n", 7),
    ],
)
def test_the_line_is_found_however_toml_is_written(text: str, line: int) -> None:
    with pytest.raises(DialectFileError) as caught:
        load(text, source="x.toml")
    assert f"x.toml:{line}: a norm has no 'moving'" in caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ":1: missing key 'name'"),
        (b'\n\nname = "\xff"', ":3: not UTF-8 text"),
        (b'name = "x"\ntitle = "', ":2: not valid TOML"),
        (b'name = "x"\ntitle = [\n1,\n', ":4: not valid TOML"),
        (b"a = " + b"[" * 100_000, ":1: not valid TOML: it is nested too deep"),
    ],
)
def test_files_that_are_no_dialect_at_all(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_bytes(content)
    with pytest.raises(DialectFileError) as caught:
        dialect(str(path))
    assert caught.value.message.startswith(f"{path}:")
    assert message in caught.value.message


@given(st.text(max_size=200))
@settings(deadline=None)
def test_any_text_is_a_dialect_or_an_error_with_its_place(text: str) -> None:
    with pytest.raises(DialectFileError, match=r"^x\.toml:[0-9]+: "):
        load(text, source="x.toml")


VALUES = st.recursive(
    st.sampled_from(("1", "true", '""', '"x"', '"{s}"', '"resnet50"', "[]")),
    lambda inner: (
        st.lists(inner, max_size=2).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(("norm", "head", "scale")), inner, max_size=2).map(
            lambda items: "{" + ", ".join(f"{key} = {value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=4,
)
KEYS = ("name", "title", "framework", "library", "models", "traits", "modules", "leaves", "other")


@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
@settings(deadline=None)
def test_any_values_give_an_error_with_its_place(values: dict[str, str]) -> None:
    text = "\n".join(f"{key} = {value}" for key, value in values.items())
    with pytest.raises(DialectFileError, match=r"^x\.toml:[0-9]+: "):
        load(text, source="x.toml")


def test_the_leaves_of_a_norm_are_what_files_must_name() -> None:
    for name in BUILTIN:
        for kind, leaves in dialect(name).leaves.items():
            assert set(LEAVES[kind]) - {"count"} <= set(leaves) <= set(LEAVES[kind])
        # A dialect has the kinds that its networks have: a detector no linear layer, a classifier no predictor.
        assert set(dialect(name).leaves) >= {"conv", "norm"}
        assert len(set(dialect(name).leaves) & {"linear", "predictor"}) == 1
