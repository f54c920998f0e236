"""What there is to convert: sources, containers, dialects and architectures."""

from typing import Any

from mshub_convert.converters.codecs import codecs
from mshub_convert.converters.compilers import COMPILERS, compiler
from mshub_convert.converters.publications import PUBLICATIONS, publication
from mshub_convert.converters.sources import SCHEMES, resolver
from mshub_convert.mappings.architectures import architecture, known
from mshub_convert.mappings.dialects import BUILTIN, dialect, dialects_for
from mshub_convert.mappings.errors import UnknownNameError
from mshub_convert.mappings.names import closest, listed
from mshub_convert.sizes import size_of


def everything() -> dict[str, Any]:
    """Sources, containers, dialects with their networks' traits, architectures with size and dialects."""
    return {
        "sources": [*(f"{scheme}:NAME" for scheme in SCHEMES), "FILE"],
        "formats": [{"name": c.name, "title": c.title, "suffixes": list(c.suffixes)} for c in codecs().values()],
        "publications": [_publication(name) for name in PUBLICATIONS],
        "compiled": [_compiled(name) for name in COMPILERS],
        "dialects": [_dialect(name) for name in BUILTIN],
        "architectures": [_architecture(name) for name in known()],
    }


def models(address: str) -> dict[str, Any]:
    """The models of a source, for an address such as ``timm:`` or ``timm:resnext50``: those that begin so, then those
    that have it anywhere, in any case of letters. Raises UnknownNameError where there is none."""
    scheme, _, part = address.partition(":")
    names, wanted = resolver(scheme).names(), part.casefold()
    first = [name for name in names if name.casefold().startswith(wanted)]
    found = first + [name for name in names if wanted in name.casefold() and name not in first]
    if part and not found:
        fact, near = f"no model of {scheme}: has {part!r} in its name", closest(part, names)
        remedy = f"Did you mean {listed(near, 'or')}? " if near else ""
        raise UnknownNameError(fact, remedy=f"{remedy}All of them: mshub-convert list {scheme}:")
    return {"source": scheme, "models": [f"{scheme}:{name}" for name in found]}


def _publication(name: str) -> dict[str, Any]:
    found = publication(name)
    return {"name": name, "title": found.title, "container": found.container, "weights": found.weights}


def _compiled(name: str) -> dict[str, Any]:
    found = compiler(name)
    return {"name": name, "title": found.title, "container": found.container, "program": found.program}


def _dialect(name: str) -> dict[str, Any]:
    found = dialect(name)
    return {"name": name, "title": found.title, "framework": found.framework, "traits": found.traits.as_dict()}


def _architecture(name: str) -> dict[str, Any]:
    network = architecture(name)
    return {
        "name": name, **size_of(network),
        "dialects": list(dialects_for(network)), "built_by": [d for d in BUILTIN if dialect(d).builds(network)],
    }  # fmt: skip
