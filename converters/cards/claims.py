"""What a card says of its weights: which networks they can be, how many classes, and what is known to be wrong."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ...mappings.architectures import architecture
from ...mappings.architectures.resnet_relatives import namesake
from ...mappings.errors import UnknownNameError
from ...mappings.names import listed
from .card import Card

# As model_zoo names its networks, after blanks, dashes and dots are gone. Training methods (thor) follow the depth.
_NAME = re.compile(
    r"(?P<detector>ssd)?(?P<se>se(?:net)?)?(?P<family>wideresnet|resnext|resnet)(?P<second>v2)?"
    r"(?P<depth>18|34|50|101|152)?(?P<widths>(?:32|64)x(?:4|8|16)d)?(?P<pyramid>fpn)?"
)
_DEPTHS = ("18", "34", "50", "101", "152")
# model_zoo called networks of both kinds resnext50 and resnext101.
_WIDTHS = ("32x4d", "64x4d")
# Rows of the classifier: model_zoo's ResNet has one more than ImageNet has classes.
_CLASSES = (
    (re.compile("imagenet(?:2012|1k)?"), (1000, 1001)),
    (re.compile("cifar10"), (10,)),
    (re.compile("cifar100"), (100,)),
)
_DETECTOR = "ssd_"
_SSD_SIZE = 640
# The cards of MindSpore 0.7 to 1.1 say 224 for these; those of 1.2 and 1.3 say 227, for every network alike.
_TAKEN_AT_224 = ("resnet50", "resnet101", "resnext50")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a card promises.

    ``network`` is what the card calls it; ``architectures`` are the names of ours it can be, empty for another
    family, and then ``reason`` says why; ``classes`` are the possible numbers of classes, empty when unknown;
    ``doubts`` are statements of the card that are known to be wrong or contradict each other.
    """

    network: str
    architectures: tuple[str, ...]
    reason: str
    classes: tuple[int, ...]
    doubts: tuple[str, ...]


def claims(card: Card) -> Claims:
    """Read the claims of a card from its model name, its UID and its data set."""
    named = card.text("model-name")
    network = named or card.title or card.uid or "an unnamed network"
    reading, doubts = _reading(card)
    candidates = (named,) if _describes(named) else _candidates(reading) if reading else ()
    known = tuple(name for name in candidates if _describes(name))
    reason = ""
    if not known:
        reason = _why_not(candidates[0]) if candidates else "no ResNet or ResNeXt"
    doubts += _shape_doubts(card, candidates)
    doubts += _namesake_doubts(card, known)
    detector = any(name.startswith(_DETECTOR) for name in candidates)
    return Claims(network, known, reason, () if detector else _classes(card), tuple(doubts))


def _compact(text: str) -> str:
    return re.sub(r"[\s_.-]+", "", text.casefold())


def _reading(card: Card) -> tuple[re.Match[str] | None, list[str]]:
    """What the names of a card say, and where they contradict each other. A backbone alone makes no classifier."""
    told = {"model-name": card.text("model-name"), "UID": card.uid.rpartition("/")[2]}
    found = {where: match for where, text in told.items() if (match := _NAME.match(_compact(text)))}
    if not found:
        return None, []
    depths = {where: match["depth"] for where, match in found.items() if match["depth"]}
    doubts = []
    if len(set(depths.values())) > 1:
        said = listed([f"its {where} says {told[where]}" for where in depths])
        doubts.append(f"the card contradicts itself: {said}")
    backbone = _NAME.match(_compact(card.text("backbone-name")))
    chosen = next((found[where] for where in depths), None)
    if chosen is None and backbone is not None and backbone["depth"]:
        chosen = backbone
    return chosen or next(iter(found.values())), doubts


def _candidates(reading: re.Match[str]) -> tuple[str, ...]:
    """Names of networks that a reading can mean, in our spelling."""
    depths = (reading["depth"],) if reading["depth"] else _DEPTHS
    family = reading["family"]
    if reading["detector"]:
        return tuple(f"{_DETECTOR}{family}{depth}{'_fpn' if reading['pyramid'] else ''}" for depth in depths)
    if family == "wideresnet":
        return ("wideresnet",)
    if reading["second"]:
        return tuple(f"{family}v2_{depth}" for depth in depths)
    squeezed = "se" if reading["se"] else ""
    if family == "resnet":
        return tuple(f"{squeezed}resnet{depth}" for depth in depths)
    widths = (reading["widths"],) if reading["widths"] else _WIDTHS
    return tuple(f"{squeezed}resnext{depth}_{width}" for depth in depths for width in widths)


def _describes(name: str) -> bool:
    try:
        architecture(name)
    except UnknownNameError:
        return False
    return True


def _why_not(name: str) -> str:
    """Why a network of these families is none that can be converted."""
    if name == "wideresnet":
        return "the WideResNet of CIFAR is another network than wide_resnet50_2"
    try:
        architecture(name)
    except UnknownNameError as error:
        return error.message
    return ""


def _classes(card: Card) -> tuple[int, ...]:
    dataset = _compact(card.text("train-dataset"))
    return next((counts for pattern, counts in _CLASSES if pattern.fullmatch(dataset)), ())


def _namesake_doubts(card: Card, known: tuple[str, ...]) -> Iterator[str]:
    """Whether model_zoo has another network of a name that the card can mean."""
    places = " ".join((card.text("repo-link"), *(asset.link for asset in card.assets)))
    if not re.search(r"official[/_]cv|model_zoo", places):
        return
    reasons = {name: reason for name in known if (reason := namesake("model_zoo", name))}
    for reason in dict.fromkeys(reasons.values()):
        names = listed([name for name in reasons if reasons[name] == reason], "or")
        yield f"a file of {names} may be refused: model_zoo's own network {reason}"


def _shape_doubts(card: Card, candidates: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with the input shape that a card states."""
    shape = card.fields.get("input-shape")
    if not isinstance(shape, list) or len(shape) != 3 or not all(isinstance(size, int) for size in shape):
        return
    height, width, _ = shape
    if candidates == ("ssd_resnet50",) and (height, width) != (_SSD_SIZE, _SSD_SIZE):
        yield (
            f"its input-shape {shape} is wrong: model_zoo's ssd_resnet50 takes pictures of {_SSD_SIZE}x{_SSD_SIZE},"
            f" (N, 3, {_SSD_SIZE}, {_SSD_SIZE}), and its anchors fit no other size"
        )
        return
    name = candidates[0].partition("_")[0] if candidates else ""
    own = _NAME.match(_compact(card.text("model-name")))
    if own and name in _TAKEN_AT_224 and (height, width) != (224, 224):
        yield (
            f"its input-shape {shape} contradicts the cards of MindSpore 0.7 to 1.1, which say 224x224 for {name};"
            " the weights run at any size"
        )
