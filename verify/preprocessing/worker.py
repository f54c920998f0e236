"""The process that prepares pictures: ``python -m mshub_convert.verify.preprocessing.worker FOLDER``."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ...converters.errors import UsageError
from ...converters.preprocessing import from_facts
from ..errors import RuntimeRefusedError
from ..process import read_job, serve
from .libraries import EXTRAS, Prepare, library


def main(folder: Path) -> int:
    """Serve the job in a folder; the exit code is that of the error, if there is one."""
    job = read_job(folder)
    extra = EXTRAS.get(job["library"], "images")
    return serve(folder, lambda: execute(job, folder), what=f"the preprocessing of {job['library']}", extra=extra)


def execute(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Prepare every picture with the library's own code, or with a function of the user's."""
    described, versions = None, {}
    if job["function"]:
        prepare = _function(Path(job["library"]), job["function"])
    else:
        module = library(job["library"])
        wanted = from_facts(job["preprocessing"]) if job["preprocessing"] else module.usual(job["architecture"])
        if wanted is None:
            raise UsageError(f"{job['preprocessing']} is no preprocessing")
        # What is set is set in the words of a record.
        settings = job["settings"]
        changed = from_facts({**wanted.as_dict(), **settings}) if settings else wanted
        if changed is None:
            raise UsageError(f"{settings} is no preprocessing", remedy="See docs/preprocessing.md for the settings.")
        prepare, made = module.prepare(changed)
        described, versions = made.as_dict(), module.versions()
    names = []
    for index, picture in enumerate(map(Path, job["pictures"])):
        names.append(f"picture-{index}.npy")
        np.save(folder / names[-1], _checked(prepare(picture), picture), allow_pickle=False)
    return {"preprocessing": described, "versions": versions, "arrays": names}


def _function(file: Path, name: str) -> Prepare:
    """The user's own function: from the path of a picture to an array."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} is no Python file", remedy="Say FILE.py:FUNCTION.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not callable(found):
        raise UsageError(f"{file} has no function {name}", remedy="Say FILE.py:FUNCTION.")

    def one(path: Path) -> Any:
        return found(str(path))

    return one


def _checked(value: Any, picture: Path) -> Any:
    """One picture as float32 (3, height, width), without the batch of one that some code puts around it."""
    array = np.asarray(value)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[2] == 3 and array.shape[0] != 3:
        array = array.transpose(2, 0, 1)
    if array.ndim != 3 or array.shape[0] != 3:
        raise RuntimeRefusedError(
            f"{picture.name} became an array of shape {np.shape(value)}, not (3, height, width)",
            remedy="Return one picture as the network takes it.",
        )
    if not np.isfinite(array).all():
        raise RuntimeRefusedError(f"{picture.name} became an array with NaN or Inf")
    return np.ascontiguousarray(array, np.float32)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
