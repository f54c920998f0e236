"""The manifest of a bundle: what is in it, with the sha256 of every file. Schema 1, documented in docs/bundle.md."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from ...converters.digest import file_sha256
from ...converters.errors import EnvironmentError_, MalformedFileError

SCHEMA = 1
NAME = "manifest.json"
_KIND = "mshub-convert evidence"
_AGAIN = "Copy the bundle again from where it was made."


class TamperedError(EnvironmentError_):
    """A bundle whose files are not those that it was made with."""


@dataclass(frozen=True, slots=True)
class Target:
    """One converted file of a bundle.

    ``runtime`` is what runs it; ``allowed`` how far its outputs in float64 may be from the source's, ``why`` so far;
    ``verdict`` what came of it where the bundle was made; ``sha256`` the digest of each tensor by its name.
    """

    file: str
    container: str
    dialect: str
    runtime: str
    allowed: float
    why: str
    verdict: str
    tensors: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle holds; paths are relative to its folder.

    ``source`` tells address, origin, names, where the traits were found, preprocessing, the files that were read with
    their sha256, the network that ran and the reference; ``inputs`` the pictures and where they are, by label;
    ``outputs`` the arrays of ``source`` and ``reference`` by label and output; ``stages`` those of the reference's
    stages for the first picture of each label.
    ``rule`` are the limits that were in force, ``budgets`` the error that each precision is predicted to cost by label.
    ``files`` has bytes and sha256 of every file but the manifest.
    """

    tool: str
    source: Mapping[str, Any]
    architecture: Mapping[str, Any]
    traits: Mapping[str, Any]
    targets: tuple[Target, ...]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Mapping[str, Mapping[str, str]]]
    stages: Mapping[str, Mapping[str, str]]
    rule: Mapping[str, float]
    budgets: Mapping[str, Mapping[str, float]]
    environment: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]

    def as_bytes(self) -> bytes:
        """The JSON of the manifest."""
        data = {"kind": _KIND, "schema": SCHEMA, **{item.name: getattr(self, item.name) for item in fields(self)}}
        data["targets"] = [asdict(target) for target in self.targets]
        return json.dumps(data, indent=1, ensure_ascii=False).encode() + b"\n"


def is_bundle(path: Path) -> bool:
    """Whether a folder, or a .zip file, is meant as a bundle."""
    return (path / NAME).is_file() or (path.suffix == ".zip" and path.is_file())


def read(folder: Path) -> Manifest:
    """The manifest of a bundle, and a look at every file of it.

    Raises MalformedFileError for what is no manifest of this schema, TamperedError for files that are not its own.
    """
    path = folder / NAME
    try:
        data = json.loads(path.read_bytes())
        if not isinstance(data, dict) or data.get("kind") != _KIND:
            raise ValueError("it is none of a bundle")
        if data.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {data.get('schema')!r}, this version reads {SCHEMA}")
        targets = tuple(Target(**target) for target in data["targets"])
        known = {item.name: data[item.name] for item in fields(Manifest)}
        manifest = Manifest(**{**known, "targets": targets})
        _check_paths(manifest)
    except OSError as error:
        raise EnvironmentError_(f"cannot read {path}: {error.strerror}", remedy="Check the path.") from None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        said = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise MalformedFileError(f"{path} cannot be used: {said}", remedy=_AGAIN) from None
    check_files(folder, manifest.files)
    return manifest


def _check_paths(manifest: Manifest) -> None:
    """Every path is one of the files that have a sha256, inside the folder."""
    named = [*(target.file for target in manifest.targets), *manifest.inputs["files"]]
    named += [file for of_label in manifest.stages.values() for file in of_label.values()]
    named += [file for run in manifest.outputs.values() for of_label in run.values() for file in of_label.values()]
    for name in manifest.files:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\\" in name:
            raise ValueError(f"{name!r} is no path in its folder")
    stray = [name for name in named if name not in manifest.files]
    if stray:
        raise ValueError(f"{stray[0]} has no sha256")


def check_files(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare every file with what the manifest says of it; raises TamperedError, which names all that differ."""
    wrong = []
    for name, said in files.items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif path.stat().st_size != said["bytes"] or file_sha256(path) != said["sha256"]:
            wrong.append(f"{name} is another file: its sha256 differs")
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    wrong += [f"{name} is not in the manifest" for name in sorted(present - {NAME, *files})]
    if wrong:
        more = f"\n  … and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        told = "\n".join(f"  {line}" for line in wrong[:5])
        raise TamperedError(
            f"the bundle {folder.name} is not what was made; nothing of it was run:\n{told}{more}", remedy=_AGAIN
        )


def described(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Bytes and sha256 of files."""
    return {name: {"bytes": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)} for name in names}
