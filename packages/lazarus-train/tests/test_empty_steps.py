"""A run in which every answer is cut or rejected prints a warning: the share of each, and what to change."""

import pytest

from lazarus_train import train
from lazarus_train.callbacks.base import Watcher
from lazarus_train.engine.policy.empty_steps import PATIENCE, EmptySteps
from lazarus_train.objectives.policy.grpo import GrpoSettings
from lazarus_train.rollouts.record import TRUNCATED, Rollout

SETTINGS = GrpoSettings(reward="a:f", group_size=2, max_new_tokens=8)
BAD = ("a:f raised TypeError", "a:f raised TypeError", "no reward", TRUNCATED)


def answers(*statuses):
    return [
        Rollout(1, 0, copy, (0,), (1,), (True,), (0.0,), ("",), status, 0.0 if status == "ok" else None)
        for copy, status in enumerate(statuses)
    ]


def warnings(*steps, settings=SETTINGS):
    counts = EmptySteps(settings)
    return [counts.warning(answers(*step)) for step in steps], counts.at_end()


def test_it_warns_once_and_at_the_end():
    said, end = warnings(*[BAD] * (PATIENCE + 3))
    assert [place for place, each in enumerate(said) if each] == [PATIENCE - 1]
    reasons = (
        "25% of their answers were cut: raise `max_new_tokens` (8), or begin with a model that ends its answers; "
        "75% of their answers were rejected, most with the status 'a:f raised TypeError': check `reward` a:f"
    )
    assert said[PATIENCE - 1] == f"warning: the last {PATIENCE} steps trained nothing: {reasons}"
    assert end == f"warning: {PATIENCE + 3} of {PATIENCE + 3} steps of this command trained nothing: {reasons}"


@pytest.mark.parametrize("steps", [[("ok",)] * 9, [BAD, ("ok", TRUNCATED)] * 9, []])
def test_it_is_silent_where_answers_are_trained_on(steps):
    said, end = warnings(*steps)
    assert not any(said) and end is None


def test_a_short_run_without_an_answer_says_so_at_its_end():
    assert warnings((TRUNCATED,))[1].startswith("warning: 1 of 1 steps of this command trained nothing: 100% ")
    late = warnings(("ok",), *[BAD] * PATIENCE)[1]
    assert late.startswith(f"warning: {PATIENCE} of {PATIENCE + 1} steps")


def test_an_environment_has_other_ways_out():
    settings = GrpoSettings(environment="e", group_size=2, max_new_tokens=8, turns=3)
    (said,) = [each for each in warnings(*[(TRUNCATED, "lost")] * PATIENCE, settings=settings)[0] if each]
    assert "(8) or `turns` (3), or set `unfinished` to score" in said
    assert said.endswith("'lost': check `environment` e")


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "count"), [(PATIENCE + 1, 2), (PATIENCE, 1), (1, 1)])
def test_a_run_passes_the_warnings_on(setup, steps, count):
    setup.build_plan(epochs=8)
    said = []
    objective = GrpoSettings(reward="exact", group_size=2, max_new_tokens=1)
    train(setup.config(objective=objective, max_steps=steps), watcher=Watcher(on_warning=said.append))
    assert len([line for line in said if "trained nothing: 100% of their answers were cut" in line]) == count
