"""Convert ResNet and ResNeXt weights between PyTorch and MindSpore, and prove that nothing changed.

>>> import mshub_convert as mc
>>> mc.mapping("resnext50_32x4d", "timm", "mindcv")["fc.weight"]
('classifier.weight',)

Importing this package imports no framework; each loads inside the source, codec or runtime that needs it.
"""

import importlib
from typing import TYPE_CHECKING, Any

# The function `verify` has the name of the subpackage. Importing a subpackage binds its name here, once; done now
# and unbound again, the name is free for the function.
importlib.import_module(f"{__name__}.verify")
globals().pop("verify", None)

if TYPE_CHECKING:
    from mshub_convert.backbones import backbone
    from mshub_convert.cards import CardInspection, inspect_card
    from mshub_convert.conversion import Conversion, convert, plan
    from mshub_convert.inspection import Inspection, inspect
    from mshub_convert.loading import load_mindspore, load_torch
    from mshub_convert.mappings.errors import MshubConvertError
    from mshub_convert.naming import mapping, translate
    from mshub_convert.preprocessing import Parity, preprocessing_parity
    from mshub_convert.repositories import RepositoryInspection, inspect_repository
    from mshub_convert.verification import Proof, verify

_HOMES = {
    "backbone": "backbones",
    "CardInspection": "cards",
    "inspect_card": "cards",
    "Conversion": "conversion",
    "convert": "conversion",
    "plan": "conversion",
    "Inspection": "inspection",
    "inspect": "inspection",
    "load_mindspore": "loading",
    "load_torch": "loading",
    "MshubConvertError": "mappings.errors",
    "RepositoryInspection": "repositories",
    "inspect_repository": "repositories",
    "mapping": "naming",
    "translate": "naming",
    "Parity": "preprocessing",
    "preprocessing_parity": "preprocessing",
    "Proof": "verification",
    "verify": "verification",
}

__version__ = "0.1.0"
__all__ = [
    "CardInspection", "Conversion", "Inspection", "MshubConvertError", "Parity", "Proof", "RepositoryInspection",
    "backbone", "convert", "inspect", "inspect_card", "inspect_repository", "load_mindspore", "load_torch", "mapping",
    "plan", "preprocessing_parity", "translate", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
