"""Which traits hold for a file: what its graph shows, else what was said, recorded, configured, or is the custom."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..mappings.architectures import Architecture
from ..mappings.dialects import BUILTIN, Dialect, dialect
from ..mappings.errors import MshubConvertError
from ..mappings.names import listed
from ..mappings.traits import Traits
from .errors import PlanError, UsageError
from .findings import Finding
from .record import Carried
from .sources import Source
from .tensors import Checkpoint

# The kind of notice that something was said against what the file itself tells.
TRAIT_SAID = "trait-said"


@dataclass(frozen=True, slots=True)
class Decided:
    """The traits, where they were found in words, and what there is to say of that.

    ``of_file`` are those that the file itself tells, by its graph, its record or its configuration, if it does.
    """

    traits: Traits
    where: str
    of_file: Traits | None
    notices: tuple[Finding, ...] = ()


def decided(
    source: Source,
    naming: Dialect,
    network: Architecture,
    kept: Carried,
    *,
    overrides: Mapping[str, str],
    configured: Mapping[str, object],
    seen: Traits | None,
) -> Decided:
    """Decide: ``seen`` is what the graph in the file shows, ``overrides`` what --trait says, ``configured`` what the
    configuration in the file says; the record is ``kept``. A graph cannot be said to compute something else."""
    name = source.file.name
    if seen is not None:
        _refuse(overrides, seen, f"the graph in {name}")
        fact = f"the record in {kept.where} states other traits than the graph shows: the graph counts"
        differs = kept.traits is not None and kept.traits != seen
        return Decided(seen, f"the graph in {name}", seen, (Finding("record", fact),) if differs else ())
    base, where, of_file = naming.traits, f"the default of the dialect {naming.name}; no record says otherwise", None
    if kept.traits is not None:
        base, where = kept.traits, f"the record in {kept.where}"
        of_file = base
    elif configured:
        base, where = base.with_values(configured), f"the config in {name}"
        of_file = base
    result = base.with_values(overrides)
    _refuse_idle(result, base, network)
    guessed = () if of_file is not None else _guessed(naming, network, base, overrides)
    if overrides:
        changes = result.differences(base).items() if of_file is not None else ()
        notices = tuple(
            Finding(TRAIT_SAID, f"{trait}={said} as you say; {where} says {before}")
            for trait, (said, before) in changes
        )
        return Decided(result, f"what you say, else {where}", of_file, (*notices, *guessed))
    return Decided(result, where, of_file, guessed)


def _guessed(naming: Dialect, network: Architecture, base: Traits, said: Collection[str]) -> tuple[Finding, ...]:
    """What is taken from MindSpore's own networks, for want of a record, and would be otherwise in PyTorch."""
    custom = Traits()
    differing = [trait for trait in base.differences(custom) if trait not in said]
    if naming.framework != "mindspore" or not differing:
        return ()
    told = ", ".join(f"{trait}={value}" for trait, value in base.as_dict().items() if trait not in said)
    rest = "the other traits" if said else "the traits"
    fact = f"no record in the file: taking {rest} of {naming.name}'s own networks ({told})"
    customs = " ".join(f"--trait {trait}={custom.as_dict()[trait]}" for trait in differing)
    remedy = f"If it was converted from PyTorch weights, say {customs}."
    return (Finding("traits", fact, (), remedy if _is_in_torch(network) else ""),)


def _is_in_torch(network: Architecture) -> bool:
    """Whether weights of it can come from a library of PyTorch."""
    every = (dialect(name) for name in BUILTIN)
    return any(d.framework == "torch" and bool(d.models) and d.can_name(network) for d in every)


def traits_shown(checkpoint: Checkpoint, naming: Dialect, network: Architecture, kept: Carried) -> Traits | None:
    """The traits that a graph shows node by node; those it does not show are the record's, else the dialect's."""
    if not checkpoint.traits:
        return None
    shown = dict(checkpoint.traits)
    if isinstance(epsilons := shown.get("norm_eps"), tuple):
        shown["norm_eps"] = _trait_of(epsilons, network)
    try:
        return (kept.traits or naming.traits).with_values(shown)
    except MshubConvertError as error:
        fact = f"the graph in {checkpoint.path} is none that traits describe: {error.message}"
        raise PlanError(fact, remedy="It is another network, or one that was edited: it is not converted.") from None


def other_activations(checkpoint: Checkpoint, network: Architecture) -> tuple[Finding, ...]:
    """Whether a graph that is not kept computes ReLU6 where the network does not, or not where it does."""
    if not checkpoint.traits:
        return ()
    shown = checkpoint.metadata.get("relu6", 0)
    ours = sum(node.op == "Clip" for node in network.graph().nodes)
    fact = f"its graph computes ReLU6 {shown} times, {network.name} {ours} times: that is not kept"
    return () if shown == ours else (Finding("activations", fact),)


def _trait_of(epsilons: tuple[float, ...], network: Architecture) -> float | str:
    """The trait behind several epsilons: that with which the network, which fixes others, has just these."""
    for epsilon in epsilons:
        nodes = network.graph(Traits(norm_eps=epsilon)).nodes
        if {node.attributes["epsilon"] for node in nodes if node.op == "BatchNormalization"} == set(epsilons):
            return epsilon
    return listed([str(epsilon) for epsilon in epsilons])


def _refuse_idle(result: Traits, base: Traits, network: Architecture) -> None:
    """Raise for a trait that was said, and that this network computes nothing with."""
    graph = network.graph(result)
    for name, (said, before) in result.differences(base).items():
        if network.graph(result.with_values({name: before})) == graph:
            fact = f"--trait {name}={said} changes nothing in {network.name}: it has no layer that this trait is about"
            raise UsageError(fact, remedy="Leave it out.")


def _refuse(overrides: Mapping[str, str], seen: Traits, where: str) -> None:
    for name, (said, shows) in seen.with_values(overrides).differences(seen).items():
        raise UsageError(f"--trait {name}={said}, but {where} has {name}={shows}", remedy="Leave it out.")
