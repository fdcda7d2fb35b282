"""Prefetch results in another thread. NumPy and hashlib release the interpreter lock."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

DEPTH = 4
"""Maximum number of waiting results: few, so that they stay in the processor's cache."""


def ahead(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`map(work, items)` with some results computed in advance.

    >>> list(ahead(len, ["a", "bc"]))
    [1, 2]

    Args:
        work: Function of one item. It runs in another thread, one item at a time.
        items: Arguments of `work`. They are iterated in the caller's thread, at most `DEPTH` items in advance.

    Returns:
        The results in the order of the items. An error of `work` is raised in place of its result.
    """
    waiting = deque[Future[R]]()
    with ThreadPoolExecutor(1, thread_name_prefix="lazarus-plan") as thread:
        try:
            for item in items:
                waiting.append(thread.submit(work, item))
                if len(waiting) > DEPTH:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()
