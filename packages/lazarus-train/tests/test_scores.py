import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_models.backend import mx
from lazarus_train.objectives.losses.score_losses import bradley_terry, classification, regression


def test_bradley_terry_by_hand():
    loss, metrics = bradley_terry(mx.array([1.0, 0.0, 2.0]), mx.array([0.0, 0.0, 3.0]))
    by_hand = math.log(1 + math.exp(-1)) + math.log(2) + math.log(1 + math.exp(1))
    assert loss.item() == pytest.approx(by_hand, abs=1e-6)
    assert metrics["reward_accuracy"].item() == 1.5
    assert metrics["reward_margin"].item() == 0.0


@settings(deadline=None)
@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(-5, 5))
def test_a_reward_has_no_zero_unless_centred(chosen, rejected, shift):
    def loss(by, center):
        return bradley_terry(mx.array([chosen + by]), mx.array([rejected + by]), center)[0].item()

    assert loss(shift, 0.0) == pytest.approx(loss(0.0, 0.0), abs=1e-4)
    centred = loss(0.0, 0.0) + 0.1 * (chosen + rejected + 2 * shift) ** 2
    assert loss(shift, 0.1) == pytest.approx(centred, rel=1e-3, abs=1e-3)


@settings(deadline=None)
@given(st.integers(2, 9))
def test_a_classifier_that_knows_nothing_has_the_log_of_its_classes(classes):
    loss, _ = classification(mx.zeros((3, classes)), mx.array([0, 1, 1]))
    assert loss.item() / 3 == pytest.approx(math.log(classes), abs=1e-5)


def test_classification_and_regression_by_hand():
    loss, metrics = classification(mx.array([[0.0, math.log(3.0)], [0.0, 0.0]]), mx.array([1, 0]))
    assert loss.item() == pytest.approx(math.log(4 / 3) + math.log(2), abs=1e-6)
    assert metrics["accuracy"].item() == 2.0
    loss, metrics = regression(mx.array([[0.0], [5.0]]), mx.array([2.0, 4.0]))
    assert (loss.item(), metrics["absolute_error"].item()) == (5.0, 3.0)
