import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan import load_plan
from lazarus_train import EarlyStopSettings, OptimizerSettings, Watcher, train
from lazarus_train.engine.early_stop import is_overfitting


def run(losses, held_out):
    """Metrics of a run that measures after every step."""
    lines = [{"step": 0, "eval_set": "own", "eval_loss": held_out[0]}]
    for step, (loss, measured) in enumerate(zip(losses, held_out[1:], strict=True), 1):
        other = {"step": step, "eval_set": "other", "eval_loss": 100.0 - step}  # always better, and decides nothing
        lines += [{"step": step, "loss": loss}, {"step": step, "eval_set": "own", "eval_loss": measured}, other]
    return lines


def test_no_better_for_as_long_as_the_patience_while_training_gets_better():
    settings = EarlyStopSettings(patience=2)
    assert not is_overfitting(run([3.0, 2.0], [4.0, 3.0, 3.5]), "own", settings)
    assert is_overfitting(run([3.0, 2.0, 1.0], [4.0, 3.0, 3.5, 3.4]), "own", settings)
    assert not is_overfitting(run([3.0, 2.0, 1.0], [4.0, 3.0, 3.5, 2.9]), "own", settings)


def test_where_training_gets_no_better_either_it_goes_on():
    assert not is_overfitting(run([3.0, 3.5, 4.0], [4.0, 3.0, 3.5, 3.4]), "own", EarlyStopSettings(patience=2))


def test_the_gap_must_be_wide_enough():
    lines = run([3.0, 2.0, 1.0], [4.0, 3.0, 3.5, 3.4])  # the smoothed training loss is 2.71
    assert is_overfitting(lines, "own", EarlyStopSettings(patience=2, min_gap=0.6))
    assert not is_overfitting(lines, "own", EarlyStopSettings(patience=2, min_gap=0.8))


@given(st.lists(st.floats(0, 10), min_size=2, max_size=9), st.integers(1, 4))
def test_a_loss_that_always_falls_never_stops(losses, patience):
    falling = sorted(losses, reverse=True)
    falling = [loss - place for place, loss in enumerate(falling)]
    assert not is_overfitting(run(falling[1:], falling), "own", EarlyStopSettings(patience=patience))


@pytest.mark.slow
def test_a_run_that_learns_by_heart_stops_and_stays_stopped(setup):
    held_out = setup.folder / "held-out.jsonl"
    rows = [{"prompt": f"What is {a} and 9?", "completion": f"It makes {a + 9}, friend."} for a in range(9)]
    held_out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    setup.build_plan(epochs=40)
    settings = {"eval_data": {"held-out": held_out}, "eval_every": 5, "early_stop": EarlyStopSettings(patience=2)}
    config = setup.config(**settings, optimizer=OptimizerSettings(learning_rate=2e-2, schedule="constant"))
    said: list[str] = []
    first = train(config, watcher=Watcher(on_warning=said.append))
    assert first.steps < len(load_plan(setup.plan))
    assert any("the held-out loss rises" in line for line in said)
    assert train(config).steps == first.steps
