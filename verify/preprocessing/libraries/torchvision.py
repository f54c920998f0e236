"""torchvision: its preset for classification, as the weights' own ``transforms()`` are."""

from typing import Any

from ....converters.preprocessing import Preprocessing
from . import Prepare
from .pillow import as_pillow, from_pillow
from .settings import colours, refuse_bgr


def usual(architecture: str) -> Preprocessing:
    """``ImageClassification(crop_size=224)``."""
    from torchvision.transforms._presets import ImageClassification

    preset = ImageClassification(crop_size=224)
    return Preprocessing(
        preset.resize_size[0], preset.crop_size[0], tuple(preset.mean), tuple(preset.std), preset.interpolation.value,
        stated_by="torchvision's ImageClassification preset",
    )  # fmt: skip


def prepare(wanted: Preprocessing) -> tuple[Prepare, Preprocessing]:
    """The preset; where both edges are resized, the same steps with torchvision's ``Resize`` to a square."""
    from torchvision import transforms
    from torchvision.transforms._presets import ImageClassification

    refuse_bgr(wanted, "torchvision")
    mode = transforms.InterpolationMode(wanted.interpolation)
    steps: Any
    if wanted.edges == "both":
        steps = transforms.Compose([
            transforms.Resize((wanted.resize, wanted.resize), interpolation=mode), transforms.CenterCrop(wanted.crop),
            transforms.ToTensor(), transforms.Normalize(wanted.mean, wanted.std),
        ])  # fmt: skip
    else:
        steps = ImageClassification(
            crop_size=wanted.crop, resize_size=wanted.resize, mean=wanted.mean, std=wanted.std, interpolation=mode
        )
    return from_pillow(steps), as_pillow(wanted)


def advice(wanted: Preprocessing) -> str:
    """The preset with these settings."""
    if wanted.edges == "both" or wanted.channels != "RGB":
        return ""
    return (
        f"ImageClassification(crop_size={wanted.crop}, resize_size={wanted.resize}, "
        f"interpolation=InterpolationMode.{wanted.interpolation.upper()}{colours(wanted)})"
    )


def versions() -> dict[str, str]:
    """Versions of torchvision and of Pillow, which resizes."""
    import PIL
    import torchvision

    return {"torchvision": torchvision.__version__, "pillow": PIL.__version__}
