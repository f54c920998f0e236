"""The verdicts that a proof is made of, each with its rule, for whoever shows them."""

from dataclasses import dataclass

from ..mappings.names import listed
from .compare import FAIL_ABOVE, HALF_FAIL_ABOVE, SANE_ERROR, WARN_ABOVE, Verdict, deciding, worst
from .proof import Proof

SIGNS = {Verdict.PASS: "✓", Verdict.WARN: "!", Verdict.INCONCLUSIVE: "?", Verdict.FAIL: "✗"}


@dataclass(frozen=True, slots=True)
class Part:
    """One of the separate verdicts; none where it was not judged."""

    name: str
    verdict: Verdict | None
    said: str
    rule: str


_BIT_FOR_BIT = "Every tensor of the target is, bit for bit, what converting the source gives."
_OF_A_BUNDLE = (
    "Every tensor has the sha256 that it had where the bundle was made, when it was, bit for bit, what converting the"
    " source gave."
)


def parts(proof: Proof) -> tuple[Part, ...]:
    """The separate verdicts, each with its rule."""
    weights, float64, runs = proof.weights, proof.float64, proof.comparisons
    overall = worst([item.verdict for item in runs]) if runs else None
    decides = deciding(runs, overall) if overall is not None else None
    half = any(item.emulated_error is not None for item in runs)
    return (
        Part(
            "Weights", weights.verdict, weights.reason,
            _OF_A_BUNDLE if proof.bundle else _BIT_FOR_BIT,
        ),
        Part(
            "Float64", float64.verdict if float64 else None, float64.reason if float64 else "it did not come to be run",
            "In float64 both compute the same, to as many digits as the way between them allows.",
        ),
        Part(
            "Runtimes", overall, "the outputs did not come to be compared" if decides is None else decides.reason,
            f"On no picture is the target more than {WARN_ABOVE:g} times as far from float64 as the source's own"
            f" float32 (to {FAIL_ABOVE:g} times: a warning), and the first classes are the same wherever float64 can"
            f" tell them apart. Inconclusive where the source's own error is 0 or above {SANE_ERROR:g}."
            + (f" In float16: up to {HALF_FAIL_ABOVE:g} times the error of an emulation." if half else ""),
        ),
        *_detections(proof),
        *_devices(proof),
        Part(
            "Preprocessing", None, "not compared: source and target got the same tensors",
            "How pictures become tensors is no part of the weights: `mshub-convert preprocessing` compares that.",
        ),
    )  # fmt: skip


_DEVICE_RULE = (
    "A device differs from the CPU by no more than its precision explains: in float32 by the rule of the runtimes, in a"
    " lower one by what an emulation of it on these weights and pictures predicts."
)


def _devices(proof: Proof) -> list[Part]:
    if not proof.devices:
        return [Part("Device", None, where_it_ran(proof), _DEVICE_RULE)]
    return [Part(f"Device {item.device}", item.verdict, item.said, _DEVICE_RULE) for item in proof.devices]


def _detections(proof: Proof) -> tuple[Part, ...]:
    """Of a detector only."""
    found = proof.detections
    if not found:
        return ()
    judged = [item.verdict for item in found if item.verdict is not None]
    overall = worst(judged) if judged else None
    said = next((item.reason for item in found if item.verdict is overall), "")
    rule = (
        "What is left after suppression is the same anchors and classes on both sides, but for those that rounding"
        " makes fall the other way: by a score, an overlap or an order that float32 cannot tell."
    )
    return (Part("Detections", overall, said, rule),)


def where_it_ran(proof: Proof) -> str:
    """The devices, in words."""
    devices = sorted({str(run.get("device", "cpu")).upper() for run in proof.runs.values()})
    return f"everything ran on the {listed(devices)}" if devices else "nothing ran"
