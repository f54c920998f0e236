"""Ready networks: built with the traits of the weights, loaded strictly."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mshub_convert.converters.opened import Opened
from mshub_convert.converters.pipeline import refuse_problems
from mshub_convert.converters.plan import make_plan
from mshub_convert.mappings.dialects import preferred_dialect
from mshub_convert.request import SourceRequest
from mshub_convert.verify.errors import MissingPackageError


def load_torch(
    source: Any, *, weights: str | Path | None = None, init: str | None = None,
    traits: Mapping[str, str] | None = None, backbone: bool = False,
) -> Any:  # fmt: skip
    """A ``torch.nn.Module`` in eval mode with the weights and traits of a file or source address.

    Input float32 (N, 3, H, W), output logits (N, classes); a detector's are loc (N, anchors, 4) and scores (N, anchors,
    classes), in a tuple, a backbone's the map of its last stage (N, channels, H / 32, W / 32), rounded up. ``backbone``
    leaves out the classifier, or the heads of a detector. Its state dict has the names of the file if they are a
    PyTorch dialect's; otherwise timm's, or those of the first dialect that has names for the network. Needs torch.
    """
    return _load("torch", SourceRequest(source, weights, init, traits or {}, backbone=backbone))


def load_mindspore(
    source: Any, *, weights: str | Path | None = None, init: str | None = None,
    traits: Mapping[str, str] | None = None, backbone: bool = False,
) -> Any:  # fmt: skip
    """A ``mindspore.nn.Cell`` in inference mode with the weights and traits of a file or source address.

    Input float32 (N, 3, H, W), output logits (N, classes); a detector's are loc (N, anchors, 4) and scores (N, anchors,
    classes), in a tuple, a backbone's the map of its last stage (N, channels, H / 32, W / 32), rounded up. ``backbone``
    leaves out the classifier, or the heads of a detector. Its parameters have the names of the file if they are a
    MindSpore dialect's; otherwise mindcv's, or those of the first dialect that has names for the network. Needs
    mindspore.
    """
    return _load("mindspore", SourceRequest(source, weights, init, traits or {}, backbone=backbone))


def _load(framework: str, request: SourceRequest) -> Any:
    _networks(framework)  # before anything is read
    with request.open() as opened:
        opened.checkpoint.check_sums()
        return built_from(framework, opened)


def built_from(framework: str, opened: Opened) -> Any:
    """The network of an opened source in a framework, float32, with its weights and traits."""
    network, found = _networks(framework), opened.found
    own = found.dialect
    naming = own if own.framework == framework else preferred_dialect(found.architecture, framework)
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
