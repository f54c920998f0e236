"""Which traits hold for a file: what its graph shows, else what was said, recorded, configured, or is the custom."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..mappings.architectures import Architecture
from ..mappings.dialects import Dialect
from ..mappings.errors import MshubConvertError
from ..mappings.names import listed
from ..mappings.traits import Traits
from .errors import PlanError, UsageError
from .findings import Finding
from .record import Carried
from .sources import Source
from .tensors import Checkpoint


@dataclass(frozen=True, slots=True)
class Decided:
    """The traits, where they were found in words, and what there is to say of that."""

    traits: Traits
    where: str
    notices: tuple[Finding, ...] = ()


def decided(
    source: Source,
    naming: Dialect,
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
        return Decided(seen, f"the graph in {name}", (Finding("record", fact),) if differs else ())
    base, where, known = naming.traits, f"the default of the dialect {naming.name}; no record says otherwise", False
    if kept.traits is not None:
        base, where, known = kept.traits, f"the record in {kept.where}", True
    elif configured:
        base, where, known = base.with_values(configured), f"the config in {name}", True
    result = base.with_values(overrides)
    if overrides:
        changes = result.differences(base).items() if known else ()
        notices = tuple(
            Finding("trait-said", f"{trait}={said} as said with --trait; {where} says {before}")
            for trait, (said, before) in changes
        )
        return Decided(result, f"--trait, and {where}", notices)
    if kept.traits is None and naming.framework == "mindspore" and base != Traits():
        told = ", ".join(f"{trait}={value}" for trait, value in base.as_dict().items())
        fact = f"no record in the file: taking the traits of {naming.name}'s own networks ({told})"
        remedy = "If it was converted from PyTorch weights, say --trait stem_pool=symmetric."
        return Decided(result, where, (Finding("traits", fact, (), remedy),))
    return Decided(result, where)


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


def _refuse(overrides: Mapping[str, str], seen: Traits, where: str) -> None:
    for name, (said, shows) in seen.with_values(overrides).differences(seen).items():
        raise UsageError(f"--trait {name}={said}, but {where} has {name}={shows}", remedy="Leave it out.")
