"""What a plan finds wrong with a file, in words: the fact, the tensors, the likely cause, the remedy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..mappings.dialects import Grounding
from ..mappings.graph import Shape
from ..mappings.names import collapse, counted, listed
from .errors import shown

_PATTERNS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to tell: ``names`` are the tensors concerned, folded for people by ``line``."""

    code: str
    message: str
    names: tuple[str, ...] = ()
    remedy: str = ""

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"code": self.code, "message": self.message, "names": list(self.names), "remedy": self.remedy}

    @property
    def told(self) -> str:
        """The line with the remedy."""
        return f"{self.line} → {self.remedy}" if self.remedy else self.line

    @property
    def line(self) -> str:
        """The message with its tensors, on one line."""
        patterns = [shown(pattern) for pattern in collapse(self.names)]
        if not patterns:
            return self.message
        hidden = len(patterns) - _PATTERNS_SHOWN
        more = f" and {hidden} more patterns" if hidden > 0 else ""
        return f"{self.message}: {', '.join(patterns[:_PATTERNS_SHOWN])}{more}"


def missing(names: Sequence[str], source: Grounding) -> list[Finding]:
    """Tensors of the network that the file lacks."""
    if not names:
        return []
    head = {name for slot in source.slots.values() if slot.parameter.module == "head" for name in slot.names}
    cause = " (the file is a backbone without its classifier)" if head == set(names) else ""
    return [Finding(
        "missing", f"{counted(len(names), 'tensor')} of {source.architecture.name} missing{cause}", tuple(names),
        "Save the whole state dict, or add them from the file that has them.",
    )]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Misshapen:
    """A tensor whose shape the network does not have in its place."""

    name: str
    expected: Shape
    actual: Shape


def folded_notice(count: int) -> Finding:
    """What there is to say of BatchNorms that a graph has folded away."""
    return Finding(
        "folded",
        f"{counted(count, 'BatchNorm')} were folded into convolutions: written as identities"
        " (running_var = float32(1 - eps)), exact in the forward, right for inference only", (),
        "For fine-tuning use --bn calibrated, which gives them statistics.",
    )  # fmt: skip


def misshapen(entries: Sequence[Misshapen]) -> list[Finding]:
    """Tensors of another shape than the network's: one finding for each pair of shapes."""
    by_shapes: dict[tuple[Shape, Shape], list[str]] = {}
    for entry in entries:
        by_shapes.setdefault((entry.expected, entry.actual), []).append(entry.name)
    findings = []
    for (expected, actual), names in by_shapes.items():
        twins = by_shapes.get((actual, expected), [])
        swapped = f" (it looks swapped with {twins[0]}, which has that shape)" if len(names) == len(twins) == 1 else ""
        fact = f"{counted(len(names), 'tensor')} of shape {list(actual)} where {list(expected)} is needed{swapped}"
        findings.append(Finding("shape", fact, tuple(names), "Check how the file was edited, and from which network."))
    return findings


@dataclass(frozen=True, slots=True)
class Mistyped:
    """A tensor of a dtype that has no place in a network."""

    name: str
    expected: str
    actual: str


def mistyped(entries: Iterable[Mistyped]) -> list[Finding]:
    """Tensors of the wrong dtype: one finding for each pair of dtypes."""
    by_dtypes: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        by_dtypes.setdefault((entry.expected, entry.actual), []).append(entry.name)
    findings = []
    for (expected, actual), names in by_dtypes.items():
        fact = f"{counted(len(names), 'tensor')} of dtype {actual} where {expected} is needed"
        remedy = f"Cast them to {expected} where the file was made."
        if expected == "a float":
            remedy = "Quantised or integer weights must be made floating again first."
        findings.append(Finding("dtype", fact, tuple(names), remedy))
    return findings


def _renamed(names: Sequence[str], lacking: Mapping[str, Shape], shapes: Mapping[str, Shape]) -> str:
    """Which surplus tensor has the shape of which missing one, where that is without doubt; else empty."""
    pairs = []
    for name in names:
        twins = [other for other, shape in lacking.items() if shape == shapes[name]]
        if len(twins) != 1 or sum(shapes[other] == shapes[name] for other in names) != 1:
            return ""
        pairs.append(f"{shown(name)} {shown(twins[0])}")
    return listed(pairs[:3]) if len(pairs) <= 3 else ""


# Parts of names → what makes them another function than the network's.
_MARKS: Mapping[tuple[str, ...], str] = {
    (".se.", ".se_module.", ".se_layer."): "squeeze-and-excitation: another function",
    (".attn.", ".eca."): "channel attention: another function",
    ("aux_classifier", "fc_aux", "aux_head"): "an auxiliary classifier",
    (".adapter", "lora_"): "adapters",
}


def unexpected(
    names: Sequence[str], source: Grounding, lacking: Mapping[str, Shape], shapes: Mapping[str, Shape]
) -> list[Finding]:
    """Tensors that the network does not have; ``lacking`` are those it has and the file has not."""
    if not names:
        return []
    renamed = _renamed(names, lacking, shapes)
    if renamed:
        fact = f"{counted(len(names), 'tensor')} that {source.architecture.name} does not have"
        return [Finding("unexpected", fact, tuple(names), f"They look renamed: call {renamed}.")]
    text = " ".join(names)
    cause = next((f" ({what})" for marks, what in _MARKS.items() if any(mark in text for mark in marks)), "")
    return [Finding(
        "unexpected", f"{counted(len(names), 'tensor')} that {source.architecture.name} does not have{cause}",
        tuple(names), "If the network needs none of them, leave them out of the state dict.",
    )]  # fmt: skip
