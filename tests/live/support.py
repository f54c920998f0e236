"""The support table: which conversions are proven, and how they are told in the README.

A cell is one conversion by the front door, verified, plus a negative control: the same conversion with one BatchNorm's
scale and shift mixed up, which the forward alone must reject. ``tests/live/test_support.py`` fills the results in;
``scripts/support_table.py`` renders them.
"""

import json
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / ".support" / "results.json"
UNTESTED = "\N{EN DASH}"
START, END = "<!-- support table: made by scripts/support_table.py -->", "<!-- end of support table -->"

COLUMNS = (
    "ckpt:mindcv", "ckpt:modelzoo", "ckpt:modelzoo-gpu", "ckpt:modelzoo-resnet",
    "safetensors:timm", "safetensors:torchvision", "safetensors:mindcv", "safetensors:modelzoo", "safetensors:mmcls",
    "pth:timm", "pth:torchvision", "pth:mmcls",
)  # fmt: skip

# Source address → targets that are tested. A source "A > B" is the file of dialect B that A was converted to.
TESTED: dict[str, tuple[str, ...]] = {
    "timm:resnext50_32x4d": ("ckpt:mindcv", "ckpt:modelzoo", "ckpt:modelzoo-gpu", *COLUMNS[4:]),
    "timm:resnext50d_32x4d": ("ckpt:mindcv", "safetensors:mmcls", "pth:timm"),
    "timm:resnext101_32x8d": ("ckpt:mindcv", "ckpt:modelzoo", "pth:torchvision"),
    "timm:resnet50": ("ckpt:mindcv", "ckpt:modelzoo-resnet", "safetensors:timm"),
    "torchvision:resnext101_64x4d": ("ckpt:mindcv", "safetensors:timm"),
    "torchvision:resnext50_32x4d": ("ckpt:mindcv", "pth:timm"),
    "timm:resnext50_32x4d > ckpt:mindcv": ("pth:timm", "safetensors:torchvision", "ckpt:modelzoo"),
    "timm:resnext50_32x4d > ckpt:modelzoo": ("pth:timm", "ckpt:mindcv"),
}


@dataclass(frozen=True)
class Cell:
    """One proven conversion: the worst ratio to the source's error, and the ratio of the negative control."""

    ratio: float
    control: float


def load_results() -> dict[str, dict[str, Cell]]:
    """Results by source and target."""
    if not RESULTS.is_file():
        return {}
    data = json.loads(RESULTS.read_text(encoding="utf-8"))
    return {source: {to: Cell(**cell) for to, cell in cells.items()} for source, cells in data.items()}


def save_result(source: str, to: str, cell: Cell) -> None:
    """Add one result."""
    results = load_results()
    results.setdefault(source, {})[to] = cell
    RESULTS.parent.mkdir(exist_ok=True)
    plain = {name: {to: vars(cell) for to, cell in cells.items()} for name, cells in results.items()}
    RESULTS.write_text(json.dumps(plain, indent=1), encoding="utf-8")


def render(proven: dict[str, tuple[str, ...]]) -> str:
    """The table for the README: ✓ where proven, – where not tested, blank where the dialect has no names for it."""
    columns = [to for to in COLUMNS if any(to in cells for cells in proven.values())]
    columns += sorted({to for cells in proven.values() for to in cells} - set(columns))
    lines = ["| from \\ to | " + " | ".join(f"`{to}`" for to in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for source, cells in proven.items():
        marks = ["✓" if to in cells else UNTESTED if nameable(source, to) else "" for to in columns]
        lines.append(f"| {told(source)} | " + " | ".join(marks) + " |")
    return "\n".join(lines)


def told(source: str) -> str:
    """A source as the table says it."""
    address, arrow, dialect = source.partition(" > ")
    return f"`{dialect}` made from `{address}`" if arrow else f"`{address}`"


def nameable(source: str, to: str) -> bool:
    """Whether the target's dialect has names for the source's network."""
    from mshub_convert.mappings.architectures import architecture
    from mshub_convert.mappings.dialects import dialect

    name = source.partition(" > ")[0].partition(":")[2]
    return dialect(to.partition(":")[2]).can_name(architecture(name))


def readme_table() -> str:
    """The table as the README has it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.partition(START)[2].partition(END)[0].strip()


def write_readme(table: str) -> None:
    """Put the table into the README."""
    path = ROOT / "README.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}", encoding="utf-8")
