"""Write what the real networks call their tensors to tests/golden, one JSON file a network.

    python scripts/make_golden.py [FOLDER]

Names and shapes are in the order in which the network yields them. The modelzoo_* files beside these cannot be made
again here: MindSpore's model_zoo is no package. They were read once from the original networks.
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
# By dialect; the library is the word before the dash.
MODELS = {
    "timm": (
        "resnext50_32x4d", "resnext50d_32x4d", "resnext101_32x8d", "resnet50", "resnet50c", "wide_resnet50_2",
        "resnet18", "resnet18d", "resnet50s", "seresnet18", "seresnext26t_32x4d", "seresnext50_32x4d",
    ),
    "torchvision": ("resnext50_32x4d", "resnext101_64x4d", "resnet18"),
    "mindcv": ("resnet50", "resnext50_32x4d", "resnext101_64x4d", "resnet18"),
    "mindcv-senet": ("seresnet18", "seresnext50_32x4d"),
}  # fmt: skip

# Networks that are none of ours: relatives with names that partly agree, and one that is nothing like them.
STRANGERS = {
    "timm": ("ecaresnet26t", "legacy_seresnet18", "skresnet18", "vit_tiny_patch16_224"),
}

Tensors = list[tuple[str, list[int]]]


def main(folder: Path) -> None:
    """Write a file for every model."""
    for dialect_name, models in MODELS.items():
        library = dialect_name.partition("-")[0]
        version, create = LIBRARIES[library]()
        for model in (*models, *STRANGERS.get(dialect_name, ())):
            dialect = dialect_name if model in models else None
            header = {"source": f"{library} {version}", "dialect": dialect, "architecture": model, "classes": 1000}
            (folder / f"{library}_{model}.json").write_text(render(header, create(model)), encoding="utf-8")


def render(header: dict[str, object], tensors: Iterable[tuple[str, list[int]]]) -> str:
    """JSON with one tensor a line."""
    rows = ",\n".join(json.dumps(tensor, separators=(",", ":")) for tensor in tensors)
    return f'{json.dumps(header)[:-1]}, "tensors": [\n{rows}\n]}}\n'


def _timm() -> tuple[str, Callable[[str], Tensors]]:
    import timm

    return timm.__version__, lambda model: _of_torch(timm.create_model, model)


def _torchvision() -> tuple[str, Callable[[str], Tensors]]:
    import torchvision

    return torchvision.__version__.partition("+")[0], lambda model: _of_torch(torchvision.models.get_model, model)


def _mindcv() -> tuple[str, Callable[[str], Tensors]]:
    import mindcv

    return mindcv.__version__, lambda model: _of_mindspore(mindcv.create_model, model)


def _of_torch(create: Callable[[str], Any], model: str) -> Tensors:
    import torch

    with torch.device("meta"):
        state = create(model).state_dict()
    return [(name, list(tensor.shape)) for name, tensor in state.items()]


def _of_mindspore(create: Callable[[str], Any], model: str) -> Tensors:
    return [(parameter.name, list(parameter.shape)) for parameter in create(model).get_parameters()]


LIBRARIES: dict[str, Callable[[], tuple[str, Callable[[str], Tensors]]]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "mindcv": _mindcv,
}

if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN)
