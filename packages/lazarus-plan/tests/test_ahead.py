import threading
from itertools import count
from time import monotonic

import pytest

from lazarus_plan.prefetch import DEPTH, ahead


def test_results_come_in_order_and_few_items_are_taken_before():
    taken = count()
    results = ahead(lambda item: -item, taken)
    assert [next(results) for _ in range(100)] == [-item for item in range(100)]
    assert next(taken) <= 100 + DEPTH + 1


def test_what_fails_is_told_where_its_result_is_due():
    results = ahead(lambda item: 1 // item, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_no_thread_outlives_results_that_nobody_takes():
    before = threading.active_count()
    results = ahead(abs, count())
    next(results)
    results.close()
    until = monotonic() + 10
    while threading.active_count() > before and monotonic() < until:
        pass
    assert threading.active_count() == before


def test_work_is_done_in_another_thread():
    assert set(ahead(lambda _: threading.get_ident(), range(3))) != {threading.get_ident()}
