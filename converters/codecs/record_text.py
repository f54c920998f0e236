"""The embedded record as text found in a file."""

import json
import math

# Far above any record of ours, far below what would hurt to parse.
_LIMIT = 16 << 20


def parse_record(text: object) -> dict[str, object] | None:
    """The record as JSON object; None when there is none, empty when there is one that cannot be read."""
    if text is None:
        return None
    if not isinstance(text, (str, bytes, bytearray, memoryview)) or len(text) > _LIMIT:
        return {}
    try:
        plain = text if isinstance(text, str) else bytes(text).decode()
        record = json.loads(plain, parse_constant=_no_number, parse_float=_number)
        if "\\ud" in plain.lower():  # an escape of half a character, which could not be written again
            json.dumps(record, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")
