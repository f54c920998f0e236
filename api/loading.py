"""Ready networks: built with the traits of the weights, loaded strictly."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mshub_convert.converters.pipeline import refuse_problems
from mshub_convert.converters.plan import make_plan
from mshub_convert.mappings.dialects import dialect
from mshub_convert.request import SourceRequest
from mshub_convert.verify.errors import MissingPackageError


def load_torch(
    source: Any, *, weights: str | Path | None = None, init: str | None = None, traits: Mapping[str, str] | None = None
) -> Any:
    """A ``torch.nn.Module`` in eval mode with the weights and traits of a file or source address.

    Input float32 (N, 3, H, W), output logits (N, classes). Its state dict has the names of the file if they are a
    PyTorch dialect's, timm's otherwise. Needs torch.
    """
    return _load("torch", "timm", SourceRequest(source, weights, init, traits or {}))


def load_mindspore(
    source: Any, *, weights: str | Path | None = None, init: str | None = None, traits: Mapping[str, str] | None = None
) -> Any:
    """A ``mindspore.nn.Cell`` in inference mode with the weights and traits of a file or source address.

    Input float32 (N, 3, H, W), output logits (N, classes). Its parameters have the names of the file if they are a
    MindSpore dialect's, mindcv's otherwise. Needs mindspore.
    """
    return _load("mindspore", "mindcv", SourceRequest(source, weights, init, traits or {}))


def _load(framework: str, fallback: str, request: SourceRequest) -> Any:
    network = _networks(framework)
    with request.open() as opened:
        opened.checkpoint.check_sums()
        found = opened.found
        naming = found.dialect if found.dialect.framework == framework else dialect(fallback)
        grounding = naming.ground(found.architecture)
        plan = make_plan(opened.tensors, found, grounding, carried=opened.carried, dtype="float32")
        refuse_problems(plan.with_findings(problems=opened.problems))
        built = network.build(found.architecture.graph(opened.traits), grounding)
        network.load(built, {step.target.spec.name: step.target.read() for step in plan.steps})
        return built


def _networks(framework: str) -> Any:
    """The module that builds networks in a framework; raises MissingPackageError where it is not installed."""
    try:
        return importlib.import_module(f"mshub_convert.verify.networks.{framework}")
    except ImportError as error:
        message = f"{framework} cannot be imported: {error}"
        raise MissingPackageError(message, remedy=f"pip install 'mshub-convert[{framework}]'") from error
