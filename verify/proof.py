"""What a verification came to, and the evidence for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .compare import Comparison, Verdict, as_json
from .detections import DetectionParity
from .device import DeviceParity
from .diagnosis.result import Diagnosis, Layers
from .errors import VerificationError
from .exhibits import Exhibits
from .float64 import Float64
from .inputs import Inputs, InputSet
from .selftest.detection import Detection
from .subject import Subject
from .weights import Weights

DEFAULT_INPUTS = Inputs()
# Of the JSON; docs/proof.md tells its fields.
SCHEMA = 1


class ProofFailedError(VerificationError):
    """A conversion that did not pass; ``proof`` tells why."""

    def __init__(self, message: str, *, proof: "Proof", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.proof = proof


@dataclass(frozen=True, slots=True)
class Proof:
    """A verification: the verdict, and the evidence for it. True when the target may be used.

    The verdict is the worst of these: ``weights``, ``float64``, the ``comparisons`` of the outputs on the CPU,
    of a detector ``detections``, what suppression leaves at each size, and the ``devices`` that were asked for, each
    against the CPU.
    ``exhibits`` are the arrays behind them, ``source`` and ``target`` the two files; ``diagnosis`` says what is wrong
    layer by layer, of a failure or where it was asked for, ``detection`` what mistakes would have been caught, if that
    was asked; ``report`` is the page that was written of it. ``bundle`` is the sha256 of the manifest of a bundle, if
    one was verified. What did not come to be judged is None.
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
    detections: tuple[DetectionParity, ...] = ()
    source: Subject | None = None
    target: Subject | None = None
    report: Path | None = None
    runs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rounding: float = 0.0
    library_difference: float | None = None
    notices: tuple[str, ...] = ()
    seconds: float = 0.0
    devices: tuple[DeviceParity, ...] = ()
    bundle: str = ""

    def __bool__(self) -> bool:
        return self.verdict.good and bool(self.comparisons) and all(self.comparisons) and all(self.devices)

    @property
    def failed_on_cpu(self) -> bool:
        """Whether it failed by more than a device."""
        others = [item.verdict for item in self.comparisons]
        others += [self.weights.verdict, *([self.float64.verdict] if self.float64 else [])]
        return self.verdict is Verdict.FAIL and (Verdict.FAIL in others or not self.devices)

    def calls_for(self, layers: Layers) -> bool:
        """Whether both sides are to be looked into layer by layer."""
        return layers == "always" or (layers == "on failure" and self.failed_on_cpu)

    def failed(self, *, kept: Path | None = None) -> "ProofFailedError":
        """The error for a conversion whose output did not pass; it may be kept under another name."""
        where = f"the file is kept as {kept}" if kept is not None else "nothing was written"
        return ProofFailedError(f"{self.verdict.value}: {self.reason}; {where}", proof=self)

    def write_report(self, path: str | Path, *, command: str = "") -> Path:
        """Write it as one HTML file that needs no network, and return its path; an earlier one is replaced.

        ``command`` is the command line that made the proof. Raises MissingPackageError without matplotlib, UsageError
        for a path that does not end in .html, EnvironmentError_ where it cannot be written.
        """
        from .report import write_report

        return write_report(self, Path(path), command=command)

    def facts(self) -> list[tuple[str, str]]:
        """What was compared with what, in words, for a person to read."""
        rows: list[tuple[str, str]] = []
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
        for item in self.detections:
            rows.append((f"found at {item.label}", item.told))
        if self.rounding:
            rows.append(
                (
                    "rounding",
                    f"moves the float64 logits by {self.rounding:.1e} (relative L2), as asked; not part of the ratio",
                )
            )
        rows.append(("took", f"{self.seconds:.0f} s"))
        if self.report is not None:
            rows.append(("report", str(self.report)))
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema": SCHEMA, "verdict": self.verdict.value, "reason": self.reason,
            "source": self.source.as_dict() if self.source else None,
            "target": self.target.as_dict() if self.target else None,
            "weights": self.weights.as_dict(), "float64": self.float64.as_dict() if self.float64 else None,
            "forward": [_comparison(item) for item in self.comparisons],
            "detections": [item.as_dict() for item in self.detections],
            "devices": [item.as_dict() for item in self.devices],
            "source_network": self.source_network, "target_network": self.target_network, "reference": self.reference,
            "inputs": self.inputs.as_dict(),
            "rounding": self.rounding, "library_difference": self.library_difference,
            "runs": {name: dict(item) for name, item in self.runs.items()},
            "diagnosis": self.diagnosis.as_dict() if self.diagnosis else None,
            "detection": self.detection.as_dict() if self.detection else None,
            "notices": list(self.notices), "seconds": round(self.seconds, 1),
            "report": str(self.report) if self.report else None, "bundle": self.bundle or None,
        }  # fmt: skip


def _comparison(item: Comparison) -> dict[str, Any]:
    emulated = item.emulated_error
    return {
        "inputs": item.label, "verdict": item.verdict.value, "reason": item.reason,
        "source_error": as_json(item.source_error), "target_error": as_json(item.target_error),
        "emulated_error": None if emulated is None else as_json(emulated), "ratio": as_json(item.ratio),
        "max_abs": as_json(item.max_abs), "largest": as_json(item.largest), "pictures": item.inputs,
        **({"top1": order.top1, "top5": order.top5, "ties": order.ties} if (order := item.ranking) else {}),
    }  # fmt: skip
