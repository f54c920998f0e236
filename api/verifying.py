"""What the verification of a conversion is asked to do; checked before anything is downloaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_convert.converters.errors import UsageError
from mshub_convert.reporting import Report

if TYPE_CHECKING:
    from mshub_convert.verify.device import DevicePrecision
    from mshub_convert.verify.inputs import InputSet
    from mshub_convert.verify.runtimes.where import Where


@dataclass(frozen=True, slots=True)
class Verifying:
    """What it runs on, where the target runs (None: where it belongs), and the user's own network for the source.

    ``device_precision`` is what a device computes in (None: what it is told to), ``report`` the page that is written of
    it, if one is wanted.
    """

    inputs: "InputSet"
    runtime: "Where | None" = None
    source_network: str | None = None
    report: Report | None = None
    device_precision: "DevicePrecision | None" = None


def to_verify(
    verify: bool,
    *,
    runtime: "str | Where | None" = None,
    source_network: str | None = None,
    report: str | Path | Report | None = None,
    device_precision: str | None = None,
    **inputs: Any,
) -> Verifying | None:
    """What to verify with, as :func:`verify` takes it; None where it is not wanted, and then nothing may be asked.

    A runtime or device that is not there is told now.
    """
    if not verify:
        asked = {
            "runtime": runtime, "source_network": source_network, "device_precision": device_precision,
            "report": report, **inputs,
        }  # fmt: skip
        for name, value in asked.items():
            if value is not None:
                message = f"--{name.replace('_', '-')} says how to verify, and that was not asked for"
                raise UsageError(message, remedy="Add --verify, or leave it out.")
        return None
    from mshub_convert.verify.device import expected
    from mshub_convert.verify.inputs import chosen
    from mshub_convert.verify.runtimes.available import check_available
    from mshub_convert.verify.runtimes.where import where

    found, given, page = where(runtime), chosen(**inputs), Report.asked(report)
    if found is not None and found.runtime == "om":
        message = "--verify compares a file before anything is compiled from it, so there is no .om to run yet"
        remedy = "Convert first, then say `mshub-convert verify SOURCE FILE.onnx --runtime om`."
        raise UsageError(message, remedy=remedy)
    precision = expected(device_precision, found)
    check_available(found)
    return Verifying(given, found, source_network, page, precision)
