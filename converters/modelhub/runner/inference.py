"""The model: the file of a picture in, labels with probabilities out. ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from processing import ImageProcessor

_FILE = Path(__file__).resolve().parent / "model" / "model.onnx"


class Model:
    """What modelhub's engine calls; it needs nothing of the engine."""

    def __init__(self) -> None:
        self._processor = ImageProcessor()
        self._session = onnxruntime.InferenceSession(str(_FILE), providers=["CPUExecutionProvider"])

    def infer(self, input: str) -> list[dict[str, Any]]:
        """Every class of a picture with its probability."""
        found: list[dict[str, Any]] = self._processor.compute_output(self.logits(input))
        return found

    def logits(self, input: str) -> Any:
        """What the network itself gives for the file of a picture: one float32 a class."""
        picture = self._processor.load_and_preprocess(input)
        (wanted,) = self._session.get_inputs()
        if wanted.type == "tensor(float16)":
            picture = picture.astype(np.float16)
        if isinstance(wanted.shape[0], int):  # a network for a fixed number of pictures gets this one in each place
            picture = np.repeat(picture, wanted.shape[0], axis=0)
        output = self._session.get_outputs()[0].name
        return np.asarray(self._session.run([output], {wanted.name: picture})[0][0], np.float32)
