"""The file of an emitted module."""

import os
import shutil
from pathlib import Path

from ..errors import UsageError
from ..splice import write_error
from ..staging import take_name, temporary_folder

_ANOTHER = "give --emit-network another name."


def refuse_taken_module(file: Path, *, overwrite: bool) -> None:
    """Refuse the name of a folder, or of a file that is there already."""
    if file.is_dir():
        raise UsageError(f"--emit-network {file} is a folder", remedy="Give the name of a file, such as network.py.")
    if os.path.lexists(file) and not overwrite:
        raise UsageError(f"{file} exists", remedy=f"Use --overwrite to replace it, or {_ANOTHER}")


def write_module(file: Path, text: str, *, overwrite: bool) -> None:
    """Write a module, whole or not at all; folders are made."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        folder = temporary_folder(file)
        try:
            (folder / file.name).write_text(text, encoding="utf-8")
            take_name(folder / file.name, file, overwrite=overwrite)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except FileExistsError:
        raise UsageError(f"{file} was made meanwhile", remedy=f"Look at it, and {_ANOTHER}") from None
    except OSError as error:
        raise write_error(file, error) from error
