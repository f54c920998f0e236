"""A network that a user's own function makes, from their Python file: imported and called here, and nowhere else."""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from typing import Any

from ...converters.errors import UsageError
from ...mappings.names import did_you_mean, listed
from ..errors import NetworkError
from ..runtimes.job import UserNetwork

# What functions that make networks call the number of classes.
_CLASSES = ("num_classes", "class_num", "classes")
_MODULE = "_source_network"


def build(network: UserNetwork, kind: Any, tensor: Any) -> Any:
    """What the function gives, which must be a ``kind`` that makes a ``tensor``; all that goes wrong is a NetworkError.

    It is called with the number of classes where it has a parameter for it (``num_classes``, ``class_num``,
    ``classes``, or the only one that must be given), else without arguments.
    """
    factory = _factory(network)
    made = _run(network, lambda: _called(network, factory))
    if not isinstance(made, kind):
        raise NetworkError(
            f"{network.said} gave {_a(made)}, not a {kind.__module__.partition('.')[0]} {kind.__name__}",
            remedy="Name a function that makes the network, without weights.",
        )
    made.output_values = tuple(network.outputs)
    made.register_forward_hook(lambda _cell, _inputs, output: _check_outputs(network, output, tensor))
    return made


def _check_outputs(network: UserNetwork, output: Any, tensor: Any) -> None:
    """Raise unless the network gives the tensors of its description, one alone or several in order."""
    given = [output] if len(network.outputs) == 1 else output if isinstance(output, (tuple, list)) else []
    shapes = [tuple(value.shape)[1:] if isinstance(value, tensor) else None for value in given]
    wanted = list(network.outputs.values())
    if len(shapes) == len(wanted) and all(map(_fits, shapes, wanted)):
        return
    told = ", ".join(_value(value, tensor) for value in (output if isinstance(output, (tuple, list)) else [output]))
    names = {"head": "logits"}
    expected = listed([f"{names.get(name, name)} of shape {_axes(axes)}" for name, axes in network.outputs.items()])
    raise NetworkError(
        f"the network of {network.said} gives {told or 'nothing'}, not {expected}",
        remedy="Name a function whose network gives these alone, in this order.",
    )


def _fits(shape: tuple[int, ...] | None, wanted: tuple[int, ...]) -> bool:
    if shape is None or len(shape) != len(wanted):
        return False
    return all(axis in (0, size) for size, axis in zip(shape, wanted, strict=True))


def _value(value: Any, tensor: Any) -> str:
    return f"{_a(value)} of shape {tuple(value.shape)}" if isinstance(value, tensor) else _a(value)


def _axes(axes: tuple[int, ...]) -> str:
    return f"(N, {', '.join(str(axis or '*') for axis in axes)})"


def _factory(network: UserNetwork) -> Callable[..., Any]:
    file = network.file
    # What stands beside the file can be imported, as where it is at home.
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(_MODULE, file)
    if spec is None or spec.loader is None:
        raise NetworkError(f"{file} cannot be imported as a Python module", remedy="Give a .py file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module  # MindSpore compiles what it finds by its module's name
    load = spec.loader.exec_module
    _run(network, lambda: load(module))
    found = getattr(module, network.factory, None)
    if not callable(found):
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        wrong = "is no function" if hasattr(module, network.factory) else "does not exist"
        raise UsageError(f"{network.factory} of {file} {wrong}", remedy=did_you_mean(network.factory, known))
    factory: Callable[..., Any] = found
    return factory


def _called(network: UserNetwork, factory: Callable[..., Any]) -> Any:
    parameters = inspect.signature(factory).parameters.values()
    named = next((item.name for item in parameters if item.name in _CLASSES), None)
    if named is not None:
        return factory(**{named: network.classes})
    needed = [item for item in parameters if item.default is item.empty and item.kind is item.POSITIONAL_OR_KEYWORD]
    if len(needed) == 1:
        return factory(network.classes)
    return factory()


def _run(network: UserNetwork, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        place = next(
            (f", line {frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[::-1]
             if frame.filename == str(network.file)), "",
        )  # fmt: skip
        said = str(error).strip() or "without a message"
        raise NetworkError(
            f"{network.said} raised {type(error).__name__}{place}: {said}",
            remedy="It runs in a process of its own, with the file's folder to import from: try it there.",
        ) from None


def _a(value: object) -> str:
    name = type(value).__name__
    return "nothing" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
