"""Write the module of a network: readable code for MindSpore alone, from the template of the network's family."""

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...mappings.architectures.resnet_v2 import FAMILY as RESNET_V2
from ...mappings.architectures.ssd_resnet50 import FAMILY as SSD
from ...mappings.dialects import Grounding
from ...mappings.traits import Traits
from ..templates import environment
from . import resnet, resnet_v2, ssd
from .cells import calls
from .expressions import WIDTH, assignment, signature, statement


@dataclass(frozen=True, slots=True)
class Emitted:
    """What to write a module for.

    ``grounding`` names the parameters, ``dtype`` is that of the weights in the file, which is called ``file``; ``tool``
    wrote both.
    """

    grounding: Grounding
    traits: Traits
    dtype: str
    file: str
    tool: str


# By the families of architectures; a template is called after its family.
CONTEXTS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "resnet": resnet.context, RESNET_V2: resnet_v2.context, SSD: ssd.context,
}  # fmt: skip


def emit(wanted: Emitted) -> str:
    """The text of a module with ``create_network(checkpoint)``.

    Raises EmissionError where the dialect's names are none that MindSpore's cells can nest into.
    """
    family = str(wanted.grounding.architecture.as_dict().get("family", "resnet"))
    filled = CONTEXTS[family](wanted.grounding.architecture, wanted.grounding, wanted.traits)
    cells = [item.made for part in ("root", "branch", "shortcut") for item in filled[part]]
    made = "\n".join(statement("", cell, indent=0) for cell in (*cells, *filled.get("cells", {}).values()))
    return environment(__package__).get_template(f"{family}.py.jinja").render(
        **filled, about=_about(wanted), tool=wanted.tool, dtype=wanted.dtype, padding=wanted.traits.padding,
        stem_pool=wanted.traits.stem_pool, mean_cell="GlobalMean()" in made,
        average_pool="average_pool(" in made,
        ordered="OrderedDict(" in made or bool(filled["block_name"]),
        wrapper=wanted.grounding.dialect.wrapper, grouped="Group(" in made,
        assignment=assignment, statement=statement, calls=calls, signature=signature,
    )  # fmt: skip


def _about(wanted: Emitted) -> str:
    """The docstring of the module: which network this is, and which checkpoint it is for."""
    network, dialect = wanted.grounding.architecture, wanted.grounding.dialect
    file = wanted.file if re.fullmatch(r"[\w.+-]{1,100}", wanted.file) else "the checkpoint"
    named = (
        f", whose parameters are called as in {dialect.name}" if re.fullmatch(r"[\w.-]{1,100}", dialect.name) else ""
    )
    traits = ", ".join(f"{name}={value}" for name, value in wanted.traits.as_dict().items())
    title = f"{network.name} with {network.classes} classes for MindSpore."
    text = f"It is the network of {file}{named}. Weights do not tell {traits}: with others it is another function."
    return f"{title}\n\n{textwrap.fill(text, WIDTH)}"
