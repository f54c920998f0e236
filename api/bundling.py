"""Make a bundle of evidence, and verify one again."""

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mshub_convert.conversion import TOOL, export
from mshub_convert.converters.digest import file_sha256
from mshub_convert.converters.errors import EnvironmentError_, MalformedFileError, UsageError
from mshub_convert.converters.opened import Opened
from mshub_convert.converters.pipeline import Options, Progress, prepare, write
from mshub_convert.converters.publications.folder import PublicationFolder
from mshub_convert.converters.splice import write_error
from mshub_convert.converters.staging import take_name
from mshub_convert.converters.target import Target, output_path, parse_target
from mshub_convert.mappings.errors import MshubConvertError
from mshub_convert.request import SourceRequest
from mshub_convert.verify.bundle.manifest import NAME, TamperedError, is_bundle, read
from mshub_convert.verify.inputs import InputSet
from mshub_convert.verify.prover import TIMEOUT, Prover

if TYPE_CHECKING:
    from mshub_convert.verify.device import DevicePrecision
    from mshub_convert.verify.diagnosis.result import Layers
    from mshub_convert.verify.proof import Proof
    from mshub_convert.verify.runtimes.where import Where

__all__ = ["Bundle", "bundle", "is_bundle", "verify_bundle"]

DEFAULT_TARGETS = ("ckpt", "onnx")
_MOST_FILES, _MOST_BYTES = 4096, 1 << 36


@dataclass(frozen=True, slots=True)
class Bundle:
    """A finished bundle: its folder or .zip, the sha256 of its manifest, and the proof of each file in it."""

    path: Path
    sha256: str
    proofs: dict[str, "Proof"]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        proofs = {name: proof.as_dict() for name, proof in self.proofs.items()}
        return {"output": str(self.path), "manifest_sha256": self.sha256, "proofs": proofs}


def bundle(
    request: SourceRequest,
    out: str | Path,
    *,
    to: Sequence[str] = DEFAULT_TARGETS,
    inputs: InputSet | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Convert a source to every target, prove each, and put all that was compared into a folder (or ``.zip``).

    Raises ProofFailedError, and writes nothing, where a target does not pass.
    """
    path = Path(out)
    packed = path.suffix == ".zip"
    targets = _parsed(to)
    if packed and path.exists() and not overwrite:
        raise UsageError(f"{path} exists", remedy="Use --overwrite to replace it, or give another -o.")
    if not packed:
        _replaceable(path, overwrite)
    with request.open(progress) as opened, PublicationFolder(path) as folder:
        proofs = _fill(folder.path, opened, targets, inputs, progress)
        sha256 = file_sha256(folder.path / NAME)
        if not packed:
            _remove_old(path, folder.path)
            return Bundle(folder.commit(), sha256, proofs)
        _pack(folder.path, path, overwrite=overwrite)
        return Bundle(path, sha256, proofs)


def _parsed(to: Sequence[str]) -> list[Target]:
    targets = [parse_target(text) for text in to]
    if not targets:
        raise UsageError("a bundle needs a target", remedy="Say --to ckpt, for instance.")
    for target in targets:
        if target.publication is not None:
            raise UsageError("a publication is no part of a bundle", remedy="Say --to onnx or --to ckpt.")
        if target.compiler is not None:
            message = (
                f"a bundle holds what can be proven anywhere, and .{target.compiler.name} is compiled for one device"
            )
            raise UsageError(
                message, remedy=f"Say --to {target.compiler.container}, and compile that where the device is."
            )
    return targets


def _fill(
    folder: Path, opened: Opened, targets: Sequence[Target], inputs: InputSet | None, progress: Progress | None
) -> dict[str, "Proof"]:
    """Convert, prove and write everything into a folder."""
    from mshub_convert.verify.bundle.write import Proven, write_bundle

    prover = Prover(opened, progress=progress) if inputs is None else Prover(opened, inputs=inputs, progress=progress)
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="mshub-bundle-") as scratch:
        proven: list[Proven] = []
        for target in targets:
            file = _converted(opened, target, folder, progress)
            written = stack.enter_context(SourceRequest(file, dialect=target.dialect.reference).open())
            proof = prover.prove(written)
            if not proof:
                raise proof.failed()
            proven.append(Proven(file.name, written, proof))
        write_bundle(
            folder, opened, proven, tool=TOOL, scratch=Path(scratch), timeout=TIMEOUT,
            progress=progress or (lambda *_: None),
        )  # fmt: skip
        return {item.file: item.proof for item in proven}


def _converted(opened: Opened, target: Target, folder: Path, progress: Progress | None) -> Path:
    """The file of one target, with its record beside it."""
    destination = output_path(f"{folder}/", target, opened.source.model)
    if destination.exists():  # a second one of its container
        destination = destination.with_stem(f"{destination.stem}-{target.dialect.name}")
    options = Options(tool=TOOL)
    with write(prepare(opened, target, destination, options), progress, export=export) as staged:
        return staged.commit()


def _replaceable(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds anything, but an older bundle that is to be replaced."""
    if not folder.is_dir():
        if folder.exists():
            raise UsageError(f"{folder} is a file, and a bundle is a folder or a .zip", remedy="Give another -o.")
        return
    if not any(folder.iterdir()):
        return
    if not overwrite:
        raise UsageError(f"{folder} is not empty", remedy="Give another -o, or use --overwrite on a bundle.")
    try:
        read(folder)
    except MshubConvertError:
        fact = f"{folder} holds something else than a whole bundle, which --overwrite does not remove"
        raise UsageError(fact, remedy="Give another -o.") from None


def _remove_old(folder: Path, keep: Path) -> None:
    """Remove the older bundle that was found there, but not the new one, which may be in the same folder."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.name != keep.name:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _pack(folder: Path, archive: Path, *, overwrite: bool) -> None:
    """Put the files of a folder into an archive, uncompressed: weights do not get smaller."""
    made = folder.with_name(f"{folder.name}.zip")
    try:
        with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as packed:
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                packed.write(file, file.relative_to(folder).as_posix())
        take_name(made, archive, overwrite=overwrite)
    except FileExistsError:
        raise UsageError(f"{archive} exists", remedy="Use --overwrite to replace it, or give another -o.") from None
    except OSError as error:
        raise write_error(archive, error) from error
    finally:
        made.unlink(missing_ok=True)


def verify_bundle(
    path: str | Path,
    *,
    runtime: "Where | None" = None,
    device_precision: "DevicePrecision | None" = None,
    sha256: str = "",
    layers: "Layers" = "on failure",
    progress: Progress | None = None,
) -> "Proof":
    """Verify a bundle on this machine, in ``runtime``; ``sha256`` is what its manifest must have.

    ``device_precision`` is what a device computes in, where that is not what it is told to. ``layers`` looks into it
    layer by layer even where nothing failed.

    Raises UsageError for what is no sha256, TamperedError where a file is not the one that was put in.
    """
    from mshub_convert.verify.bundle.replay import replay

    if sha256 and not re.fullmatch("[0-9a-f]{64}", sha256.lower()):
        raise UsageError(
            f"{sha256} is no sha256, which has 64 hexadecimal digits",
            remedy="Give the whole of what `mshub-convert bundle` printed.",
        )
    with _folder_of(Path(path)) as folder:
        if sha256:
            actual = file_sha256(folder / NAME) if (folder / NAME).is_file() else "(none)"
            if actual != sha256.lower():
                fact = f"the manifest of {path} has the sha256 {actual}, not {sha256.lower()}"
                raise TamperedError(fact, remedy="Copy the bundle again from where it was made.")
        proof = replay(
            folder, runtime=runtime, device_precision=device_precision, layers=layers, progress=progress
        )  # fmt: skip
    if sha256:
        return proof
    said = (
        f"its manifest, whose sha256 is {proof.bundle}, was not compared with what was printed when it was made"
        " (--sha256)"
    )
    return replace(proof, notices=(*proof.notices, said))


@contextmanager
def _folder_of(path: Path) -> Iterator[Path]:
    """The folder of a bundle; one in an archive is unpacked for the time."""
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="mshub-bundle-") as scratch:
        folder = Path(scratch) / path.stem
        folder.mkdir()
        try:
            with zipfile.ZipFile(path) as packed:
                entries = packed.infolist()
                if len(entries) > _MOST_FILES or sum(entry.file_size for entry in entries) > _MOST_BYTES:
                    raise ValueError("it is larger than any bundle")
                for entry in entries:
                    parts = PurePosixPath(entry.filename).parts
                    if entry.filename.startswith("/") or ".." in parts or "\\" in entry.filename:
                        raise ValueError(f"{entry.filename!r} leads out of it")
                    packed.extract(entry, folder)
        except zipfile.BadZipFile:
            fact = f"{path} is no bundle: it is no .zip file, or one that was cut or damaged"
            raise MalformedFileError(fact, remedy="Copy it again.") from None
        except (ValueError, NotImplementedError, RuntimeError) as error:
            raise MalformedFileError(f"{path} is no bundle: {error}", remedy="Copy it again.") from None
        except OSError as error:
            raise EnvironmentError_(f"cannot unpack {path}: {error.strerror}", remedy="Free some space.") from None
        yield folder
