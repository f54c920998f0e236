"""What a source's documents claim of its weights, against what the file holds; the file is believed."""

from dataclasses import replace

from ..mappings.architectures import named_like
from ..mappings.architectures.resnet_relatives import named_relative
from ..mappings.architectures.resnet_v2 import ResNetV2
from ..mappings.identify import Identification
from .findings import Finding
from .sources import Source


def relative_of_its_name(source: Source, said: object) -> tuple[Finding, ...]:
    """A mere file that is called as a network with the same tensors and another function, or ``said`` (arch) so."""
    if source.origin.kind != "file":
        return ()
    for text, where in ((source.file.name, "its name"), (said, "its entry arch")):
        name, reason = named_relative(text) if isinstance(text, str) else ("", "")
        if name:
            fact = f"{source.file.name} is of {name}, by {where}: {reason}"
            remedy = "If it is a plain network all the same, name that: such as timm:resnet50 --weights FILE."
            return (Finding("architecture", fact, (), remedy),)
    return ()


def as_it_is(source: Source, found: Identification) -> tuple[Source, list[Finding]]:
    """The source without claims that its file contradicts, and a notice for each of them."""
    findings = []
    network = found.architecture
    if source.claims is not None and named_like(source.claims, network) != network:
        kind = " (pre-activation: another function)" if isinstance(network, ResNetV2) else ""
        fact = f"{source.address} says {source.claims}, but {source.file.name} holds {network.name}{kind}"
        remedy = f"It is converted as what it is, under the name {network.name}."
        findings.append(Finding("claim", fact, (), remedy))
        source = replace(source, model=network.name)
    labels = source.facts.get("labels")
    if isinstance(labels, list) and len(labels) != network.classes:
        fact = f"{source.address} names {len(labels)} classes, {source.file.name} has {network.classes}"
        findings.append(Finding("labels", fact, (), "The names are not recorded."))
        source = replace(source, facts={key: value for key, value in source.facts.items() if key != "labels"})
    return source, findings
