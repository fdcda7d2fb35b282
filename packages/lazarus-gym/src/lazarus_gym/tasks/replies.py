"""What a reply says: its last number, or the call in it. Nothing is evaluated. The standard library alone, for exported files."""

import json
import re
from typing import Any

_MINUS = ("-", "\u2212")
# A sign belongs to a number unless a character precedes it directly: "30-12" ends with 12, "= -18" with -18.
_NUMBER = re.compile(r"(?:(?<![\w.)])([-\u2212+]))?([0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.([0-9]+))?")


def last_number(text: str) -> str | None:
    """The last number in plain digits: `1,234.50` is `1234.5`, `+7.0` is `7`. No `int()`: it refuses 5,000 digits."""
    numbers: list[tuple[str, str, str]] = _NUMBER.findall(text)
    if not numbers:
        return None
    sign, whole, fraction = numbers[-1]
    whole, fraction = whole.replace(",", "").lstrip("0") or "0", fraction.rstrip("0")
    number = f"{whole}.{fraction}" if fraction else whole
    return f"-{number}" if sign in _MINUS and number != "0" else number


def is_call(found: Any, expected: dict[str, Any]) -> bool:
    """Whether a value is a call: equal members, and numbers that are integers (True equals 1, and 3.0 equals 3).

    Args:
        found: The value.
        expected: The call.
    """
    if found != expected:
        return False
    arguments: dict[str, Any] = found["arguments"]
    return all(type(arguments[name]) is type(value) for name, value in expected["arguments"].items())


def replies_call(reply: str, expected: dict[str, Any]) -> bool:
    """Whether a reply is a call as strict JSON, and nothing else.

    >>> call = {"name": "calculator", "arguments": {"operation": "add", "a": 3, "b": 4}}
    >>> replies_call('{"name":"calculator","arguments":{"b":4,"a":3,"operation":"add"}}', call)
    True

    Args:
        reply: The reply.
        expected: The call.
    """
    try:
        found = json.loads(reply.strip(), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return is_call(found, expected)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member occurs twice")
    return members


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
