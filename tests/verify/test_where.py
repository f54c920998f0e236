"""What can be said of where a network runs, and what is told of a text that says something else."""

import pytest

from mshub_convert.converters.errors import UsageError
from mshub_convert.verify.runtimes import EXTRAS
from mshub_convert.verify.runtimes.where import DEVICES, Where, where


@pytest.mark.parametrize(
    ("text", "expected", "canonical"),
    [
        ("torch", Where("torch"), "torch"),
        ("Torch:CPU", Where("torch"), "torch"),
        ("torch:cuda", Where("torch", "cuda"), "torch:cuda:0"),
        ("torch:NPU:3", Where("torch", "npu", 3), "torch:npu:3"),
        ("mindspore:ascend:1", Where("mindspore", "ascend", 1), "mindspore:Ascend:1"),
        ("MINDSPORE:GPU", Where("mindspore", "gpu"), "mindspore:GPU:0"),
        ("onnxruntime:cann:7", Where("onnxruntime", "cann", 7), "onnxruntime:CANN:7"),
        ("om", Where("om", "ascend"), "om:Ascend:0"),
        ("om:2", Where("om", "ascend", 2), "om:Ascend:2"),
        ("om:Ascend:2", Where("om", "ascend", 2), "om:Ascend:2"),
        ("mindir:Ascend", Where("mindir", "ascend"), "mindir:Ascend:0"),
        (" reference ", Where("reference"), "reference"),
    ],
)
def test_texts_that_say_where(text: str, expected: Where, canonical: str) -> None:
    assert Where.parse(text) == where(text) == expected
    assert str(expected) == canonical
    assert Where.parse(canonical) == expected


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("tensorflow", "no runtime 'tensorflow'", "torch"),
        ("mindspor:Ascend", "no runtime 'mindspor:Ascend'", "Did you mean mindspore"),
        ("", "no runtime ''", "Known: "),
        ("torch:cud", "torch runs on cpu, cuda or npu, and 'torch:cud' was asked for", "Did you mean torch:cuda"),
        ("mindspore:ascent", "mindspore runs on CPU, Ascend or GPU", "Did you mean mindspore:Ascend"),
        ("onnxruntime:npu", "onnxruntime runs on CPU, CUDA or CANN", "onnxruntime:CPU"),
        ("reference:cuda", "reference runs on CPU", "reference:CPU"),
        ("torch:cuda:x", "'torch:cuda:x' does not say which device", "torch:cuda:1"),
        ("torch:cuda:-1", "does not say which device", "torch:cuda:1"),
        ("torch:cuda:1:2", "does not say which device", "torch:cuda:1"),
        ("torch:cpu:1", "does not say which device", "a CPU has no index"),
        ("om:first", "does not say which device", "torch:cuda:1"),
        ("torch:cuda:²", "does not say which device", "torch:cuda:1"),
    ],
)
def test_texts_that_say_nothing(text: str, said: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        Where.parse(text)
    assert said in caught.value.message
    assert remedy in caught.value.remedy
    assert caught.value.exit_code == 2


def test_every_runtime_has_a_module_to_run_it() -> None:
    assert {Where(runtime).engine for runtime in DEVICES} == set(EXTRAS)
    assert where(None) is None
