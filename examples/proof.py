"""Prove a conversion, then see the proof fail on a file with one mistake.

    python examples/proof.py out/

A check that cannot fail proves nothing: the second half swaps scale and shift of one BatchNorm, as a wrong rename
script would, and verifies again.
"""

import sys
from pathlib import Path

import mindspore

import mshub_convert as mc


def prove(folder: Path) -> tuple[mc.Proof, mc.Proof]:
    """Convert drawn weights and verify them, then verify a damaged copy."""
    result = mc.convert("timm:resnet18", init="calibrated:0", to="ckpt", out=folder, overwrite=True)
    good = mc.verify(result)
    print(f"{good.verdict.value}: {good.reason}")

    parameters = mindspore.load_checkpoint(str(result.path))
    gamma, beta = "layer3.1.bn2.gamma", "layer3.1.bn2.beta"
    parameters[gamma], parameters[beta] = parameters[beta], parameters[gamma]
    damaged = folder / "damaged.ckpt"
    damaged.unlink(missing_ok=True)
    mindspore.save_checkpoint([{"name": name, "data": value} for name, value in parameters.items()], str(damaged))
    # MindSpore drops the record, so the traits must be said.
    bad = mc.verify("timm:resnet18", damaged, init="calibrated:0", traits={"stem_pool": "symmetric"})
    print(f"{bad.verdict.value}: {bad.reason}")
    for comparison in bad.comparisons:
        print(f"  at {comparison.label} the target is {comparison.ratio:.0f} times as far from float64 as the source")
    return good, bad


if __name__ == "__main__":
    good, bad = prove(Path(sys.argv[1]))
    sys.exit(0 if good and not bad else 1)
