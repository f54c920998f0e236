"""The names that a PyTorch file may use: what a few of them mean, and whose objects are kept as inert stubs.

Refused by name is everything else: what would run (``posix.system``), whole pickled modules, classes of scripts.
"""

from .pickle_values import Global
from .torch_dtypes import DTYPE_NAMES
from .torch_faults import TorchFault

# Names of Python 2, as protocol 2 keeps writing them, and of PyTorch before 1.0.
_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg", "torch.tensor": "torch._tensor"}

# fmt: off
_STUBS = frozenset(
    ("builtins.bool", "builtins.bytearray", "builtins.bytes", "builtins.complex", "builtins.dict", "builtins.float",
     "builtins.frozenset", "builtins.getattr", "builtins.int", "builtins.list", "builtins.long", "builtins.object",
     "builtins.range", "builtins.set", "builtins.slice", "builtins.str", "builtins.tuple", "builtins.unicode",
     "_codecs.encode", "copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__",
     "argparse.Namespace", "types.SimpleNamespace", "functools.partial", "uuid.UUID", "decimal.Decimal",
     "fractions.Fraction", "easydict.EasyDict", "box.box.Box", "numpy.ndarray", "numpy.dtype",
     "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
     "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
     "numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer",
     "torch.Size", "torch.device", "torch.dtype", "torch.layout", "torch.Tensor", "torch.serialization._get_layout",
     "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer", "torch.nn.parameter.UninitializedParameter",
     "torch._tensor._rebuild_from_type", "torch._tensor._rebuild_from_type_v2")
) | {
    f"numpy.{scalar}" for scalar in
    ("bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")
}
# Configuration, optimizers, schedulers and training loops: what comes with weights and is no network.
_STUB_PACKAGES = (
    "addict.", "apex.amp.", "collections.", "datetime.", "fvcore.common.config.", "lightning.", "lightning_fabric.",
    "ml_collections.", "mmcls.", "mmcv.", "mmengine.", "mmpretrain.", "numpy.dtypes.", "numpy.random._pickle.",
    "numpy.random.mtrand.", "omegaconf.", "pathlib.", "pytorch_lightning.", "timm.optim.", "timm.scheduler.",
    "timm.utils.", "torch.amp.", "torch.cuda.amp.", "torch.optim.", "torch.torch_version.", "typing.", "yacs.",
)
_TORCH_NAMES = frozenset(
    (*DTYPE_NAMES, "cfloat", "cdouble", "complex32", "qint8", "quint8", "qint32", "quint4x2", "quint2x4",
     "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2",
     "strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "per_tensor_affine",
     "per_channel_affine", "per_tensor_symmetric", "per_channel_symmetric", "per_channel_affine_float_qparams",
     "contiguous_format", "channels_last", "preserve_format")
)
# Where attacks find what they call: for the wording of a refusal, which does not depend on it.
_ATTACK_MODULES = frozenset(
    ("_io", "_pickle", "asyncio", "bdb", "builtins", "code", "codeop", "commands", "ctypes", "functools", "importlib",
     "inspect", "io", "marshal", "multiprocessing", "nt", "operator", "os", "pdb", "pickle", "pip", "platform", "posix",
     "pty", "pydoc", "requests", "runpy", "shutil", "socket", "subprocess", "sys", "tempfile", "threading", "timeit",
     "types", "urllib", "webbrowser")
)
_NETWORK_PARTS = frozenset(
    ("backbones", "classifiers", "layers", "model", "modeling", "models", "net", "nets", "networks", "resnet")
)
# fmt: on
_NETWORK_PACKAGES = ("torch.nn", "torch.fx", "torch.jit", "torch.ao.", "torch.distributed.", "torchvision.")
_RESAVE = (
    "Load it where its code is at hand and trusted, and save the weights alone: torch.save(model.state_dict(), path)."
)
ATTACK_REMEDY = (
    "Do not use this file: torch.load(weights_only=False) would run it. Get the weights from where they came from."
)


def known_global(module: str, name: str) -> Global:
    """The global, under its name of today; raises ``TorchFault`` if it has no place in a file of weights."""
    found = Global(_MODULES.get(module, module), name)
    path = f"{found.module}.{name}"
    if path in _STUBS or _is_torch_value(found):
        return found
    if _is_network(found):
        raise TorchFault(f"it holds a pickled nn.Module ({found}), not only weights: nothing was run", remedy=_RESAVE)
    if is_bystander(found):
        return found
    if found.module.partition(".")[0] in _ATTACK_MODULES:
        raise TorchFault(f"its pickle asks to run {found}: refused, nothing was run", remedy=ATTACK_REMEDY)
    raise TorchFault(f"its pickle asks for {found}, which no weights need: refused, nothing was run", remedy=_RESAVE)


def is_bystander(found: Global) -> bool:
    """Whether a global is of a package whose objects come with weights and are kept as stubs."""
    return f"{found.module}.{found.name}".startswith(_STUB_PACKAGES)


def _is_network(found: Global) -> bool:
    if found.module.startswith(_NETWORK_PACKAGES):
        return True
    return found.name[:1].isupper() and not _NETWORK_PARTS.isdisjoint(found.module.split("."))


def _is_torch_value(found: Global) -> bool:
    """Storages, dtypes, tensor classes and the functions that rebuild tensors: none of them acts here."""
    if found.module == "torch._utils":
        return found.name.startswith("_rebuild_")
    if found.module in ("torch", "torch.cuda", "torch.storage", "torch.sparse", "torch.cuda.sparse"):
        known = found.name.endswith(("Storage", "Tensor")) and found.name.isidentifier()
        return known or (found.module == "torch" and found.name in _TORCH_NAMES)
    return False
