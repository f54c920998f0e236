"""A target without the last classes is proven by the first logits of its source; wrong rows fail by outputs alone."""

from dataclasses import replace

import numpy as np
import pytest

import mshub_convert as mc
from mshub_convert.converters.pipeline import Options, prepare, write
from mshub_convert.converters.sources import calibrated
from mshub_convert.converters.target import parse_target
from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.request import SourceRequest
from mshub_convert.verify.compare import Verdict
from mshub_convert.verify.inputs import Inputs
from mshub_convert.verify.prover import Prover
from mshub_convert.verify.ranking import Ranking

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "source.safetensors"
    calibrated.write(ResNet((1, 2, 1), cardinality=4, base_width=8, classes=21), "modelzoo-gpu", 0, path)
    return path


def test_conversion_without_the_last_class_is_proven(source, tmp_path):
    result = mc.convert(source, to="ckpt", out=tmp_path, classes=20, verify=True)
    assert result.proof
    assert all(item.ranking == Ranking(8, 8, 8, 0) for item in result.proof.comparisons)
    assert mc.verify(source, result.path, classes=20)
    unsaid = mc.verify(source, result.path)
    assert not unsaid
    assert "say --classes 20" in unsaid.reason


def test_other_rows_fail_by_their_outputs(source, tmp_path):
    def next_rows(extent):
        return replace(extent, offset=extent.offset + extent.length // 20)

    with SourceRequest(source, classes=20).open() as held:
        prepared = prepare(held, parse_target("ckpt"), tmp_path / "wrong.ckpt", Options())
        steps = tuple(
            replace(step, target=replace(step.target, extents=tuple(map(next_rows, step.target.extents))))
            if step.how == "cut" else step
            for step in prepared.plan.steps
        )  # fmt: skip
        assert sum(step.how == "cut" for step in steps) == 2
        with write(replace(prepared, plan=replace(prepared.plan, steps=steps))) as staged:
            path = staged.commit()
        with SourceRequest(path).open() as target:
            prover = Prover(held, inputs=Inputs(count=2, sizes=((64, 64),)))
            control = prover.prove(target, library_check=False)
    assert not control
    assert set(control.weights.differing) == {"classifier.weight", "classifier.bias"}
    assert [item.verdict for item in control.comparisons] == [Verdict.FAIL]
    assert np.isfinite(control.comparisons[0].ratio)
