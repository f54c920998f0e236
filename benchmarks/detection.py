"""What our rule and the published ones make of the same outputs: correct runs that fail, and mistakes that pass.

    python benchmarks/detection.py [--network NAME] [--count N] [--side PIXELS]

Two networks of drawn weights whose BatchNorms have the statistics of forwarded pictures, one as healthy as a trained
one and one chaotic. Prints one table a network; takes some minutes each, and torch, MindSpore and ONNX Runtime.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mshub_convert as mc
from mshub_convert.converters.codecs import EmbeddedRecord, codec
from mshub_convert.converters.sources import calibrated
from mshub_convert.converters.splice import splice
from mshub_convert.converters.tensors import TensorRef, TensorSpec
from mshub_convert.mappings.architectures import Architecture, architecture
from mshub_convert.mappings.dialects import dialect
from mshub_convert.request import SourceRequest
from mshub_convert.verify import sides
from mshub_convert.verify.compare import FAIL_ABOVE, WARN_ABOVE, relative_l2
from mshub_convert.verify.inputs import Inputs, pictures
from mshub_convert.verify.networks import torch as networks
from mshub_convert.verify.networks.statistics import settle
from mshub_convert.verify.runtimes import Job, run
from mshub_convert.verify.selftest.detection import Detection, self_test
from mshub_convert.verify.selftest.worker import LOGITS

TIMEOUT = 1800.0
# Logits of all sizes: float32 of the source, of a target, and what float64 gives.
Logits = list[Any]
Rule = Callable[[Any, Any], bool]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnext50_32x4d")
    parser.add_argument("--count", type=int, default=64, help="mutations")
    parser.add_argument("--side", type=int, default=224, help="pixels")
    chosen = parser.parse_args()
    inputs = Inputs(sizes=((chosen.side, chosen.side), (chosen.side + 1, chosen.side + 7)))
    for kind in ("well-conditioned", "chaotic"):
        with tempfile.TemporaryDirectory(prefix="mshub-detection-") as folder:
            report(kind, architecture(chosen.network), chosen.count, inputs, Path(folder))


def report(kind: str, network: Architecture, count: int, inputs: Inputs, folder: Path) -> None:
    """Measure one network and print its table."""
    started = time.monotonic()
    file = write(network, folder / "source.safetensors", chaotic=kind == "chaotic", side=inputs.sizes[0][0])
    with SourceRequest(file).open() as target:
        found = self_test(target, inputs, count=count, timeout=TIMEOUT, keep=folder / "kept")
    kept = np.load(folder / "kept" / LOGITS)
    sizes = range(len(inputs.sizes))
    own, exact = ([kept[f"{name}_{size}"] for size in sizes] for name in ("own", "reference"))
    mistakes = [[kept[f"mutation_{number}_{size}"] for size in sizes] for number in range(len(found.tried))]
    harmless = range(len(found.tried), len(found.tried) + len(found.harmless))
    correct = {
        **{one.words: [kept[f"mutation_{number}_{size}"] for size in sizes]
           for number, one in zip(harmless, found.harmless, strict=True)},
        **dict(correct_runs(file, network, inputs, folder)),
    }  # fmt: skip
    print(f"\n{network.name}, {kind}: own float32 error {found.error:.1e}, {inputs.told}")
    show(found, own, exact, mistakes, correct)
    print(f"took {time.monotonic() - started:.0f} s, {found.seconds:.0f} of them the self-test")


def write(network: Architecture, path: Path, *, chaotic: bool, side: int) -> Path:
    """Drawn kernels under BatchNorms with the statistics of forwarded pictures.

    In the chaotic one every branch is as loud as its shortcut, so that roundings grow from block to block.
    """
    grounding = dialect("timm").ground(network)
    modules = {module.path: module for module in network.graph().modules}
    if chaotic:
        modules = {path: replace(module, closes_branch=False) for path, module in modules.items()}
    built = networks.build(network.graph(), grounding)
    networks.load(built, {
        slot.names[0]: calibrated.draw(0, modules[slot.parameter.module], slot.parameter.leaf).reshape(slot.shape)
        for slot in grounding.slots.values()
    })  # fmt: skip
    settle(built, pictures(16, side, side, seed=7))
    refs = [
        TensorRef(TensorSpec(name, tuple(value.shape), str(value.dtype).removeprefix("torch.")), None, value.numpy)
        for name, value in built.state_dict().items()
    ]
    splice(path, codec("safetensors").layout(refs, EmbeddedRecord(b"", bytes), framework="torch"), sync=False)
    return path


def correct_runs(file: Path, network: Architecture, inputs: Inputs, folder: Path) -> Iterator[tuple[str, Logits]]:
    """What correct conversions give: threads, kernels and batches in torch, ONNX Runtime's levels, MindSpore."""
    paths = inputs.save(folder)
    grounding = dialect("timm").ground(network)
    built = networks.build(network.graph(), grounding)
    with SourceRequest(file).open() as opened:
        networks.load(built, {name: np.array(ref.read()) for name, ref in opened.tensors.items()})
    for threads, mkldnn, batch in ((1, True, 8), (2, True, 1), (1, True, 1), (2, False, 8), (1, False, 1)):
        torch.set_num_threads(threads)
        with torch.inference_mode(), torch.backends.mkldnn.flags(enabled=mkldnn):
            yield (
                f"torch, {threads} threads, oneDNN {'on' if mkldnn else 'off'}, batch {batch}",
                [
                    torch.cat([built(part) for part in torch.from_numpy(np.load(path)).split(batch)]).numpy()
                    for path in paths
                ],
            )
    for to, fold_bn in (("onnx", False), ("onnx", True), ("ckpt", False)):
        made = mc.convert(file, to=to, out=folder / f"target{fold_bn}.{to}", fold_bn=fold_bn).path
        with SourceRequest(made).open() as opened:
            side = sides.own_side(opened)
            if to == "ckpt":
                side = sides.rebuilt_side(opened, "mindspore")
            levels = ("all",) if fold_bn or to == "ckpt" else ("disable", "basic", "extended", "all")
            for level in levels:
                graph = replace(side.network, optimization=level) if to == "onnx" else side.network
                for batch in (8, 1) if level == "all" and not fold_bn else (8,):
                    job = Job(side.runtime, graph, side.weights, paths, folder / "run", batch=batch)
                    name = f"{side.runtime}, {level}{', BatchNorm folded' * fold_bn}, batch {batch}"
                    yield name, list(run(job, timeout=TIMEOUT).logits)


def show(found: Detection, own: Logits, exact: Logits, mistakes: list[Logits], correct: Mapping[str, Logits]) -> None:
    """The table, and what ours missed or warned of."""
    print(f"| rule | correct runs failed, of {len(correct)} | mistakes passed, of {len(mistakes)} |\n|---|---|---|")
    ratios = {name: ratio(own, outputs, exact) for name, outputs in correct.items()}
    missed = [
        one for one, outputs in zip(found.tried, mistakes, strict=True) if ratio(own, outputs, exact) <= FAIL_ABOVE
    ]
    failed = [name for name, value in ratios.items() if value > FAIL_ABOVE]
    warned = [name for name, value in ratios.items() if WARN_ABOVE < value <= FAIL_ABOVE]
    print(f"| **error at most 4 times the source's own, against float64** | **{len(failed)}** | **{len(missed)}** |")
    for rule, passes in RULES.items():
        alarms = sum(not _all(passes, own, outputs) for outputs in correct.values())
        through = sum(_all(passes, own, outputs) for outputs in mistakes)
        print(f"| {rule} | {alarms} | {through} |")
    print(f"largest ratio of a correct run {max(ratios.values()):.2f}; warned of: {', '.join(warned) or 'none'}")
    for one in missed:
        print(f"ours missed: {one.words} (ratio {one.ratio:.2f}), told by the check of the {one.claim}")
    for line in found.lines[1:]:
        print(line)


def ratio(own: Logits, outputs: Logits, exact: Logits) -> float:
    """The worst ratio of errors, infinite for shapes or values that are none."""
    worst = 0.0
    for mine, theirs, reference in zip(own, outputs, exact, strict=True):
        if theirs.shape != reference.shape or not np.isfinite(theirs).all():
            return float("inf")
        worst = max(worst, float(np.max(relative_l2(theirs, reference) / relative_l2(mine, reference))))
    return worst


def _all(passes: Rule, own: Logits, outputs: Logits) -> bool:
    """Whether a rule passes at every size; none passes NaN."""
    return all(bool(np.isfinite(b).all()) and passes(a, b) for a, b in zip(own, outputs, strict=True))


def close(rtol: float, atol: float) -> Rule:
    """NumPy's: every difference at most atol + rtol times the source's value."""
    return lambda ours, theirs: bool(np.allclose(theirs, ours, rtol=rtol, atol=atol))


def either(rtol: float, atol: float) -> Rule:
    """Every value within one of the tolerances at least."""

    def passes(ours: Any, theirs: Any) -> bool:
        apart = np.abs(theirs - ours)
        return bool(((apart <= atol) | (apart <= rtol * np.abs(ours))).all())

    return passes


def cosine(ours: Any, theirs: Any) -> float:
    """Of all logits as one vector, as the vendors' tools take it."""
    one, other = ours.ravel().astype(np.float64), theirs.ravel().astype(np.float64)
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def msprobe(ours: Any, theirs: Any) -> bool:
    """Fails below cosine 0.99 with a difference above 1e-3, below 0.9, or with one above 1."""
    most, alike = float(np.abs(theirs - ours).max()), cosine(ours, theirs)
    return not ((alike < 0.99 and most > 1e-3) or alike < 0.9 or most > 1)


def analyzer(ours: Any, theirs: Any) -> bool:
    """Cosine above 0.99 and relative Euclidean distance below 0.05."""
    return cosine(ours, theirs) > 0.99 and float(np.linalg.norm(theirs - ours) / np.linalg.norm(ours)) < 0.05


def top1(ours: Any, theirs: Any) -> bool:
    """The same first class on every picture."""
    return bool((ours.argmax(1) == theirs.argmax(1)).all())


RULES: Mapping[str, Rule] = {
    # polygraphy/comparator/compare.py: CompareFunc.simple, check_error_stat="elemwise", atol=rtol=1e-5: an element
    # fails that exceeds both tolerances.
    "Polygraphy (1e-5, absolute or relative)": either(1e-5, 1e-5),
    # optimum/exporters/onnx: np.allclose(reference, output, atol=ATOL_FOR_VALIDATION), 1e-5, with NumPy's own rtol.
    "optimum (atol 1e-5, rtol 1e-5)": close(1e-5, 1e-5),
    # pytorch.org, "Exporting a model from PyTorch to ONNX": assert_allclose(rtol=1e-03, atol=1e-05).
    "PyTorch's tutorial (rtol 1e-3, atol 1e-5)": close(1e-3, 1e-5),
    # mindspore-ai/toolkits, troubleshooter/docs/api/migrator/compare_npy_dir.md: rtol=1e-4, atol=1e-4.
    "TroubleShooter (rtol 1e-4, atol 1e-4)": close(1e-4, 1e-4),
    # Ascend/mstt, msprobe: a comparison is not accurate below these.
    "msprobe (cosine 0.99, 0.9; difference 1e-3, 1)": msprobe,
    # Ascend's Model Accuracy Analyzer (msquickcmp).
    "Model Accuracy Analyzer (cosine 0.99, distance 0.05)": analyzer,
    "same first class": top1,
}

if __name__ == "__main__":
    main()
