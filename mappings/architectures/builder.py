"""Builds a graph layer by layer, with the traits applied."""

from collections.abc import Mapping
from types import MappingProxyType

from ..graph import LEAVES, Attribute, Graph, Module, Node, Parameter, Shape
from ..traits import Traits

_NO_INDICES: Mapping[str, int] = MappingProxyType({})
# The window of a convolution that looks at one pixel.
_POINT: Mapping[str, Attribute] = MappingProxyType(
    {"kernel_shape": (1, 1), "strides": (1, 1), "group": 1, "pads": (0, 0, 0, 0)}
)


class Builder:
    """Collects modules and nodes; every method returns the name of the value it made.

    Layers with parameters are given as a pattern and ``at``, the values of its variables.
    """

    def __init__(self, traits: Traits) -> None:
        self.traits = traits
        self.modules: list[Module] = []
        self.nodes: list[Node] = []

    def graph(self, outputs: Mapping[str, str], taps: Mapping[str, str]) -> Graph:
        """The graph of everything built, from a value ``input`` of three channels to the outputs."""
        return Graph(
            modules=tuple(self.modules), nodes=tuple(self.nodes), input="input",
            outputs=MappingProxyType(dict(outputs)), channels=3, taps=MappingProxyType(dict(taps)),
        )  # fmt: skip

    def node(self, op: str, name: str, *inputs: str, **attributes: Attribute) -> str:
        """An operator without parameters."""
        self.nodes.append(Node(op, name, inputs, name, MappingProxyType(attributes)))
        return name

    def conv(
        self, pattern: str, value: str, before: int, after: int,
        *, kernel: int, stride: int, groups: int = 1, at: Mapping[str, int] = _NO_INDICES,
    ) -> str:  # fmt: skip
        """A convolution without bias from ``before`` to ``after`` channels."""
        path = self._module(pattern, "conv", {"kernel": (after, before // groups, kernel, kernel)}, at, groups=groups)
        window: dict[str, Attribute] = {"kernel_shape": (kernel, kernel), "strides": (stride, stride), "group": groups}
        return self.node("Conv", path, value, f"{path}.kernel", **window, **_padding(self.traits.padding, kernel))

    def norm(
        self, pattern: str, value: str, channels: int,
        *, closes_branch: bool = False, epsilon: float | None = None, at: Mapping[str, int] = _NO_INDICES,
    ) -> str:  # fmt: skip
        """A BatchNorm; ``epsilon`` where the architecture fixes it, else it is the trait ``norm_eps``."""
        shapes: dict[str, Shape] = {leaf: () if leaf == "count" else (channels,) for leaf in LEAVES["norm"]}
        path = self._module(pattern, "norm", shapes, at, closes_branch=closes_branch)
        inputs = [f"{path}.{leaf}" for leaf in ("scale", "shift", "mean", "var")]
        return self.node("BatchNormalization", path, value, *inputs, epsilon=epsilon or self.traits.norm_eps)

    def squeeze(self, pattern: str, value: str, before: int, after: int, *, at: Mapping[str, int] = _NO_INDICES) -> str:
        """A layer of squeeze-and-excitation: linear over channels, as a 1x1 convolution with bias on 1x1 values."""
        path = self._module(pattern, "squeeze", {"kernel": (after, before, 1, 1), "bias": (after,)}, at)
        return self.node("Conv", path, value, f"{path}.kernel", f"{path}.bias", **_POINT)

    def predictor(
        self, pattern: str, value: str, before: int, after: int, *, prior: float = 0.5, at: Mapping[str, int]
    ) -> str:
        """The last layer of a detector's head: a 1x1 convolution with bias, of so many values a pixel."""
        path = self._module(pattern, "predictor", {"kernel": (after, before, 1, 1), "bias": (after,)}, at, prior=prior)
        return self.node("Conv", path, value, f"{path}.kernel", f"{path}.bias", **_POINT)

    def linear(self, pattern: str, value: str, before: int, after: int) -> str:
        """A linear layer with bias."""
        path = self._module(pattern, "linear", {"kernel": (after, before), "bias": (after,)}, _NO_INDICES)
        return self.node("Gemm", path, value, f"{path}.kernel", f"{path}.bias", transB=1)

    def stem_pool(self, name: str, value: str) -> str:
        """The max-pool after the stem, 3x3 with stride 2."""
        padding = _padding(self.traits.stem_pool, 3)
        return self.node("MaxPool", name, value, kernel_shape=(3, 3), strides=(2, 2), **padding)

    def _module(
        self, pattern: str, kind: str, shapes: dict[str, Shape], at: Mapping[str, int],
        *, groups: int = 1, closes_branch: bool = False, prior: float = 0.5,
    ) -> str:  # fmt: skip
        path = pattern.format(**at)
        parameters = tuple(
            Parameter(f"{path}.{leaf}", path, leaf, shape, "int64" if leaf == "count" else "float32")
            for leaf, shape in shapes.items()
        )
        indices = MappingProxyType(at)
        self.modules.append(Module(path, pattern, indices, kind, parameters, groups, closes_branch, prior))
        return path


def _padding(style: str, kernel: int) -> dict[str, Attribute]:
    return {"auto_pad": "SAME_UPPER"} if style == "same" else {"pads": (kernel // 2,) * 4}
