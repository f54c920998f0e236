"""Graph traits: which values they take, how they are replaced and compared."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshub_convert.mappings.errors import UnknownNameError
from mshub_convert.mappings.traits import CHOICES, Traits

TRAITS = st.builds(
    Traits,
    **{name: st.sampled_from(choices) for name, choices in CHOICES.items()},
    norm_eps=st.floats(0, 1, exclude_min=True, exclude_max=True),
)


@given(TRAITS)
@settings(deadline=None)
def test_plain_values_round_trip(traits: Traits) -> None:
    assert Traits().with_values(traits.as_dict()) == traits
    assert Traits().with_values({name: str(value) for name, value in traits.as_dict().items()}) == traits


@given(TRAITS, TRAITS)
@settings(deadline=None)
def test_differences_are_what_it_takes_to_become_the_other(here: Traits, there: Traits) -> None:
    changes = here.differences(there)
    assert here.with_values({name: value for name, (_, value) in changes.items()}) == there
    assert there.differences(here) == {name: (theirs, ours) for name, (ours, theirs) in changes.items()}
    assert (not changes) == (here == there)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stem_pool": "full"}, "stem_pool cannot be 'full'"),
        ({"padding": 1}, "padding cannot be 1"),
        ({"bottleneck_stride": ["3x3"]}, "bottleneck_stride cannot be"),
        ({"norm_eps": "small"}, "norm_eps cannot be 'small'"),
        ({"norm_eps": None}, "norm_eps cannot be None"),
        ({"norm_eps": 0}, "norm_eps cannot be 0"),
        ({"norm_eps": "nan"}, "norm_eps cannot be nan"),
        ({"norm_eps": float("inf")}, "norm_eps cannot be inf"),
        ({"stem_pol": "same"}, "unknown trait 'stem_pol'"),
    ],
)
def test_other_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message) as caught:
        Traits().with_values(values)
    assert caught.value.remedy


def test_a_misspelt_trait_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        Traits().with_values({"stem_pol": "same"})
    assert caught.value.remedy == "Did you mean stem_pool?"
