"""A graph as a ``mindspore.nn.Cell`` whose parameters have the names and shapes of a dialect.

Layers nest by name in one tree of cells and run in another, of blocks, which graph mode and MINDIR compile fast.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import mindspore
import numpy as np
import numpy.typing as npt
from mindspore import nn, ops

from ...mappings.chains import Branches, Chain, segments
from ...mappings.dialects import Grounding
from ...mappings.graph import Graph, Node, ints
from ..errors import LoadError, NetworkError
from .places import Place, check_fit, places

# Our leaves as attributes of MindSpore's layers, in the order in which those hold them.
_LEAVES = {
    "conv": {"kernel": "weight"},
    "linear": {"kernel": "weight", "bias": "bias"},
    "squeeze": {"kernel": "weight", "bias": "bias"},
    "predictor": {"kernel": "weight", "bias": "bias"},
    "norm": {"mean": "moving_mean", "var": "moving_variance", "scale": "gamma", "shift": "beta"},
}


class _Folder(nn.Cell):  # type: ignore[misc]
    """A level of names. Its cells run from elsewhere too, so they cannot be replaced."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_cells", {}) and self._cells[name] is not value:
            raise AttributeError(
                f"{name} cannot be replaced: build the network anew, with other classes for another head"
            )
        super().__setattr__(name, value)


class _Chain(_Folder):
    """Cells that run one after the other; they are held in a tuple, which takes no part in naming."""

    def __init__(self, steps: tuple[nn.Cell, ...]) -> None:
        super().__init__()
        self.steps = steps

    def construct(self, *inputs: Any) -> Any:
        # The first step of a chain may join several values; all others take what the one before gives.
        x = self.steps[0](*inputs) if self.steps else inputs[0]
        for step in self.steps[1:]:
            x = step(x)
        return x


class Network(_Folder):
    """The network of a graph, its layers nested as a dialect's names say. Made by ``build``.

    Called with pictures (N, 3, H, W) it gives the logits; of a graph with several outputs, all of them in a tuple.
    """

    def __init__(self, graph: Graph, grounding: Grounding) -> None:
        super().__init__()
        found = places(graph, grounding, "mindspore")
        cells: dict[str, nn.Cell] = {}
        for node in graph.nodes:
            place = found.get(node.name)
            cells[node.name] = self._named(place) if place else _OPERATORS[node.op](node)
        parts = segments(graph)
        # Places of values: the picture first, then what each chain gives. Tuples take no part in naming.
        at = {value: place for place, value in enumerate((graph.input, *(part.output for part in parts)))}
        self.chains = tuple(_Chain(_steps(part.steps, cells)) for part in parts)
        self.sources = tuple(tuple(at[source] for source in part.sources) for part in parts)
        self.given = tuple(at[value] for value in graph.outputs.values())
        parameters = {parameter.key for parameter in graph.parameters}
        self._plan = [
            (cells[node.name], [name for name in node.inputs if name not in parameters], node.output)
            for node in graph.nodes
        ]
        self._graph_input = graph.input
        self.output_values, self.tap_values = dict(graph.outputs), dict(graph.taps)

    def construct(self, x: Any) -> Any:
        """The only output, or all in a tuple."""
        values: Any = (x,)
        for index, chain in enumerate(self.chains):
            inputs: Any = ()
            for place in self.sources[index]:
                inputs += (values[place],)
            values += (chain(*inputs),)
        if len(self.given) == 1:
            return values[self.given[0]]
        outputs: Any = ()
        for place in self.given:
            outputs += (values[place],)
        return outputs

    def taps(self, x: Any) -> dict[str, Any]:
        """The values at the graph's taps, from stem to logits; runs node by node, outside graph mode."""
        wanted = set(self.tap_values.values())
        values = {name: value for name, value in self.values(x) if name in wanted}
        return {tap: values[value] for tap, value in self.tap_values.items()}

    def values(self, x: Any) -> Iterator[tuple[str, Any]]:
        """The output of every node, in the graph's order; runs node by node, outside graph mode."""
        known = {self._graph_input: x}
        last_use = {name: output for _, inputs, output in self._plan for name in inputs}
        for cell, inputs, output in self._plan:
            result = known[output] = cell(*(known[name] for name in inputs))
            for name in inputs:
                if last_use[name] == output:
                    known.pop(name, None)
            yield output, result

    def _named(self, place: Place) -> nn.Cell:
        layers = [_layer(place) for _ in place.paths]
        for index, (path, layer) in enumerate(zip(place.paths, layers, strict=True)):
            self._put(path, layer)
            attributes = _LEAVES[place.module.kind]
            for leaf, names in place.names.items():
                if leaf not in attributes:
                    raise NetworkError(f"MindSpore's layers have no {leaf}, which the dialect calls {names[index]}")
                getattr(layer, attributes[leaf]).name = names[index]
        if place.dense:
            return _Dense((layers[0],))
        return layers[0] if len(layers) == 1 else _Split(tuple(layers))

    def _put(self, path: str, layer: nn.Cell) -> None:
        """Nest a layer at its path."""
        *folders, last = path.split(".")
        at: nn.Cell = self
        try:
            for folder in folders:
                if folder not in at._cells:
                    at.insert_child_to_cell(folder, _Folder())
                at = at._cells[folder]
            if last in at._cells:
                raise KeyError(f"{path} is the name of something else too")
            at.insert_child_to_cell(last, layer)
        except KeyError as error:
            raise NetworkError(f"MindSpore can have no cell called {path}: {error.args[0]}") from None


def build(graph: Graph, grounding: Grounding) -> Network:
    """The network in inference mode, all its kernels zero: load weights next.

    ``grounding`` must be of a dialect of MindSpore; the traits are those baked into the graph.
    """
    network = Network(graph, grounding)
    network.set_train(False)
    has = {name: tuple(parameter.shape) for name, parameter in network.parameters_dict().items()}
    if has != grounding.specs:
        stray = next(iter(set(has.items()) ^ set(grounding.specs.items())))
        raise NetworkError(
            f"MindSpore's layers cannot be called as dialect {grounding.dialect.name} says, e.g. {stray}"
        )
    return network


def load(network: nn.Cell, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Give a network its weights, strictly: every name, no other, equal shapes; else a LoadError.

    Values take the dtype of the network's parameters: exact unless that is narrower.
    """
    own = network.parameters_dict()
    check_fit(
        "load into MindSpore",
        {name: tuple(parameter.shape) for name, parameter in own.items()},
        {name: array.shape for name, array in tensors.items()},
    )
    parameters = {name: mindspore.Parameter(_tensor(tensors[name], own[name].dtype), name=name) for name in own}
    missing, unexpected = mindspore.load_param_into_net(network, parameters, strict_load=True)
    if missing or unexpected:
        raise LoadError.of("mindspore.load_param_into_net", missing=missing, unexpected=unexpected)


def _tensor(array: npt.NDArray[Any], dtype: Any) -> Any:
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    return mindspore.Tensor(np.array(array, dtype=array.dtype.newbyteorder("="), order="C")).astype(dtype)


class _Split(nn.Cell):  # type: ignore[misc]
    """A grouped convolution as one convolution a group."""

    def __init__(self, convs: tuple[nn.Cell, ...]) -> None:
        super().__init__()
        self.convs = convs
        self.split = ops.Split(axis=1, output_num=len(convs))
        self.concat = ops.Concat(axis=1)

    def construct(self, x: Any) -> Any:
        outputs: Any = ()
        parts = self.split(x)
        for index, conv in enumerate(self.convs):
            outputs += (conv(parts[index]),)
        return self.concat(outputs)


class _Dense(nn.Cell):  # type: ignore[misc]
    """A dense layer over the channels of 1x1 values; held in a tuple, which takes no part in naming."""

    def __init__(self, layers: tuple[nn.Cell, ...]) -> None:
        super().__init__()
        self.layers = layers
        self.flat = (-1, layers[0].in_channels)
        self.whole = (-1, layers[0].out_channels, 1, 1)

    def construct(self, x: Any) -> Any:
        return self.layers[0](x.reshape(self.flat)).reshape(self.whole)


class _Residual(nn.Cell):  # type: ignore[misc]
    """The sum of branches that start from one value."""

    def __init__(self, branches: tuple[nn.Cell, ...]) -> None:
        super().__init__()
        self.branches = branches

    def construct(self, x: Any) -> Any:
        total = self.branches[0](x)
        for branch in self.branches[1:]:
            total = total + branch(x)
        return total


class _PaddedMaxPool(nn.Cell):  # type: ignore[misc]
    """A max-pool with explicit padding, of the least number there is.

    Not ``nn.MaxPool2d(pad_mode="pad")``, which is a 3-D pool between reshapes: a MINDIR of it for pictures of any size
    does not run.
    """

    def __init__(self, kernel: tuple[int, ...], stride: tuple[int, ...], pads: tuple[int, ...]) -> None:
        super().__init__()
        top, left, bottom, right = pads
        self.paddings = (left, right, top, bottom)
        self.least = float(np.finfo(np.float32).min)
        self.pad = ops.PadV3()
        self.pool = ops.MaxPool(kernel, stride, "valid")

    def construct(self, x: Any) -> Any:
        return self.pool(self.pad(x, self.paddings, self.least))


class _Gated(nn.Cell):  # type: ignore[misc]
    """The product of two branches that start from one value."""

    def __init__(self, branches: tuple[nn.Cell, ...]) -> None:
        super().__init__()
        self.first, self.second = ((branch,) for branch in branches)

    def construct(self, x: Any) -> Any:
        return self.first[0](x) * self.second[0](x)


class _Transpose(nn.Cell):  # type: ignore[misc]
    def __init__(self, perm: tuple[int, ...]) -> None:
        super().__init__()
        self.perm = perm

    def construct(self, x: Any) -> Any:
        return ops.transpose(x, self.perm)


class _Rows(nn.Cell):  # type: ignore[misc]
    """A reshape that keeps the first axis."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.rest = shape[1:]

    def construct(self, x: Any) -> Any:
        return ops.reshape(x, (x.shape[0], *self.rest))


class _Concat(nn.Cell):  # type: ignore[misc]
    def __init__(self, axis: int) -> None:
        super().__init__()
        self.concat = ops.Concat(axis)

    def construct(self, *inputs: Any) -> Any:
        return self.concat(inputs)


class _GlobalAveragePool(nn.Cell):  # type: ignore[misc]
    def construct(self, x: Any) -> Any:
        return x.mean((2, 3), keep_dims=True)


_JOINS = {"Add": _Residual, "Mul": _Gated}


def _steps(steps: Chain, cells: Mapping[str, nn.Cell]) -> tuple[nn.Cell, ...]:
    made: list[nn.Cell] = []
    for step in steps:
        if not isinstance(step, Branches):
            made.append(cells[step.name])
        elif step.node.op in _JOINS:
            made.append(_JOINS[step.node.op](tuple(_Chain(_steps(branch, cells)) for branch in step.chains)))
        else:
            raise NetworkError(f"no MindSpore cell joins branches by {step.node.op} ({step.node.name})")
    return tuple(made)


def _layer(place: Place) -> nn.Cell:
    node, parts = place.node, len(place.paths)
    if node.op == "Conv" and not place.dense:
        out, per_group, *kernel = place.shape
        groups = int(node.attributes["group"]) // parts  # type: ignore[arg-type]
        return nn.Conv2d(
            per_group * groups, out // parts, tuple(kernel), ints(node, "strides"), group=groups, weight_init="zeros",
            has_bias=len(node.inputs) > 2, **_padding(node),
        )  # fmt: skip
    if node.op == "BatchNormalization":
        return nn.BatchNorm2d(place.shape[0], eps=node.attributes["epsilon"], momentum=0.9)
    return nn.Dense(place.shape[1], place.shape[0], weight_init="zeros", has_bias=len(node.inputs) > 2)


def _padding(node: Node) -> dict[str, Any]:
    if "auto_pad" in node.attributes:
        return {"pad_mode": "same"}
    top, left, bottom, right = ints(node, "pads")
    return {"pad_mode": "pad", "padding": (top, bottom, left, right)}


def _max_pool(node: Node) -> nn.Cell:
    window = {"kernel_size": ints(node, "kernel_shape"), "stride": ints(node, "strides")}
    if "auto_pad" in node.attributes:
        return nn.MaxPool2d(**window, pad_mode="same")
    if not node.attributes.get("ceil_mode", 0):
        return _PaddedMaxPool(window["kernel_size"], window["stride"], ints(node, "pads"))
    return nn.MaxPool2d(**window, pad_mode="pad", padding=_both_sides(node), ceil_mode=True)


def _clip(node: Node) -> nn.Cell:
    bounds = node.attributes["min"], node.attributes["max"]
    if bounds != (0.0, 6.0):
        raise NetworkError(f"{node.name} clips to {bounds}; our MindSpore networks have ReLU6 alone")
    return nn.ReLU6()


def _average_pool(node: Node) -> nn.Cell:
    kernel, strides, padding = ints(node, "kernel_shape"), ints(node, "strides"), _both_sides(node)
    ceil, count_pad = (bool(node.attributes.get(name, 0)) for name in ("ceil_mode", "count_include_pad"))
    if ceil and not count_pad and kernel == strides == (2, 2) and padding == (0, 0):
        # The same windows and counts; MindSpore has pad_mode="pad" on fewer devices.
        return nn.AvgPool2d(kernel, strides, pad_mode="same")
    return nn.AvgPool2d(kernel, strides, pad_mode="pad", padding=padding, ceil_mode=ceil, count_include_pad=count_pad)


def _both_sides(node: Node) -> tuple[int, int]:
    top, left, bottom, right = (-1, -1, 0, 0) if "auto_pad" in node.attributes else ints(node, "pads")
    if (top, left) != (bottom, right):
        raise NetworkError(f"{node.name}: MindSpore has no pool with unequal padding")
    return top, left


_OPERATORS: Mapping[str, Callable[[Node], nn.Cell]] = {
    "Relu": lambda _: nn.ReLU(),
    "Sigmoid": lambda _: nn.Sigmoid(),
    "Clip": lambda node: _clip(node),
    "Transpose": lambda node: _Transpose(ints(node, "perm")),
    "Reshape": lambda node: _Rows(ints(node, "shape")),
    "Concat": lambda node: _Concat(int(node.attributes["axis"])),  # type: ignore[arg-type]
    "Add": lambda _: ops.Add(),
    "Mul": lambda _: ops.Mul(),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda _: _GlobalAveragePool(),
    "Flatten": lambda node: nn.Flatten(start_dim=node.attributes["axis"]),
}
