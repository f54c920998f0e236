"""Weights that are in memory: a torch module, a MindSpore Cell, or a state dict of arrays, tensors or parameters.

Frameworks are recognised by what their objects can do and never imported: whoever holds a tensor has its framework.
"""

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..codecs import EmbeddedRecord
from ..codecs.safetensors import CODEC
from ..errors import UsageError
from ..record import SCHEMA
from ..splice import splice
from ..tensors import DTYPES, Array, TensorRef, TensorSpec
from . import Origin, Request, Source

_WANTED = "Give a module, a Cell, or a mapping of names to arrays or tensors, such as model.state_dict()."


def from_tensors(tensors: Any, request: Request) -> Source:
    """A scratch safetensors file with the same names, shapes and bits, written one tensor at a time.

    Raises UsageError for values that are no tensors, and for dtypes and tensors that no file can hold.
    """
    if request.weights or request.init:
        raise UsageError(
            "weights in memory are the weights themselves", remedy="Leave out weights and init, or name a model."
        )
    refs = list(references(tensors).values())
    unheld = next((ref.spec for ref in refs if ref.spec.dtype not in CODEC.dtypes), None)
    if unheld:
        raise UsageError(f"{unheld.name} is {unheld.dtype}, which no file of weights holds", remedy="Cast it first.")
    library, model = _library(tensors)
    file = request.scratch / f"{model or 'model'}.safetensors"
    file.unlink(missing_ok=True)
    framework = "mindspore" if hasattr(tensors, "parameters_dict") else "torch"
    facts = _facts(library)
    # No traits: what these weights are meant for, only their owner knows.
    record = {"schema": SCHEMA, "tool": "mshub-convert", "origin": "memory", "facts": facts}
    text = json.dumps(record, separators=(",", ":"), sort_keys=True).encode()
    splice(file, CODEC.layout(refs, EmbeddedRecord(text, lambda: text), framework=framework), sync=False)
    return Source(
        "memory", file, model or "model", Origin("memory"), library=library, library_model=model,
        facts=facts,
    )  # fmt: skip


def references(tensors: Any) -> dict[str, TensorRef]:
    """Names → references that read the live tensors (on any device) when asked, in the order of the state dict."""
    named = _named(tensors)
    if not named:
        raise UsageError("there are no tensors in the state dict", remedy=_WANTED)
    return {name: _reference(name, value) for name, value in named.items()}


def _named(tensors: Any) -> Mapping[str, Any]:
    if isinstance(tensors, Mapping):
        found: Mapping[str, Any] = tensors
    elif hasattr(tensors, "parameters_dict"):  # a Cell; it has a state_dict too, with other names
        found = tensors.parameters_dict()
    elif hasattr(tensors, "state_dict"):
        found = tensors.state_dict()
    else:
        raise UsageError(f"{_kind(tensors)} holds no weights", remedy=_WANTED)
    nameless = next((name for name in found if not isinstance(name, str)), None)
    if nameless is not None:
        raise UsageError(f"the state dict has the key {nameless!r}, which is no name", remedy=_WANTED)
    return found


def _reference(name: str, value: Any) -> TensorRef:
    if isinstance(value, Mapping):
        raise UsageError(f"{name} is itself a mapping", remedy=f"Give the inner one: state[{name!r}].")
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise UsageError(f"{name} is {_kind(value)}, not a tensor", remedy="Leave it out of the state dict.")
    read: Callable[[Any], Array]
    if hasattr(value, "asnumpy"):
        dtype, read = str(value.dtype).lower(), _from_mindspore
    elif hasattr(value, "detach"):
        dtype, read = str(value.dtype).removeprefix("torch."), _from_torch
        _refuse_without_data(name, value)
    else:
        dtype, read = np.dtype(value.dtype).name, np.asarray
    if dtype not in DTYPES:
        raise UsageError(f"{name} is {dtype}, which no file of weights holds", remedy="Cast it first.")
    spec = TensorSpec(name, tuple(int(size) for size in value.shape), dtype)
    return TensorRef(spec, compute=partial(_read, spec, read, value))


def _refuse_without_data(name: str, tensor: Any) -> None:
    if tensor.device.type == "meta":
        raise UsageError(f"{name} is on the meta device and has no data", remedy="Load the weights first.")
    if "strided" not in str(tensor.layout) or getattr(tensor, "is_quantized", False):
        raise UsageError(
            f"{name} is sparse or quantised", remedy="Give it as a dense tensor: .to_dense(), .dequantize()."
        )


def _read(spec: TensorSpec, read: Callable[[Any], Array], value: Any) -> Array:
    """Little-endian, C order, in our own dtypes; no bit of a value changes."""
    array = np.ascontiguousarray(read(value)).reshape(spec.shape)
    if spec.dtype == "bfloat16":  # MindSpore has a NumPy dtype of its own under this name
        return array.view(np.uint16).view(DTYPES["bfloat16"])
    return array.astype(DTYPES[spec.dtype], copy=False)


def _from_mindspore(tensor: Any) -> Array:
    found: Array = tensor.asnumpy()
    return found


def _from_torch(tensor: Any) -> Array:
    tensor = tensor.detach().cpu().contiguous()
    if str(tensor.dtype) == "torch.bfloat16":  # NumPy has none
        tensor = tensor.view(sys.modules["torch"].int16)
    found: Array = tensor.numpy()
    return found


def _library(tensors: Any) -> tuple[str | None, str | None]:
    """The library whose class this is, and its model where the object knows (timm's do)."""
    library = type(tensors).__module__.partition(".")[0]
    if library not in ("timm", "torchvision", "mmpretrain", "mmcls", "mindcv"):
        return None, None
    cfg = getattr(tensors, "pretrained_cfg", None) or getattr(tensors, "default_cfg", None)
    model = cfg.get("architecture") if isinstance(cfg, Mapping) else None
    return library, model if isinstance(model, str) else None


def _facts(library: str | None) -> dict[str, object]:
    """Library and version only: a live model's ``pretrained_cfg`` does not tell whether it was loaded or trained on."""
    version = getattr(sys.modules.get(library or ""), "__version__", None)
    facts: dict[str, object] = {"library": library} if library else {}
    return facts | ({"library_version": str(version)} if version else {})


def _kind(value: Any) -> str:
    return f"a {type(value).__module__}.{type(value).__qualname__}".replace("a builtins.", "a ")
