"""The process that runs mutated networks: ``python -m mshub_convert.verify.selftest.worker FOLDER``.

Our network in torch with the target's weights, once in float64 and once in float32 as they are, then once a mutation,
from the last value that the mutation cannot have changed.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import pad as _pad

from ...mappings.dialects import Grounding, dialect
from ...mappings.graph import Graph
from ..compare import relative_l2
from ..networks import torch as networks
from ..process import read_job, serve
from ..runtimes import GraphNetwork, Job
from ..worker import built, pictures, ready_runtime
from .mutations import Mutation, harmless, mutations
from .sensitivity import unseen

Array = npt.NDArray[Any]

LOGITS = "logits.npz"


def main(folder: Path) -> int:
    """Run the job in a folder; the exit code is that of the error, if there is one."""
    job = read_job(folder)
    return serve(folder, lambda: execute(job, folder), what="the self-test", extra="torch")


def execute(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run everything; what the mutated networks give goes to a file beside the result."""
    job = Job.from_dict(data["job"])
    if not isinstance(job.network, GraphNetwork):
        raise TypeError("the self-test runs networks of ours")
    runtime, _ = ready_runtime(job.runtime, job.device, job.index)
    network, _ = built(runtime, job)
    grounding = dialect(job.network.dialect).ground(job.network.architecture)
    graph = job.network.architecture.graph(job.network.traits)
    batches = [torch.from_numpy(pictures(path)) for path in job.inputs]
    given = job.network.architecture, job.network.traits
    subject = _Subject(network, graph, grounding, batches)
    reference = subject.reference()
    own = [np.asarray(batch) for batch in subject.base()]
    errors = [relative_l2(mine, exact) for mine, exact in zip(own, reference, strict=True)]
    arrays = {f"reference_{size}": batch for size, batch in enumerate(reference)}
    arrays |= {f"own_{size}": batch for size, batch in enumerate(own)}
    told = []
    for number, mutation in enumerate((*mutations(*given, count=data["count"], seed=data["seed"]), *harmless(*given))):
        started = time.perf_counter()
        outputs = subject.mutated(mutation)
        arrays |= {f"mutation_{number}_{size}": batch for size, batch in enumerate(outputs)}
        ratios = [_ratio(*three) for three in zip(outputs, reference, errors, strict=True)]
        told.append({
            "name": mutation.name, "words": mutation.words, "claim": mutation.claim, "ratios": ratios,
            "seconds": time.perf_counter() - started,
        })  # fmt: skip
    np.savez(folder / LOGITS, **arrays)
    seen = unseen(network, grounding, batches[0], reference[0], errors[0])
    return {"mutations": told, "own_error": float(max(error.max() for error in errors)), "values": seen}


def _ratio(outputs: Array, reference: Array, error: Array) -> float | None:
    """The worst ratio of errors, None where there is no number for it."""
    if outputs.shape != reference.shape:
        return None
    with np.errstate(all="ignore"):
        ratio = float(np.max(relative_l2(outputs, reference) / error))
    return ratio if np.isfinite(ratio) else None


class _Subject:
    """The network that is mutated; what it gives at places where one value holds everything is kept."""

    def __init__(
        self, network: networks.Network, graph: Graph, grounding: Grounding, batches: Sequence[torch.Tensor]
    ) -> None:
        self.network, self.graph, self.grounding, self.batches = network, graph, grounding, batches
        self.cuts = _cuts(graph)
        self.kept: list[dict[str, torch.Tensor]] = [{} for _ in batches]

    def reference(self) -> list[Array]:
        """What float64 gives; the copy of the network is gone afterwards."""
        with torch.device("meta"):
            exact = networks.build(self.graph, self.grounding)
        exact.load_state_dict({name: wide(value) for name, value in self.network.state_dict().items()}, assign=True)
        with torch.inference_mode():
            return [exact(batch.double()).numpy() for batch in self.batches]

    def base(self) -> Iterator[Array]:
        """What the network gives as it is."""
        with torch.inference_mode():
            for batch, kept in zip(self.batches, self.kept, strict=True):
                last = batch
                for name, value in self.network.values(batch):
                    if name in self.cuts:
                        kept[name] = value
                    last = value
                yield last.numpy()

    def mutated(self, mutation: Mutation) -> list[Array]:
        """What it gives with a mutation."""
        state = self.network.state_dict()
        changed = self._edited(mutation)
        with torch.device("meta"):
            network = networks.build(mutation.graph(self.graph), self.grounding)
        network.load_state_dict({**state, **changed}, assign=True)
        before = [cut for cut, place in self.cuts.items() if place < mutation.first(self.graph)]
        with torch.inference_mode():
            return [
                self._run(network, mutation, size, before[-1] if before else None) for size in range(len(self.kept))
            ]

    def _edited(self, mutation: Mutation) -> dict[str, torch.Tensor]:
        if mutation.edit is None:
            return {}
        slots = {key: self.grounding.slots[key] for key in mutation.keys}
        state = self.network.state_dict()
        arrays = {key: state[slot.names[0]].numpy().reshape(slot.parameter.shape) for key, slot in slots.items()}
        edited = mutation.edit(arrays)
        return {
            slots[key].names[0]: torch.from_numpy(np.ascontiguousarray(array)).reshape(slots[key].shape)
            for key, array in edited.items()
        }

    def _run(self, network: networks.Network, mutation: Mutation, size: int, start: str | None) -> Array:
        value = self.batches[size] if start is None else self.kept[size][start]
        if mutation.padded:
            value, start = _pad(_upto(network, value, start, mutation.padded), (1, 1, 1, 1)), mutation.padded
        logits: Array = _upto(network, value, start, self.graph.output).numpy()
        return logits


def _upto(network: networks.Network, x: torch.Tensor, start: str | None, last: str) -> torch.Tensor:
    """A value of the network, computed from another one that comes earlier."""
    return next(value for name, value in network.values(x, start=start) if name == last)


def wide(value: torch.Tensor) -> torch.Tensor:
    """Floating point in float64."""
    return value.double() if value.is_floating_point() else value


def _cuts(graph: Graph) -> dict[str, int]:
    """Values behind the stem that hold all that later nodes need, and the places of the nodes that give them."""
    found: dict[str, int] = {}
    last_use = {name: place for place, node in enumerate(graph.nodes) for name in node.inputs}
    for place, node in enumerate(graph.nodes):
        needed = [other.output for other in graph.nodes[: place + 1] if last_use.get(other.output, -1) > place]
        pooled = any(other.op == "MaxPool" for other in graph.nodes[: place + 1])
        if needed == [node.output] and pooled:
            found[node.output] = place
    return found


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
