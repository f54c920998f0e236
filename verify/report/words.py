"""What a report says of a proof: the verdicts with their rules, what to do, and what it does not mean."""

from collections.abc import Mapping

from markupsafe import Markup, escape

from ...mappings.names import listed
from ..compare import Verdict
from ..proof import Proof
from ..verdicts import where_it_ran
from .drawing import brief

HEADLINES = {
    Verdict.PASS: "Pass: source and target are one function",
    Verdict.WARN: "Pass with a warning",
    Verdict.INCONCLUSIVE: "Inconclusive: nothing is proven either way",
    Verdict.FAIL: "Fail: the target is not the source",
}
# What each run of a proof is for.
ROLES = {
    "source": "the source, as it is",
    "target": "the target, as it is",
    "reference": "what the source is in float64, where rounding does not count",
    "oracle": "the target's weights in float64, by another implementation, on the first pictures",
    "yardstick": "the source's weights in float32: how near to float64 one can be",
    "target reference": "float64 on the target's own weights, which were rounded",
    "emulated source": "what float16 arithmetic may make of the source",
    "emulated target": "what float16 arithmetic may make of the target",
    "library": "what the library's own network, with other traits, makes of the target",
}
# How tensors of a target come about, in words.
ORIGINS = {
    "copy": "copied", "split": "parts of a kernel that was split", "join": "joined from parts",
    "reshape": "in another shape", "cut": "without the last classes", "fold": "with BatchNorm folded in",
    "restore": "restored from the record", "synthesise": "set to 0",
}  # fmt: skip


def advice(proof: Proof) -> str:
    """What to do now."""
    if proof.verdict is Verdict.PASS:
        return "Use the target in place of the source. Keep this page with it."
    if proof.verdict is Verdict.WARN:
        return "The target may be used. Verify once more on photographs of your own (--images DIR) to be sure."
    if proof.verdict is Verdict.INCONCLUSIVE:
        if not proof.comparisons:
            return "Remove what kept the networks from running, as told above, and verify again."
        return (
            "Do not rely on the target yet. Verify in another runtime (--runtime, --source-runtime), on other pictures,"
            " or with weights that are trained."
        )
    if proof.weights.verdict is Verdict.FAIL:
        return (
            "Do not use the target. Convert the source again, or check that this is the source which the target was"
            " made from."
        )
    if proof.float64 is not None and proof.float64.verdict is Verdict.FAIL:
        return (
            "Do not use the target as it is. The weights are the source's, the network around them is not: compare the"
            " graph traits of both below, and state those that are wrong with --trait."
        )
    elsewhere = {item.verdict for item in proof.comparisons} | {item.verdict for item in proof.detections}
    if Verdict.FAIL not in elsewhere:
        failed = listed([item.device for item in proof.devices if item.verdict is Verdict.FAIL])
        return (
            f"Do not use the target on {failed}. On the CPU it is right: look at the precision that the device is told"
            " to compute in, among the settings of the runs below, and at the versions of its driver and runtime."
        )
    return (
        "Do not use the target in this runtime. Weights and float64 arithmetic are right: try another version of the"
        " runtime, or another runtime (--runtime)."
    )


def limits(proof: Proof) -> tuple[str, ...]:
    """What the verdict does not mean, in sentences."""
    said = [
        "No accuracy was measured: that takes a labelled data set.",
        "Your preprocessing was not looked at. Both sides got the same tensors, normalised already.",
    ]
    if proof.source is not None and proof.source.preprocessing:
        stated = ", ".join(f"{key} {value}" for key, value in proof.source.preprocessing.items())
        said[-1] += f" The source states: {stated}."
    if proof.runs:
        said.append(f"It holds for what ran here: {where_it_ran(proof)}. Another device may round otherwise.")
    if proof.source is not None and proof.source.origin.startswith("calibrated"):
        said.append(
            f"The weights were drawn ({proof.source.origin}), not trained: this proves the way of the conversion, and"
            " nothing about pretrained weights."
        )
    if "rebuilt by us" in proof.source_network:
        said.append("The source's network was rebuilt from its description; no original was there to run.")
    said.append(f"The outputs were compared on these inputs only: {proof.inputs.told}.")
    return tuple(said)


def code(text: str) -> Markup:
    """Text for the page; what stands between backticks is code.

    >>> print(code("say `a --b` & again"))
    say <code>a --b</code> &amp; again
    """
    pieces = [escape(piece) for piece in text.split("`")]
    pieces[1::2] = [Markup("<code>{}</code>").format(piece) for piece in pieces[1::2]]
    return Markup("").join(pieces)


def sentence(text: str) -> str:
    """A remark as a sentence without its full stop; a name at its start stays as it is.

    >>> sentence("the target is near"), sentence("layer1.0.bn1.gamma: one value differs")
    ('The target is near', 'layer1.0.bn1.gamma: one value differs')
    """
    first = text[:1].upper() if text.partition(" ")[0].isalpha() else text[:1]
    return first + text[1:].rstrip(".")


def ratio(value: float) -> str:
    """A ratio: ``1.30``, or with an exponent where it is large."""
    return f"{value:.2f}" if value < 100 else brief(value)


def signed(value: float) -> str:
    """A difference with its sign.

    >>> signed(1.0), signed(-0.2), signed(2.6e-7), signed(0.0)
    ('+1.00', '-0.20', '+2.6e-7', '0')
    """
    if 1e-2 <= abs(value) < 1e3:
        return f"{value:+.2f}"
    return f"{'+' if value > 0 else ''}{brief(value)}" if value else "0"


def pairs(values: Mapping[str, object]) -> str:
    """Names and values on one line."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def plain(value: object) -> str:
    """A plain value of the JSON, sizes as heights by widths."""
    if isinstance(value, list):
        return ", ".join("x".join(map(str, item)) if isinstance(item, list) else str(item) for item in value)
    return str(value)


def origin(kind: str) -> str:
    """How weights were had."""
    told = {
        "pretrained": "pretrained, from the library's hub", "stated": "a file said to be this model's",
        "file": "a file", "memory": "tensors in memory",
    }  # fmt: skip
    return told.get(kind, f"drawn, not trained ({kind})")
