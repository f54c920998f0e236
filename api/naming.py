"""Names without files: the mapping between two dialects, and the translation of a state dict in memory."""

from typing import Any

import numpy as np

from mshub_convert.converters import backbone as bodies
from mshub_convert.converters.pipeline import refuse_problems
from mshub_convert.converters.plan import make_plan
from mshub_convert.converters.record import NOTHING_CARRIED
from mshub_convert.converters.sources import memory
from mshub_convert.converters.tensors import Array
from mshub_convert.mappings.architectures import Architecture, architecture
from mshub_convert.mappings.dialects import BUILTIN, dialect
from mshub_convert.mappings.identify import identify

# What tensors in memory are called where there is something to say of them.
_WHAT = "the state dict"


def mapping(
    model: str | Architecture, source: str, target: str, *, classes: int | None = None
) -> dict[str, tuple[str, ...]]:
    """Names of every tensor of a model in one dialect → names in another.

    One name becomes several where the target splits grouped kernels on axis 0 (in that order), several become the
    same one where the source does, and none where the target has no such tensor (BatchNorm counters).

    >>> mapping("resnext50_32x4d", "timm", "modelzoo")["layer1.0.downsample.1.running_var"]
    ('backbone.layer1.0.down_sample.bn.moving_variance',)
    """
    network = architecture(model, classes=classes) if isinstance(model, str) else model
    ours, theirs = dialect(source).ground(network), dialect(target).ground(network)
    result: dict[str, tuple[str, ...]] = {}
    for key, slot in ours.slots.items():
        names = theirs.slots[key].names if key in theirs.slots else ()
        for position, name in enumerate(slot.names):
            result[name] = (names[position],) if len(names) == len(slot.names) else names
    return result


def translate(
    tensors: Any, *, to: str, source: str | None = None, dtype: str | None = None, backbone: bool = False
) -> dict[str, Array]:
    """Rename (and split or join) a state dict in memory.

    ``tensors`` maps names to NumPy arrays, torch tensors or MindSpore parameters, or is a module or Cell; ``to`` is a
    dialect, ``source`` the dialect it has (default: found out). Returns arrays of the target's shapes in the
    target's order; dtypes stay unless ``dtype`` says otherwise (bfloat16 is ml_dtypes'). ``backbone`` leaves out the
    classifier, or the heads of a detector.

    Raises PlanError with every missing, surplus or misshapen tensor.
    """
    refs = memory.references(tensors)
    shapes = {name: ref.spec.shape for name, ref in refs.items()}
    found = identify(shapes, dialects=(source,) if source else BUILTIN)
    if backbone:
        found = bodies.alone(found, _WHAT).found
    problems = () if backbone else bodies.unasked(found, _WHAT, NOTHING_CARRIED)
    plan = make_plan(refs, found, dialect(to).ground(found.architecture), carried=NOTHING_CARRIED, dtype=dtype)
    refuse_problems(plan.with_findings(problems=problems))
    return {step.target.spec.name: np.array(step.target.read()) for step in plan.steps}
