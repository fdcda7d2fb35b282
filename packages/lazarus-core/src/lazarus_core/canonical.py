"""Canonical JSON (RFC 8785, integers only): each value has exactly one byte form. Everything that is hashed uses it."""

import hashlib
import json
from typing import Any, cast

from lazarus_core.errors import InputError

MAX_INTEGER = 2**53 - 1
"""Largest integer that every JSON reader represents exactly (RFC 8785 section 3.2.2.3)."""

JSON = dict[str, Any]
"""A JSON object."""


def canonical_json(value: object) -> bytes:
    """The canonical bytes of `value`: members sorted, no spaces, UTF-8, no floats.

    >>> canonical_json({"b": [1, True, None], "a": "\u00e9"}).decode()
    '{"a":"é","b":[1,true,null]}'

    Raises:
        InputError: For a float, an integer of 2^53 or more, or a type that JSON lacks.
    """
    encoded = json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return encoded.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"a lone surrogate has no UTF-8 form: {error.object[error.start]!r}", "LP-E006") from error


def canonical_digest(value: object) -> str:
    """SHA-256 of the canonical bytes, as `sha256:<64 hex>`."""
    return digest_text(hashlib.sha256(canonical_json(value)).digest())


def digest_text(digest: bytes) -> str:
    """A digest in its written form: `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{digest.hex()}"


def changed_members(expected: JSON, found: JSON) -> list[str]:
    """Names of the members that differ or are in only one of two objects, sorted. An absent member equals null.

    Args:
        expected: One JSON object.
        found: The other one.
    """
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def _ordered(value: Any) -> Any:
    """Copy of `value` with the members of every object in UTF-16 order (RFC 8785 section 3.2.3)."""
    match value:
        case bool() | None | str():
            return value
        case int() if abs(value) <= MAX_INTEGER:
            return value
        case dict():
            members = cast("JSON", value)
            return {key: _ordered(members[key]) for key in sorted(members, key=_utf16)}
        case list() | tuple():
            return [_ordered(element) for element in cast("list[Any]", value)]
        case _:
            raise InputError(
                f"{value!r} has no canonical JSON form: integers below 2^53, text, true, false, null", "LP-E006"
            )


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")
