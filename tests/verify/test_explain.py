"""What is said of traits that differ: which of the two sides knows, and which option says so."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

import mshub_convert as mc
from mshub_convert.converters.opened import Opened
from mshub_convert.converters.sources import calibrated
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.request import SourceRequest
from mshub_convert.verify.explain import said_against_the_file, trait_cause

NETWORK = ResNet((1, 1), classes=10)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Opens one of four files with traits said: names of timm or mindcv, without a record or (converted) with one."""
    files = {}
    for naming in ("timm", "mindcv"):
        files[naming] = tmp_path / f"{naming}.safetensors"
        calibrated.write(NETWORK, naming, 0, files[naming])
        save_file(load_file(files[naming]), files[naming])  # drops the record
    for naming, source in (("mindcv", "timm"), ("timm", "mindcv")):
        out = tmp_path / f"recorded-{naming}.safetensors"
        files[f"recorded {naming}"] = mc.convert(files[source], to=f"safetensors:{naming}", out=out).path
    with ExitStack() as stack:
        yield lambda which, **traits: stack.enter_context(SourceRequest(files[which], traits=traits).open())


def test_a_target_that_does_not_know_is_told_the_sources(opened: Callable[..., Opened]) -> None:
    said = trait_cause(opened("timm"), opened("mindcv"))
    assert said == (
        "stem_pool is symmetric in the source and same in the target (source: the default of the dialect timm; no"
        " record says otherwise; target: the default of the dialect mindcv; no record says otherwise);"
        " if the target was converted from this source, say --trait stem_pool=symmetric"
    )
    assert trait_cause(opened("timm"), opened("recorded mindcv")) == ""


def test_a_record_is_not_to_be_talked_out_of_what_it_says(opened: Callable[..., Opened]) -> None:
    said = trait_cause(opened("mindcv"), opened("recorded mindcv"))
    assert "target: the record in recorded-mindcv.safetensors" in said
    assert said.endswith("if the target was converted from this source, say --source-trait stem_pool=symmetric")


def test_two_records_that_differ_are_two_functions(opened: Callable[..., Opened]) -> None:
    said = trait_cause(opened("recorded timm"), opened("recorded mindcv"))
    assert "stem_pool is same in the source and symmetric in the target" in said
    assert said.endswith("both tell so themselves: they are two functions")


def test_what_was_said_against_a_record_is_to_be_left_out(opened: Callable[..., Opened]) -> None:
    said = trait_cause(opened("timm"), opened("recorded mindcv", norm_eps="1e-3"))
    assert "norm_eps is 1e-05 in the source and 0.001 in the target" in said
    assert said.endswith("leave out --trait norm_eps=0.001: recorded-mindcv.safetensors itself tells 1e-05")
    said = trait_cause(opened("recorded timm", stem_pool="symmetric"), opened("recorded timm"))
    assert said.endswith("leave out --source-trait stem_pool=symmetric: recorded-timm.safetensors itself tells same")


def test_what_was_said_against_a_record_is_told_where_it_makes_both_equal(opened: Callable[..., Opened]) -> None:
    source, target = opened("mindcv"), opened("recorded mindcv", stem_pool="same")
    assert trait_cause(source, target) == ""
    assert said_against_the_file(source, target) == (
        "target: stem_pool=same as you say; the record in recorded-mindcv.safetensors says symmetric",
    )
    assert said_against_the_file(source, opened("recorded mindcv")) == ()


def test_of_two_records_that_were_contradicted_the_one_that_agrees_with_the_other_side(
    opened: Callable[..., Opened],
) -> None:
    said = trait_cause(opened("recorded timm", norm_eps="1e-4"), opened("recorded mindcv", stem_pool="same"))
    assert said.endswith("leave out --source-trait norm_eps=0.0001: recorded-timm.safetensors itself tells 1e-05")
    source = opened("recorded timm", bottleneck_stride="1x1", stem_pool="symmetric")
    target = opened("recorded mindcv", bottleneck_stride="3x3")
    assert "--source-trait bottleneck_stride=1x1" in trait_cause(source, target)
    both = trait_cause(opened("recorded timm", stem_pool="symmetric"), opened("recorded mindcv", stem_pool="same"))
    assert both.endswith("leave out --trait stem_pool=same: recorded-mindcv.safetensors itself tells symmetric")
