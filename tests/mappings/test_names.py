"""Names for people: folding says exactly what was there; guesses and lists read well."""

import re
import time
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.names import closest, collapse, counted, did_you_mean, listed

_GROUP = re.compile(r"\{([^{}]*)\}")


def expand(pattern: str) -> set[str]:
    """All names that a folded pattern stands for."""
    texts = _GROUP.split(pattern)
    choices = []
    for group in texts[1::2]:
        first, dots, last = group.partition("..")
        choices.append([str(n) for n in range(int(first), int(last) + 1)] if dots else group.split(","))
    return {
        "".join(part for pair in zip(texts[::2], (*values, ""), strict=True) for part in pair)
        for values in product(*choices)
    }


# Characters that are no folding marks; digits often, so that names differ in numbers.
NAMES = st.text(alphabet="ab.-_ 0123456789é", max_size=12)
INDEXED = st.builds("layer{}.{}.conv{}.weight".format, *[st.integers(0, 4)] * 3)


@given(st.one_of(st.sets(INDEXED, max_size=60), st.sets(NAMES, max_size=20)))
@settings(deadline=None)
def test_patterns_stand_for_exactly_the_names(names: set[str]) -> None:
    expanded = [expand(pattern) for pattern in collapse(sorted(names))]
    assert set().union(*expanded) == names
    assert sum(map(len, expanded)) == len(names)  # no name twice


@given(st.lists(INDEXED, max_size=40), st.randoms())
@settings(deadline=None)
def test_order_and_repetition_do_not_matter_within_a_pattern(names: list[str], random: object) -> None:
    shuffled = [*names, *names]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert collapse(shuffled) == collapse(names)


def test_a_whole_network_folds_to_a_page() -> None:
    specs = dialect("modelzoo").ground(architecture("resnext101_64x4d")).specs
    assert len(specs) == 2601
    patterns = collapse(specs)
    assert len(patterns) < 80
    assert "backbone.layer3.{0..22}.conv2.convs.{0..63}.weight" in patterns


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        ([], ()),
        (["a"], ("a",)),
        (["a", "a"], ("a",)),
        (["b.1", "a", "b.0"], ("b.{0,1}", "a")),
        (["b.3", "b.4", "b.5"], ("b.{3..5}",)),
        (["b.3", "b.5"], ("b.{3,5}",)),
        (["b.01", "b.1", "b.2"], ("b.01", "b.{1,2}")),  # a leading zero is text
        (["a\x1b[31m.1", "a\x1b[31m.2"], ("a\\x1b[31m.{1,2}",)),  # no colours on the user's terminal
        (["\ud800"], ("\\ud800",)),
    ],
)
def test_folding(names: list[str], patterns: tuple[str, ...]) -> None:
    assert collapse(names) == patterns


@pytest.mark.parametrize("name", ["9" * 100_000, "1." * 50_000, "0" * 100_000, "1a" * 50_000])
def test_hostile_numbers_cost_nothing(name: str) -> None:
    start = time.perf_counter()
    assert len(collapse([f"{name}x{n}" for n in range(4)])) <= 4
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("items", "text"), [((), ""), (("a",), "a"), (("a", "b"), "a and b"), (("a", "b", "c"), "a, b and c")]
)
def test_listed(items: tuple[str, ...], text: str) -> None:
    assert listed(items) == text
    assert listed(items, "or") == text.replace("and", "or")


def test_counted() -> None:
    assert [counted(n, "tensor") for n in (0, 1, 2)] == ["0 tensors", "1 tensor", "2 tensors"]


def test_guesses() -> None:
    known = ("timm", "torchvision", "mmcls", "ModelZoo")
    assert closest("torchvison", known) == ("torchvision",)
    assert closest("MODELZOO", known) == ("ModelZoo",)
    assert did_you_mean("tim", known) == "Did you mean timm?"
    assert did_you_mean("xyz", known) == "Known: ModelZoo, mmcls, timm, torchvision."
    assert did_you_mean("xyz", ()) == "Known: none."
    assert (
        did_you_mean("xyz", [f"a{n}" for n in range(10, 99)]) == "Known are 89, such as a10, a11, a12, a13, a14, a15."
    )
