"""Networks that look like ours and are not: told by their names in the libraries, or by tensors in a file."""

import re
from collections.abc import Iterable

from .relatives import Relative, told_by

_ANTI_ALIASED = "anti-aliased down-sampling has the same names and shapes but another function"
_OF_NAME = (
    ("resnetv2", "a pre-activation ResNet is another network"),
    ("resnetaa", _ANTI_ALIASED),
    ("resnetblur", _ANTI_ALIASED),
    ("seresnetaa", _ANTI_ALIASED),
    ("seresnextaa", _ANTI_ALIASED),
    ("resnetrs", "ResNet-RS strides in a convolution instead of the max-pool and squeezes by 4"),
    ("legacy_se", "it is another class with other names, whose max-pool rounds up"),
    ("senet154", "SENet-154 halves the first convolution of its blocks and has 3x3 shortcuts"),
    ("ecaresne", "efficient channel attention is another function"),
    ("skresne", "selective kernels are another network"),
    ("gcresne", "global context blocks are another network"),
    ("cspresne", "cross-stage partial networks are another architecture"),
    ("resnest", "split attention is another network"),
    ("res2ne", "multi-scale blocks are another network"),
)

# Networks of a library that go by a name of ours and are others, and what they do otherwise.
_TWO_EPSILONS = (
    "calls the BatchNorms in its blocks bn1d and bn2d and gives them another epsilon than the rest (1e-4 and 1e-5),"
    " which no trait says"
)
_NAMESAKES = {("model_zoo", name): _TWO_EPSILONS for name in ("resnet18", "resnet34")}

# What a tensor is called that only this relative has.
_OF_TENSOR: tuple[tuple[str, Relative], ...] = (
    (r"\.se\.conv\.weight$", Relative("a ResNet with efficient channel attention (ECA), which is another function")),
    (r"\.conv\d\.paths\.\d", Relative("a ResNet with selective kernels (SK), which is another network")),
    (r"\.conv2\.fc1\.", Relative("a ResNeSt: its split attention is another network")),
    (r"layer\d+\.\d+\.convs\.\d", Relative("a Res2Net: its multi-scale blocks are another network")),
    (r"\.filt$", Relative("an anti-aliased ResNet: its blurred down-sampling is another function")),
    (r"\.bn\d\.IN\.", Relative("an IBN-Net: its instance normalisation is another function")),
    (r"(^|\.)maxpool\.0\.weight$", Relative("a ResNet-RS, which strides in a convolution instead of the max-pool")),
    (r"\.se_dense_\d", Relative("model_zoo's se_resnet50, which pools by maximum in its shortcuts and squeezes by 4")),
    (r"\.bn1d\.", Relative(
        f"model_zoo's resnet18 or resnet34, which {_TWO_EPSILONS}",
        "Take the network from mindcv, timm or torchvision, such as timm:resnet18: those are converted.",
    )),
    (r"(^|\.)layer0\.conv1\.", Relative("an SENet of timm's legacy class, whose max-pool rounds up")),
    (r"\.se_module\.fc1\.", Relative("model_zoo's senet, whose excitation and classifier have no bias")),
    (r"(^|\.)stages\.\d+\.blocks\.\d+\.conv3\.", Relative("timm's pre-activation ResNet, which is another network")),
)  # fmt: skip
# Relatives that have the very tensors of ours: only what a file is called, or says of itself, tells them apart.
_SAME_TENSORS = re.compile(r"(?:se)?resne(?:xt|t)(?:aa|blur)\d+\w*", re.IGNORECASE)
_ANY = re.compile("|".join(pattern for pattern, _ in _OF_TENSOR))


def why_not(name: str) -> str:
    """Why a relative of these networks is not one of them; empty for a name that is nothing like ours."""
    for start, reason in _OF_NAME:
        if name.startswith(start):
            return reason
    if name.startswith(("resnet", "resnext", "wide_resnet", "seresnet", "seresnext")):
        return "its depth, stem, width or norm is none that we describe"
    return ""


def named_relative(text: str) -> tuple[str, str]:
    """The relative with the same tensors that a text names, and why it is not ours; both empty if it names none.

    >>> named_relative("resnetblur50-84f4748f.pth")
    ('resnetblur50', 'anti-aliased down-sampling has the same names and shapes but another function')
    >>> named_relative("resnet50.pth")
    ('', '')
    """
    found = _SAME_TENSORS.search(text)
    return (found[0], why_not(found[0].lower())) if found else ("", "")


def namesake(library: str, name: str) -> str:
    """What a library's own network of this name does otherwise, so that it is none of ours; empty where it is ours.

    >>> namesake("model_zoo", "resnet18").partition(" and ")[0]
    'calls the BatchNorms in its blocks bn1d'
    """
    return _NAMESAKES.get((library, name), "")


def why_not_tensors(names: Iterable[str]) -> Relative | None:
    """Which relative a file of these names holds; ``names`` are those that our networks do not explain."""
    return told_by((name for name in names if _ANY.search(name)), _OF_TENSOR)
