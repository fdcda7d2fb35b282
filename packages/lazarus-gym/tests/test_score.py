"""Scores and their interval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_gym import SamplesError, Score, generate_tasks, score_replies


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_accuracy_and_stays_in_range(case: tuple[int, int]):
    score = Score(*case)
    low, high = score.interval
    assert 0 <= low <= score.accuracy <= high <= 1
    assert low < high


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_right_and_wrong_mirror_each_other(case: tuple[int, int]):
    correct, n = case
    low, high = Score(correct, n).interval
    assert Score(n - correct, n).interval == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(  # Wald's interval would be empty in the first and the last
    ("correct", "n", "interval"), [(0, 10, (0.0, 0.2775)), (15, 50, (0.1910, 0.4375)), (10, 10, (0.7225, 1.0))]
)
def test_the_interval_is_wilsons(correct: int, n: int, interval: tuple[float, float]):
    assert Score(correct, n).interval == pytest.approx(interval, abs=5e-5)


def test_kinds_add_up():
    tasks = generate_tasks(23)
    replies = {task.id: task.reply if i % 3 else "no idea" for i, task in enumerate(tasks)}
    scores = score_replies(tasks, replies)
    whole = scores.pop("all")
    assert whole == Score(15, 23)
    assert (sum(s.correct for s in scores.values()), sum(s.n for s in scores.values())) == (15, 23)


def test_a_missing_and_a_foreign_reply_are_refused():
    tasks = generate_tasks(3)
    replies = {task.id: "1" for task in tasks}
    with pytest.raises(SamplesError, match="1 of 3 tasks have no reply"):
        score_replies(tasks, {of: reply for of, reply in replies.items() if of != tasks[1].id})
    with pytest.raises(SamplesError, match="1 replies have no task, one is 'x'"):
        score_replies(tasks, replies | {"x": "1"})
