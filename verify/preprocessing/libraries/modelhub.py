"""modelhub.ai: the runner that ``--to modelhub`` writes, which does what preprocessing.json beside it says."""

import importlib.util
import json
import tempfile
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from ....converters.modelhub import preprocessing as written
from ....converters.preprocessing import Preprocessing
from . import Prepare


def usual(architecture: str) -> Preprocessing:
    """What a repository gets where its source states nothing."""
    return replace(
        written.USUAL, stated_by="the usual one of ImageNet, which --to modelhub writes where none is stated"
    )


def prepare(wanted: Preprocessing) -> tuple[Prepare, Preprocessing]:
    """The class of the runner, from the file that a repository gets."""
    described = replace(wanted, margin="even")
    with resources.as_file(resources.files(written.__package__) / "runner" / "processing.py") as file:
        spec = importlib.util.spec_from_file_location("processing", file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} cannot be imported", path=str(file))
        runner = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(runner)
    with tempfile.TemporaryDirectory(prefix="mshub-runner-") as folder:
        (Path(folder) / "preprocessing.json").write_text(json.dumps(described.as_dict()), encoding="utf-8")
        (Path(folder) / "labels.json").write_text("{}", encoding="utf-8")
        processor = runner.ImageProcessor(Path(folder))

    def one(path: Path) -> Any:
        return processor.load_and_preprocess(str(path))[0]

    return one, described


def advice(wanted: Preprocessing) -> str:
    """What preprocessing.json must say."""
    said = {key: value for key, value in wanted.as_dict().items() if key not in ("input_size", "stated_by")}
    return f"in contrib_src/model/preprocessing.json: {json.dumps(said)}"


def versions() -> dict[str, str]:
    """The version of Pillow, which does it all."""
    import PIL

    return {"pillow": PIL.__version__}
