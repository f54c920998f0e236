"""Proofs made by hand, with arrays: one that passes, one that fails, one that tells nothing."""

from dataclasses import replace

import numpy as np

from mshub_convert.converters.record import SourceFile
from mshub_convert.verify.compare import Verdict, compare
from mshub_convert.verify.detections import DetectionParity
from mshub_convert.verify.device import DeviceParity
from mshub_convert.verify.diagnosis.hypotheses import Cause
from mshub_convert.verify.diagnosis.result import Diagnosis, Fault, Point
from mshub_convert.verify.diagnosis.tensors import Difference
from mshub_convert.verify.exhibits import Exhibits
from mshub_convert.verify.float64 import compare_float64
from mshub_convert.verify.inputs import Inputs, pictures
from mshub_convert.verify.proof import Proof
from mshub_convert.verify.selftest.detection import Detection, Tried
from mshub_convert.verify.subject import Subject
from mshub_convert.verify.weights import Weights

INPUTS = Inputs(4, ((32, 32), (33, 39)), 3)
RUN = {
    "versions": {"python": "3.11.9", "torch": "2.14.0"}, "device": "cpu", "settings": {"threads": "2"},
    "loader": "torch.load", "seconds": {"import": 1.0, "load": 0.5, "run": 2.0}, "unused": [],
}  # fmt: skip


DEVICE = DeviceParity("mindspore:Ascend:0", "hf32", Verdict.PASS, "near enough", 1e-4, 2e-4, 6e-4, 8, {"hf32": "on"})
DETECTION = Detection(
    (Tried("swap", "scale and shift of bn1 swapped", "layers", (900.0,), 1.0),
     Tried("one", "one value of fc.bias off", "weights", (1.1,), 1.0)),
    (Tried("threads", "one thread", None, (1.0,), 1.0),), 3e-7, {"fc.bias": (3, 40)}, "small", "4 pictures", 2.0,
)  # fmt: skip


def passing() -> Proof:
    """Both sides are rounding away from float64; what would have been caught was measured."""
    return replace(proof(noise=3e-7), detection=DETECTION)


def detecting() -> Proof:
    """The same, as if of a detector."""
    said = "source and target find the same, but for 2 that rounding makes fall the other way"
    return replace(
        passing(), detections=(DetectionParity("32x32", Verdict.PASS, said, 4, 9, 9, 8, 0.99999, 1e-7, 2, 0),)
    )


def failing() -> Proof:
    """The target is one percent off, and two of its tensors are others."""
    found = proof(noise=1e-2)
    names = ("layer3.2.bn2.gamma", "layer3.2.bn2.beta")
    weights = Weights(Verdict.FAIL, "2 tensors differ from the source (layer3.2.bn2.{beta,gamma})", 4, names)
    return replace(
        found, verdict=Verdict.FAIL, reason=weights.reason, weights=weights, diagnosis=diagnosis(), devices=(DEVICE,)
    )


def diagnosis() -> Diagnosis:
    """Scale and shift of one norm are mixed up, one layer is unexplained, a value differs that does not show."""
    norm, mixed = "stages.2.2.norm2", "beta and gamma are in each other's place"
    scale, shift = (Difference(f"{norm}.{leaf}", norm, "leaves", mixed, f"layer3.2.bn2.{leaf}", f"bn2.{leaf}")
                    for leaf in ("scale", "shift"))  # fmt: skip
    cause = Cause("epsilon", "head", "epsilon is 1e-3")
    values = ("stem.conv", "stem.pool", norm, "stages.2.2.conv3", "head")
    stages = ("stem", "stem", "stages.2", "stages.2", "head")
    curve = tuple(
        Point(value, stage, 1e-7 * (number + 1), 2e-7 * (number + 1) if number < 2 else 1e-2)
        for number, (value, stage) in enumerate(zip(values, stages, strict=True))
    )
    faults = (
        Fault(norm, "stages.2", 0.5, 1e-7, (scale, shift), (), explained=True),
        Fault("head", "head", 0.1, 1e-7, (), (cause,), explained=False),
    )
    unseen = Difference("head.bias", "head", "element", "one of 40 values differs", "fc.bias", "fc.bias")
    return Diagnosis("small in mindspore", faults, (unseen,), curve, ("nothing else",), 3.0)


def inconclusive() -> Proof:
    """A runtime died, so that nothing was compared."""
    return Proof(
        Verdict.INCONCLUSIVE, "the mindspore runtime was ended by signal 11", proof(noise=0.0).weights, (),
        "timm's own small, torch on CPU, float32", "small in mindspore on CPU, float32", "not run", INPUTS,
        source=subject("timm:small"), target=subject("small.ckpt"), notices=("Fatal: the last line it wrote",),
    )  # fmt: skip


def proof(*, noise: float, classes: int = 40) -> Proof:
    """The target is so far from float64, relative to a typical logit, the source 3e-7."""
    random = np.random.default_rng(0)
    runs: dict[str, list[dict[str, np.ndarray]]] = {"source": [], "target": [], "reference": [], "oracle": []}
    for _ in INPUTS.sizes:
        exact = random.standard_normal((INPUTS.count, classes)) * 5
        runs["reference"].append({"head": exact})
        runs["oracle"].append({"head": exact[:2] * (1 + 1e-15)})
        for side, far in (("source", 3e-7), ("target", noise)):
            runs[side].append({"head": (exact + far * 5 * random.standard_normal(exact.shape)).astype(np.float32)})
    comparisons = tuple(
        compare(label, a["head"], b["head"], c["head"], ranked=True)
        for label, a, b, c in zip(INPUTS.labels, runs["source"], runs["target"], runs["reference"], strict=True)
    )
    sha256 = {"conv1.weight": "ab" * 32, "fc.weight": "cd" * 32}
    weights = Weights(Verdict.PASS, "4 tensors, bit for bit those of the source", 4, how={"copy": 3, "split": 1},
                      dropped=2, sha256=sha256)  # fmt: skip
    return Proof(
        comparisons[0].verdict, comparisons[0].reason, weights, comparisons,
        "timm's own small, torch on CPU, float32", "small in mindspore on CPU, float32", "timm's own small, float64",
        INPUTS, compare_float64(runs["reference"], runs["oracle"], 1e-12, "nothing is rounded on the way"),
        Exhibits(
            tuple(pictures(INPUTS.count, *size, seed=3) for size in INPUTS.sizes),
            {name: tuple(batches) for name, batches in runs.items()},
        ),
        source=subject("timm:small"), target=subject("small.ckpt"), runs=dict.fromkeys(runs, RUN),
        notices=("a note",), seconds=12.0,
    )  # fmt: skip


def subject(address: str) -> Subject:
    """A side, as a file of 100 bytes."""
    return Subject(
        address, "file", "small", 40, "timm", {"stem_pool": "symmetric"}, "the record",
        (SourceFile(address.replace("timm:", "") + ".pth", "pth", 100, "12" * 32),), (), {"mean": [0.485]},
    )  # fmt: skip
