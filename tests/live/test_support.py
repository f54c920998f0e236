"""Every ticked cell of the support table: converted, verified in the real frameworks, with a control that fails."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mshub_convert.conversion import convert
from mshub_convert.converters.opened import Opened
from mshub_convert.converters.pipeline import Options, Prepared, prepare, write
from mshub_convert.converters.target import output_path, parse_target
from mshub_convert.request import SourceRequest
from mshub_convert.verify.compare import Verdict
from mshub_convert.verify.export import export_mindir
from mshub_convert.verify.inputs import Inputs
from mshub_convert.verify.prover import Prover
from mshub_convert.verify.ranking import Ranking

sys.path.insert(0, str(Path(__file__).parent))
from support import TESTED, Cell, load_results, readme_table, render, save_result

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@contextmanager
def opened_source(source: str, folder: Path) -> Iterator[Opened]:
    whole = source.removesuffix(" --backbone")
    address, arrow, to = whole.partition(" > ")
    if arrow:
        file = convert(address, to=to, init="calibrated:1", out=folder).path
        request = SourceRequest(file, backbone=whole != source)
    else:
        request = SourceRequest(address, init="calibrated:1", backbone=whole != source)
    with request.open() as opened:
        yield opened


def mixed_up(prepared: Prepared) -> Prepared:
    """The same conversion with scale and shift of one BatchNorm in each other's place."""
    steps = {step.key: step for step in prepared.plan.steps}
    scale, shift = steps["stages.1.1.norm2.scale"], steps["stages.1.1.norm2.shift"]
    swapped = {
        scale.key: replace(scale, target=replace(shift.target, spec=scale.target.spec)),
        shift.key: replace(shift, target=replace(scale.target, spec=shift.target.spec)),
    }
    plan = replace(prepared.plan, steps=tuple(swapped.get(step.key, step) for step in prepared.plan.steps))
    return replace(prepared, plan=plan, destination=prepared.destination.with_stem("mixed-up"))


@pytest.mark.parametrize("source", TESTED)
def test_conversions_are_proven_and_controls_fail(source: str, tmp_path: Path) -> None:
    with opened_source(source, tmp_path) as opened:
        # A detector at its own size would take an hour; tests/verify/test_ssd.py has others too.
        prover = Prover(opened, inputs=Inputs(asked=True))
        # A mistake shows on few pictures; the controls need no more.
        control_prover = Prover(opened, inputs=Inputs(count=2, sizes=((224, 224),), asked=True))
        for to in TESTED[source]:
            target = parse_target(to)
            folder = tmp_path / to.replace(":", "-")
            destination = output_path(f"{folder}/", target, opened.source.model)
            prepared = prepare(opened, target, destination, Options())
            assert not prepared.plan.problems
            folder.mkdir()
            with write(prepared, export=export_mindir) as staged:
                path = staged.commit()
            with SourceRequest(path).open() as result:
                proof = prover.prove(result)
            assert proof, proof.reason
            ranked = [item.ranking for item in proof.comparisons if item.ranking is not None]
            assert ranked == [Ranking(8, 8, 8, 0)] * len(ranked)
            assert bool(ranked) == ("head" in opened.network.graph().outputs)

            with write(mixed_up(prepared), export=export_mindir) as staged:
                wrong = staged.commit()
            with SourceRequest(wrong).open() as result:
                control = control_prover.prove(result, library_check=False, layers="never")
            assert not control
            assert control.weights.verdict is Verdict.FAIL
            # The forward alone must see it too.
            assert all(item.verdict is Verdict.FAIL for item in control.comparisons)
            assert control.comparisons
            ratios = [max(item.ratio for item in which.comparisons) for which in (proof, control)]
            save_result(source, to, Cell(*ratios))
            path.unlink()
            wrong.unlink()


def test_readme_shows_what_was_proven() -> None:
    """Renders the table from this run's results, where all of it ran."""
    results = load_results()
    if any(to not in results.get(source, {}) for source, targets in TESTED.items() for to in targets):
        pytest.skip("not all conversions of the table were run in this clone")
    assert readme_table() == render({source: tuple(results[source]) for source in TESTED})
