"""What the verification of a conversion is asked to do; checked before anything is downloaded."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mshub_convert.converters.errors import UsageError

if TYPE_CHECKING:
    from mshub_convert.verify.inputs import InputSet
    from mshub_convert.verify.runtimes.where import Where


@dataclass(frozen=True, slots=True)
class Verifying:
    """What it runs on, where the target runs (None: where it belongs), and the user's own network for the source."""

    inputs: "InputSet"
    runtime: "Where | None" = None
    source_network: str | None = None


def to_verify(
    verify: bool, *, runtime: "str | Where | None" = None, source_network: str | None = None, **inputs: Any
) -> Verifying | None:
    """What to verify with, as :func:`verify` takes it; None where it is not wanted, and then nothing may be asked.

    A runtime or device that is not there is told now.
    """
    if not verify:
        for name, value in {"runtime": runtime, "source_network": source_network, **inputs}.items():
            if value is not None:
                message = f"--{name.replace('_', '-')} says how to verify, and that was not asked for"
                raise UsageError(message, remedy="Add --verify, or leave it out.")
        return None
    from mshub_convert.verify.inputs import chosen
    from mshub_convert.verify.runtimes.available import check_available
    from mshub_convert.verify.runtimes.where import where

    found, given = where(runtime), chosen(**inputs)
    check_available(found)
    return Verifying(given, found, source_network)
