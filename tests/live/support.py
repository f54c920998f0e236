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
START, END = "<!-- support table: made by scripts/support_table.py -->", "<!-- end of support table -->"

# Source address → targets that are tested. A source "A > B" is the file of dialect B that A was converted to, a source
# "A --backbone" the backbone of A alone.
TESTED: dict[str, tuple[str, ...]] = {
    "timm:resnext50_32x4d": (
        "ckpt:mindcv", "ckpt:modelzoo", "safetensors:torchvision", "pth:mmcls", "onnx:timm", "mindir:mindcv",
    ),
    "timm:resnext50d_32x4d": ("ckpt:mindcv", "onnx:timm"),
    "timm:resnext101_32x8d": ("ckpt:mindcv",),
    "timm:resnet50": ("ckpt:modelzoo-resnet", "onnx:mindcv"),
    "timm:resnet18": ("ckpt:mindcv", "safetensors:mindcv", "pth:torchvision", "onnx:torchvision", "mindir:mindcv"),
    "timm:seresnet18": ("ckpt:mindcv-senet", "ckpt:modelzoo-gpu", "pth:mmcls", "onnx:mindcv-senet"),
    "timm:seresnext26d_32x4d": ("ckpt:mindcv-senet", "onnx:timm"),
    "torchvision:resnext50_32x4d": ("ckpt:mindcv",),
    "torchvision:resnet34": ("safetensors:timm",),
    "mmcls:resnext50-32x4d_8xb32_in1k": ("ckpt:mindcv",),
    "mmcls:resnet18_8xb32_in1k": ("safetensors:timm", "onnx:timm"),
    "mshub:mindspore/ascend/1.3/ssdresnet50_v1.3_coco2017": (
        "ckpt:modelzoo-ssd", "safetensors:ssd", "pth:ssd", "onnx:ssd", "mindir:modelzoo-ssd",
    ),
    "mshub:mindspore/ascend/1.3/ssdresnet50_v1.3_coco2017 --backbone": ("pth:torchvision", "onnx:torchvision"),
    "torchvision:resnet50 --backbone": ("ckpt:modelzoo-resnet", "safetensors:modelzoo-ssd"),
    "timm:resnext50_32x4d > ckpt:mindcv": ("pth:timm",),
    "timm:resnext50_32x4d > ckpt:modelzoo": ("pth:timm", "onnx:modelzoo"),
    "timm:seresnet18 > ckpt:mindcv-senet": ("pth:timm",),
    "timm:resnet18 > onnx:timm": ("ckpt:mindcv", "pth:mmcls"),
    "timm:resnet18 > mindir:mindcv": ("pth:timm", "onnx:timm"),
    "ssd_resnet50 > onnx:ssd": ("ckpt:modelzoo-ssd",),
}  # fmt: skip


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
    """The table for the README: a source and its proven targets on each line, targets of one container together."""
    lines = ["| from | to |", "|---|---|"]
    for source, cells in proven.items():
        groups: dict[str, list[str]] = {}
        for to in cells:
            container, _, names = to.partition(":")
            groups.setdefault(container, []).append(names)
        said = "; ".join(f"`{container}`: {', '.join(names)}" for container, names in groups.items())
        lines.append(f"| {told(source)} | {said} |")
    return "\n".join(lines)


def told(source: str) -> str:
    """A source as the table says it."""
    address, arrow, dialect = source.partition(" > ")
    return f"`{dialect}` made from `{address}`" if arrow else f"`{address}`"


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
