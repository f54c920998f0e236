"""Drawn weights (``--init calibrated:SEED``): not trained, but healthy, so that a conversion can be tried offline.

Convolutions follow He et al. 2015 (arXiv:1502.01852). BatchNorm is drawn away from the identity, and the last layer of
each residual branch is small but not zero: frameworks' own initialisations (identity, last scale 0) hide most
mistakes of a conversion.
"""

import hashlib
import math
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...mappings.architectures import Architecture
from ...mappings.dialects import dialect
from ...mappings.graph import Module
from ..codecs import EmbeddedRecord
from ..codecs.safetensors import CODEC
from ..errors import UsageError
from ..record import Record
from ..splice import splice
from ..tensors import Array, TensorRef, TensorSpec
from . import Origin, Request

_Raw = npt.NDArray[np.uint64]
# Raw words → values in float64; each result is rounded once to float32.
_Law = Callable[[_Raw], npt.NDArray[np.float64]]

_CHUNK = 1 << 18
# The sum of four independent 16-bit integers: mean and standard deviation.
_MEAN = 2 * 0xFFFF
_SIGMA = math.sqrt((0x10000**2 - 1) / 3)
_COUNTS = (1000, 1_000_000)
# How loud the last layer of a residual branch is, as a scale of BatchNorm is on average there: fifty blocks of a
# pre-activation network, which nothing normalises in between, then raise the deviation ninefold and not 2**25 times.
_QUIET = 0.3


def parse(init: str) -> int:
    """The seed of ``calibrated[:SEED]``; anything else is a UsageError.

    >>> parse("calibrated"), parse("calibrated:7")
    (0, 7)
    """
    kind, colon, seed = init.partition(":")
    if kind != "calibrated" or (colon and not (seed.isascii() and seed.isdigit() and len(seed) <= 18)):
        raise UsageError(
            f"--init {init} is not calibrated[:SEED] with a whole number as seed", remedy="Use --init calibrated:0."
        )
    return int(seed or 0)


def stand_in(request: Request, architecture: Architecture, dialect_name: str) -> tuple[Path, Origin]:
    """Weights drawn as the request's ``init`` says, in its scratch folder."""
    if request.weights:
        raise UsageError("--weights and --init exclude each other", remedy="Give one of them.")
    seed = parse(request.init or "")
    path = request.scratch / f"{architecture.name}.calibrated-{seed}.safetensors"
    path.unlink(missing_ok=True)
    write(architecture, dialect_name, seed, path)
    return path, Origin(f"calibrated:{seed}")


def write(architecture: Architecture, dialect_name: str, seed: int, path: Path) -> None:
    """Write a safetensors file of drawn weights, under a dialect's names, at a path where nothing is yet.

    Bytes depend on architecture, dialect and seed only: not on machine, NumPy version or tool version.
    """
    naming = dialect(dialect_name)
    modules = {module.path: module for module in architecture.graph().modules}
    # A dialect that splits kernels asks for the parts of one tensor in a row.
    recent = lru_cache(maxsize=1)(lambda path, leaf: draw(seed, modules[path], leaf))
    tensors = []
    for slot in naming.ground(architecture).slots.values():
        whole = partial(recent, slot.parameter.module, slot.parameter.leaf)
        for place, name in enumerate(slot.names):
            spec = TensorSpec(name, slot.shape, slot.parameter.dtype)
            tensors.append(TensorRef(spec, compute=partial(_part, whole, place, spec)))
    record = Record(
        tool="mshub-convert", architecture=architecture.as_dict(), dialect=dialect_name, container=CODEC.name,
        traits=naming.traits.as_dict(), origin=f"calibrated:{seed}", pretrained=False, address="", read_back="",
    ).as_bytes()  # fmt: skip
    splice(path, CODEC.layout(tensors, EmbeddedRecord(record, lambda: record), framework=naming.framework), sync=False)


def draw(seed: int, module: Module, leaf: str) -> Array:
    """One tensor of a canonical module, float32 (int64 for a counter).

    Depends on the seed, the tensor's canonical key and the module, and on nothing else: Philox's integers are fixed
    by its authors, and each value is made from its own integer by operations that IEEE 754 rounds in one way only.
    """
    parameter = next(parameter for parameter in module.parameters if parameter.leaf == leaf)
    key = hashlib.sha256(f"{seed}:{parameter.key}".encode()).digest()[:16]
    words = np.random.Philox(key=int.from_bytes(key, "little"))
    if parameter.leaf == "count":
        low, high = _COUNTS
        return np.array(low + int(words.random_raw()) % (high - low + 1), np.int64)
    law = _law(module, leaf)
    values = np.empty(parameter.size, np.float32)
    for start in range(0, parameter.size, _CHUNK):
        part = values[start : start + _CHUNK]
        part[:] = law(words.random_raw(part.size))
    return values.reshape(parameter.shape)


def _law(module: Module, leaf: str) -> _Law:
    """What the values of a tensor follow, by what it is for."""
    fan_in = math.prod(module.parameters[0].shape[1:])  # of the kernel, where the module has one
    match module.kind, leaf:
        case "conv", "kernel" if module.closes_branch:  # where no norm follows, in pre-activation networks
            return partial(_normal, _QUIET * math.sqrt(2 / fan_in))
        case "conv", "kernel":
            return partial(_normal, math.sqrt(2 / fan_in))
        case "squeeze", "kernel":
            return partial(_normal, math.sqrt(2 / fan_in))
        case "squeeze", "bias":  # wide, so that gates differ: libraries' own are all near a half
            return partial(_uniform, -1.0, 1.0)
        case "linear", "kernel":
            return partial(_normal, 1 / math.sqrt(fan_in))
        case "predictor", "kernel":  # quiet, so that few of a detector's many scores say that something is there
            return partial(_normal, 0.4 / math.sqrt(fan_in))
        case "predictor", "bias":
            return partial(_around, math.log(module.prior / (1 - module.prior)))
        case "linear", "bias":
            return partial(_uniform, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))
        case "norm", "scale" if module.closes_branch:
            return partial(_uniform, 0.2, 0.4)
        case "norm", "scale" | "var":
            return partial(_uniform, 0.75, 1.25)
        case "norm", "mean" | "shift":
            return partial(_normal, 0.1)
    raise NotImplementedError(f"no law for {module.path}.{leaf}")


def _uniform(low: float, high: float, words: _Raw) -> npt.NDArray[np.float64]:
    """Uniform in [low, high), in steps of 2**-24 of the range, from the upper 24 bits of each word."""
    return low + (high - low) * ((words >> np.uint64(40)).astype(np.float64) * 2.0**-24)


def _around(middle: float, words: _Raw) -> npt.NDArray[np.float64]:
    """Uniform within a half of the middle."""
    return middle + _uniform(-0.5, 0.5, words)


def _normal(deviation: float, words: _Raw) -> npt.NDArray[np.float64]:
    """Nearly normal (Irwin-Hall of four, excess kurtosis -0.3): the centred sum of each word's 16-bit quarters."""
    quarters = words.view(np.uint16)
    total = quarters[0::4].astype(np.int32)
    for quarter in (1, 2, 3):
        total += quarters[quarter::4]
    return (total - _MEAN).astype(np.float64) * (deviation / _SIGMA)


def _part(whole: Callable[[], Array], place: int, spec: TensorSpec) -> Array:
    """The given one of the equal parts that a tensor is split into on axis 0."""
    return whole().reshape(-1)[place * spec.size : (place + 1) * spec.size]
