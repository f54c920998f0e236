"""The backbone of a source as arrays in memory, under any dialect's names."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mshub_convert.converters.pipeline import refuse_problems
from mshub_convert.converters.plan import make_plan
from mshub_convert.converters.tensors import Array
from mshub_convert.mappings.dialects import dialect
from mshub_convert.request import SourceRequest

_NONE: Mapping[str, str] = MappingProxyType({})


def backbone(
    source: Any, *, to: str, weights: str | Path | None = None, init: str | None = None,
    traits: Mapping[str, str] = _NONE, select: str | None = None,
) -> dict[str, Array]:  # fmt: skip
    """The backbone of an ssd_resnet50 or of any ResNet, bit for bit, named as in the dialect ``to``.

    Everything up to the last stage, no classifier and no heads: of a ResNet-50 318 arrays with torch's BatchNorm
    counters (zeros where the source has none), 265 in MindSpore. ``torchvision`` gives what
    ``resnet50().load_state_dict(…, strict=False)`` takes, ``modelzoo-resnet`` the bare names that model_zoo's training
    of the detector starts from, ``modelzoo-ssd`` and ``ssd`` those inside the detector. Where the traits differ the
    function is not the same: the detector pads as ``same`` and has an epsilon of 1e-3 (docs/ssd.md has what that
    changes). :func:`convert` with ``backbone=True`` writes a file of them, with proof. Other arguments as in
    :class:`SourceRequest`. Raises UsageError for a source of which no backbone is described.
    """
    naming = dialect(to)
    with SourceRequest(source, weights, init, traits, select, backbone=True).open() as opened:
        plan = make_plan(opened.tensors, opened.found, naming.ground(opened.network), carried=opened.carried)
        refuse_problems(plan.with_findings(problems=opened.problems))
        return {step.target.spec.name: step.target.read().copy() for step in plan.steps}
