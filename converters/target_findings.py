"""What there is to say of a target before anything is written: dtypes, names, and the library that has them."""

from ..mappings.architectures import Architecture
from ..mappings.architectures.resnet_relatives import namesake
from ..mappings.dialects import BUILTIN, dialect, dialects_for
from ..mappings.names import listed
from .findings import Finding
from .opened import Opened
from .plan import Plan
from .target import Target

_EPSILON = "by 0.05 % at 1e-4 and 0.5 % at 1e-3"
# How far the logits, or the features of a backbone, move when a network has the other trait: relative L2 at 224 pixels,
# measured with timm's resnext50_32x4d and resnet50 and drawn weights (trained ones: logits by 1e-2 for the pool).
_TRAIT_EFFECT = {
    "logits": {
        "stem_pool": "by 1 to 3 %", "padding": "by about 5 %", "norm_eps": _EPSILON,
        "bottleneck_stride": "by about 3 %",
    },
    "features": {
        "stem_pool": "by about 14 %", "padding": "by about 19 %", "norm_eps": _EPSILON,
        "bottleneck_stride": "by about 12 %",
    },
}  # fmt: skip


def dtype_problems(plan: Plan, target: Target) -> list[Finding]:
    """What the container cannot hold."""
    held = {step.target.spec.dtype for step in plan.steps}
    floats = [dtype for dtype in ("float32", "float16") if dtype in target.codec.dtypes]
    remedy = f"Use --dtype {listed(floats, 'or')}."
    if held - target.codec.dtypes:
        fact = f"{target.codec.title} cannot hold {listed(sorted(held - target.codec.dtypes))} weights"
        return [Finding("dtype", fact, (), remedy)]
    if target.codec.holds_graph and len(held) > 1:
        fact = f"a graph computes in one precision, these weights are {listed(sorted(held))}"
        return [Finding("dtype", fact, (), remedy)]
    return []


def publication_problems(opened: Opened, target: Target) -> list[Finding]:
    """A repository of modelhub.ai shows what a classifier says of pictures."""
    if target.publication is None or target.publication.container != "onnx":
        return []
    if "head" in opened.network.graph(opened.traits).outputs:
        return []
    fact = f"{target.publication.title} is written around a classifier, and {opened.network.name} is a detector"
    return [Finding("publication", fact, (), "Write the model alone: --to onnx.")]


def _renamed(asked: Target, target: Target, network: Architecture) -> list[Finding]:
    """Whether the names are not those of the container's default dialect, which has none, where there is a choice."""
    choices = [name for name in dialects_for(network) if dialect(name).framework == target.framework]
    if asked.dialect == target.dialect or len(choices) == 1:
        return []
    return [Finding(
        "dialect",
        f"{asked.dialect.name} has no names for {network.name}: the tensors take those of {target.dialect.name}",
    )]  # fmt: skip


def target_notices(opened: Opened, asked: Target, target: Target) -> list[Finding]:
    """What a user of the target should know of its names, and of the library whose they are."""
    return [*_renamed(asked, target, opened.network), *_of_size(opened.network, target), *_of_library(opened, target)]


def _of_size(network: Architecture, target: Target) -> list[Finding]:
    """Whether a detector is fixed to another size than the one that its anchors are made for."""
    size = (target.input_shape or ())[2:]
    if "loc" not in network.graph().outputs or size in ((), (network.side,) * 2):
        return []
    fact = (
        f"{network.name} is made for pictures of {network.side}x{network.side}: at {size[0]}x{size[1]} the anchors"
        " follow the same rule, but no weights were trained for them"
    )
    return [Finding("size", fact, (), f"Use --input-shape N,3,{network.side},{network.side}.")]


def _of_library(opened: Opened, target: Target) -> list[Finding]:
    network, library = opened.found.architecture, target.dialect.library
    # A file or an entry with the network in it computes what that says, whatever a library's does.
    if target.codec.holds_graph or (target.publication is not None and target.publication.has_module):
        return []
    loader = "load_mindspore" if target.framework == "mindspore" else "load_torch"
    gives = "logits" if network.classes else "features"
    loads = f"mshub_convert.{loader}, which builds the network"
    if target.emit_network is not None:
        module = f", or in the network of {target.emit_network.name}"
    else:
        emits = target.codec.name == "ckpt" and network.classes
        module = ", as the module of --emit-network does" if emits else ""
    if not target.dialect.models:
        return [Finding(
            "no-library", f"{library} has no networks in {target.framework}: the names follow its convention", (),
            f"The file loads with {loads}{module}.",
        )]  # fmt: skip
    if not target.dialect.builds(network):
        return [Finding(
            "extension", _extension(network, target), (), f"The file loads with {loads}{module}.",
        )]  # fmt: skip
    return [
        Finding(
            f"library-{trait}",
            f"these weights need {trait}={ours}, {library}'s own {network.name} has {theirs}: there they load, but"
            f" compute something else (the {gives} move {_TRAIT_EFFECT[gives][trait]})",
            (),
            f"Load the file with {loads} with the weights' traits{module}.",
        )
        for trait, (ours, theirs) in opened.traits.differences(target.dialect.traits).items()
    ]


def _extension(network: Architecture, target: Target) -> str:
    """Why a library has no network for these names: its own has others, is another, or there is none."""
    naming, library = target.dialect, target.dialect.library
    others = [name for name in BUILTIN if dialect(name).library == library and dialect(name).builds(network)]
    if otherwise := namesake(library, network.name):
        fact = f"{library}'s own {network.name} is another network: it {otherwise}"
    elif others:
        fact = f"{library}'s own {network.name} has the names of {listed(others)}"
    else:
        fact = f"{library} has no {network.name}"
    return f"{fact}: the names extend {naming.name}'s convention"
