"""What the families have in common: their operators without parameters, the layers of a block, their figures."""

from collections.abc import Iterable

from ...mappings.architectures.resnet_names import Block
from ...mappings.traits import Traits
from .cells import Step
from .naming import Names, Path

RELU = Step("nn.ReLU()", call="ops.relu({})", label="relu")
RELU6 = Step("nn.ReLU6()", call="ops.relu6({})", label="relu6")
SIGMOID = Step("nn.Sigmoid()", call="ops.sigmoid({})", label="sigmoid")
MEAN = Step("GlobalMean()", call="{}.mean((2, 3))", label="mean")
MAX_POOL = Step("max_pool()", label="max_pool")
AVERAGE_POOL = Step("average_pool(stride)", label="pool")

# What the classes of blocks are called.
BLOCKS = {"bottleneck": "Bottleneck", "basic": "BasicBlock"}


def convolutions(block: Block, traits: Traits, cardinality: int = 1) -> list[tuple[str, str, str]]:
    """Of each convolution of a block the channels before and after, and all its arguments."""
    if block == "basic":
        layers = [("before", "after", "3, stride"), ("after", "after", "3")]
    else:
        first, second = (", stride", "") if traits.bottleneck_stride == "1x1" else ("", ", stride")
        groups = ", groups=GROUPS" if cardinality > 1 else ""
        layers = [("before", "width", f"1{first}"), ("width", "width", f"3{second}{groups}"), ("width", "after", "1")]
    return [(before, after, f"{before}, {after}, {rest}") for before, after, rest in layers]


def convolution(arguments: str, path: Path, *, begins: bool = False) -> Step:
    """A convolution, or one of each group where the names say so."""
    if path[-1] == "{g}":
        return Step(f"SplitConv({arguments})", path[:-2], begins=begins)
    return Step(f"conv({arguments})", path, begins=begins)


def stages(names: Names, count: int) -> list[Step]:
    """The stages."""
    return [Step(f"stage({index})", names.stage_path(index), begins=True) for index in range(count)]


def head(names: Names) -> list[Step]:
    """The mean of every channel, and the classifier."""
    return [MEAN, Step("nn.Dense(CHANNELS[-1], num_classes)", names.outside["head"], begins=True)]


def figures(
    classes: int, traits: Traits, depths: Iterable[int], widths: Iterable[int], channels: Iterable[int]
) -> dict[str, str]:
    """The figures of a network by the names of constants, as text; no ``widths`` for basic blocks."""
    tuples = {"DEPTHS": tuple(depths), "WIDTHS": tuple(widths), "CHANNELS": tuple(channels)}
    return {
        "CLASSES": str(classes), "NORM_EPS": repr(traits.norm_eps),
        **{name: repr(values) for name, values in tuples.items() if values},
    }  # fmt: skip
