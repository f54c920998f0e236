"""The preprocessing that a repository's runner does, in a file beside the model; modelhub itself has none."""

from ..errors import MalformedFileError
from ..preprocessing import Preprocessing, from_facts
from .fields import read_json

__all__ = ["PATH", "USUAL", "Preprocessing", "from_facts", "read_preprocessing"]

PATH = "contrib_src/model/preprocessing.json"
# What most ImageNet networks of PyTorch and Gluon want; an assumption wherever it is used, and said to be one.
USUAL = Preprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def read_preprocessing(data: bytes, file: str = PATH) -> Preprocessing:
    """The file beside a model that this package writes."""
    top = read_json(data, file)
    found = from_facts(top.values)
    if found is None:
        needed = "input_size, resize_size, crop_size, interpolation, mean and std are needed"
        raise MalformedFileError(
            f"{file} does not describe a preprocessing: {needed}", remedy="Correct the file, or remove it."
        )
    return found
