"""Verify a converted file against its source."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mshub_convert.bundling import is_bundle, verify_bundle
from mshub_convert.conversion import Conversion
from mshub_convert.converters.errors import UsageError
from mshub_convert.converters.opened import Opened
from mshub_convert.converters.pipeline import Progress
from mshub_convert.mappings.names import listed
from mshub_convert.reporting import Report
from mshub_convert.request import SourceRequest
from mshub_convert.verify.device import expected
from mshub_convert.verify.diagnosis.result import Layers
from mshub_convert.verify.inputs import InputSet, chosen
from mshub_convert.verify.proof import Proof
from mshub_convert.verify.prover import measured, prove
from mshub_convert.verify.runtimes.available import check_available
from mshub_convert.verify.runtimes.where import Where, where
from mshub_convert.verify.selftest.detection import check_count

__all__ = ["Proof", "verify"]


def verify(
    source: Any,
    target: str | Path | None = None,
    *,
    weights: str | Path | None = None,
    init: str | None = None,
    traits: Mapping[str, str] | None = None,
    source_traits: Mapping[str, str] | None = None,
    select: str | None = None,
    classes: int | None = None,
    backbone: bool = False,
    bn: str = "identity",
    runtime: str | Where | None = None,
    source_runtime: str | Where | None = None,
    source_network: str | None = None,
    device_precision: str | None = None,
    images: str | Path | None = None,
    inputs: str | Path | InputSet | None = None,
    sizes: Sequence[tuple[int, int]] | None = None,
    count: int | None = None,
    seed: int | None = None,
    sha256: str = "",
    self_test: int | None = None,
    report: str | Path | Report | None = None,
    progress: Progress | None = None,
) -> Proof:
    """Run source and target on the same inputs and compare them; the proof is true when they are one function.

    ``source`` is a :class:`~mshub_convert.Conversion` (then nothing else is needed), or what :func:`convert` takes;
    ``target`` a converted file. The folder or .zip of a bundle is verified alone, against what it recorded; ``sha256``
    is what its manifest must have. ``traits`` say those of the target where it has no record, ``source_traits`` those
    of the source; ``classes`` is how many of its classes the target keeps; ``backbone`` that the target is the source's
    backbone alone; ``bn`` is as it was for the conversion.
    ``runtime`` (``torch``, ``mindspore:Ascend:0``, ``onnxruntime:CUDA``, ``mindir``, ``om``, ``reference``) runs the
    target there instead of where it belongs, ``source_runtime`` the source. ``source_network`` (``FILE.py:FACTORY``) is
    the user's own network for the source: the file is imported, and the function called, in the process that runs it;
    it takes the weights strictly. What runs on a device also runs on the CPU, and the two are compared as
    ``device_precision`` (``float32``, ``hf32``, ``float16``, ``bfloat16``) allows; the default is float32, to which the
    switches are set, and float16 for an .om that was not told to keep float32.

    Pictures are drawn (``seed``), or taken from the folder ``images``, ``count`` (8) of each of ``sizes``, (height,
    width); or ``inputs`` is a .npz file of float32 arrays (N, 3, height, width), run as they are.

    ``self_test`` mutates a target that passes so many times and measures what the outputs alone would have caught.
    ``report`` is a .html file for a page that shows all of it; an earlier one is replaced.
    """
    started = time.monotonic()
    if self_test is not None:
        check_count(self_test)
    page = Report.asked(report)
    target_where, source_where = where(runtime), where(source_runtime)
    layers: Layers = "on failure" if page is None else "always"
    alone = isinstance(source, (str, Path)) and is_bundle(Path(source)) and (target is None or Path(source).is_dir())
    if alone:
        _refuse_beside_a_bundle(str(source), target, {
            "self-test": self_test, "weights": weights, "init": init, "select": select, "classes": classes,
            "bn": bn if bn != "identity" else None, "trait": traits, "source-trait": source_traits,
            "source-runtime": source_runtime, "source-network": source_network, "images": images, "inputs": inputs,
            "sizes": sizes, "count": count, "seed": seed,
        })  # fmt: skip
    elif sha256:
        raise UsageError("--sha256 is that of a bundle's manifest, and this is no bundle", remedy="Leave it out.")
    given = chosen(images=images, inputs=inputs, sizes=sizes, count=count, seed=seed)
    precision = expected(device_precision, target_where, source_where)
    # A device may be missing: told before anything is downloaded or run.
    check_available(target_where)
    check_available(source_where)
    if alone:
        proof = verify_bundle(
            source, runtime=target_where, device_precision=precision, sha256=sha256, layers=layers, progress=progress
        )
        return _reported(proof, page, started)
    if isinstance(source, Conversion):
        request, target = source.request, source.path if target is None else target
    else:
        request = SourceRequest(
            source, weights, init, source_traits or {}, select, classes=classes, bn=bn, backbone=backbone
        )
    if target is None:
        raise UsageError(
            f"verify needs a target file beside {_said(source)}, which is no evidence bundle",
            remedy="Give a source and a target, the folder or .zip of a bundle, or in Python the result of convert().",
        )
    with SourceRequest(str(target), traits=traits or {}).open(progress) as other:
        _refuse_other_weights(request, other)
        with request.open(progress) as opened:
            proof = prove(
                opened, other, runtime=target_where, source_runtime=source_where, source_network=source_network,
                inputs=given, layers=layers, progress=progress,
                device_precision=precision,
            )  # fmt: skip
            if self_test is not None:
                proof = measured(proof, other, self_test, progress)
    return _reported(proof, page, started)


def _refuse_beside_a_bundle(bundle: str, target: object, options: Mapping[str, object]) -> None:
    """A bundle is verified as it is, on its own inputs."""
    if target is not None:
        raise UsageError(
            f"{bundle} is an evidence bundle, which is verified alone, not beside {target}",
            remedy="Leave the second file out; --runtime says which of the bundle's files runs.",
        )
    said = [f"--{name}" for name, value in options.items() if value is not None and value != {}]
    if said:
        raise UsageError(
            f"a bundle is verified as it is, with the weights, traits and inputs in it: {listed(said)} cannot be said",
            remedy="Leave that out; --runtime says which of the bundle's files runs.",
        )


def _said(source: object) -> str:
    return str(source) if isinstance(source, (str, Path)) else f"the {type(source).__name__}"


def _reported(proof: Proof, page: Report | None, started: float) -> Proof:
    # All of it: weights drawn or downloaded, files read, the self-test.
    proof = replace(proof, seconds=time.monotonic() - started)
    return page.write(proof) if page is not None else proof


def _refuse_other_weights(request: SourceRequest, target: Opened) -> None:
    """A target made from drawn weights is no pretrained model: say so before those are downloaded."""
    drawn = target.carried.text("origin")
    asked = isinstance(request.source, str) and request.source == target.carried.text("address")
    if asked and drawn.startswith("calibrated") and not request.init and not request.weights:
        message = f"{target.source.file.name} was made from drawn weights ({drawn}), not from those of {request.source}"
        raise UsageError(message, remedy=f"Say --init {drawn}.")
