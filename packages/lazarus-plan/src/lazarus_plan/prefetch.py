"""Work done ahead in another thread while its results are used: numpy and hashlib let two threads run at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

DEPTH = 4
"""Results that wait at most: few, so that they stay in the processor's cache."""


def ahead(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`map(work, items)`, some items ahead of whoever takes the results; `items` itself is asked in the caller's thread.

    >>> list(ahead(len, ["a", "bc"]))
    [1, 2]
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
