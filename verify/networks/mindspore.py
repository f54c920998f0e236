"""A graph as a ``mindspore.nn.Cell`` whose parameters have the names and shapes of a dialect.

Layers nest by name in one tree of cells and run in another, of blocks, which graph mode and MINDIR compile fast.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import mindspore
import numpy as np
import numpy.typing as npt
from mindspore import nn

from ...mappings.chains import Branches, Chain, segments
from ...mappings.dialects import Grounding
from ...mappings.graph import Graph
from ..errors import LoadError, NetworkError
from .mindspore_layers import layer, operator, whole
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
            cells[node.name] = self._named(place) if place else operator(node)
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
        layers = [layer(place) for _ in place.paths]
        for index, (path, cell) in enumerate(zip(place.paths, layers, strict=True)):
            self._put(path, cell)
            attributes = _LEAVES[place.module.kind]
            for leaf, names in place.names.items():
                if leaf not in attributes:
                    raise NetworkError(f"MindSpore's layers have no {leaf}, which the dialect calls {names[index]}")
                getattr(cell, attributes[leaf]).name = names[index]
        return whole(place, layers)

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


class _Gated(nn.Cell):  # type: ignore[misc]
    """The product of two branches that start from one value."""

    def __init__(self, branches: tuple[nn.Cell, ...]) -> None:
        super().__init__()
        self.first, self.second = ((branch,) for branch in branches)

    def construct(self, x: Any) -> Any:
        return self.first[0](x) * self.second[0](x)


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
