"""The ResNet-50 inside a detector, or a ResNet-50 for one: weights of the backbone alone, under any dialect's names."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mshub_convert.converters.errors import UsageError
from mshub_convert.converters.pipeline import refuse_problems
from mshub_convert.converters.plan import make_plan
from mshub_convert.converters.tensors import Array
from mshub_convert.mappings.architectures.ssd_resnet50 import BACKBONE, SsdResNet50
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.folding import with_slots
from mshub_convert.request import SourceRequest

_NONE: Mapping[str, str] = MappingProxyType({})


def backbone(
    source: Any, *, to: str, weights: str | Path | None = None, init: str | None = None,
    traits: Mapping[str, str] = _NONE, select: str | None = None,
) -> dict[str, Array]:  # fmt: skip
    """The backbone of an ssd_resnet50 or of a resnet50, bit for bit, named as in the dialect ``to``.

    Everything up to the last stage, no classifier and no heads: 318 arrays with torch's BatchNorm counters (zeros
    where the source has none), 265 in MindSpore. ``torchvision`` gives what ``resnet50().load_state_dict(…,
    strict=False)`` takes, ``modelzoo-resnet`` the bare names that model_zoo's training of the detector starts from,
    ``modelzoo-ssd`` and ``ssd`` those inside the detector. The function is not the same: the detector pads as
    ``same`` and has an epsilon of 1e-3 (docs/ssd.md has what that changes). Other arguments as in
    :class:`SourceRequest`. Raises UsageError for a source with another backbone.
    """
    naming = dialect(to)
    request = SourceRequest(source, weights, init, traits, select)
    with request.open() as opened:
        network = opened.network
        if network not in (SsdResNet50(network.classes), BACKBONE.with_classes(network.classes)):
            raise UsageError(
                f"{opened.source.address} is {network.name}, whose backbone is no ResNet-50 of ssd_resnet50",
                remedy="Give an ssd_resnet50 or a resnet50.",
            )
        kept = {p.key for p in BACKBONE.graph().parameters if p.module != "head"}
        whole = SsdResNet50() if naming.can_name(SsdResNet50()) else BACKBONE
        names = naming.ground(whole)
        target = with_slots(names, {key: slot for key, slot in names.slots.items() if key in kept})
        plan = make_plan(opened.tensors, opened.found, target, carried=opened.carried)
        refuse_problems(plan.with_findings(problems=opened.problems))
        return {step.target.spec.name: step.target.read().copy() for step in plan.steps}
