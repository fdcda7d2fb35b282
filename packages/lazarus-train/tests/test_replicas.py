import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lazarus_models
import lazarus_models.trees
from lazarus_models.backend import mx
from lazarus_models.trees import flatten
from lazarus_plan.plan import Row, Segment
from lazarus_train import LoraConfig, PreferenceSettings
from lazarus_train.cpu.thread_parallel import Replicas, share_rows
from lazarus_train.data.batches import make_batch
from lazarus_train.engine.gradients import LossGradients
from lazarus_train.engine.step import compute_gradients
from lazarus_train.objectives.causal import CausalObjective
from lazarus_train.preflight.inputs import check_run


def causal_loss(model, batch):
    return CausalObjective().loss(model, batch)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.integers(1, 4))
def test_every_row_goes_to_one_thread_and_no_thread_goes_without(lengths, threads):
    rows = [Row((Segment(sample, 0, length),)) for sample, length in enumerate(lengths)]
    shares = share_rows(rows, threads)
    assert len(shares) == min(threads, len(rows))
    assert all(shares)
    assert sorted(row for share in shares for row in share) == sorted(rows)


def steps(setup, threads, count=3):
    """Losses and gradients of some steps with weights that change in between."""
    setup.build_plan(token_budget=96 * 4, row_len=96)
    enforced = check_run(setup.config())
    model = lazarus_models.load(setup.model).model
    replicas = Replicas(model, threads)
    found = []
    for _ in range(count):
        step = enforced.plan.step(0)
        shares = [
            make_batch(rows, enforced.dataset, step.row_len, len(step.rows)) for rows in share_rows(step.rows, threads)
        ]
        found.append(compute_gradients(replicas, LossGradients(causal_loss), [shares], int(enforced.units[0]), 1e9))
        slopes = flatten(found[-1].tree)
        moved = {name: each - 0.5 * slopes[name] for name, each in flatten(model.parameters()).items()}
        lazarus_models.trees.set_weights(model, moved)
    return found, len(shares)


def test_two_threads_give_what_one_gives(setup):
    (one, _), (two, shares) = steps(setup, 1), steps(setup, 2)
    assert shares == 2
    assert one[-1].loss < one[0].loss
    for alone, together in zip(one, two, strict=True):
        assert together.loss == pytest.approx(alone.loss, rel=1e-6)
        ours, theirs = flatten(together.tree), flatten(alone.tree)
        assert all(mx.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)


def test_run_to_run_threads_give_the_same_bits(setup):
    first, _ = steps(setup, 2)
    for _ in range(3):
        again, _ = steps(setup, 2)
        for one, other in zip(first, again, strict=True):
            assert one.loss == other.loss
            ours, theirs = flatten(one.tree), flatten(other.tree)
            assert all(np.array_equal(np.array(ours[name]), np.array(theirs[name])) for name in theirs)


def test_copies_hold_no_weights_of_their_own(setup):
    model = lazarus_models.load(setup.model).model
    before = mx.get_active_memory()
    replicas = Replicas(model, 3)
    for _ in range(2):
        lazarus_models.trees.set_weights(model, {name: 2 * each for name, each in flatten(model.parameters()).items()})
        replicas.refresh()
    assert mx.get_active_memory() <= before


def test_where_dropout_draws_or_pairs_are_compared_there_is_one_thread(setup):
    assert setup.config().threads_of(2) == 2
    assert setup.config(lora=LoraConfig()).threads_of(2) == 2
    assert setup.config(lora=LoraConfig(dropout=0.1)).threads_of(2) == 1
    assert setup.config(objective=PreferenceSettings(loss="kto")).threads_of(2) == 2
