"""The papers of the architectures, for repositories of weights whose source names none."""

import re

from .config import Publication

_RESNET = Publication(
    title="Deep Residual Learning for Image Recognition",
    source="Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition",
    year=2016,
    authors="Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun",
    url="https://arxiv.org/abs/1512.03385",
    bibtex="@inproceedings{he2016deep, title={Deep Residual Learning for Image Recognition}, author={He, Kaiming and "
    "Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian}, booktitle={CVPR}, pages={770--778}, year={2016}}",
)
_RESNEXT = Publication(
    title="Aggregated Residual Transformations for Deep Neural Networks",
    source="Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition",
    year=2017,
    authors="Saining Xie, Ross Girshick, Piotr Dollár, Zhuowen Tu, Kaiming He",
    url="https://arxiv.org/abs/1611.05431",
    bibtex="@inproceedings{xie2017aggregated, title={Aggregated Residual Transformations for Deep Neural Networks}, "
    "author={Xie, Saining and Girshick, Ross and Doll{\\'a}r, Piotr and Tu, Zhuowen and He, Kaiming}, "
    "booktitle={CVPR}, year={2017}}",
)
_RESNET_V2 = Publication(
    title="Identity Mappings in Deep Residual Networks",
    source="European Conference on Computer Vision",
    year=2016,
    authors="Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun",
    url="https://arxiv.org/abs/1603.05027",
    bibtex="@inproceedings{he2016identity, title={Identity Mappings in Deep Residual Networks}, author={He, Kaiming "
    "and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian}, booktitle={ECCV}, year={2016}}",
)
# The first that fits the name of an architecture; of what fits none (squeeze-and-excitation, …) nothing is said.
_PAPERS = (
    (re.compile(r"resnet\d+_v2"), _RESNET_V2),
    (re.compile(r"resnet\d+"), _RESNET),
    (re.compile(r"resnext\d+_\d+x\d+d"), _RESNEXT),
)


def paper_of(network: str) -> Publication | None:
    """The paper that introduced an architecture; None where no single one did."""
    return next((paper for pattern, paper in _PAPERS if pattern.fullmatch(network)), None)
