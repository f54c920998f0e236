"""Templates of texts that are written: Python, Markdown."""

from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(package: str) -> "Environment":
    """The templates in the folder ``templates`` of a package; what they do not know is an error."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def load(name: str) -> str:
        return resources.files(package).joinpath("templates", name).read_text(encoding="utf-8")

    # Nothing is to be escaped as in HTML.
    return Environment(  # noqa: S701
        loader=FunctionLoader(load), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
