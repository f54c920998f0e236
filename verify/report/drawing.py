"""Figures by matplotlib as SVG for the inside of an HTML page: without a display, the same for equal numbers."""

import io
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# They stand for the page's own colours, which change with its scheme. Those of the two sides are Okabe and Ito's, apart
# for all kinds of colour vision; marks differ by their form besides.
INK, FAINT, SOURCE, TARGET, PAPER = "#010203", "#040506", "#070809", "#0a0b0c", "#0d0e0f"
_PAGE = {
    INK: "currentColor", FAINT: "var(--line)", SOURCE: "var(--source)", TARGET: "var(--target)", PAPER: "var(--paper)",
}  # fmt: skip
# A figure is as wide as a phone shows it without making its text too small to read.
_WIDTH = 5.4
_STYLE = {
    "svg.hashsalt": "mshub-convert", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10,
    # What is written may come from a file: a dollar sign starts no formula.
    "text.parse_math": False, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "axes.titlelocation": "left",
    "xtick.color": INK, "ytick.color": INK, "grid.color": FAINT, "axes.grid": True, "axes.axisbelow": True,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "legend.frameon": False,
    "figure.constrained_layout.use": True, "path.simplify": True,
}  # fmt: skip


def drawn(name: str, draw: "Callable[[Axes], None]", *, height: float = 3.3) -> str:
    """One set of axes, filled by ``draw``, as an ``<svg>`` element whose ids start with ``name``; height in inches."""
    with _matplotlib() as matplotlib, matplotlib.rc_context(_STYLE):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(_WIDTH, height))
        draw(figure.add_subplot())
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", metadata=nothing)
    return _for_page(text.getvalue(), name)


@contextmanager
def _matplotlib() -> Iterator[Any]:
    """The package, kept from talking: of a folder for its cache that cannot be written, of fonts that it lacks."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import matplotlib

        yield matplotlib
    finally:
        logger.setLevel(level)


def _for_page(svg: str, name: str) -> str:
    """The element alone, its ids its own, in the page's colours and font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(
        r'<svg\b.*?\bviewBox="([^"]*)".*?>', r'<svg viewBox="\1" aria-hidden="true">', svg, count=1, flags=re.DOTALL
    )
    for stand_in, colour in _PAGE.items():
        svg = svg.replace(stand_in, colour)
    return svg


def power(value: float, _position: object = None) -> str:
    """The label of a tick on a logarithmic axis: ``1e-7``."""
    return _scientific(value, 0)


def brief(value: float, digits: int = 1) -> str:
    """A number in few signs, with so many digits after the first.

    >>> brief(2.66e-07), brief(2.66e-07, 2), brief(12.34, 2), brief(0.0), brief(float("nan"))
    ('2.7e-7', '2.66e-7', '12.3', '0', 'no number')
    """
    if value != value:
        return "no number"
    if abs(value) == float("inf"):
        return "infinite"
    return _scientific(value, digits) if value and not 1e-2 <= abs(value) < 1e3 else f"{value:.{digits + 1}g}"


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}e{int(exponent)}"
