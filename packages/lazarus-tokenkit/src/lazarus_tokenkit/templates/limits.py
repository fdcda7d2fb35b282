"""Limits of one rendering: time, the size of one string or list, and the total bytes of all values it creates.

Every created value counts, even if it is discarded, so memory has an upper bound. A list counts 64 bytes an element, the
size of a short string. `measures` estimates the result of an operation before it runs.
"""

import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, cast

from jinja2.exceptions import SecurityError

MAX_CHARACTERS = 16_000_000
"""Characters of a string, elements of a list: four times a context window of a million tokens."""
MAX_BYTES = 1_000_000_000
"""Total bytes that one rendering may create: twice the cost of concatenating a thousand turns one by one."""
TIMEOUT_S = 10.0
"""A conversation renders in 1 ms, a conversation of a thousand turns in 0.1 s."""
ELEMENT_BYTES = 64
_budget = threading.local()


@contextmanager
def limited() -> Generator[None]:
    """Gives the templates of this thread one budget of time and bytes."""
    _budget.deadline = time.monotonic() + TIMEOUT_S
    _budget.bytes = MAX_BYTES
    try:
        yield
    finally:
        del _budget.deadline, _budget.bytes


def check_deadline() -> None:
    """Refuses to continue after the time limit. Every loop and every call runs this check.

    Raises:
        SecurityError: The time limit has passed.
    """
    if time.monotonic() > getattr(_budget, "deadline", float("inf")):
        raise SecurityError(f"it runs for more than {TIMEOUT_S:g} s")


def charge(made: Any) -> Any:
    """Subtracts the size of a created value from the budget, and returns the value.

    Raises:
        SecurityError: The value is too large, or the budget is used up.
    """
    if isinstance(made, str):
        _spend(len(made), 1 if made.isascii() else 4)
    elif isinstance(made, list | tuple | dict):
        _spend(len(cast("list[Any]", made)), ELEMENT_BYTES)
    return cast("Any", made)


def check_size(size: int) -> None:
    """Refuses a string or list above `MAX_CHARACTERS`."""
    if size > MAX_CHARACTERS:
        raise SecurityError(f"it makes more than {MAX_CHARACTERS:,} characters")


def joined(parts: Iterable[str]) -> str:
    """`"".join` with the size check and the budget."""
    texts = list(parts)
    check_size(sum(map(len, texts)))
    return charge("".join(texts))


def _spend(count: int, each: int) -> None:
    check_size(count)
    left = getattr(_budget, "bytes", None)
    if left is None:  # not inside a rendering
        return
    left -= count * each
    if left < 0:
        raise SecurityError(f"it makes more than {MAX_BYTES:,} bytes in all")
    _budget.bytes = left
