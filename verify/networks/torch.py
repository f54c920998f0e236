"""A graph as a ``torch.nn.Module`` whose ``state_dict`` has the names, shapes and order of a dialect."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812

from ...mappings.dialects import Grounding
from ...mappings.graph import Graph, Node, ints, pads
from ..errors import NetworkError
from .places import Place, check_fit, places

_LEAVES = {
    "conv": {"kernel": "weight"},
    "linear": {"kernel": "weight", "bias": "bias"},
    "squeeze": {"kernel": "weight", "bias": "bias"},
    "predictor": {"kernel": "weight", "bias": "bias"},
    "norm": {
        "scale": "weight",
        "shift": "bias",
        "mean": "running_mean",
        "var": "running_var",
        "count": "num_batches_tracked",
    },
}


class Network(torch.nn.Module):  # type: ignore[misc]
    """The network of a graph, its layers nested as a dialect's names say. Made by ``build``."""

    def __init__(self, graph: Graph, grounding: Grounding) -> None:
        super().__init__()
        found = places(graph, grounding, "torch")
        # Plain dicts, because the graph's read-only views can be neither copied nor pickled.
        self.nodes = [replace(node, attributes=dict(node.attributes)) for node in graph.nodes]
        self.tap_values = dict(graph.taps)
        self._input, self.output_values = graph.input, dict(graph.outputs)
        self._paths = {name: place.paths for name, place in found.items()}
        for place in found.values():
            for path in place.paths:
                self._put(path, _layer(place))

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """What pictures (N, 3, H, W) give: logits (N, classes); of a graph with several outputs all, in its order."""
        values = tuple(self.outputs(x).values())
        return values if len(values) > 1 else values[0]

    def outputs(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The graph's outputs by name."""
        values = self._run(x, set(self.output_values.values()))
        return {name: values[value] for name, value in self.output_values.items()}

    def taps(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The values at the graph's taps, from stem to logits."""
        values = self._run(x, set(self.tap_values.values()))
        return {tap: values[value] for tap, value in self.tap_values.items()}

    def values(self, x: torch.Tensor, *, start: str | None = None) -> Iterator[tuple[str, torch.Tensor]]:
        """The output of every node, in the graph's order; from ``start`` on, if ``x`` is that value already."""
        known = {start or self._input: x}
        last_use = {name: node.name for node in self.nodes for name in node.inputs}
        done = 0 if start is None else 1 + [node.output for node in self.nodes].index(start)
        for node in self.nodes[done:]:
            inputs = [known[name] for name in node.inputs if name in known]
            # Looked up anew, so that a layer replaced by the user (a new head, say) is the one that runs.
            result = _OPERATORS[node.op](node, self.layers(node.name), *inputs)
            known[node.output] = result
            for name in node.inputs:
                if last_use[name] == node.name:
                    known.pop(name, None)
            yield node.output, result

    def layers(self, node: str) -> list[Any]:
        """The layers that a node computes with, one a group where the dialect splits them."""
        return [self.get_submodule(path) for path in self._paths.get(node, ())]

    def _run(self, x: torch.Tensor, wanted: set[str]) -> dict[str, torch.Tensor]:
        return {name: value for name, value in self.values(x) if name in wanted}

    def _put(self, path: str, layer: torch.nn.Module) -> None:
        """Nest a layer at its path."""
        *folders, last = path.split(".")
        at: torch.nn.Module = self
        try:
            for folder in folders:
                if folder not in at._modules:
                    at.add_module(folder, torch.nn.Module())
                at = at._modules[folder]
            if last in at._modules:
                raise KeyError(f"{path} is the name of something else too")
            at.add_module(last, layer)
        except KeyError as error:
            raise NetworkError(f"torch can have no module called {path}: {error.args[0]}") from None


def build(graph: Graph, grounding: Grounding) -> Network:
    """The network in eval mode, with torch's own initialisation: load weights next.

    ``grounding`` must be of a dialect of torch; the traits are those baked into the graph.
    """
    network = Network(graph, grounding)
    network.eval()
    has, wanted = list(network.state_dict()), list(grounding.specs)
    if sorted(has) != sorted(wanted):
        stray = next(iter(set(wanted) ^ set(has)))
        raise NetworkError(f"torch's layers cannot be called as dialect {grounding.dialect.name} says, e.g. {stray}")
    return network


def load(network: torch.nn.Module, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Give a network its weights, strictly: every name, no other, equal shapes; else a LoadError.

    Values take the dtype of the network's tensors: exact unless that is narrower.
    """
    own = network.state_dict()
    check_fit(
        "load into torch",
        {name: tuple(value.shape) for name, value in own.items()},
        {name: array.shape for name, array in tensors.items()},
    )
    state = {name: _tensor(tensors[name]).to(own[name].dtype) for name in own}
    network.load_state_dict(state, strict=True)


def _tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.uint16).copy()).view(torch.bfloat16)
    # A copy: files are mapped read-only, and ascontiguousarray would give a 0-d counter a dimension.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


class _CounterlessNorm(torch.nn.BatchNorm2d):  # type: ignore[misc]
    """A BatchNorm of before torch 0.4.1, without ``num_batches_tracked``."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__(channels, eps=eps)
        self.num_batches_tracked = None

    def _load_from_state_dict(self, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
        # Version 2 keeps torch from adding the counter to weights that have none.
        super()._load_from_state_dict(state, prefix, {**metadata, "version": 2}, *rest)


def _layer(place: Place) -> torch.nn.Module:
    node, kind = place.node, place.module.kind
    for leaf, names in place.names.items():
        called = names[0].rpartition(".")[2]
        if called != _LEAVES[kind][leaf]:
            raise NetworkError(
                f"torch calls the {leaf} of a {kind} {_LEAVES[kind][leaf]!r}, not {called!r} ({names[0]})"
            )
    if node.op == "Conv" and not place.dense:
        return _conv(node, place)
    if node.op == "BatchNormalization":
        norm: Any = torch.nn.BatchNorm2d if "count" in place.names else _CounterlessNorm
        return norm(place.shape[0], eps=node.attributes["epsilon"])
    return torch.nn.Linear(place.shape[1], place.shape[0], bias=len(node.inputs) > 2)


def _conv(node: Node, place: Place) -> torch.nn.Module:
    out, per_group, *kernel = place.shape
    parts = len(place.paths)
    groups = int(node.attributes["group"]) // parts  # type: ignore[arg-type]
    return torch.nn.Conv2d(
        per_group * groups, out // parts, kernel, stride=ints(node, "strides"), groups=groups,
        padding=_symmetric(node) or 0, bias=len(node.inputs) > 2,
    )  # fmt: skip


def _symmetric(node: Node) -> tuple[int, int] | None:
    """Padding that is equal on both sides and the same at every input size, else None."""
    if "auto_pad" in node.attributes:
        return None
    top, left, bottom, right = ints(node, "pads")
    return (top, left) if (top, left) == (bottom, right) else None


def _padded(node: Node, x: torch.Tensor, value: float) -> torch.Tensor:
    top, left, bottom, right = pads(node, x.shape[2], x.shape[3])
    return F.pad(x, (left, right, top, bottom), value=value) if top or left or bottom or right else x


def _convolve(node: Node, layers: list[Any], x: torch.Tensor) -> torch.Tensor:
    if isinstance(layers[0], torch.nn.Linear):
        return layers[0](x.flatten(1))[:, :, None, None]
    if _symmetric(node) is None:
        x = _padded(node, x, 0.0)
    if len(layers) == 1:
        return layers[0](x)
    return torch.cat([layer(part) for layer, part in zip(layers, x.chunk(len(layers), 1), strict=True)], 1)


def _max_pool(node: Node, _: list[Any], x: torch.Tensor) -> torch.Tensor:
    padding = _symmetric(node)
    if padding is None:
        x, padding = _padded(node, x, float("-inf")), (0, 0)
    ceil = bool(node.attributes.get("ceil_mode", 0))
    return F.max_pool2d(x, ints(node, "kernel_shape"), ints(node, "strides"), padding, ceil_mode=ceil)


def _average_pool(node: Node, _: list[Any], x: torch.Tensor) -> torch.Tensor:
    padding = _symmetric(node)
    if padding is None:
        raise NetworkError(f"{node.name}: torch has no average pool with unequal padding")
    return F.avg_pool2d(
        x, ints(node, "kernel_shape"), ints(node, "strides"), padding,
        ceil_mode=bool(node.attributes.get("ceil_mode", 0)),
        count_include_pad=bool(node.attributes.get("count_include_pad", 0)),
    )  # fmt: skip


_OPERATORS: Mapping[str, Callable[..., torch.Tensor]] = {
    "Conv": _convolve,
    "BatchNormalization": lambda _, layers, x: layers[0](x),
    "Gemm": lambda _, layers, x: layers[0](x),
    "Relu": lambda _node, _layers, x: F.relu(x),
    "Clip": lambda node, _, x: torch.clamp(x, node.attributes["min"], node.attributes["max"]),
    "Sigmoid": lambda _node, _layers, x: torch.sigmoid(x),
    "Add": lambda _node, _layers, x, y: x + y,
    "Mul": lambda _node, _layers, x, y: x * y,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda _node, _layers, x: x.mean((2, 3), keepdim=True),
    "Transpose": lambda node, _, x: x.permute(ints(node, "perm")),
    "Reshape": lambda node, _, x: x.reshape(x.shape[0], *ints(node, "shape")[1:]),
    "Concat": lambda node, _, *xs: torch.cat(xs, node.attributes["axis"]),
    "Flatten": lambda node, _, x: torch.flatten(x, node.attributes["axis"]),
}
