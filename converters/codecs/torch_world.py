"""What names, calls and persistent ids mean in the pickle of a PyTorch file."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from .pickle_values import Global, Stub, checked_key
from .torch_dtypes import DTYPE_NAMES, ODD_STORAGES, STORAGES, UNTYPED_STORAGES
from .torch_faults import TorchFault
from .torch_globals import ATTACK_REMEDY, is_bystander, known_global
from .torch_tensors import OddTensor, Storage, Tensor, view_of

# Of a key, a dtype ("" for bytes) and a number of elements.
FindStorage = Callable[[str, str, int], Storage]
_ENCODINGS = {"latin1": "latin-1", "latin-1": "latin-1", "utf-8": "utf-8", "utf8": "utf-8"}


class TorchWorld:
    """Containers, tensors and stubs; ``find_storage`` knows the file around the pickle."""

    def __init__(self, find_storage: FindStorage) -> None:
        self._find_storage = find_storage

    def find(self, module: str, name: str) -> object:
        """A name, if it is one that files of weights use."""
        return known_global(module, name)

    def call(self, function: object, args: tuple[object, ...]) -> object:
        """A container, a tensor, or a stub."""
        if not isinstance(function, Global):
            raise TorchFault("its pickle calls what is no function")
        path = f"{function.module}.{function.name}"
        if path in _FROM_TYPE:
            # (function, class, arguments, attributes): a subclass of Tensor, or a Tensor with attributes.
            if len(args) < 3 or not isinstance(args[2], tuple) or args[0] == function:
                raise TorchFault("its pickle rebuilds a tensor in no known way")
            return self.call(args[0], args[2])
        if path in _CALLS:
            return _CALLS[path](*args)
        if function.module == "torch._utils":
            return OddTensor(function.name.removeprefix("_rebuild_").replace("_", " "))
        return Stub(function, args)

    def persistent(self, key: object) -> object:
        """The storage that ``("storage", class, key, location, number of elements[, view])`` describes."""
        match key:
            case ("storage", Global(name=kind), str(name), _, int(length), *view) if length >= 0 and len(view) <= 1:
                storage = self._find_storage(name, _storage_dtype(kind), length)
                return _part(storage, view[0]) if view and view[0] is not None else storage
        raise TorchFault("its pickle refers to something outside of it that is no storage")


def _storage_dtype(kind: str) -> str:
    if kind in STORAGES:
        return STORAGES[kind]
    if kind in ODD_STORAGES:
        return ODD_STORAGES[kind][0]
    if kind in UNTYPED_STORAGES:
        return ""
    raise TorchFault(f"its pickle has a storage of the unknown class {kind}")


def _part(storage: Storage, view: object) -> Storage:
    """Storages could be parts of others in the older format: ``(key, offset, length)``."""
    match view:
        case (str(), int(offset), int(length)) if min(offset, length) >= 0 and offset + length <= storage.length:
            return replace(storage, start=storage.start + offset, length=length)
    raise TorchFault("its pickle has a storage that reaches beyond the one it is part of")


def _rebuild(storage: object, offset: object, shape: object, strides: object, *rest: object) -> object:
    """``_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks, metadata)``; v1 stops at strides."""
    dtype = storage.dtype if isinstance(storage, Storage) else ""
    return view_of(storage, dtype, offset, shape, strides, rest[2] if len(rest) > 2 else None)


def _rebuild_v3(storage: object, offset: object, shape: object, strides: object, *rest: object) -> object:
    """``(storage, offset, shape, strides, requires_grad, hooks, dtype, metadata)``."""
    dtype = rest[2] if len(rest) > 2 else None
    if not isinstance(dtype, Global) or dtype.module != "torch":
        raise TorchFault("its pickle has a tensor without a dtype")
    name = DTYPE_NAMES.get(dtype.name, dtype.name)
    return view_of(storage, name, offset, shape, strides, rest[3] if len(rest) > 3 else None)


def _from_cpu(data: object, dtype: object, *_: object) -> object:
    """``_rebuild_device_tensor_from_cpu_tensor``, as XLA saves: the tensor itself, unless it is to be cast."""
    if isinstance(data, Tensor) and isinstance(dtype, Global) and DTYPE_NAMES.get(dtype.name) == data.dtype:
        return data
    return OddTensor("device tensor")


def _dictionary(*args: object) -> object:
    """``OrderedDict()``, ``Counter({...})``, or as Python 2 wrote it ``OrderedDict([[key, value], ...])``."""
    if not args:
        return {}
    match args[0]:
        case dict() as items:
            return dict(items)
        case list() as pairs if all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
            return {checked_key(key): value for key, value in pairs}
    raise TorchFault("its pickle has an OrderedDict of what are no pairs")


def _listed(*args: object) -> object:
    return list(args[0]) if args and isinstance(args[0], (list, tuple)) else []


def _sizes(*args: object) -> object:
    return tuple(args[0]) if args and isinstance(args[0], (list, tuple)) else ()


def _encoded(text: object = "", encoding: object = "utf-8", *_: object) -> object:
    """``_codecs.encode(text, "latin1")``, which is how protocol 2 writes bytes."""
    if not isinstance(text, str) or not isinstance(encoding, str) or encoding not in _ENCODINGS:
        raise TorchFault("its pickle has bytes in no known encoding")
    return text.encode(_ENCODINGS[encoding])


def _attribute(owner: object = None, name: object = None, *_: object) -> object:
    """``getattr(class, "method")``: protocol 2 has no other name for a method or a nested class."""
    if not isinstance(owner, Global) or not is_bystander(owner) or not isinstance(name, str) or name.startswith("_"):
        raise TorchFault("its pickle asks to run builtins.getattr: refused, nothing was run", remedy=ATTACK_REMEDY)
    return Global(owner.module, f"{owner.name}.{name}")


def _array(*args: object) -> object:
    """``numpy._core.numeric._frombuffer(buffer, dtype, shape, order)``, protocol 5's name of an array."""
    return Stub(Global("numpy", "ndarray"), args)


def _instance(*args: object) -> object:
    """``copyreg._reconstructor(class, base, content)``, ``__newobj__(class, *args)``, and NumPy's like them."""
    if not args or not isinstance(args[0], Global):
        raise TorchFault("its pickle makes an object of no class")
    content = args[2] if len(args) > 2 and isinstance(args[2], dict) else {}
    return Stub(args[0], args[1:], entries=content)


_FROM_TYPE = ("torch._tensor._rebuild_from_type", "torch._tensor._rebuild_from_type_v2")
_CALLS: Mapping[str, Callable[..., object]] = {
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_tensor_v3": _rebuild_v3,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _from_cpu,
    "torch.Size": _sizes,
    "collections.OrderedDict": _dictionary,
    "collections.Counter": _dictionary,
    "collections.defaultdict": lambda *_: {},
    "builtins.dict": _dictionary,
    # A set is a list, so that its items need no hash.
    "builtins.set": _listed,
    "builtins.frozenset": _listed,
    "builtins.list": _listed,
    "builtins.getattr": _attribute,
    "_codecs.encode": _encoded,
    "copyreg._reconstructor": _instance,
    "numpy.core.numeric._frombuffer": _array,
    "numpy._core.numeric._frombuffer": _array,
    "numpy.core.multiarray._reconstruct": _instance,
    "numpy._core.multiarray._reconstruct": _instance,
    "copyreg.__newobj__": _instance,
    "copyreg.__newobj_ex__": _instance,
}
