"""How hypothesis draws networks: ``st.from_type(ResNet)`` gives small ones of every kind."""

from hypothesis import strategies as st

from mshub_convert.mappings.architectures.resnet import ResNet

_STEMS = st.one_of(
    st.just(("7x7", 32)),
    st.tuples(st.just("deep"), st.sampled_from((1, 8, 24, 32, 64))),
)


@st.composite
def _resnets(draw: st.DrawFn) -> ResNet:
    stem, stem_width = draw(_STEMS)
    return ResNet(
        tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))),
        cardinality=draw(st.sampled_from((1, 2, 3, 8, 12, 32))),
        base_width=draw(st.sampled_from((1, 2, 4, 24, 64, 128))),
        classes=draw(st.integers(1, 2000)),
        stem=stem,
        stem_width=stem_width,
        shortcut=draw(st.sampled_from(("conv", "avg"))),
    )


st.register_type_strategy(ResNet, _resnets())
