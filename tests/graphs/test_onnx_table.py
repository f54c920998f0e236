"""The tables in docs/onnx.md: every producer, refused file and mistake is in them, and none went wrong."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from onnx_table import PAGE, Row, cell, markers, put, render
from producers import MUTATIONS, PRODUCERS, REFUSED

HEALTHY = Row(267, 267, 267, 0.0, 0.1)


def rows(table):
    """Cells of a table of the page, by the name in the first."""
    start, end = markers(table)
    text = PAGE.read_text(encoding="utf-8").partition(start)[2].partition(end)[0]
    cells = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in text.strip().splitlines()[2:]]
    return {row[0].strip().strip("`"): [one.strip() for one in row[1:]] for row in cells}


def test_every_producer_is_in_the_table_and_was_read_in_full():
    told = rows("producers")
    assert list(told) == list(PRODUCERS)
    for name, (title, network, tensors, equal, error, _) in told.items():
        producer = PRODUCERS[name]
        assert (title, network) == (producer.title, f"`{producer.published}`")
        assert tensors.startswith("all ")
        assert (equal == "all") == producer.exact
        assert float(error) == 0 if producer.exact else 0 < float(error) < 1e-6


def test_every_refused_file_is_in_the_table_with_its_node():
    told = rows("refused")
    assert list(told) == list(REFUSED)
    for name, (title, answer) in told.items():
        assert title == REFUSED[name].title
        assert re.search(REFUSED[name].node, answer)


def test_every_mistake_is_in_the_table():
    assert {name: cells[0] for name, cells in rows("mistakes").items()} == {
        name: mistake.title for name, mistake in MUTATIONS.items()
    }


@pytest.mark.parametrize(
    ("change", "seen"),
    [({"found": 266}, "some 266"), ({"equal": 1}, "| 1 |"), ({"error": 2e-3}, "| 2e-03 |")],
)
def test_the_table_shows_what_went_wrong(change, seen):
    healthy = dict.fromkeys(PRODUCERS, HEALTHY)
    wrong = healthy | {"plain": Row(**{**vars_of(HEALTHY), **change})}
    before, after = (render(results, {})["producers"] for results in (healthy, wrong))
    differing = [line for line in after.splitlines() if line not in before.splitlines()]
    assert len(differing) == 1
    assert differing[0].startswith("| `plain` |")
    assert seen in differing[0]


def vars_of(row):
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def test_a_page_without_the_markers_is_told():
    with pytest.raises(SystemExit, match="has no place for a table: <!-- producers"):
        put("# ONNX\n", "producers", "")
    assert put("a\n{}\n{}\nb".format(*markers("refused")), "refused", "|x|").split() == [
        "a", *markers("refused")[0].split(), "|x|", *markers("refused")[1].split(), "b",
    ]  # fmt: skip


def test_a_bar_or_a_line_end_breaks_no_table():
    assert cell("a|b\n  c") == "a\\|b c"
