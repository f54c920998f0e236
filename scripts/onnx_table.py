"""Put into docs/onnx.md what was read back from every producer's ONNX file of a published network.

python scripts/onnx_table.py            # measure all producers anew, some ten minutes
python scripts/onnx_table.py NAME ...   # measure these anew
"""

import hashlib
import json
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mshub_convert.converters.tensors import Array
from mshub_convert.mappings.errors import MshubConvertError
from mshub_convert.request import SourceRequest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from producers import MUTATIONS, PRODUCERS, REFUSED
from producers.sample import Sample, distance, draw, pictures, reference

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".support" / "onnx.json"
PAGE = ROOT / "docs" / "onnx.md"
SIZE = (224, 224)
_ORIGINALS: dict[str, Array] = {}
_STAGES = {
    "trait": "the graph shows another trait",
    "structure": "refused, naming the node",
    "weights": "bits differ",
    "forward": "outputs differ",
}


@dataclass(frozen=True)
class Row:
    """What was read from one producer's file: tensors found and wanted, those equal bit for bit, error, seconds."""

    found: int
    wanted: int
    equal: int
    error: float
    seconds: float


def measure(name: str) -> Row:
    """Write the file, read it through the front door, compare."""
    producer = PRODUCERS[name]
    sample = producer.sample(published=True)
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        producer.make(sample, path)
        start = time.perf_counter()
        with SourceRequest(path).open() as opened:
            recovered = opened.recovered
            if recovered is None or recovered.architecture != sample.network:
                raise AssertionError(f"{name}: not read as {sample.network.name}")
            tensors = {key: np.array(ref.read(), np.float32) for key, ref in recovered.tensors.items()}
        seconds = time.perf_counter() - start
        equal = [key for key in tensors if tensors[key].tobytes() == sample.tensors[key].tobytes()]
        error = 0.0
        # Equal bits under equal traits are one function: there is nothing to run.
        if len(equal) < len(sample.tensors) or recovered.traits != sample.traits:
            batch = pictures(1, *(producer.size(sample) or SIZE))
            found = reference(Sample(recovered.architecture, recovered.traits, tensors), batch)
            error = distance(found, _original(sample, batch))
    return Row(len(tensors), len(sample.tensors), len(equal), error, seconds)


def _original(sample: Sample, batch: Array) -> Array:
    """Logits in float64 of the network as it was given; most producers are given the same."""
    digest = hashlib.sha256(repr((sample.network, sample.traits, batch.shape)).encode())
    for array in sample.tensors.values():
        digest.update(array.tobytes())
    key = digest.hexdigest()
    if key not in _ORIGINALS:
        _ORIGINALS[key] = reference(sample, batch)
    return _ORIGINALS[key]


def refusal(name: str) -> str:
    """The message of the error that opening a refused file gives."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        REFUSED[name].make(draw(), path)
        try:
            with SourceRequest(path).open():
                raise AssertionError(f"{name} was read")
        except MshubConvertError as error:
            return error.message.removeprefix(f"{path}: ")


def render(rows: Mapping[str, Row], refusals: Mapping[str, str]) -> dict[str, str]:
    """The tables by the name of their markers."""
    lines = [
        "| producer | | network | tensors | bit for bit | float64 error | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, producer in PRODUCERS.items():
        row = rows.get(name)
        if row is None:
            lines.append(f"| `{name}` | {producer.title} | `{producer.published}` | not read | | | |")
            continue
        tensors = "all" if row.found == row.wanted else "some"
        equal = "all" if row.equal == row.wanted else str(row.equal)
        lines.append(
            f"| `{name}` | {producer.title} | `{producer.published}` | {tensors} {row.found} | {equal} |"
            f" {row.error:.0e} | {row.seconds:.2f} |"
        )
    refused = ["| file | | answer |", "|---|---|---|"]
    refused += [f"| `{name}` | {REFUSED[name].title} | {cell(text)} |" for name, text in refusals.items()]
    caught = ["| mistake | | noticed by |", "|---|---|---|"]
    caught += [f"| `{name}` | {mistake.title} | {_STAGES[mistake.caught]} |" for name, mistake in MUTATIONS.items()]
    return {"producers": "\n".join(lines), "refused": "\n".join(refused), "mistakes": "\n".join(caught)}


def cell(text: str) -> str:
    """Text that breaks no table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def markers(table: str) -> tuple[str, str]:
    """The lines between which a table stands."""
    return f"<!-- {table}: made by scripts/onnx_table.py -->", f"<!-- end of {table} -->"


def put(text: str, table: str, content: str) -> str:
    """The page with a table in its place."""
    start, end = markers(table)
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{PAGE} has no place for a table: {start} … {end}")
    return f"{before}{start}\n\n{content}\n\n{end}{after}"


def main() -> int:
    """Measure, then write; fails when a file was not read."""
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name in sys.argv[1:] or PRODUCERS:
        kept.pop(name, None)
        try:
            kept[name] = asdict(measure(name))
        except MshubConvertError as error:
            print(f"{name}: not read: {error.message}", file=sys.stderr)
            continue
        print(f"{name}: {kept[name]}", file=sys.stderr)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    rows = {name: Row(**kept[name]) for name in PRODUCERS if name in kept}
    text = PAGE.read_text(encoding="utf-8")
    for table, content in render(rows, {name: refusal(name) for name in REFUSED}).items():
        text = put(text, table, content)
    PAGE.write_text(text, encoding="utf-8")
    missing = [name for name in PRODUCERS if name not in rows]
    if missing:
        print("without a result: " + ", ".join(missing), file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
