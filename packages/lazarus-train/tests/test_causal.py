import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lazarus_models
from lazarus_models.backend import mx
from lazarus_plan import LengthCache, LengthRow, PlanConfig, build_plan
from lazarus_tokenkit import load_tokenizer
from lazarus_train import OptimizerSettings
from lazarus_train.data.batches import make_batch
from lazarus_train.data.dataset import Dataset
from lazarus_train.engine.gradients import LossGradients
from lazarus_train.engine.optim import Optimizer
from lazarus_train.engine.step import compute_gradients
from lazarus_train.objectives.causal import CausalObjective
from lazarus_train.objectives.next_token import causal_nll


@settings(deadline=None)
@given(st.integers(2, 6), st.integers(2, 5), st.integers(0, 2**20))
def test_the_sum_is_what_loops_say(tokens, vocabulary, seed):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(2, tokens, vocabulary)).astype(np.float32)
    ids = random.integers(0, vocabulary, (2, tokens))
    is_label = random.random((2, tokens)) < 0.5
    by_hand = 0.0
    for row in range(2):
        for place in range(1, tokens):
            if is_label[row, place]:
                before = logits[row, place - 1].astype(np.float64)
                by_hand -= before[ids[row, place]] - math.log(np.exp(before).sum())
    found = causal_nll(mx.array(logits), mx.array(ids.astype(np.int32)), mx.array(is_label)).item()
    assert found == pytest.approx(by_hand, abs=1e-4)


def test_only_the_position_before_a_label_has_a_gradient():
    logits = mx.random.normal((1, 6, 4), key=mx.random.key(0))
    ids = mx.array([[0, 1, 2, 3, 0, 1]])
    is_label = mx.array([[False, False, False, True, True, False]])  # a prompt of three tokens, two of answer, padding
    gradient = mx.grad(lambda logits: causal_nll(logits, ids, is_label))(logits)
    assert [bool(place) for place in mx.abs(gradient).sum(axis=-1)[0] > 0] == [False, False, True, True, False, False]


def causal_loss(model, batch):
    return CausalObjective().loss(model, batch)


def counting_dataset(rows: int, tokens: int, vocabulary: int) -> Dataset:
    """Sequences x, x + 1, x + 2, .. modulo the vocabulary."""
    ids = (np.arange(rows)[:, None] * 7 + np.arange(tokens)) % vocabulary
    return Dataset(
        lengths=LengthCache.from_rows(LengthRow(str(row), tokens) for row in range(rows)),
        ids=ids.astype(np.int32).ravel(),
        loss_mask=np.ones(rows * tokens, dtype=np.bool_),
        splits=np.arange(rows + 1, dtype=np.int64) * tokens,
    )


@pytest.mark.slow
def test_on_x_to_x_plus_one_the_model_learns_the_next_token_and_not_the_one_after():
    vocabulary = 32
    dataset = counting_dataset(rows=16, tokens=24, vocabulary=vocabulary)
    plan = build_plan(dataset.lengths, PlanConfig(token_budget=192, row_len=96, epochs=40))
    model = lazarus_models.init_model("nano", load_tokenizer("byte"), seed=0).model
    optimizer = Optimizer(OptimizerSettings(learning_rate=1e-2), model)
    for index in range(len(plan)):
        step = plan.step(index)
        batch = make_batch(step.rows, dataset, step.row_len)
        labels = int(batch.is_label.sum().item())
        optimizer.update(compute_gradients(model, LossGradients(causal_loss), [batch], labels, 1.0).tree, 1e-2)
        optimizer.evaluate()
    ids = mx.array(dataset.ids.reshape(16, 24))
    logits = model(ids)
    log_probabilities = logits - mx.logsumexp(logits, axis=-1, keepdims=True)

    def loss(shift: int) -> float:
        picked = mx.take_along_axis(log_probabilities[:, :-shift], ids[:, shift:, None], axis=-1)
        return -picked.mean().item()

    assert loss(1) < 0.05
    assert loss(2) > math.log(vocabulary)


def test_a_fresh_model_knows_nothing(setup):
    lm = lazarus_models.load(setup.model)
    ids = mx.random.randint(0, 300, (4, 64), key=mx.random.key(1))
    labels = mx.ones((4, 64), dtype=mx.bool_)
    mean = causal_nll(lm.model(ids), ids, labels).item() / (4 * 63)
    assert mean == pytest.approx(math.log(300), abs=0.1)
