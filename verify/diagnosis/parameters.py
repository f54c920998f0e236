"""The parameters of a file by canonical key, as the target of a conversion has them, and what the file calls them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converters.opened import Opened
from ...converters.rounding import round_to
from ...converters.tensors import FLOATS
from ...mappings.folding import folds
from ...mappings.graph import Graph
from ...mappings.names import collapse

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Parameters:
    """Tensors by canonical key, floating point, in the graph's shapes; ``names`` are those in the file, in words.

    Where ``folded``, BatchNorms are in the convolutions: their kernels and the norms' shifts have it all.
    """

    arrays: Mapping[str, Array]
    names: Mapping[str, str]
    dtype: str
    folded: bool = False


def parameters(opened: Opened, graph: Graph) -> Parameters:
    """The parameters that a file has for the nodes of a graph; of a classifier the rows that the graph has."""
    arrays: dict[str, Array] = {}
    names: dict[str, str] = {}
    dtypes = set()
    for parameter in graph.parameters:
        slot = opened.found.grounding.slots.get(parameter.key)
        if parameter.leaf == "count" or slot is None:
            continue
        files = [opened.found.names[name] for name in slot.names]
        parts = [opened.tensors[file].read() for file in files]
        whole = np.concatenate(parts) if len(parts) > 1 else parts[0]
        dtypes.add(opened.tensors[files[0]].spec.dtype)
        cut = whole[: parameter.shape[0]].reshape(parameter.shape)
        arrays[parameter.key] = cut.astype(np.float64 if cut.dtype == np.float64 else np.float32)
        held = opened.recovered.names.get(parameter.key, ()) if opened.recovered is not None else tuple(files)
        names[parameter.key] = ", ".join(collapse(held)) or "nothing in the file"
    narrow = dtypes.pop() if len(dtypes) == 1 else "float32"
    return Parameters(arrays, names, narrow, opened.folded)


def like_target(source: Parameters, target: Parameters, graph: Graph) -> Parameters:
    """The source's parameters as the target should have them: folded where it is, in its floating-point type."""
    arrays = dict(source.arrays)
    if target.folded and not source.folded:
        arrays |= fold(arrays, graph)
    if target.dtype in FLOATS and target.dtype != source.dtype:
        arrays = {key: round_to(array, target.dtype).astype(np.float32) for key, array in arrays.items()}
    return Parameters(arrays, source.names, target.dtype, target.folded)


def fold(arrays: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    """Kernels with their BatchNorm in them, and what is left of it: a shift. Computed in float64, rounded once."""
    found: dict[str, Array] = {}
    for item in folds(graph):
        leaves = [arrays[f"{item.norm}.{leaf}"] for leaf in ("scale", "shift", "mean", "var")]
        kernel, bias = folded_into(arrays[f"{item.conv}.kernel"], leaves, item.epsilon)
        ones = np.ones(len(kernel))
        found |= {
            f"{item.conv}.kernel": kernel.astype(np.float32), f"{item.norm}.shift": bias.astype(np.float32),
            f"{item.norm}.scale": ones, f"{item.norm}.mean": ones * 0.0, f"{item.norm}.var": ones - item.epsilon,
        }  # fmt: skip
    return found


def folded_into(kernel: Array, leaves: Sequence[Array], epsilon: float) -> tuple[Array, Array]:
    """Kernel and bias, float64, of a convolution that does what it and a BatchNorm (scale, shift, mean, var) do."""
    scale, shift, mean, var = leaves
    factor = scale.astype(np.float64) / np.sqrt(var.astype(np.float64) + epsilon)
    return kernel * factor[:, None, None, None], shift - mean * factor
