"""The target of a conversion: container, dialect, dtype, and the file it becomes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..mappings.architectures import Architecture, spoken
from ..mappings.dialects import BUILTIN, Dialect, Grounding, dialect, preferred_dialect
from ..mappings.folding import folded, folded_grounding, graph_grounding
from ..mappings.graph import Graph
from ..mappings.names import did_you_mean, listed
from ..mappings.traits import Traits
from .codecs import Codec, codec, codecs
from .codecs.onnx_detection import HEADS
from .codecs.onnx_write import DEFAULT_OPSET, IR_VERSIONS
from .compilers import COMPILERS, Compiler, compiler
from .errors import UsageError
from .publications import PUBLICATIONS, Publication, publication
from .splice import write_error

_DEFAULT_DIALECT = {"ckpt": "mindcv", "pth": "timm", "safetensors": "timm", "onnx": "timm", "mindir": "mindcv"}
_FRAMEWORK = {"ckpt": "mindspore", "pth": "torch", "mindir": "mindspore"}
DTYPES = ("float16", "bfloat16", "float32")
_GRAPH = "Use --to onnx, or leave it out."
_SHAPE = "Use --to onnx or mindir, or leave it out."


@dataclass(frozen=True, slots=True)
class Form:
    """What is asked of a target beside container and names; None where nothing is. As in :class:`Target`."""

    dtype: str | None = None
    opset: int | None = None
    fold_bn: bool = False
    input_shape: tuple[int, ...] | None = None
    model_url: str = ""
    emit_network: Path | None = None
    heads: str | None = None
    soc_version: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What to write: a codec, a dialect, and a dtype to cast to (None keeps the source's).

    ``by_default`` says that nobody asked for the dialect: it is the container's own. The others are for containers that
    hold the graph: the ONNX ``opset``, BatchNorm folded into convolutions, and what to fix of the input (N, 3, H, W;
    None takes any number of pictures of any size), and for a detector's ONNX model its ``heads``: what it gives,
    ``raw`` (or None), ``boxes`` or ``nms``. ``publication`` is what the file is a part of, if it is,
    and ``model_url`` where that will say it is downloaded from; ``emit_network`` is the file for the network's module.
    ``compiler`` makes something else of the file once it is written, for the device ``soc_version``.
    """

    codec: Codec
    dialect: Dialect
    dtype: str | None = None
    opset: int = DEFAULT_OPSET
    fold_bn: bool = False
    input_shape: tuple[int, ...] | None = None
    by_default: bool = False
    publication: Publication | None = None
    model_url: str = ""
    emit_network: Path | None = None
    heads: str | None = None
    compiler: Compiler | None = None
    soc_version: str = ""

    @property
    def framework(self) -> str:
        """The framework whose names the target carries."""
        return self.dialect.framework

    def for_network(self, network: Architecture) -> "Target":
        """This target; where the container's default dialect has no names for the network, in the first that has.

        What is compiled takes one picture of the network's own size, unless told.
        """
        if self.compiler is not None and self.input_shape is None:
            return replace(self, input_shape=(1, 3, network.side, network.side)).for_network(network)
        if not self.by_default or self.dialect.can_name(network):
            return self
        return replace(self, dialect=preferred_dialect(network, self.framework))

    def ground(self, network: Architecture, traits: Traits) -> tuple[Graph, Grounding]:
        """The graph to write, and the names of its tensors."""
        graph, grounding = network.graph(traits), self.dialect.ground(network)
        if self.codec.holds_graph and not self.codec.exported_by:
            grounding = graph_grounding(grounding)
        if self.fold_bn:
            graph = folded(graph)
            grounding = folded_grounding(grounding, graph)
        return graph, grounding


_PLAIN = Form()


def parse_target(text: str, form: Form = _PLAIN) -> Target:
    """Read ``FORMAT[:DIALECT]``, such as ``ckpt`` or ``safetensors:mindcv``."""
    container, _, name = text.partition(":")
    if container in BUILTIN:
        own = next(key for key, framework in _FRAMEWORK.items() if framework == dialect(container).framework)
        remedy = f"Say the container first: {own}:{container} or safetensors:{container}."
        raise UsageError(f"{container} is a dialect, not a container", remedy=remedy)
    part_of = publication(container) if container in PUBLICATIONS else None
    made_by = compiler(container) if container in COMPILERS else None
    whole = part_of or made_by
    found = codec(whole.container) if whole else codec(container, also=(*PUBLICATIONS, *COMPILERS))
    chosen = dialect(name or _DEFAULT_DIALECT[found.name])
    needed = _FRAMEWORK.get(found.name)
    if needed and chosen.framework != needed:
        raise UsageError(
            f"{found.title} holds {needed} names, and {chosen.name} is a {chosen.framework} dialect",
            remedy=f"Use safetensors:{chosen.name}, or {found.name}:{_DEFAULT_DIALECT[found.name]}.",
        )
    if form.dtype is not None and form.dtype not in DTYPES:
        raise UsageError(f"cannot cast to {form.dtype!r}", remedy=did_you_mean(form.dtype, DTYPES))
    asked = {
        "--opset": form.opset, "--fold-bn": form.fold_bn, "--input-shape": form.input_shape, "--heads": form.heads,
    }  # fmt: skip
    for option, given in asked.items():
        if given and not found.holds_graph:
            remedy = _SHAPE if option == "--input-shape" else _GRAPH
            raise UsageError(f"{option} is for files that hold the graph, {found.title} holds weights", remedy=remedy)
        if given and found.exported_by and option != "--input-shape":
            raise UsageError(f"{option} is for ONNX, {found.title} is what MindSpore exports", remedy=_GRAPH)
    if form.model_url and part_of is None:
        raise UsageError("--model-url is for publications", remedy=f"Use --to {' or --to '.join(PUBLICATIONS)}.")
    if form.emit_network is not None and (found.name != "ckpt" or part_of is not None):
        message = f"--emit-network writes the network of a .ckpt, and --to {container} was asked for"
        raise UsageError(message, remedy="Use --to ckpt, or leave it out.")
    if form.emit_network is not None and form.emit_network.suffix != ".py":
        message = f"--emit-network {form.emit_network} is no name of a Python module"
        raise UsageError(message, remedy="Give it a name that ends in .py.")
    if form.soc_version and made_by is None:
        message = f"--soc-version is what to compile for, and --to {container} compiles nothing"
        raise UsageError(message, remedy=f"Use --to {' or --to '.join(COMPILERS)}, or leave it out.")
    _check_soc_version(form.soc_version)
    _check_model_url(form.model_url)
    _check_opset(form.opset)
    _check_input_shape(form.input_shape)
    if form.heads is not None and form.heads not in HEADS:
        raise UsageError(f"a detector has no heads {form.heads!r}", remedy=f"Use {listed(HEADS, 'or')}.")
    return Target(
        found, chosen, form.dtype, form.opset or DEFAULT_OPSET, form.fold_bn,
        form.input_shape,
        by_default=not name, publication=part_of, model_url=form.model_url, emit_network=form.emit_network,
        heads=form.heads,
        compiler=made_by, soc_version=form.soc_version or (made_by.device if made_by else ""),
    )  # fmt: skip


def check_network(target: Target, network: Architecture) -> None:
    """Raise UsageError where something is asked for that the network is none for: heads, a publication, a module."""
    if target.heads is not None and "loc" not in network.graph().outputs:
        what = "a classifier" if network.classes else "a backbone"
        raise UsageError(f"--heads is for detectors, {network.name} is {what}", remedy="Leave it out.")
    if network.classes:
        return
    said = spoken(network.name, network.classes)
    if target.publication is not None:
        container = target.publication.container
        message = f"{target.publication.title} is written around a whole network, and this is {said}"
        raise UsageError(message, remedy=f"Write the backbone alone: --to {container}.")
    if target.emit_network is not None:
        message = f"--emit-network writes the module of a whole network, and this is {said}"
        raise UsageError(message, remedy="Leave it out; mshub_convert.load_mindspore builds the network.")


def _check_soc_version(version: str) -> None:
    if version and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", version):
        remedy = "`npu-smi info` tells it; say it with Ascend before, such as Ascend310P3."
        raise UsageError(f"{version!r} is no --soc-version", remedy=remedy)


def _check_model_url(url: str) -> None:
    if url and not re.fullmatch(r"https?://[^/\s]+/\S+", url):
        raise UsageError(f"{url} is not the http or https address of a file", remedy="Give it in full: https://….")


def _check_opset(opset: int | None) -> None:
    if opset is not None and (type(opset) is not int or opset not in IR_VERSIONS):
        first, *_, last = IR_VERSIONS
        raise UsageError(f"ONNX opset {opset!r} is not written", remedy=f"Use a whole number from {first} to {last}.")


def _check_input_shape(shape: tuple[int, ...] | None) -> None:
    if shape is not None and (len(shape) != 4 or shape[1] != 3 or min(shape) < 1):
        said = ",".join(map(str, shape))
        raise UsageError(f"no picture has the shape {said}", remedy="Use N,3,H,W, such as 1,3,224,224.")


def output_path(
    out: str | None, target: Target, model: str, network: str = "", facts: Mapping[str, Any] = MappingProxyType({})
) -> Path:
    """Where the output goes: ``-o`` is a file name with the container's suffix, or a folder; a publication's own.

    ``model`` is what outputs are called after; publications go by the network and what is known of its weights.
    """
    if target.publication is not None:
        return Path(out or model) / target.publication.path(network, facts)
    suffix = target.codec.suffixes[0]
    if target.compiler is not None and out is not None:
        end = target.compiler.suffix
        out = f"{out.removesuffix(end)}{suffix}" if out.endswith(end) else out
    if out is None:
        return Path(f"{model}{suffix}")
    path = Path(out)
    try:
        is_folder, exists = out.endswith("/") or path.is_dir(), path.exists()
    except OSError as error:  # such as a name too long
        raise write_error(path, error) from None
    if not is_folder:
        if path.name.endswith(target.codec.suffixes):
            return path
        other = next((c for c in codecs().values() if path.name.endswith(c.suffixes)), None)
        if other is not None:
            raise UsageError(
                f"-o {out} has the suffix of {other.title}, but {target.codec.title} was asked for",
                remedy=f"Use --to {other.name}, or a name that ends in {suffix}.",
            )
        if exists:
            raise UsageError(
                f"-o {out} is a file without the suffix {suffix}", remedy=f"Give a folder or a name ending in {suffix}."
            )
    return path / f"{model}{suffix}"
