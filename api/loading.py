"""Ready networks: built with the traits of the weights, loaded strictly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mshub_convert.converters.pipeline import refuse_problems
from mshub_convert.converters.plan import make_plan
from mshub_convert.mappings.dialects import dialect
from mshub_convert.request import SourceRequest


def load_torch(
    source: Any, *, weights: str | Path | None = None, init: str | None = None, traits: Mapping[str, str] | None = None
) -> Any:
    """A ``torch.nn.Module`` in eval mode with the weights and traits of a file or source address.

    Input float32 (N, 3, H, W), output logits (N, classes). Its state dict has the names of the file if they are a
    PyTorch dialect's, timm's otherwise. Needs torch.
    """
    from mshub_convert.verify.networks import torch as network

    return _load(network, "torch", "timm", SourceRequest(source, weights, init, traits or {}))


def load_mindspore(
    source: Any, *, weights: str | Path | None = None, init: str | None = None, traits: Mapping[str, str] | None = None
) -> Any:
    """A ``mindspore.nn.Cell`` in inference mode with the weights and traits of a file or source address.

    Input float32 (N, 3, H, W), output logits (N, classes). Its parameters have the names of the file if they are a
    MindSpore dialect's, mindcv's otherwise. Needs mindspore.
    """
    from mshub_convert.verify.networks import mindspore as network

    return _load(network, "mindspore", "mindcv", SourceRequest(source, weights, init, traits or {}))


def _load(network: Any, framework: str, fallback: str, request: SourceRequest) -> Any:
    with request.open() as opened:
        found = opened.found
        naming = found.dialect if found.dialect.framework == framework else dialect(fallback)
        grounding = naming.ground(found.architecture)
        plan = make_plan(opened.tensors, found, grounding, carried=opened.carried, dtype="float32")
        refuse_problems(plan.with_findings(problems=opened.problems))
        built = network.build(found.architecture.graph(opened.traits), grounding)
        network.load(built, {step.target.spec.name: step.target.read() for step in plan.steps})
        return built
