"""Ways in which a ResNet comes to be an ONNX file: those that a reader must understand, and those it must refuse."""

from . import (
    architectures,
    forms,
    heads,
    mindspore_export,
    mutations,
    mxnet_caffe2,
    optimisers,
    own,
    storage,
    strangers,
    torch_export,
    versions,
)
from .registry import Mutation, Producer, Refused

PRODUCERS: dict[str, Producer] = {
    **own.PRODUCERS,
    **torch_export.PRODUCERS,
    **mindspore_export.PRODUCERS,
    **optimisers.PRODUCERS,
    **mxnet_caffe2.PRODUCERS,
    **versions.PRODUCERS,
    **storage.PRODUCERS,
    **heads.PRODUCERS,
    **forms.PRODUCERS,
}
REFUSED: dict[str, Refused] = {**optimisers.REFUSED, **strangers.REFUSED, **architectures.REFUSED}
MUTATIONS: dict[str, Mutation] = mutations.MUTATIONS

__all__ = ["MUTATIONS", "PRODUCERS", "REFUSED", "Mutation", "Producer", "Refused"]
