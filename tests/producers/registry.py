"""What a producer of ONNX files is, and what a reader must make of its files."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mshub_convert.mappings.architectures import Architecture, architecture
from mshub_convert.mappings.traits import Traits

from .sample import SMALL, Sample, draw

Make = Callable[[Sample, Path], None]


@dataclass(frozen=True, slots=True)
class Producer:
    """One way in which a network comes to be an ONNX file.

    ``make`` writes a sample's file. ``exact`` says that all tensors can be had back bit for bit; ``folded`` that
    BatchNorm is gone into the convolutions. ``needs`` are packages beyond onnx. ``traits`` are those of the network
    that is written, ``prepare`` changes its weights (to what float16 holds, say) before anything else sees them.
    ``network`` is another one than usual where a producer has only that, ``published`` the one that the table in the
    documentation shows. ``batch`` and ``final`` (side of the last feature map) are given where the file fixes its
    input. ``ends`` is what the file's output holds, ``noise`` the rounding to expect when ONNX Runtime runs it (0
    where it cannot), and ``valid`` whether onnx's checker takes the file.
    """

    title: str
    make: Make
    exact: bool = True
    folded: bool = False
    needs: tuple[str, ...] = ()
    traits: Traits = field(default_factory=Traits)
    prepare: Callable[[Sample], Sample] = lambda sample: sample
    network: Architecture | None = None
    published: str = "resnext50_32x4d"
    batch: int | None = None
    final: int | None = None
    ends: Literal["logits", "softmax", "log_softmax"] = "logits"
    noise: float = 2e-6
    valid: bool = True

    def sample(self, *, published: bool = False) -> Sample:
        """The network and weights that the producer writes: a small one, or the published one."""
        network = architecture(self.published) if published else self.network or SMALL
        return self.prepare(draw(network, self.traits))

    def size(self, sample: Sample) -> tuple[int, int] | None:
        """Height and width of the pictures, where the file fixes them."""
        return square(sample, self.final) if self.final else None


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that must be refused: ``reason`` is a pattern of the message, which must name a node that fits ``node``.

    ``computes`` tells what ONNX Runtime makes of the file: the sample's logits (a form that we do not read), other
    logits (a network that is none of ours), something that is no logits of the sample's classes, or nothing.
    """

    title: str
    make: Make
    node: str
    reason: str = ""
    needs: tuple[str, ...] = ()
    computes: Literal["same", "other", "no logits", "nothing"] = "other"


@dataclass(frozen=True, slots=True)
class Mutation:
    """A mistake that a conversion might make, put into a file on purpose, and the stage that must notice it.

    ``trait``: the reader tells ``traits`` that are not the original's; ``structure``: it refuses the file, naming a
    node that fits ``node``; ``weights``: bits differ; ``forward``: nothing but the outputs can tell, because BatchNorm
    is folded and the weights are no longer the original's. ``visible`` tells whether float32 outputs differ at all.
    """

    title: str
    apply: Callable[[Any], None]
    caught: Literal["trait", "structure", "weights", "forward"]
    node: str = ""
    traits: Traits | None = None
    final: int | None = None
    visible: bool = True


def square(sample: Sample, final: int) -> tuple[int, int]:
    """The picture size at which the last feature map has sides of ``final``."""
    side = final * 2 ** (1 + len(sample.network.depths))  # type: ignore[attr-defined]
    return side, side
