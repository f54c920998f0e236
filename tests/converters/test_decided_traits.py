"""Which traits hold for a file without a record, and what there is to say of those that are guessed."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mshub_convert.converters.decided_traits import Decided, decided
from mshub_convert.converters.errors import UsageError
from mshub_convert.converters.record import NOTHING_CARRIED
from mshub_convert.converters.sources import Origin, Source
from mshub_convert.mappings.architectures import architecture
from mshub_convert.mappings.dialects import dialect
from mshub_convert.mappings.traits import Traits

SOURCE = Source("a.ckpt", Path("a.ckpt"), "a", Origin("file"))


def guessed(network: str, naming: str, said: Mapping[str, str]) -> Decided:
    """The traits of a file without a record or a graph."""
    return decided(
        SOURCE, dialect(naming), architecture(network), NOTHING_CARRIED, overrides=said, configured={}, seen=None
    )


def test_every_guess_that_would_be_another_in_pytorch_is_named() -> None:
    (notice,) = guessed("resnet18", "modelzoo-resnet", {}).notices
    assert "stem_pool=same, padding=same, norm_eps=0.0001" in notice.line
    assert notice.remedy == (
        "If it was converted from PyTorch weights, say --trait stem_pool=symmetric --trait padding=symmetric"
        " --trait norm_eps=1e-05."
    )


def test_what_is_guessed_beside_what_is_said_is_told() -> None:
    found = guessed("resnet18", "modelzoo-resnet", {"stem_pool": "symmetric"})
    assert found.traits == Traits(padding="same", norm_eps=1e-4)
    (notice,) = found.notices
    assert "taking the other traits of modelzoo-resnet's own networks (padding=same, norm_eps=0.0001" in notice.line
    assert "stem_pool" not in notice.told
    assert notice.remedy.endswith("say --trait padding=symmetric --trait norm_eps=1e-05.")


@pytest.mark.parametrize("said", [
    {"stem_pool": "same", "padding": "symmetric", "norm_eps": "1e-4"},
    {"stem_pool": "symmetric", "padding": "symmetric", "norm_eps": "1e-5"},
])  # fmt: skip
def test_all_traits_said_leave_nothing_to_guess(said: Mapping[str, str]) -> None:
    found = guessed("resnet50", "modelzoo-resnet", said)
    assert (found.traits, found.notices) == (Traits().with_values(said), ())


def test_a_network_that_pytorch_has_not_did_not_come_from_there() -> None:
    (notice,) = guessed("ssd_resnet50", "modelzoo-ssd", {}).notices
    assert "norm_eps=0.001" in notice.line
    assert notice.remedy == ""


def test_a_trait_that_changes_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="bottleneck_stride=1x1 changes nothing in resnet18") as caught:
        guessed("resnet18", "timm", {"bottleneck_stride": "1x1"})
    assert caught.value.exit_code == 2
    assert guessed("resnet18", "timm", {"bottleneck_stride": "3x3"}).traits == Traits()
    assert guessed("resnet50", "timm", {"bottleneck_stride": "1x1"}).traits == Traits(bottleneck_stride="1x1")
