"""Templates of texts that are written: Python, Markdown, HTML."""

from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(package: str, *, html: bool = False) -> "Environment":
    """The templates in the folder ``templates`` of a package; what they do not know is an error.

    ``html`` says that whatever is filled in is text, to be escaped.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def load(name: str) -> str:
        return resources.files(package).joinpath("templates", name).read_text(encoding="utf-8")

    return Environment(
        loader=FunctionLoader(load), undefined=StrictUndefined, autoescape=html,  # noqa: S701
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
