"""Whether two libraries make the same tensors of a picture, and why not: apart from the networks that follow."""

from .budget import Budget, PictureDifference
from .causes import Cause
from .parity import Parity, Party, preprocessing_parity

__all__ = ["Budget", "Cause", "Parity", "Party", "PictureDifference", "preprocessing_parity"]
