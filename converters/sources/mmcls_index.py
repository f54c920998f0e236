"""mmpretrain's model index: the installed package's own files, or the four ResNeXts of it where it is not installed."""

import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

_HUB = "https://download.openmmlab.com/mmclassification/v0"
_FOLDERS = ("resnext", "resnet", "seresnet", "wrn")
_NETWORK = re.compile(
    r"(?P<se>se)?(?P<wide>wide-)?(?P<family>resnet|resnext)(?:v1(?P<stem>[cd]))?(?P<depth>[0-9]+)"
    r"(?:-(?P<width>[0-9]+x[0-9]+d))?_"
)
# Date and first digits of the sha256.
_RELEASE = re.compile(r"_[0-9]{8}-[0-9a-f]{8}$")


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the index.

    ``parameters`` and ``flops`` are as published, rounded (FLOPs are multiply-adds); ``accuracy`` is in per cent;
    ``config`` is the file of mmpretrain's configuration, where that is installed; ``converted_from`` the address of
    another publisher's weights that these are.
    """

    name: str
    url: str
    parameters: int
    flops: int
    accuracy: Mapping[str, object]
    config: Path | None = None
    converted_from: str = ""

    @property
    def network(self) -> str:
        """The field's name of the architecture, empty where the entry is another network.

        >>> _shipped("resnext50-32x4d_8xb32_in1k", "", 0, 0, 0, 0).network
        'resnext50_32x4d'
        """
        found = _NETWORK.match(self.name)
        # The CIFAR networks have a 3x3 stem without a pool: conv1 has the same name and another shape.
        if found is None or "_cifar" in self.name:
            return ""
        end = f"_{found['width']}" if found["width"] else "_2" if found["wide"] else ""
        wide = "wide_" if found["wide"] else ""
        return f"{found['se'] or ''}{wide}{found['family']}{found['depth']}{found['stem'] or ''}{end}"

    @property
    def aliases(self) -> tuple[str, ...]:
        """What it is called otherwise: by its file, and by mmclassification 0.x and its table of results."""
        stem = PurePosixPath(urlsplit(self.url).path).stem
        names = [_RELEASE.sub("", stem), stem]
        # The configurations that mmclassification renamed in 2021 (its pull request 508).
        if found := re.fullmatch("(.+)_8xb32(-fp16)?_in1k", self.name):
            names.append(f"{found[1]}_b32x8{found[2] or ''}_imagenet")
        if found := re.fullmatch("resnext([0-9]+)_([0-9]+x[0-9]+d)", self.network):
            names.append(f"ResNeXt-{found[2]}-{found[1]}")
        return tuple(names)


def _shipped(name: str, file: str, parameters: int, flops: int, top1: float, top5: float) -> Model:
    accuracy = {"dataset": "ImageNet-1k", "acc@1": top1, "acc@5": top5}
    return Model(name, f"{_HUB}/{file}", parameters, flops, accuracy)


# configs/resnext/metafile.yml of mmpretrain 1.2.0, and the configurations it names.
SHIPPED = (
    _shipped("resnext50-32x4d_8xb32_in1k", "resnext/resnext50_32x4d_b32x8_imagenet_20210429-56066e27.pth",
             25_030_000, 4_270_000_000, 77.90, 93.66),
    _shipped("resnext101-32x4d_8xb32_in1k", "resnext/resnext101_32x4d_b32x8_imagenet_20210506-e0fa3dd5.pth",
             44_180_000, 8_030_000_000, 78.61, 94.17),
    _shipped("resnext101-32x8d_8xb32_in1k", "resnext/resnext101_32x8d_b32x8_imagenet_20210506-23a247d5.pth",
             88_790_000, 16_500_000_000, 79.27, 94.58),
    _shipped("resnext152-32x4d_8xb32_in1k", "resnext/resnext152_32x4d_b32x8_imagenet_20210524-927787be.pth",
             59_950_000, 11_800_000_000, 78.88, 94.33),
)  # fmt: skip
_PREPROCESSING: Mapping[str, object] = {
    "input_size": [3, 224, 224], "resize": "short edge", "resize_size": 256, "crop_size": 224,
    "interpolation": "bilinear", "resize_backend": "pillow", "decoded_as": "BGR", "to_rgb": True,
    "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "value_range": [0, 255],
}  # fmt: skip


def installed_version() -> str:
    """The version of mmpretrain; empty where it is not installed with its model index. Imports nothing of it."""
    return importlib.metadata.version("mmpretrain") if _folder() else ""


def index() -> Mapping[str, Model]:
    """The ResNets and ResNeXts of the model index, by name."""
    folder = _folder()
    return {model.name: model for model in (_read(folder) if folder else SHIPPED)}


def settings(model: Model) -> tuple[dict[str, object], int]:
    """Preprocessing and class count that the model's own configuration says."""
    if model.config is None:
        return dict(_PREPROCESSING), 1000
    from mmengine.config import Config  # without torch

    config = Config.fromfile(model.config)
    steps = {step["type"]: step for step in config.test_dataloader.dataset.pipeline}
    resize, crop = steps.get("ResizeEdge") or steps["Resize"], int(steps["CenterCrop"]["crop_size"])
    normalised = config.data_preprocessor
    said = {
        "input_size": [3, crop, crop], "resize": f"{resize.get('edge', 'each')} edge", "resize_size": resize["scale"],
        "crop_size": crop, "interpolation": resize.get("interpolation", "bilinear"),
        "resize_backend": resize.get("backend", "cv2"), "decoded_as": "BGR", "to_rgb": bool(normalised.to_rgb),
        "mean": list(normalised.mean), "std": list(normalised.std), "value_range": [0, 255],
    }  # fmt: skip
    return said, int(config.model.head.num_classes)


def _folder() -> Path | None:
    """The folder of the installed package's model index, if mmengine is there to read it (it is no requirement)."""
    found = importlib.util.find_spec("mmpretrain") if importlib.util.find_spec("mmengine") else None
    folder = Path(found.origin).parent / ".mim" if found and found.origin else None
    return folder if folder and (folder / "configs" / "resnext" / "metafile.yml").is_file() else None


@cache
def _read(folder: Path) -> tuple[Model, ...]:
    import yaml

    entries: list[Mapping[str, Any]] = []
    for name in _FOLDERS:
        text = (folder / "configs" / name / "metafile.yml").read_text(encoding="utf-8")
        entries += yaml.safe_load(text)["Models"]
    return tuple(_model(entry, folder) for entry in entries)


def _model(entry: Mapping[str, Any], folder: Path) -> Model:
    result = entry["Results"][0]
    metrics = {"Top 1 Accuracy": "acc@1", "Top 5 Accuracy": "acc@5"}
    return Model(
        name=entry["Name"], url=entry["Weights"],
        parameters=entry["Metadata"]["Parameters"], flops=entry["Metadata"]["FLOPs"],
        accuracy={"dataset": result["Dataset"],
                  **{key: result["Metrics"][said] for said, key in metrics.items() if said in result["Metrics"]}},
        config=folder / entry["Config"],
        converted_from=entry.get("Converted From", {}).get("Weights", ""),
    )  # fmt: skip
