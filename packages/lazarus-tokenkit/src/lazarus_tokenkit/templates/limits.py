"""What one rendering may use: time, the size of one text or list, and the bytes of all that it makes.

Everything that was made is charged to the rendering, kept or not, so that its memory has a bound. A list counts 64 bytes
an element: what a short text takes. `measures` says beforehand what would be too much.
"""

import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, cast

from jinja2.exceptions import SecurityError

MAX_CHARACTERS = 16_000_000
"""Characters of a text, elements of a list: four times what a context window of a million tokens holds."""
MAX_BYTES = 1_000_000_000
"""What one rendering may make, all in all: what joining a thousand turns one by one takes, twice."""
TIMEOUT_S = 10.0
"""A conversation renders in a millisecond; one of a thousand turns in a tenth of a second."""
ELEMENT_BYTES = 64
_budget = threading.local()


@contextmanager
def limited() -> Generator[None]:
    """Within it, templates of this thread share one budget of time and bytes."""
    _budget.deadline = time.monotonic() + TIMEOUT_S
    _budget.bytes = MAX_BYTES
    try:
        yield
    finally:
        del _budget.deadline, _budget.bytes


def check_deadline() -> None:
    """Stands in every loop and call.

    Raises:
        SecurityError: The time is over.
    """
    if time.monotonic() > getattr(_budget, "deadline", float("inf")):
        raise SecurityError(f"it runs for more than {TIMEOUT_S:g} s")


def charge(made: Any) -> Any:
    """Counts what was made; gives it back.

    Raises:
        SecurityError: It, or all that was made so far, is too much.
    """
    if isinstance(made, str):
        _spend(len(made), 1 if made.isascii() else 4)
    elif isinstance(made, list | tuple | dict):
        _spend(len(cast("list[Any]", made)), ELEMENT_BYTES)
    return cast("Any", made)


def check_size(size: int) -> None:
    """Refuses a text or list of that size."""
    if size > MAX_CHARACTERS:
        raise SecurityError(f"it makes more than {MAX_CHARACTERS:,} characters")


def joined(parts: Iterable[str]) -> str:
    """`"".join`, measured."""
    texts = list(parts)
    check_size(sum(map(len, texts)))
    return charge("".join(texts))


def _spend(count: int, each: int) -> None:
    check_size(count)
    left = getattr(_budget, "bytes", None)
    if left is None:  # outside of a rendering
        return
    left -= count * each
    if left < 0:
        raise SecurityError(f"it makes more than {MAX_BYTES:,} bytes in all")
    _budget.bytes = left
