"""Words for a file that is none of our networks: what it looks like, and what the nearest network is."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .dialects import Grounding
from .names import collapse, counted, listed

# Parts of names by which other networks give themselves away; the first that is found counts.
_LOOKS = (
    ("relative_position_bias_table", "a Swin transformer"),
    ("attn.qkv", "a vision transformer"),
    ("patch_embed", "a vision transformer"),
    ("denseblock", "a DenseNet"),
    ("multi_box", "an SSD detector of model_zoo"),
    ("rpn_head", "a two-stage detector"),
    ("rpn.", "a two-stage detector"),
    ("bbox_head", "a detector"),
    ("encoder_q.", "contrastive pre-training (MoCo)"),
    ("_depthwise_conv", "an EfficientNet"),
    ("conv_dw", "a MobileNet or EfficientNet"),
    ("features.", "a VGG, AlexNet, MobileNet or EfficientNet"),
    ("gpu_0/", "a Caffe2 network"),
    ("embeddings.", "a language model"),
    ("token_embedding", "a language model"),
    ("encoder.", "an encoder-decoder"),
)
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class Nearest:
    """The network that explains most of the names of a file, and the share it explains."""

    grounding: Grounding
    names: frozenset[str]
    score: float


def describe(
    names: Collection[str], training: Collection[str], reason: str, nearest: Nearest | None, dialects: str
) -> str:
    """One sentence about a file that was not identified.

    ``training`` are the names among them of an optimiser; ``reason`` says which relative of our networks it is, if
    it is one; ``dialects`` says in words which were tried.
    """
    if not names:
        return "the file holds no tensors"
    count = counted(len(names), "tensor")
    if len(training) == len(names):
        return f"{count}, all of an optimiser or a training loop: {_some(names)}"
    if reason:
        return f"{count} of {reason}: {_some(names)}"
    look = _look(names)
    if nearest is None:
        return f"{count} that fit no ResNet or ResNeXt in {dialects}{look}: {_some(names)}"
    expected = nearest.grounding.specs
    network = f"{nearest.grounding.architecture.name} in {nearest.grounding.dialect.name} names"
    parts = [f"{count} of which the nearest network, {network}, explains {nearest.score:.0%}{look}"]
    surplus = [name for name in names if name not in expected and name not in training and name in nearest.names]
    missing = [name for name in expected if name not in nearest.names]
    parts += [f"{what}: {_some(some)}" for what, some in (("surplus", surplus), ("missing", missing)) if some]
    return "; ".join(parts)


def _look(names: Iterable[str]) -> str:
    text = " ".join(names)
    if look := next((what for mark, what in _LOOKS if mark in text), ""):
        return f" (it looks like {look})"
    for mark, framework in (("moving_mean", "MindSpore"), ("running_mean", "PyTorch")):
        if mark in text:
            return f" (its BatchNorm is named as in {framework})"
    return ""


def _some(names: Iterable[str], limit: int = 6) -> str:
    """The first patterns of names, folded."""
    patterns = [text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…" for text in collapse(names)]
    if len(patterns) <= limit:
        return listed(patterns)
    return f"{', '.join(patterns[:limit])} and {len(patterns) - limit} more patterns"
