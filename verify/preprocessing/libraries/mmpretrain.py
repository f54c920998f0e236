"""mmpretrain: its test pipeline, by OpenCV or by Pillow as a configuration says, and its data preprocessor."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ....converters.preprocessing import Preprocessing, from_facts
from ....converters.sources.mmcls_index import index, settings
from ...errors import RuntimeRefusedError
from . import Prepare

_FOUND_IN = "mmpretrain's configuration {}"


def usual(architecture: str) -> Preprocessing:
    """The configuration of the first model of the index with that network, else that of its first ResNet-50."""
    models = [model for model in index().values() if model.network]
    own = [model for model in models if model.network == architecture]
    model = next(iter(own), next(model for model in models if model.network == "resnet50"))
    found = from_facts(settings(model)[0], stated_by=_FOUND_IN.format(model.name))
    if found is None:
        raise RuntimeRefusedError(f"{_FOUND_IN.format(model.name)} is none of a square crop")
    return found


def prepare(wanted: Preprocessing) -> tuple[Prepare, Preprocessing]:
    """The steps of mmpretrain's configurations, in its own classes; what is antialiased is resized by Pillow."""
    import mmpretrain.datasets  # noqa: F401 - registers its steps
    from mmcv.transforms import Compose
    from mmengine.registry import init_default_scope
    from mmpretrain.models.utils import ClsDataPreprocessor

    init_default_scope("mmpretrain")
    how = {"interpolation": wanted.interpolation, "backend": "pillow" if wanted.antialias else "cv2"}
    if wanted.edges == "both":
        resize: dict[str, Any] = {"type": "Resize", "scale": (wanted.resize, wanted.resize), **how}
    else:
        resize = {"type": "ResizeEdge", "scale": wanted.resize, "edge": "short", **how}
    steps = Compose([
        {"type": "LoadImageFromFile"}, resize, {"type": "CenterCrop", "crop_size": wanted.crop}, {"type": "PackInputs"},
    ])  # fmt: skip
    normalise = ClsDataPreprocessor(
        mean=[255 * value for value in wanted.mean], std=[255 * value for value in wanted.std],
        to_rgb=wanted.channels == "RGB",
    )  # fmt: skip

    def one(path: Path) -> Any:
        packed = steps({"img_path": str(path)})
        return np.asarray(normalise({"inputs": [packed["inputs"]]})["inputs"][0], np.float32)

    return one, replace(wanted, margin="even", oriented=True)


def advice(wanted: Preprocessing) -> str:
    """The step that resizes, and the crop."""
    backend = "pillow" if wanted.antialias else "cv2"
    if wanted.edges == "both":
        resize = f"dict(type='Resize', scale=({wanted.resize}, {wanted.resize})"
    else:
        resize = f"dict(type='ResizeEdge', scale={wanted.resize}, edge='short'"
    how = f"{resize}, interpolation='{wanted.interpolation}', backend='{backend}')"
    return f"{how}, dict(type='CenterCrop', crop_size={wanted.crop})"


def versions() -> dict[str, str]:
    """Versions of mmpretrain, and of OpenCV, which decodes."""
    import cv2
    import mmpretrain

    return {"mmpretrain": mmpretrain.__version__, "opencv": cv2.__version__}
