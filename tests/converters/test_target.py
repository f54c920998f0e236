"""``FORMAT[:DIALECT]``, and where the output goes."""

from pathlib import Path

import pytest

from mshub_convert.converters.errors import UsageError
from mshub_convert.converters.target import Form, output_path, parse_target
from mshub_convert.mappings.errors import MshubConvertError


@pytest.mark.parametrize(
    ("text", "container", "dialect", "framework"),
    [
        ("ckpt", "ckpt", "mindcv", "mindspore"),
        ("pth", "pth", "timm", "torch"),
        ("pt", "pth", "timm", "torch"),
        (".pth", "pth", "timm", "torch"),
        ("safetensors", "safetensors", "timm", "torch"),
        ("safetensors:mindcv", "safetensors", "mindcv", "mindspore"),
        ("ckpt:modelzoo", "ckpt", "modelzoo", "mindspore"),
        ("ckpt:", "ckpt", "mindcv", "mindspore"),
    ],
)
def test_targets(text: str, container: str, dialect: str, framework: str) -> None:
    target = parse_target(text)
    assert (target.codec.name, target.dialect.name, target.framework) == (container, dialect, framework)


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("cpkt", "unknown container 'cpkt'", "Did you mean ckpt?"),
        ("", "unknown container ''", "Known: ckpt, mindir, modelhub, mshub, om, onnx, pth, safetensors."),
        ("ckpt:mindvc", "unknown dialect 'mindvc'", "Did you mean mindcv?"),
        (
            "ckpt:timm",
            "MindSpore .ckpt holds mindspore names, and timm is a torch dialect",
            "safetensors:timm, or ckpt:mindcv",
        ),
        (
            "pth:mindcv",
            "PyTorch .pth holds torch names, and mindcv is a mindspore dialect",
            "safetensors:mindcv, or pth:timm",
        ),
    ],
)
def test_what_is_no_target(text: str, message: str, remedy: str) -> None:
    with pytest.raises(MshubConvertError) as caught:
        parse_target(text)
    assert message in caught.value.message
    assert remedy in caught.value.remedy
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_to_cast_to(dtype: str) -> None:
    assert parse_target("ckpt", Form(dtype)).dtype == dtype


@pytest.mark.parametrize("dtype", ["float61", "int8", ""])
def test_no_other_dtypes(dtype: str) -> None:
    with pytest.raises(UsageError, match="cannot cast to"):
        parse_target("ckpt", Form(dtype))


def test_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    target = parse_target("ckpt")
    Path("folder").mkdir()
    Path("folder.ckpt").mkdir()
    for out, path in {
        None: "net.ckpt",
        "": "net.ckpt",
        ".": "net.ckpt",
        "folder": "folder/net.ckpt",
        "folder.ckpt": "folder.ckpt/net.ckpt",
        "new/folder/": "new/folder/net.ckpt",
        "new/folder": "new/folder/net.ckpt",
        "new/file.ckpt": "new/file.ckpt",
        "new/file.ckpt/": "new/file.ckpt/net.ckpt",
        "resnext50_32x4d.a1h_in1k": "resnext50_32x4d.a1h_in1k/net.ckpt",
    }.items():
        assert output_path(out, target, "net") == Path(path), out


def test_every_suffix_of_a_container_will_do() -> None:
    target = parse_target("pth")
    for suffix in (".pth", ".pt", ".pth.tar", ".bin"):
        assert output_path(f"a{suffix}", target, "net") == Path(f"a{suffix}")


def test_a_suffix_of_another_container() -> None:
    with pytest.raises(
        UsageError, match=r"has the suffix of PyTorch \.pth, but MindSpore \.ckpt was asked for"
    ) as caught:
        output_path("a.pth", parse_target("ckpt"), "net")
    assert caught.value.remedy == "Use --to pth, or a name that ends in .ckpt."


def test_a_file_where_a_folder_would_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"is a file without the suffix \.ckpt"):
        output_path(str(tmp_path / "file"), parse_target("ckpt"), "net")
