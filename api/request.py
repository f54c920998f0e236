"""What a caller names as a source, and opening it: an address, a file, a live module, a state dict."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mshub_convert.converters.errors import EnvironmentError_, UsageError
from mshub_convert.converters.opened import Opened, open_source
from mshub_convert.converters.pipeline import Progress
from mshub_convert.converters.sources import Request, Source, memory, resolve


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """A source and how to read it.

    ``source`` is an address (``timm:resnext50_32x4d``), a path, a live module or a mapping of arrays; ``weights`` a
    file instead of the download; ``init`` ``calibrated[:SEED]``; ``traits`` override those found; ``select`` picks
    one of several sets of weights in a file; ``dialect`` says the names instead of finding out; ``classes`` keeps
    the first ones only, such as 1000 of model_zoo's 1001; ``backbone`` leaves out the classifier, or the heads of a
    detector; ``bn`` is what stands for BatchNorms that an ONNX file has
    folded away: ``identity``, or ``calibrated`` with statistics for further training.
    """

    source: Any
    weights: str | Path | None = None
    init: str | None = None
    traits: Mapping[str, str] = field(default_factory=dict)
    select: str | None = None
    dialect: str | None = None
    classes: int | None = None
    bn: str = "identity"
    backbone: bool = False

    def resolve(self, scratch: Path, progress: Progress | None = None) -> Source:
        """The local weight file behind the source, in ``scratch`` if it has to be made."""
        weights = Path(self.weights) if self.weights is not None else None
        if weights is not None and self.init is not None:
            raise UsageError("--weights and --init exclude each other", remedy="Leave one out.")
        if weights is not None and not weights.is_file():
            raise EnvironmentError_(f"no file {weights}", remedy="Check the path given with --weights.")
        request = Request(scratch, weights, self.init, progress)
        if isinstance(self.source, (str, Path)):
            return resolve(str(self.source), request)
        return memory.from_tensors(self.source, request)

    @contextmanager
    def open(self, progress: Progress | None = None) -> Iterator[Opened]:
        """The opened source; its scratch files are removed at the end."""
        with tempfile.TemporaryDirectory(prefix="mshub-convert-") as folder:
            source = self.resolve(Path(folder), progress)
            opened = open_source(
                source, traits=self.traits, select=self.select, dialect=self.dialect, classes=self.classes,
                backbone=self.backbone,
            )  # fmt: skip
            try:
                yield self._with_norms(opened)
            finally:
                opened.close()

    def _with_norms(self, opened: Opened) -> Opened:
        if self.bn not in ("identity", "calibrated"):
            raise UsageError(f"--bn {self.bn} is neither identity nor calibrated", remedy="Use one of them.")
        if self.bn == "identity":
            return opened
        from mshub_convert.calibration import with_statistics

        return with_statistics(opened)
