"""The examples in docstrings run, and every module of the package imports."""

import doctest
import importlib
from pathlib import Path

import pytest

import mshub_convert

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"api": "mshub_convert", "converters": "mshub_convert.converters", "mappings": "mshub_convert.mappings",
           "verify": "mshub_convert.verify"}  # fmt: skip


def module_name(folder: str, path: Path) -> str:
    """The import name of a file below one of the top-level folders."""
    parts = path.relative_to(ROOT / folder).with_suffix("").parts
    return ".".join([FOLDERS[folder], *(part for part in parts if part != "__init__")])


# These import a framework at the top, on purpose: whoever imports them wants it.
FRAMEWORK = (
    "networks.torch", "networks.torch_rounded", "networks.mindspore", "networks.mindspore_layers",
    "networks.mmpretrain", "networks.statistics", "runtimes.torch", "runtimes.mindspore", "runtimes.onnxruntime",
    "runtimes.onnx_session", "export_worker",
)  # fmt: skip
# The scripts that go into a published folder are no modules of the package: tests/modelhub runs them from there.
MODULES = sorted(
    module_name(folder, path)
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if path.stem != "__main__" and path.parent.name != "runner"
)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith(FRAMEWORK)])
def test_docstring_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODULES if name.endswith(FRAMEWORK)])
def test_docstring_examples_of_framework_modules(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    light = [importlib.import_module(name) for name in MODULES if not name.endswith(FRAMEWORK)]
    assert sum(len(test.examples) for module in light for test in finder.find(module)) >= 5
    assert len(doctest.DocTestFinder().find(mshub_convert)) >= 1
