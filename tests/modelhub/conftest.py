"""A repository of modelhub.ai as dictionaries and texts, and folders made of them.

The values are those of modelhub-ai/resnet-50 at commit 5333ee725b9782c3abce3ecb8840b56ffaa5df63 (config.json, with a
shorter abstract), 6e5f2722bd780a8a43756d00e2d5a7824bf1823b (init.json) and 837e3d38b69e2b8feb8c18cb7fd56cd4ba495212
(README.md).
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

URL = "https://github.com/modelhub-ai/resnet-50/releases/download/v1.1/model.onnx"
# The lines that tell the preprocessing of release v1.1, in an order and with blanks of our own.
PROCESSING = """
from mxnet.gluon.data.vision import transforms
STEPS = [transforms.Resize( 256 ), transforms.CenterCrop(224), transforms.ToTensor(),
         transforms.Normalize([0.485,0.456,0.406], [0.229, 0.224, 0.225])]
"""


def config() -> dict[str, Any]:
    return {
        "id": "8abbcaef-6bcf-4f1f-9159-85c17c38bd00",
        "meta": {
            "name": "resnet-50",
            "application_area": "ImageNet",
            "task": "Classification",
            "task_extended": "ImageNet classification",
            "data_type": "Image/Photo",
            "data_source": "http://www.image-net.org/challenges/LSVRC/2015/",
        },
        "publication": {
            "title": "Deep Residual Learning for Image Recognition",
            "source": "Proceedings of the IEEE conference on computer vision and pattern recognition",
            "year": 2016,
            "authors": "Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun",
            "abstract": "Deeper neural networks are more difficult to train.",
            "url": "https://www.cv-foundation.org/openaccess/content_cvpr_2016/papers/He_2016_paper.pdf",
            "google_scholar": "https://scholar.google.com/scholar?cites=9281510746729853742",
            "bibtex": "@inproceedings{he2016deep, title={Deep residual learning for image recognition}}",
        },
        "viewer": "netron",
        "model": {
            "description": "ResNet-50 is a 50 layer Residual deep convolutional network for image classification.",
            "architecture": "Convolutional Neural Network (CNN)",
            "learning_type": "Supervised learning",
            "io": {
                "input": {
                    "format": ["image/png", "image/jpg", "image/jpeg"],
                    "dim_limits": [{"min": 1, "max": 4}, {"min": 32}, {"min": 32}],
                },
                "output": [{"name": "probabilities", "type": "label_list"}],
            },
        },
        "allow_user_input": True,
    }


def single() -> dict[str, Any]:
    """The same in the newer form (as of modelhub-ai/cxr-risk at 09fbe69c0d905fe604a1f11e5a6a9fba74a49c5d)."""
    newer = config()
    limits = newer["model"]["io"]["input"]
    newer["model"]["io"]["input"] = {"format": limits["format"], "single": limits}
    newer["model"] |= {"format": ".onnx", "provenance": "https://github.com/onnx/models"}
    del newer["viewer"], newer["allow_user_input"]
    return {**newer, "modelhub": {"top": 5, "sort": True}}


def init() -> dict[str, Any]:
    file = {"src_url": URL, "dest_file_path": "/contrib_src/model/model.onnx"}
    return {"docker_id": "modelhub/mxnet-modelhub:1.0.0", "external_contrib_files": [file]}


README = """# resnet-50

## meta data

|                  |                                                 |
| ---------------- | ----------------------------------------------- |
| id               | 8abbcaef-6bcf-4f1f-9159-85c17c38bd00            |
| application_area | ImageNet                                        |
| task             | Classification                                  |

## publication

|                |                                                          |
| -------------- | -------------------------------------------------------- |
| title          | Deep Residual Learning for Image Recognition             |
| year           | 2016                                                     |

## model

|               |                                                                                       |
| ------------- | ------------------------------------------------------------------------------------- |
| description   | ResNet-50 is a 50 layer Residual deep convolutional network for image classification. |
| format        | .onnx                                                                                 |
| license       | model licence can be viewed here: contrib_src/license/model                           |

## run

| | |
|-|-|
| task | not a table of the model |
"""
LICENCE = 'Licensed under the Apache License, Version 2.0 (the "License");\nyou may not use this file except\n'

Files = Mapping[str, Any]


def repository_files(**changed: Any) -> dict[str, Any]:
    """All files by path; ``changed`` replaces those whose path ends so (``init`` is init.json, ``None`` leaves out)."""
    files: dict[str, Any] = {
        "contrib_src/model/config.json": config(),
        "contrib_src/license/model": LICENCE,
        "contrib_src/processing.py": PROCESSING,
        "init/init.json": init(),
        "README.md": README,
    }
    for name, value in changed.items():
        (path,) = [path for path in (*files, "contrib_src/model/labels.json", "contrib_src/model/preprocessing.json")
                   if Path(path).stem.lower() == name or path == f"contrib_src/{name}/model"]  # fmt: skip
        files[path] = value
    return {path: value for path, value in files.items() if value is not None}


def as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode()


@pytest.fixture
def clone(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder: ``clone(config=…, init=…, readme=…, license=…, labels=…, weights=bytes)``."""

    def make(folder: str = "resnet-50", *, weights: bytes | None = None, **changed: Any) -> Path:
        root = tmp_path / folder
        files = repository_files(**changed)
        if weights is not None:
            files["contrib_src/model/model.onnx"] = weights
        for path, value in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(as_bytes(value))
        return root

    return make
