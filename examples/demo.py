"""The main job, offline: convert timm's resnext50_32x4d to a MindSpore checkpoint, load it, and prove it.

The weights are drawn, not pretrained, because this demo downloads nothing. Run it with `make demo`.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Without this, MindSpore's CPU convolutions are about ten times slower on AVX-512 machines.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")


def main() -> None:
    """Run the command line as a user would, then load the result in MindSpore."""
    with tempfile.TemporaryDirectory() as folder:
        run("timm:resnext50_32x4d", "--init", "calibrated:0", "--to", "ckpt", "--verify", "-o", folder)
        checkpoint = Path(folder) / "resnext50_32x4d.ckpt"
        run("inspect", str(checkpoint))
        print("\n$ python: mshub_convert.load_mindspore(...)")
        load_and_run(checkpoint)
        print("\nand back to PyTorch:")
        run(str(checkpoint), "--to", "pth", "-o", folder)


def run(*arguments: str) -> None:
    """Print a command as the user would type it, and run it."""
    print("\n$ mshub-convert", " ".join(arguments), flush=True)
    subprocess.run([sys.executable, "-m", "mshub_convert", *arguments], check=True, timeout=600)


def load_and_run(checkpoint: Path) -> None:
    """Load the checkpoint into a MindSpore network with the traits of its weights, and run one picture."""
    import mindspore

    import mshub_convert as mc
    from mshub_convert.verify.inputs import pictures

    network = mc.load_mindspore(checkpoint)
    logits = network(mindspore.Tensor(pictures(1, 224, 224))).asnumpy()
    print(f"logits of one picture: shape {logits.shape}, largest {logits.max():.3f} at class {logits.argmax()}")


if __name__ == "__main__":
    main()
