"""What a verification came to, and the evidence for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .compare import Comparison, Verdict
from .diagnosis.result import Diagnosis
from .errors import VerificationError
from .exhibits import Exhibits
from .float64 import Float64
from .inputs import Inputs, InputSet
from .selftest.detection import Detection
from .weights import Weights

DEFAULT_INPUTS = Inputs()


class ProofFailedError(VerificationError):
    """A conversion that did not pass; ``proof`` tells why."""

    def __init__(self, message: str, *, proof: "Proof", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.proof = proof


@dataclass(frozen=True, slots=True)
class Proof:
    """A verification: the verdict, and the evidence for it. True when the target may be used.

    The verdict is the worst of three: ``weights``, ``float64``, and the ``comparisons`` of the runtimes' outputs.
    ``exhibits`` are the arrays behind them, ``diagnosis`` says of a failure where it comes from,
    ``detection`` what mistakes would have been caught, if that was asked. What did not come to be judged is None.
    """

    verdict: Verdict
    reason: str
    weights: Weights
    comparisons: tuple[Comparison, ...]
    source_network: str
    target_network: str
    reference: str
    inputs: InputSet = DEFAULT_INPUTS
    float64: Float64 | None = None
    exhibits: Exhibits | None = field(default=None, repr=False)
    diagnosis: Diagnosis | None = None
    detection: Detection | None = None
    runs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rounding: float = 0.0
    library_difference: float | None = None
    notices: tuple[str, ...] = ()
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return self.verdict.good and bool(self.comparisons) and all(self.comparisons)

    def failed(self, *, kept: Path | None = None) -> "ProofFailedError":
        """The error for a conversion whose output did not pass; it may be kept under another name."""
        where = f"the file is kept as {kept}" if kept is not None else "nothing was written"
        return ProofFailedError(f"{self.verdict.value}: {self.reason}; {where}", proof=self)

    def facts(self) -> list[tuple[str, str]]:
        """What was compared, in words, for a person to read."""
        rows = [("weights", self.weights.reason)]
        if self.float64 is not None:
            rows.append(("float64", self.float64.reason))
        if self.comparisons:
            rows.append(("source", self.source_network))
            rows.append(("target", self.target_network))
            rows.append(("reference", self.reference))
            rows.append(("inputs", f"{self.inputs.told}; errors: relative L2 to float64, worst picture"))
            rows.append(
                ("rule", "worst ratio of target to source error on a picture: pass to 2, warn to 4, fail above")
            )
            if any(item.emulated_error is not None for item in self.comparisons):
                rows.append(("float16", "what computes in it: worst error to that of an emulation, pass to 3"))
        if self.rounding:
            rows.append(
                (
                    "rounding",
                    f"moves the float64 logits by {self.rounding:.1e} (relative L2), as asked; not part of the ratio",
                )
            )
        rows.append(("took", f"{self.seconds:.0f} s"))
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "verdict": self.verdict.value, "reason": self.reason,
            "weights": self.weights.as_dict(), "float64": self.float64.as_dict() if self.float64 else None,
            "forward": [_comparison(item) for item in self.comparisons],
            "source_network": self.source_network, "target_network": self.target_network, "reference": self.reference,
            "inputs": self.inputs.as_dict(),
            "rounding": self.rounding, "library_difference": self.library_difference,
            "runs": {name: dict(item) for name, item in self.runs.items()},
            "diagnosis": self.diagnosis.as_dict() if self.diagnosis else None,
            "detection": self.detection.as_dict() if self.detection else None,
            "notices": list(self.notices), "seconds": round(self.seconds, 1),
        }  # fmt: skip


def _comparison(item: Comparison) -> dict[str, Any]:
    return {
        "inputs": item.label, "verdict": item.verdict.value, "reason": item.reason, "source_error": item.source_error,
        "target_error": item.target_error, "emulated_error": item.emulated_error, "ratio": item.ratio,
        "max_abs": item.max_abs, "largest": item.largest, "pictures": item.inputs,
        **({"top1": order.top1, "top5": order.top5, "ties": order.ties} if (order := item.ranking) else {}),
    }  # fmt: skip
