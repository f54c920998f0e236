"""The licence of a model, from the text in ``contrib_src/license/model``."""

import re

PATH = "contrib_src/license/model"
UNSTATED = "unstated"
OTHER = "another, see license_text"

_SPDX = re.compile(r"SPDX-License-Identifier:\s*([A-Za-z0-9.+-]+)")
# SPDX identifier → phrases that all stand in the licence's own text or in its usual notice.
_PHRASES = (
    ("Apache-2.0", ("apache license", "version 2.0")),
    ("MIT", ("permission is hereby granted, free of charge", "the software is provided \"as is\"")),
    ("MIT", ("mit license",)),
    ("BSD-3-Clause", ("redistribution and use in source and binary forms", "neither the name")),
    ("BSD-2-Clause", ("redistribution and use in source and binary forms",)),
    ("CC0-1.0", ("cc0",)),
    ("CC-BY-NC-SA-4.0", ("attribution-noncommercial-sharealike 4.0",)),
    ("CC-BY-NC-4.0", ("attribution-noncommercial 4.0",)),
    ("CC-BY-SA-4.0", ("attribution-sharealike 4.0",)),
    ("CC-BY-4.0", ("attribution 4.0 international",)),
)  # fmt: skip
_UNSTATED_TEXT = "Licence: unstated.\n"


def identify(text: str) -> str:
    """The SPDX identifier of a licence's text; ``unstated`` where there is none.

    >>> identify('Licensed under the Apache License, Version 2.0 (the "License")')
    'Apache-2.0'
    """
    if not text.strip() or text.startswith(_UNSTATED_TEXT.strip()):
        return UNSTATED
    named = _SPDX.search(text)
    if named:
        return named.group(1)
    folded = " ".join(text.lower().split())
    return next((name for name, phrases in _PHRASES if all(phrase in folded for phrase in phrases)), OTHER)


def text_of(name: str, source: str) -> str:
    """What to write where only the name of a licence is known, or that none is; ``source`` is who should have said."""
    if name in ("", UNSTATED):
        return f"{_UNSTATED_TEXT}{source} states none for these weights. Ask its authors before you pass them on.\n"
    return f"SPDX-License-Identifier: {name}\n\nThe licence of the weights, as stated by {source}.\n"
