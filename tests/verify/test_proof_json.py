"""The JSON of a proof has the fields that docs/proof.md tells, and is JSON."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from handmade import detecting, failing, inconclusive, passing

from mshub_convert.verify.bundle.recorded import Recorded
from mshub_convert.verify.inputs import Photographs, Tensors
from mshub_convert.verify.proof import SCHEMA, Proof

DOCUMENT = Path(__file__).parents[2] / "docs" / "proof.md"


def documented() -> set[str]:
    """The names in the first column of the table of fields."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("## The JSON")[2]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def fields(value: object, path: str = "") -> Iterator[str]:
    """The paths of all fields; what holds others counts itself too."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, item in value.items():
            yield from fields(item, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield from fields(item, f"{path}[]")


def fits(path: str, pattern: str) -> bool:
    """Whether a field is documented so; a name at the end, as that of a tensor, may have dots of its own."""
    parts, wanted = path.split("."), pattern.split(".")
    if wanted[-1] == "*":
        parts = parts[: len(wanted)]
    return len(parts) == len(wanted) and all(b in ("*", a) for a, b in zip(parts, wanted, strict=True))


def proofs(folder: Path) -> list[Proof]:
    """Between them they have every field."""
    (folder / "a.png").touch()
    photographs = Photographs(folder, (folder / "a.png",), 1, ((32, 32),))
    tensors = Tensors(folder / "x.npz", "ab" * 32, ("x",), ((1, 3, 32, 32),))
    recorded = Recorded(folder, ("32x32",), ((32, 32),), ("x.npy",), 1, "one picture", (), photographs.as_dict())
    found = [passing(), detecting(), failing(), inconclusive()]
    return [*found, *(replace(found[0], inputs=inputs) for inputs in (photographs, tensors, recorded))]


def test_the_fields_are_those_of_the_document(tmp_path: Path) -> None:
    told = documented()
    found = {path for proof in proofs(tmp_path) for path in fields(proof.as_dict())}
    # What only holds others needs no line of its own.
    holds = {path for path in found if any(other.startswith((f"{path}.", f"{path}[]")) for other in found)}
    assert not sorted(path for path in found - holds if not any(fits(path, one) for one in told)), "undocumented"
    assert not sorted(one for one in told if not any(fits(path, one) for path in found)), "no such field"


def test_the_schema_is_the_one_of_the_document() -> None:
    assert f"## The JSON, schema {SCHEMA}\n" in DOCUMENT.read_text(encoding="utf-8")


def test_it_is_json_whatever_the_numbers() -> None:
    proof = passing()
    nan = float("nan")
    broken = replace(proof.comparisons[0], source_error=nan, target_error=nan, ratio=float("inf"), emulated_error=nan)
    float64 = replace(proof.float64, error=float("inf")) if proof.float64 else None
    data = replace(proof, comparisons=(broken,), float64=float64).as_dict()
    assert json.loads(json.dumps(data, allow_nan=False))["forward"][0]["ratio"] is None


@pytest.mark.parametrize("make", [passing, failing, inconclusive])
def test_the_verdict_and_reason_are_told(make: type[Proof]) -> None:
    proof = make()
    data = proof.as_dict()
    assert (data["verdict"], data["reason"]) == (proof.verdict.value, proof.reason)
