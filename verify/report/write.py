"""Render a report and write it."""

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ...converters.errors import EnvironmentError_, UsageError
from ...converters.templates import environment
from ..errors import MissingPackageError
from ..verdicts import SIGNS, parts
from . import plots, words
from .drawing import brief
from .layers import along
from .pictures import Sample, sample

if TYPE_CHECKING:
    from ..proof import Proof

_SUFFIXES = (".html", ".htm")
_PACKAGES = {"matplotlib": "matplotlib", "PIL": "Pillow"}


# How the template writes values.
_FILTERS = {"brief": brief, "ratio": words.ratio, "said": words.sentence, "pairs": words.pairs, "plain": words.plain,
            "signed": words.signed, "origin": words.origin, "code": words.code}  # fmt: skip


def check_report(path: Path) -> None:
    """Raise before anything expensive is run where a report could not be written.

    UsageError for a path that is no .html file, MissingPackageError without matplotlib, EnvironmentError_ for a folder
    that cannot be written to.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(
            f"the report {path} does not end in .html", remedy=f"Say --report {path.with_suffix('.html')}."
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder, and the report goes there", remedy="Give another --report.")
    for package, title in _PACKAGES.items():
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(
                f"--report draws with {title}, which is not installed", remedy="pip install 'mshub-convert[report]'"
            )
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a folder", remedy="Give another --report.")
    if not os.access(folder, os.W_OK):
        raise EnvironmentError_(f"the folder {folder} cannot be written to", remedy="Give another --report.")


def write_report(proof: "Proof", path: Path, *, command: str = "") -> Path:
    """Write a report to a .html file, replacing an earlier one; raises as :func:`check_report` does."""
    check_report(path)
    page = render(proof, command=command, made=datetime.now(UTC))
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name that is no UTF-8 shows a question mark.
        draft.write_bytes(page.encode("utf-8", errors="replace"))
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise _unwritable(path, error) from error
    return path


def render(proof: "Proof", *, command: str, made: datetime) -> str:
    """The page."""
    loader = environment(__package__, html=True)
    loader.filters |= _FILTERS
    return loader.get_template("report.html.jinja").render(
        proof=proof, command=command, made=f"{made:%Y-%m-%d %H:%M} UTC", words=words, parts=parts(proof), signs=SIGNS,
        advice=words.advice(proof), limits=words.limits(proof), figures=_figures(proof), sample=_sample(proof),
        version=importlib.metadata.version("mshub-convert"),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
    )  # fmt: skip


def _figures(proof: "Proof") -> Sequence[plots.Figure]:
    """Those whose numbers there are; outputs that hold NaN or have other shapes are told of in words only."""
    exhibits, found = proof.exhibits, []
    growing = along(proof.diagnosis) if proof.diagnosis is not None else None
    along_it = [growing] if growing is not None else []
    if exhibits is None or not proof.comparisons or not all(item.inputs for item in proof.comparisons):
        return along_it
    labels = proof.inputs.labels
    yardstick = "yardstick" if "yardstick" in exhibits.outputs else "source"
    exact = "target reference" if proof.weights.rounded else "reference"
    for output in exhibits.outputs["reference"][0]:
        found.append(plots.errors(exhibits, labels, output, yardstick, exact))
        found.append(plots.agreement(exhibits, labels, output))
        found.append(plots.differences(exhibits, labels, output))
    return [*found, *along_it]


def _sample(proof: "Proof") -> Sample | None:
    exhibits = proof.exhibits
    if exhibits is None or not any(item.ranking for item in proof.comparisons):
        return None
    names = proof.source.class_names if proof.source else ()
    return sample(exhibits, proof.inputs.labels, proof.inputs.titles, names, "head")


def _unwritable(path: Path, error: OSError) -> EnvironmentError_:
    return EnvironmentError_(f"the report {path} cannot be written: {error.strerror}", remedy="Give another --report.")
