"""A comparison of preprocessing, for a person to read."""

from typing import TYPE_CHECKING

from mshub_convert.converters.preprocessing import Preprocessing
from mshub_convert.tables import columns, console, escape, show
from mshub_convert.verify.preprocessing import Parity

if TYPE_CHECKING:
    from rich.table import Table

_MOST = 8


def show_preprocessing(found: Parity) -> None:
    """The verdict, both sides' settings, every picture's difference, and what explains it."""
    out = console(to_stderr=False)
    style, word = ("green", "SAME") if found else ("red", "DIFFERENT")
    out.print(f"[bold {style}]{word}[/]  {escape(found.reason)}")
    out.print(f"pictures  {escape(found.told)}")
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    out.print(f"versions  {escape(versions)}")
    show(out, _settings(found))
    if found.pictures:
        table = columns("picture", "mean", "largest", "over 1 level", justify="right")
        worst = sorted(found.pictures, key=lambda one: -one.mean)
        for one in worst[:_MOST]:
            table.add_row(escape(one.name), f"{one.mean:.3f}", f"{one.largest:.0f}", f"{one.share:.1%}")
        show(out, table)
        if len(worst) > _MOST:
            out.print(f"and {len(worst) - _MOST} more, that differ less", style="dim")
    for cause in found.causes:
        out.print(f"[bold]cause[/]  {escape(cause.told)}: {cause.levels:.1f} levels in the mean")
    if found.effect is not None:
        effect = found.effect
        agree, of = effect.top1
        out.print(
            f"effect  {escape(effect.network)} in float64: logits differ by {effect.mean:.1e} in the mean, "
            f"{effect.worst:.1e} at worst (relative L2); the likeliest class agrees on {agree}/{of}",
            soft_wrap=True,
        )
    for notice in found.notices:
        out.print(f"[yellow]note[/]  {escape(notice)}")
    if found.advice:
        out.print(f"  → {escape(_advice(found))}")


def _advice(found: Parity) -> str:
    """What to type in the target's library, and whether that does."""
    if found.advised is None:
        return f"in {found.target.label}: {found.advice}"
    left = f"leaves {found.advised:.2g} levels in the mean on the worst picture"
    if found.advised <= found.budget.mean:
        return f"in {found.target.label}: {found.advice} {left}"
    return (
        f"nearest in {found.target.label}: {found.advice}, which still {left} ({found.budget.mean:g} would do):"
        f" {found.target.label} cannot do all that {found.source.label} does, so prepare pictures as that does"
    )


def _settings(found: Parity) -> "Table":
    """Both sides' settings; those of a function are what was found."""
    ours, theirs = found.source_how, found.target_how or (found.found.how if found.found else None)
    by = "" if found.target_how else " (found)"
    table = columns("", escape(found.source.label), escape(found.target.label) + by)
    left, right = _rows(ours), _rows(theirs) if theirs else {}
    for name, value in left.items():
        other = right.get(name, "not known" if theirs is None else "")
        differs = theirs is not None and other != value
        table.add_row(name, escape(value), f"[bold red]{escape(other)}[/]" if differs else escape(other))
    return table


def _rows(how: Preprocessing) -> dict[str, str]:
    edges = "shorter edge" if how.edges == "shorter" else "both edges"
    filter_ = "looks at all pixels" if how.antialias else "no antialias"
    return {
        "resize": f"{edges} to {how.resize}", "filter": f"{how.interpolation}, {filter_}",
        "crop": f"centre {how.crop} ({how.crop / how.resize:.3f})", "half a pixel": f"rounded to {how.margin}",
        "channels": how.channels, "mean": " ".join(f"{value:.3f}" for value in how.mean),
        "deviation": " ".join(f"{value:.3f}" for value in how.std), "EXIF": "turned" if how.oriented else "not turned",
        "stated by": how.stated_by or "(nobody)",
    }  # fmt: skip
