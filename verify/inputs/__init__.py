"""What networks are compared on: drawn pictures, the user's photographs, or exact tensors."""

from .choose import chosen, fitted, parse_sizes
from .photographs import Photographs
from .procedural import Inputs, pictures
from .protocol import MEAN, STD, InputSet, Size
from .tensors import Tensors

__all__ = [
    "MEAN", "STD", "InputSet", "Inputs", "Photographs", "Size", "Tensors", "chosen", "fitted", "parse_sizes",
    "pictures",
]  # fmt: skip
