"""How hypothesis draws networks: ``st.from_type(ResNet)`` gives small ones of every kind."""

from hypothesis import strategies as st

from mshub_convert.mappings.architectures.resnet import ResNet
from mshub_convert.mappings.architectures.resnet_names import usual_squeeze

_WIDTHS = st.sampled_from((1, 8, 24, 32, 64, 128))
_STEMS = st.one_of(
    st.sampled_from(((64,), (64,), (32, 32, 64), (24, 32, 64), (64, 64, 128))),
    st.one_of(st.tuples(_WIDTHS), st.tuples(_WIDTHS, _WIDTHS, _WIDTHS)),
)


@st.composite
def _resnets(draw: st.DrawFn) -> ResNet:
    depths = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    block = draw(st.sampled_from(("bottleneck", "bottleneck", "basic")))
    widths = st.lists(st.sampled_from((1, 4, 8, 16, 100)), min_size=len(depths), max_size=len(depths)).map(tuple)
    return ResNet(
        depths,
        cardinality=draw(st.sampled_from((1, 2, 3, 8, 12, 32))) if block == "bottleneck" else 1,
        base_width=draw(st.sampled_from((1, 2, 4, 24, 64, 128))) if block == "bottleneck" else 64,
        classes=draw(st.integers(1, 2000)),
        stem=draw(_STEMS),
        shortcut=draw(st.sampled_from(("conv", "avg"))),
        block=block,
        squeeze=draw(st.one_of(st.just(()), st.just(usual_squeeze(block, len(depths))), widths)),
    )


st.register_type_strategy(ResNet, _resnets())
