"""Describe how settings differ: the name, the value before and the value now."""

import json
import re
from typing import Any, cast

from lazarus_core.canonical import JSON, changed_members

SHOWN = 3
"""Maximum number of members in a message."""
VALUE_CHARS = 60
"""Maximum characters of one value in a message."""
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{8})[0-9a-f]{56}")


def describe_changes(before: JSON, now: JSON, shown: int = SHOWN) -> str:
    """The members that differ between two JSON objects, with both values. Members of nested objects have dotted names.

    >>> describe_changes({"seed": 0, "lora": {"rank": 8}}, {"seed": 1, "lora": {"rank": 16}})
    '`lora.rank` was 8, is now 16; `seed` was 0, is now 1'

    Args:
        before: The earlier object.
        now: The present one.
        shown: Maximum number of members; the others are counted.

    Returns:
        The members in the order of their names, or an empty text if none differs. An absent member equals null.
    """
    changes = _changes(before, now, "")
    texts = [f"`{name}` was {show_value(old)}, is now {show_value(new)}" for name, old, new in changes[:shown]]
    return "; ".join(texts) + (f"; and {len(changes) - shown} more" if len(changes) > shown else "")


def show_value(value: object) -> str:
    """A value for a message: JSON of bounded length, and the first 8 digits of a digest.

    >>> show_value("a"), show_value(None), show_value("sha256:" + "0f" * 32)
    ('"a"', 'null', '0f0f0f0f')
    """
    if isinstance(value, str) and (digest := _DIGEST.fullmatch(value)):
        return digest[1]
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= VALUE_CHARS else f"{text[:VALUE_CHARS]}..."


def _changes(before: JSON, now: JSON, prefix: str) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for name in changed_members(before, now):
        old: object = before.get(name)
        new: object = now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _changes(cast("JSON", old), cast("JSON", new), f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", cast("Any", old), cast("Any", new)))
    return found
