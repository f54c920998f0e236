"""What a bundle recorded, as the verifier wants it: pictures and the source's runs, without running the source."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..errors import RuntimeRefusedError
from ..inputs import Size
from ..runtimes import Outcome, Values
from .manifest import Manifest


@dataclass(frozen=True, slots=True)
class Recorded:
    """The pictures of a bundle, or those of some sizes; an :class:`~..inputs.InputSet`."""

    folder: Path
    labels: tuple[str, ...]
    sizes: tuple[Size, ...]
    files: tuple[str, ...]
    count: int
    told: str
    notices: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, folder: Path, manifest: Manifest) -> Self:
        """All pictures of a bundle."""
        said = manifest.inputs
        sizes = tuple((int(height), int(width)) for height, width in said["sizes"])
        return cls(
            folder, tuple(said["labels"]), sizes, tuple(said["files"]), int(said["count"]), said["told"],
            tuple(said["notices"]), said["facts"],
        )  # fmt: skip

    @property
    def asked(self) -> bool:
        """They are what they are: no others suit the network better."""
        return True

    @property
    def titles(self) -> tuple[str, ...]:
        """The names of the files that they were made from, where they were photographs."""
        return tuple(str(file["name"]) for file in self.facts.get("files", ()))

    def narrowed(self, sizes: tuple[Size, ...]) -> Self:
        """The pictures of these sizes; raises RuntimeRefusedError where the bundle has none."""
        places = [place for place, size in enumerate(self.sizes) if size in sizes]
        if not places:
            wanted = ", ".join(f"{height}x{width}" for height, width in sizes)
            raise RuntimeRefusedError(
                f"the bundle has no pictures of {wanted}, which is all that the target takes",
                remedy=f"Make the bundle with --sizes {wanted}.",
            )
        return replace(
            self, labels=tuple(self.labels[place] for place in places),
            sizes=tuple(self.sizes[place] for place in places), files=tuple(self.files[place] for place in places),
        )  # fmt: skip

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Copy the pictures to a folder."""
        return tuple(
            Path(shutil.copy(self.folder / file, folder / f"pictures-{place}.npy"))
            for place, file in enumerate(self.files)
        )

    def as_dict(self) -> dict[str, Any]:
        """What they were where the bundle was made."""
        return {**self.facts, "from": "bundle"}


def recorded_run(folder: Path, manifest: Manifest, name: str, labels: tuple[str, ...]) -> Outcome:
    """The run ``source`` or ``reference`` at these labels, as it was where the bundle was made."""

    def values(label: str) -> Values:
        return {output: np.load(folder / file) for output, file in manifest.outputs[name][label].items()}

    said = manifest.environment["runs"].get(name, {})
    return Outcome(
        outputs=tuple(map(values, labels)), watched=tuple({} for _ in labels), finite=True, hashes={}, dtypes={},
        loader="recorded in the bundle", unused=(), rounded=(), versions=said.get("versions", {}),
        device=said.get("device", ""), settings=said.get("settings", {}), seconds={},
    )  # fmt: skip
