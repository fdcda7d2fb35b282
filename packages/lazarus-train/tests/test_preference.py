"""DPO and its kin: numbers worked by hand, TRL's own (golden/trl.json), and laws."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lazarus_models.backend import mx
from lazarus_models.tensor_files import save_tensors
from lazarus_plan import LengthCache, LengthRow
from lazarus_train import PreferenceSettings
from lazarus_train.data.dataset import Dataset
from lazarus_train.errors import SetupError
from lazarus_train.objectives.losses.preference_losses import (
    Answers,
    dpo_losses,
    hinge_losses,
    ipo_losses,
    kto_losses,
    kto_pair_losses,
    log_odds,
    odds_ratio_losses,
    wins,
)
from lazarus_train.objectives.losses.score_losses import bradley_terry
from lazarus_train.objectives.preference import preference_loss
from lazarus_train.objectives.reference import TABLE, read_reference
from lazarus_train.run_dir.sealed_write import seal

TRL = json.loads((Path(__file__).parent / "golden" / "trl.json").read_text())
LOSSES = ("dpo", "ipo", "hinge", "kto", "kto_pair", "orpo", "simpo")
SHARED = {"point": mx.array(0.4), "point_chosen": mx.array(0.3), "point_rejected": mx.array(0.1)}
"""What losses take over a step, here given."""
PAIRS = 4

log_probabilities = st.lists(st.floats(-60, -0.01), min_size=PAIRS, max_size=PAIRS)
answers = st.tuples(log_probabilities, log_probabilities)


def arrays(sides) -> Answers:
    chosen, rejected = sides.values() if isinstance(sides, dict) else sides
    return Answers(mx.array(chosen, dtype=mx.float32), mx.array(rejected, dtype=mx.float32))


def mean_loss(policy, reference, tokens, **settings) -> float:
    asked = PreferenceSettings(**settings)
    held = arrays(reference) if asked.needs_reference else None
    return preference_loss(arrays(policy), held, arrays(tokens), asked, SHARED)[0].item() / PAIRS


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("dpo", {"loss": "dpo"}),
        ("dpo_length_normalized", {"loss": "dpo", "is_length_normalized": True}),
        ("ipo_length_normalized", {"loss": "ipo"}),
        ("hinge", {"loss": "hinge"}),
        ("simpo", {"loss": "simpo", "margin": 0.5}),
        ("simpo_smoothed", {"loss": "simpo", "margin": 0.5, "label_smoothing": 0.1}),
    ],
)
def test_the_loss_is_trls(name, settings):
    found = mean_loss(TRL["policy"], TRL["reference"], TRL["tokens"], beta=TRL["beta"], **settings)
    assert found == pytest.approx(TRL[name]["loss"], rel=1e-5)


def test_the_rewards_are_trls_but_a_tie_counts_half():
    settings = PreferenceSettings(beta=TRL["beta"])
    _, metrics = preference_loss(arrays(TRL["policy"]), arrays(TRL["reference"]), arrays(TRL["tokens"]), settings)
    for name in ("reward_chosen", "reward_rejected", "reward_margin", "reward_accuracy"):
        assert metrics[name].item() / PAIRS == pytest.approx(TRL["dpo"][name], rel=1e-5)
    tied = Answers(mx.zeros(2), mx.array([0.0, 1.0]))
    _, metrics = preference_loss(tied, Answers(mx.zeros(2), mx.zeros(2)), tied, settings)
    assert metrics["reward_accuracy"].item() == 0.5


def test_kto_is_trls():
    ratios = arrays(TRL["policy"]) - arrays(TRL["reference"])
    point = mx.array(TRL["kto"]["kl"])
    found = kto_losses(ratios, point, TRL["beta"]).sum().item() / (2 * PAIRS)
    assert found == pytest.approx(TRL["kto"]["loss"], rel=1e-5)
    weighted = kto_losses(ratios, point, TRL["beta"], 1.3, 0.7).sum().item() / (2 * PAIRS)
    assert weighted == pytest.approx(TRL["kto_weighted"]["loss"], rel=1e-5)


def test_the_odds_of_orpo_are_trls():
    means = arrays(TRL["policy"]) / arrays(TRL["tokens"])
    odds_part = odds_ratio_losses(means, TRL["beta"])
    assert odds_part.mean().item() == pytest.approx(TRL["orpo_odds"]["loss"], rel=1e-4)


@pytest.mark.parametrize(("name", "center"), [("reward", 0.0), ("reward_centered", 0.01)])
def test_reward_modelling_is_trls(name, center):
    loss, _ = bradley_terry(*arrays(TRL["policy"]), center)
    assert loss.item() / PAIRS == pytest.approx(TRL[name]["loss"], rel=1e-5)


def test_dpo_by_hand():
    gap = mx.array([(-3.0 + 3.5) - (-4.0 + 3.9)])  # h = 0.6, beta h = 0.3
    assert dpo_losses(gap, 0.5).item() == pytest.approx(math.log(1 + math.exp(-0.3)), abs=1e-6)
    smoothed = 0.8 * math.log(1 + math.exp(-0.3)) + 0.2 * math.log(1 + math.exp(0.3))
    assert dpo_losses(gap, 0.5, 0.2).item() == pytest.approx(smoothed, abs=1e-6)
    assert ipo_losses(gap, 0.5).item() == pytest.approx(0.16, abs=1e-6)  # (0.6 - 1)^2
    assert hinge_losses(gap, 0.5).item() == pytest.approx(0.7, abs=1e-6)


@given(answers)
def test_at_the_start_the_loss_is_ln_2_and_nobody_wins(policy):
    settings = PreferenceSettings()
    start = arrays(policy)
    loss, metrics = preference_loss(start, start, start, settings)
    assert loss.item() / PAIRS == pytest.approx(math.log(2), abs=1e-6)
    assert metrics["reward_margin"].item() == 0.0
    assert metrics["reward_accuracy"].item() / PAIRS == 0.5


def test_ipo_by_sums_is_asked_for_and_means_are_the_default():
    policy, reference, tokens = ([-3.0], [-8.0]), ([-5.0], [-4.0]), ([2.0], [4.0])  # ratios 2 and -4
    sums = arrays(policy) - arrays(reference)
    assert ipo_losses((sums / arrays(tokens)).gap, 0.5).item() == pytest.approx((2 / 2 + 4 / 4 - 1) ** 2)
    for settings, wanted in (({}, 1.0), ({"is_length_normalized": False}, 25.0)):
        asked = PreferenceSettings(loss="ipo", beta=0.5, **settings)
        found = preference_loss(arrays(policy), arrays(reference), arrays(tokens), asked)[0]
        assert found.item() == pytest.approx(wanted, abs=1e-5)
    assert not PreferenceSettings().is_length_normalized


def test_orpo_with_prompts_is_the_mean_over_the_tokens_of_the_step():
    """Two pairs of 3 and 9 tokens, prompt and chosen answer: (4 + 20) / 12 nats a token, not a mean of two means."""
    means = Answers(mx.array([-1.0, -2.0]), mx.array([-1.5, -1.0]))
    ones, together = Answers(mx.ones(2), mx.ones(2)), mx.array([-4.0, -20.0])
    settings = PreferenceSettings(loss="orpo", likelihood="prompt-and-answer")
    shared = {"likelihood_scale": mx.array(2 / 12)}
    found = preference_loss(means, None, ones, settings, shared, together)[0].item() / 2
    odds = odds_ratio_losses(means, 0.1).mean().item()
    assert found - odds == pytest.approx(2.0, rel=1e-5)
    answers_alone = preference_loss(means, None, ones, PreferenceSettings(loss="orpo"))[0].item() / 2
    assert answers_alone - odds == pytest.approx(1.5, rel=1e-5)


@given(st.floats(-100, 100, width=32), st.floats(-100, 100, width=32))
def test_gaps_are_compared_exactly_and_only_equal_rewards_are_a_tie(first, second):
    wanted = 0.5 if first == second else float(first > second)
    assert wins(mx.array([first]), mx.array([second])).item() == wanted


@given(answers, answers, st.sampled_from(["dpo", "ipo", "hinge"]), st.floats(-5, 5))
def test_only_the_difference_of_the_answers_counts(policy, reference, loss, shift):
    """What both answers gain together, as by a prompt that became likelier, changes nothing."""
    moved = tuple([value + shift for value in side] for side in policy)
    ones = ([1.0] * PAIRS, [1.0] * PAIRS)
    before, after = (mean_loss(each, reference, ones, loss=loss) for each in (policy, moved))
    assert after == pytest.approx(before, rel=1e-3, abs=1e-4)


@given(answers, answers, st.permutations(range(PAIRS)), st.sampled_from(LOSSES))
def test_the_order_of_the_pairs_does_not_count(policy, reference, order, loss):
    ones = ([1.0] * PAIRS, [1.0] * PAIRS)
    shuffled = [tuple([side[place] for place in order] for side in each) for each in (policy, reference)]
    assert mean_loss(*shuffled, ones, loss=loss) == pytest.approx(
        mean_loss(policy, reference, ones, loss=loss), rel=1e-4
    )


@given(answers, answers, st.sampled_from(LOSSES))
def test_descent_makes_the_chosen_likelier_and_the_rejected_not(policy, reference, loss):
    settings = PreferenceSettings(loss=loss, beta=0.1)
    held = arrays(reference) if settings.needs_reference else None
    ones = Answers(mx.ones(PAIRS), mx.ones(PAIRS))

    def value(chosen, rejected):
        return preference_loss(Answers(chosen, rejected), held, ones, settings, SHARED)[0]

    chosen, rejected = mx.grad(value, argnums=(0, 1))(*arrays(policy))
    if loss == "ipo":  # a square: it holds the gap at 1 / (2 beta)
        assert mx.allclose(chosen, -rejected)
    else:
        assert (chosen <= 0).all()
        assert (rejected >= 0).all()


@given(answers)
def test_gradients_of_orpo_are_numbers_even_for_certain_answers(policy):
    certain = Answers(mx.zeros(PAIRS), arrays(policy).rejected)
    gradient = mx.grad(lambda chosen: odds_ratio_losses(Answers(chosen, certain.rejected), 0.1).sum())(certain.chosen)
    assert mx.isfinite(gradient).all()
    assert mx.isfinite(log_odds(certain.chosen)).all()


def test_kto_by_hand():
    ratios = Answers(mx.array([1.0]), mx.array([-2.0]))
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    wanted = 2.0 * (1 - sigmoid(0.5 * (1 - 3))) + 0.5 * (1 - sigmoid(0.5 * (3 + 2)))
    assert kto_losses(ratios, mx.array(3.0), 0.5, 2.0, 0.5).item() == pytest.approx(wanted, abs=1e-6)
    pair = 1 - sigmoid(0.5 * (1 - 0.25)) + 1 - sigmoid(0.5 * (3 + 2))
    means = Answers(mx.array(3.0), mx.array(0.25))
    assert kto_pair_losses(ratios, means, 0.5).item() == pytest.approx(pair, abs=1e-6)


def test_rewards_carry_no_gradient():
    def reward(chosen):
        zeros = Answers(mx.zeros(1), mx.zeros(1))
        return preference_loss(Answers(chosen, mx.zeros(1)), zeros, zeros, PreferenceSettings())[1]["reward_margin"]

    assert np.all(np.array(mx.grad(reward)(mx.ones(1))) == 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "ipo", "label_smoothing": 0.1},
        {"loss": "dpo", "likelihood": "prompt-and-answer"},
        {"loss": "kto_pair", "desirable_weight": 2.0},
        {"loss": "dpo", "undesirable_weight": 2.0},
        {"loss": "kto", "undesirable_weight": 0.0},
        {"loss": "kto", "is_length_normalized": True},
        {"loss": "simpo", "is_length_normalized": True},
        {"loss": "dpo", "margin": 1.0},
        {"beta": 0},
    ],
)
def test_a_setting_without_effect_is_refused(settings):
    with pytest.raises(ValidationError):
        PreferenceSettings(**settings)


@pytest.mark.parametrize("table", [{"chosen": 3, "rejected": 2}, {"chosen": 3}, {"chosen": 4, "rejected": 4}])
def test_a_kept_reference_of_other_samples_is_refused(tmp_path, table):
    tensors = {name: mx.zeros((count,)) for name, count in table.items()}
    seal(tmp_path / "kept", lambda folder: save_tensors(tensors, folder / TABLE))
    lengths = LengthCache.from_rows(LengthRow(f"s{n}", 2) for n in range(3))
    samples = Dataset(lengths, np.zeros(6, dtype=np.int32), np.ones(6, dtype=np.bool_), np.arange(0, 8, 2))
    with pytest.raises(SetupError, match="not the log-probabilities of 3 samples"):
        read_reference(tmp_path / "kept", samples, [])
