"""Reinforcement learning: losses equal TRL's, advantages equal hand-worked numbers; a run is replayed, resumed, and shared among processes."""

import json
import re
import shutil
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lazarus_models
from lazarus_models.backend import mx, nn
from lazarus_models.trees import flatten
from lazarus_train import check_run, train
from lazarus_train.data.batches import make_batch
from lazarus_train.engine.policy.updates import Surveyed
from lazarus_train.engine.precision import computing_in_bfloat16
from lazarus_train.errors import CorruptCheckpoint, SetupError
from lazarus_train.objectives.forward import survey_labels
from lazarus_train.objectives.policy.base import ADVANTAGE, OLD, OLD_VALUE, REFERENCE, RETURN, SHARE, WEIGHT
from lazarus_train.objectives.policy.grpo import GrpoObjective, GrpoSettings
from lazarus_train.objectives.policy.losses import clipped_loss, kl_estimate, value_loss
from lazarus_train.objectives.policy.ppo import PpoObjective, PpoSettings
from lazarus_train.rollouts.advantages import (
    Scored,
    generalized_advantages,
    group_advantages,
    has_signal,
    overlong_penalty,
    whitened,
)
from lazarus_train.rollouts.generate import Request, draw_answers, rollout_seed
from lazarus_train.rollouts.groups import divide, groups_of, is_useful, trained_of
from lazarus_train.rollouts.record import Rollout, line_of
from lazarus_train.rollouts.rewards import Answer, Verdict, checked, load_reward
from lazarus_train.rollouts.rows import sequences
from lazarus_train.rollouts.signal import SignalHistory, order_by_signal
from lazarus_train.verify.evidence import Elsewhere, Pins, RunEvidence
from lazarus_train.verify.replay import replay_link
from lazarus_train.verify.walk import verify_run
from suite import thinned

TRL = json.loads((Path(__file__).parent / "golden/trl_policy.json").read_text())
FLOATS = st.floats(-10, 10)


@pytest.mark.parametrize("name", TRL["cases"])
def test_losses_and_gradients_are_those_of_trl(name):
    case, lengths = TRL["cases"][name], TRL["lengths"]
    kind = "gspo" if case["level"] == "sequence" else case["loss_type"]
    low, high = case["clip"]
    settings = GrpoSettings(
        reward="exact",
        loss=kind,
        clip_low=low,
        clip_high=high,
        beta=case["beta"],
        scale=case["scale"],
        max_new_tokens=7,
    )
    objective = GrpoObjective(settings)
    weights, units = objective.token_weights(lengths)
    advantages = [value for group in group_advantages(TRL["groups"], case["scale"]) for value in group]
    inputs = {
        OLD: mx.array(case["old"]),
        REFERENCE: mx.array(case["reference"]),
        ADVANTAGE: mx.array(np.repeat(advantages, lengths).astype(np.float32)),
        WEIGHT: mx.array(np.repeat(weights, lengths).astype(np.float32)),
        SHARE: mx.full((sum(lengths),), units / sum(lengths)),
    }
    loss, gradient = mx.value_and_grad(lambda now: objective.loss_of(now, inputs, lengths)[0] / units)(
        mx.array(case["now"])
    )
    assert loss.item() == pytest.approx(case["loss"], abs=1e-5)
    np.testing.assert_allclose(np.array(gradient), case["gradient"], atol=1e-5)


def test_advantages_by_hand():
    assert group_advantages([[1.0, 0.0], [2.0, 2.0]], "none") == [[0.5, -0.5], [0.0, 0.0]]
    (group,) = group_advantages([[1.0, 0.0]], "group")
    assert group[0] == pytest.approx(0.5 / (0.5**0.5 + 1e-4))
    assert group_advantages([[3.0]], "group") == [[0.0]]
    # rewards 0, 0, 1 at the last token; values 0.5: delta = (0, 0, 0.5) and A = 0.5 * (0.9 * 0.8) ** k
    advantages, returns = generalized_advantages(
        np.array([0.0, 0.0, 1.0]), np.array([0.5, 0.5, 0.5]), discount=1.0, decay=0.8
    )
    np.testing.assert_allclose(advantages, [0.32, 0.4, 0.5])
    np.testing.assert_allclose(returns, advantages + 0.5)


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=12), st.floats(0, 1), st.floats(0, 1))
def test_generalized_advantages_are_the_weighted_sum_of_differences(pairs, discount, decay):
    rewards, values = (np.array(column) for column in zip(*pairs, strict=True))
    after = np.append(values[1:], 0.0)
    differences = rewards + discount * after - values
    expected = [
        sum((discount * decay) ** (later - place) * differences[later] for later in range(place, len(rewards)))
        for place in range(len(rewards))
    ]
    advantages, returns = generalized_advantages(rewards, values, discount=discount, decay=decay)
    np.testing.assert_allclose(advantages, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(returns, advantages + values, rtol=1e-6, atol=1e-9)


@given(
    st.lists(st.lists(FLOATS, min_size=2, max_size=6), min_size=1, max_size=4),
    st.sampled_from(["group", "batch", "none"]),
)
def test_advantages_of_a_group_add_up_to_zero_and_order_as_rewards(groups, scale):
    for rewards, advantages in zip(groups, group_advantages(groups, scale), strict=True):
        assert sum(advantages) == pytest.approx(0, abs=1e-6)
        assert has_signal(rewards) or not any(abs(each) > 1e-6 for each in advantages)
        for (reward, advantage), (other, its) in zip(
            zip(rewards, advantages, strict=True), zip(rewards[1:], advantages[1:], strict=True), strict=False
        ):
            assert reward <= other or advantage >= its


@given(st.lists(st.lists(FLOATS, min_size=1, max_size=5), min_size=1, max_size=4))
def test_whitened_advantages_have_mean_0_and_variance_1(answers):
    found = np.concatenate(whitened([np.array(each) for each in answers]))
    assert found.mean() == pytest.approx(0, abs=1e-4)
    assert found.var() <= 1 + 1e-6


@given(FLOATS, FLOATS)
def test_the_kl_estimate_is_never_negative_and_0_for_equal_models(now, reference):
    estimate = kl_estimate(mx.array([now / 10]), mx.array([reference / 10])).item()
    assert estimate >= -1e-6
    assert kl_estimate(mx.array([now]), mx.array([now])).item() == 0


@given(st.floats(-1, 1), FLOATS)
def test_the_clipped_loss_is_the_smaller_objective(log_ratio, advantage):
    found = clipped_loss(mx.array([log_ratio]), mx.array([advantage]), 0.2, 0.3)
    ratio = float(np.exp(np.float32(log_ratio)))
    expected = -min(ratio * advantage, min(max(ratio, 0.8), 1.3) * advantage)
    assert found.loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_the_value_loss_by_hand():
    # value 1.0, old 0.5, target 0: clipped to 0.7; errors 1.0 and 0.49, half of the larger
    assert value_loss(mx.array([1.0]), mx.array([0.5]), mx.array([0.0]), 0.2).item() == pytest.approx(0.5)
    assert value_loss(mx.array([0.6]), mx.array([0.5]), mx.array([1.0]), 0.2).item() == pytest.approx(0.08)


TOKENS = st.lists(st.tuples(*[st.floats(-2, 2)] * 6), min_size=1, max_size=6)


@given(TOKENS, st.floats(0, 1))
def test_the_loss_of_ppo_is_that_of_plain_numpy(tokens, value_weight):
    now, old, advantage, value, old_value, target = np.array(tokens, np.float32).T
    count = len(now)
    weight, share = np.linspace(0.5, 2, count, dtype=np.float32), np.full(count, 1 / count, np.float32)
    columns = {OLD: old, ADVANTAGE: advantage, OLD_VALUE: old_value, RETURN: target, WEIGHT: weight, SHARE: share}
    objective = PpoObjective(PpoSettings(reward="exact", value_weight=value_weight, clip_low=0.1, clip_high=0.3))
    loss, metrics = objective.loss_of(
        mx.array(now), mx.array(value), {name: mx.array(each) for name, each in columns.items()}
    )
    ratio = np.exp(now - old)
    policy = -np.minimum(ratio * advantage, np.clip(ratio, 0.9, 1.3) * advantage)
    near = np.clip(value, old_value - 0.2, old_value + 0.2)
    of_value = np.maximum((value - target) ** 2, (near - target) ** 2) / 2
    assert loss.item() == pytest.approx((weight * (policy + value_weight * of_value)).sum(), rel=1e-4, abs=1e-5)
    assert metrics["kl"].item() == pytest.approx((old - now).mean(), abs=1e-5)
    assert metrics["value_loss"].item() == pytest.approx(of_value.mean(), rel=1e-4, abs=1e-6)
    assert metrics["ratio_error"].item() == pytest.approx(np.abs(ratio - 1).mean(), rel=1e-4, abs=1e-5)


def test_the_overlong_penalty_is_that_of_dapo():
    assert [overlong_penalty(length, 10, 4) for length in (5, 6, 8, 10)] == [0, 0, -0.5, -1]


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 9))
def test_seeds_differ_by_step_prompt_copy_and_turn(step, sample, copy, turn):
    seed = rollout_seed(1, step, sample, copy, turn)
    others = {
        rollout_seed(2, step, sample, copy, turn),
        rollout_seed(1, step + 1, sample, copy, turn),
        rollout_seed(1, step, sample + 1, copy, turn),
        rollout_seed(1, step, sample, copy + 1, turn),
        rollout_seed(1, step, sample, copy, turn + 1),
    }
    assert 0 <= seed < 2**32
    assert seed == rollout_seed(1, step, sample, copy, turn)
    assert seed not in others


TEXTS = st.lists(st.integers(1, 9), min_size=1, max_size=6)


@given(
    st.lists(
        st.tuples(TEXTS, st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=6)),
        min_size=1,
        max_size=8,
    ),
    st.booleans(),
)
def test_rows_contain_every_prompt_and_answer_once(pairs, is_packed):
    prompts = [prompt for prompt, _ in pairs]
    answers = [[token for token, _ in answer] for _, answer in pairs]
    masks = [[drawn for _, drawn in answer] for _, answer in pairs]
    found = sequences(prompts, answers, masks, is_packed=is_packed, row_len=16)
    placed = sorted(segment.sample for row in found.rows for segment in row.segments)
    assert placed == list(range(len(pairs)))
    for row in found.rows:
        assert is_packed or len(row.segments) == 1
        ends = [0, *(segment.end for segment in row.segments)]
        assert all(segment.start == end for segment, end in zip(row.segments, ends, strict=False))
        assert ends[-1] <= found.row_len
    for index, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        ids, mask = found.dataset.sample(index)
        assert ids.tolist() == [*prompt, *answer]
        assert mask.tolist() == [False] * len(prompt) + masks[index]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(1, 50)), max_size=20))
def test_prompts_with_more_signal_for_their_tokens_come_first(groups):
    history = SignalHistory()
    for step, (key, signal, tokens) in enumerate(groups):
        history.record(step, key, has_signal=signal, tokens=tokens)
    keys = {0: "a", 1: "b", 2: "a"}
    order = order_by_signal([0, 1, 2], keys, history, seed=3, step=len(groups))
    values = [history.expected(len(groups), keys[sample]) for sample in order]
    assert sorted(order) == [0, 1, 2]
    assert values == sorted(values, reverse=True)


def test_the_expected_signal_of_a_token_by_hand():
    history = SignalHistory()
    for key, signal, tokens in (("often", True, 10), ("often", True, 10), ("long", True, 50), ("long", True, 50)):
        history.record(5, key, has_signal=signal, tokens=tokens)
    # 2 of 2 groups and one of each kind assumed: 3/4; tokens a group: (20 + 2 * 30) / 4 and (100 + 2 * 30) / 4
    assert history.expected(5, "often") == pytest.approx(0.75 / 20)
    assert history.expected(5, "long") == pytest.approx(0.75 / 40)
    assert history.expected(5, "unknown") == pytest.approx(0.5 / 30)
    # seven steps later a count weighs 0.9 ** 7
    kept = 2 * 0.9**7
    assert history.expected(12, "often") == pytest.approx((kept + 1) / (kept * 10 + 2 * 30))
    assert history.expected(200, "often") == pytest.approx(0.5 / 30, rel=1e-6)


def test_a_line_of_a_rollout_gives_the_rollout():
    rollout = Rollout(
        3, 7, 1, (5, 6), (1, 2, 3), (True, False, True), (-0.5, -1e-6), ("a", "b"), "ok", 1.5, {"x": 0.5}, 1.5
    )
    assert Rollout.of(json.loads(line_of(rollout))) == rollout


def test_rewards_of_functions_files_and_names(tmp_path, monkeypatch):
    (tmp_path / "my_rewards.py").write_text(
        "def number(prompt, completion, row):\n    return len(completion) + row['more']\n"
        "def parts(prompt, completion, row):\n    return {'a': 1, 'b': 0.5}\n"
        "def broken(prompt, completion, row):\n    raise KeyError\n"
        "def nothing(prompt, completion, row):\n    return None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    answer = Answer("p", "abc", {"more": 1}, "abc ")

    def verdict(name: str) -> Verdict:
        return checked(load_reward(name).score([answer]), 1)[0]

    assert verdict("exact").reward == 1
    assert verdict("my_rewards:number").reward == 4
    assert verdict("my_rewards:parts") == Verdict(1.5, {"a": 1.0, "b": 0.5})
    assert verdict("my_rewards:broken") == Verdict(None, {}, "my_rewards:broken raised KeyError")
    assert verdict("my_rewards:nothing").reward is None
    for name in ("exac", "my_rewards:other", "no_module:x", "missing.toml"):
        with pytest.raises(SetupError, match="reward"):
            load_reward(name)
    assert checked([Verdict(float("nan"))], 1)[0].reward is None
    assert checked([Verdict(1.0, {}, "timed out")], 1)[0].reward is None
    with pytest.raises(SetupError, match="1 verdicts for 2 answers"):
        checked([Verdict(1.0)], 2)


def rolled(sample: int, copy: int, reward: float | None, status: str = "ok") -> Rollout:
    return Rollout(1, sample, copy, (0,), (5, 6), (True, True), (-1.0, -1.0), ("x",), status, reward, {}, reward)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, 0.0, 1.0])), max_size=20), st.booleans(), st.booleans()
)
def test_what_is_not_whole_has_no_loss_and_changes_no_advantage(drawn, alone, only_useful):
    every = [
        rolled(sample, copy, reward, "ok" if reward is not None else "truncated")
        for copy, (sample, reward) in enumerate(sorted(drawn, key=lambda each: each[0]))
    ]
    whole = [each for each in every if each.is_whole]
    trained = trained_of(every, alone=alone, only_useful=only_useful)
    assert trained == trained_of(whole, alone=alone, only_useful=only_useful)
    assert all(each.is_whole for each in trained)
    assert not alone or trained == whole
    groups = [[each.reward for each in whole if each.sample == sample] for sample in {each.sample for each in trained}]
    assert alone or all(len(group) > 1 and (has_signal(group) or not only_useful) for group in groups)


@given(st.lists(st.integers(1, 4), max_size=6), st.integers(1, 5), st.booleans(), st.integers(0, 9))
def test_every_answer_is_in_one_update_of_a_pass(sizes, parts, splits, seed):
    every = [rolled(sample, copy, 1.0) for sample, size in enumerate(sizes) for copy in range(size)]
    updates = divide(every, parts, seed, splits_groups=splits)
    assert sorted((each.sample, each.copy) for part in updates for each in part) == [
        (each.sample, each.copy) for each in every
    ]
    assert len(updates) == min(parts, len(every) if splits and parts > len(sizes) else len(sizes))
    assert all(updates)
    if not splits or parts <= len(sizes):
        places = [{each.sample for each in part} for part in updates]
        assert sum(map(len, places)) == len(sizes), "groups stay together"
    assert updates == divide(every, parts, seed, splits_groups=splits)


def test_advantages_of_ppo_by_hand():
    values = np.array([0.5, 0.5, 0.5])
    scored = Scored(0, 1.0, 3, np.array([0.0, -0.25, 0.0]), values)
    objective = PpoObjective(PpoSettings(reward="exact", is_whitened=False, gae_decay=0.8))
    (found,) = objective.advantages([scored])
    # rewards 0, -0.25, 1: differences 0, -0.25, 0.5; A = 0.5, -0.25 + 0.8 * 0.5, 0.8 * 0.15
    np.testing.assert_allclose(found.tokens, [0.12, 0.15, 0.5])
    np.testing.assert_allclose(found.returns, found.tokens + values)
    (white,) = PpoObjective(PpoSettings(reward="exact", gae_decay=0.8)).advantages([scored])
    assert white.tokens.mean() == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(white.returns, found.returns)


def test_tokens_that_the_reference_finds_unlikely_are_punished():
    old, reference = np.array([-1.0, -3.0], np.float32), np.array([-2.0, -1.0], np.float32)
    surveyed = Surveyed(None, (), old, reference, None, 0.0, 0.0, 0.0, 0)
    np.testing.assert_allclose(surveyed.penalties(0.1), [-0.1, 0.2], rtol=1e-6)
    np.testing.assert_allclose(surveyed._replace(reference=None).penalties(0.1), [0, 0])


def test_beta_rises_above_the_target_and_falls_below_it():
    objective = PpoObjective(PpoSettings(reward="exact", beta=0.1, kl_target=2.0, kl_horizon=100))
    assert objective.adapted_beta(0.1, 2.2, 10) == pytest.approx(0.1 * (1 + 0.1 * 10 / 100))
    assert objective.adapted_beta(0.1, 100.0, 10) == pytest.approx(0.1 * (1 + 0.2 * 10 / 100))
    assert objective.adapted_beta(0.1, 1.8, 10) == pytest.approx(0.1 * (1 - 0.1 * 10 / 100))
    assert PpoObjective(PpoSettings(reward="exact", beta=0.1)).adapted_beta(0.1, 9.0, 10) is None


# Runs. The reward is the share of even token ids in the text, so that a fresh model has signal at once.


@pytest.fixture
def policy(setup, monkeypatch, tmp_path):
    (tmp_path / "letters.py").write_text(
        "def vowels(prompt, completion, row):\n    return sum(each in 'aeiou' for each in completion) / (1 + len(completion))\n"
        "def of_tier(prompt, completion, row):\n    return vowels(prompt, completion, row) if row['tier'] == 'a' else 0\n"
        "def fails(prompt, completion, row):\n    return None if len(completion) % 2 else vowels(prompt, completion, row)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    setup.build_plan(epochs=2)
    return setup


def grpo(**settings):
    return GrpoSettings(
        **{"reward": "letters:vowels", "group_size": 4, "max_new_tokens": 200, "temperature": 1.0, **settings}
    )


def lines(setup, run, name="metrics"):
    return [json.loads(line) for line in (setup.folder / run / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [
        grpo(beta=0.05),
        PpoSettings(
            reward="letters:vowels",
            max_new_tokens=200,
            group_size=2,
            passes=2,
            updates_per_pass=2,
            beta=0.01,
            kl_target=1.0,
        ),
    ],
    ids=["grpo", "ppo"],
)
def test_the_first_pass_is_on_policy_to_the_bit(policy, objective):
    train(policy.config(objective=objective, max_steps=2))
    first = lines(policy, "run")[0]
    assert first["ratio_error"] == 0
    assert first["reference_kl"] == 0  # the reference is the model before the first step
    assert first["engine_gap"] < 1e-3
    assert first["entropy"] > 1
    (optimizer,) = (policy.folder / "run/checkpoints").glob("step-*2/optimizer.safetensors")
    updates = 2 * objective.passes * objective.updates_per_pass  # of two steps
    assert {each.item() for name, each in mx.load(str(optimizer)).items() if name.endswith("/step")} == {updates}
    assert (policy.folder / "run/final/model.safetensors").is_file()
    links = {link.name: link for link in verify_run(policy.folder / "run", replay=5)}
    assert "the same bytes" in links["replay"].proof


@pytest.mark.slow
@pytest.mark.parametrize("name", thinned(["cpu", "gpu"], ["gpu"]))
@pytest.mark.thorough
def test_mixed_precision_draws_by_the_arithmetic_of_the_loss(policy, name, request):
    if name == "gpu":
        request.getfixturevalue("as_gpu")(True)
    objective = grpo(beta=0.05, temperature=0.7, max_new_tokens=60)
    train(policy.config("plain", objective=objective, max_steps=1))
    train(policy.config("mixed", objective=objective, max_steps=2, mixed_precision=True, eval_data={"t": policy.data}))
    first = next(line for line in lines(policy, "mixed") if "loss" in line)
    assert first["ratio_error"] == first["reference_kl"] == 0
    assert 0 < first["engine_gap"] < 0.2
    drawn = [lines(policy, run, "rollouts")[0]["logprobs"][:1] for run in ("plain", "mixed")]
    assert drawn[0] != drawn[1]
    assert drawn[0] == pytest.approx(drawn[1], rel=0.02)
    links = {link.name: link for link in verify_run(policy.folder / "mixed", replay=5)}
    assert "the same bytes" in links["replay"].proof
    weights = lazarus_models.load(policy.folder / "mixed/final").model.parameters()
    assert {each.dtype for each in flatten(weights).values()} == {mx.float32}


def test_the_loss_divides_by_the_temperature_in_float32_as_the_draws_do(setup):
    model, inputs = lazarus_models.load(setup.model).model, check_run(setup.config())
    step = inputs.plan.step(0)
    batch = make_batch(step.rows, inputs.dataset, step.row_len)
    labels = np.array(batch.ids).reshape(-1)[np.array(batch.places)]
    with computing_in_bfloat16(model):
        found = survey_labels(model, batch, 0.7, range(len(labels)))
    of_draws = np.array(found.lines)[np.arange(len(labels)), labels]
    np.testing.assert_allclose(np.array(found.log_probability), of_draws, atol=1e-5)


@pytest.mark.thorough
def test_the_divergence_from_the_reference_counts_groups_of_equal_rewards(policy):
    """With `beta` above 0 they have a gradient, too. The start model, read here, is the reference."""
    rows = [json.loads(line) for line in policy.data.read_text().splitlines()]
    policy.write_rows([{**row, "tier": "ab"[number % 2]} for number, row in enumerate(rows)])
    policy.build_plan(token_budget=96)
    train(policy.config(objective=grpo(reward="letters:of_tier", beta=0.5, max_new_tokens=60), max_steps=2))
    found = [Rollout.of(line) for line in lines(policy, "run", "rollouts") if line["step"] == 2]
    trained = trained_of(found, alone=False, only_useful=False)
    assert {is_useful(group) for group in groups_of(trained)} == {False, True}
    model, dataset = lazarus_models.load(policy.model).model, check_run(policy.config()).dataset
    total = 0.0
    for each in trained:
        ids, mask = dataset.sample(each.sample)
        prompt = ids[: int(np.flatnonzero(mask)[0])].tolist()
        log_probabilities = np.array(nn.log_softmax(model(mx.array([[*prompt, *each.ids]]))[0], axis=-1))
        places = np.arange(len(prompt) - 1, len(prompt) - 1 + len(each.ids))
        total += sum(each.logprobs) - log_probabilities[places, list(each.ids)].sum()
    assert lines(policy, "run")[1]["reference_kl"] == pytest.approx(total / len(trained), abs=2e-3)


RESUMED = {
    "grpo": grpo(
        reward="letters:of_tier",
        prompts_per_step=1,
        choose="signal",
        signal_field="tier",
        replace_flat=True,
        loss="dapo",
        max_new_tokens=120,
        overlong_buffer=50,
    ),
    "ppo": PpoSettings(reward="letters:vowels", max_new_tokens=100, group_size=2, beta=0.05, kl_target=1.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.thorough
def test_a_resumed_run_draws_the_same_answers_and_gets_the_same_weights(policy, name):
    """Rows of tier b have no signal: a run that forgets what it has seen answers them again."""
    rows = [json.loads(line) for line in policy.data.read_text().splitlines()]
    policy.write_rows([{**row, "tier": "ab"[number % 2]} for number, row in enumerate(rows)])
    policy.build_plan(epochs=2)
    settings = {"objective": RESUMED[name], "save_every": 1}
    train(policy.config("straight", **settings, max_steps=4))
    train(policy.config("stopped", **settings, max_steps=2))
    shutil.copy(policy.folder / "straight/rollouts.jsonl", policy.folder / "stopped/rollouts.jsonl")  # as after a kill
    train(policy.config("stopped", **settings, max_steps=4))
    same = policy.fingerprints("straight") | {"rollouts": (policy.folder / "straight/rollouts.jsonl").read_bytes()}
    assert same == policy.fingerprints("stopped") | {
        "rollouts": (policy.folder / "stopped/rollouts.jsonl").read_bytes()
    }
    if name == "grpo":  # the reward is that of the function and the penalty of long answers, which is below 0 for some
        ended = [Rollout.of(line) for line in lines(policy, "stopped", "rollouts") if line["status"] == "ok"]
        penalties = [each.parts["overlong"] for each in ended]
        assert min(penalties) < 0
        shares = [sum(letter in "aeiou" for letter in each.texts[0]) / (1 + len(each.texts[0])) for each in ended]
        tiers = ["ab"[each.sample % 2] == "a" for each in ended]
        expected = [share * tier + penalty for share, tier, penalty in zip(shares, tiers, penalties, strict=True)]
        assert [each.reward for each in ended] == pytest.approx(expected, abs=1e-5)
    # The prompts of later steps follow from the signal of earlier ones, and the penalty from earlier divergences.
    links = {link.name: link for link in verify_run(policy.folder / "stopped", replay=20)}
    assert re.search(r"steps 1, 2, 3, 4 drawn again .* the same bytes", links["replay"].proof)


@pytest.mark.thorough
def test_groups_of_equal_rewards_are_replaced_by_further_prompts_of_the_step(policy):
    """Rewards are 0 except in tier a: a step answers prompts until one group has signal, or none is left."""
    rows = [json.loads(line) for line in policy.data.read_text().splitlines()]
    policy.write_rows([{**row, "tier": "ab"[number % 2]} for number, row in enumerate(rows)])
    policy.build_plan(token_budget=192)
    settings = {"reward": "letters:of_tier", "max_new_tokens": 120, "prompts_per_step": 1, "replace_flat": True}
    train(policy.config(objective=grpo(**settings), max_steps=3))
    found = [Rollout.of(line) for line in lines(policy, "run", "rollouts")]
    groups = [[group for group in groups_of(found) if group[0].step == step] for step in (1, 2, 3)]
    assert any(len(of_step) > 1 for of_step in groups), "a group was replaced"
    for of_step in groups:
        *replaced, last = of_step
        assert not any(map(is_useful, replaced))
        assert is_useful(last) or len(of_step) > 3


@pytest.mark.slow
def test_cut_and_rejected_answers_train_nothing_and_change_no_advantage(policy):
    file = policy.model / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "max_position_embeddings": 45}))
    train(policy.config(objective=grpo(reward="letters:fails", max_new_tokens=40), max_steps=1))
    found = [Rollout.of(line) for line in lines(policy, "run", "rollouts")]
    dataset = check_run(policy.config()).dataset
    room = {each.sample: 45 - int(np.flatnonzero(dataset.sample(each.sample)[1])[0]) for each in found}
    assert min(room.values()) < 40
    assert all(each.length == min(40, room[each.sample]) for each in found if each.status == "truncated")
    states = {each.status for each in found}
    assert {"ok", "truncated", "no reward"} <= states
    assert all((each.reward is None) is (each.status != "ok") for each in found)
    metrics = lines(policy, "run")[0]
    assert metrics["truncated_share"] + metrics["rejected_share"] == pytest.approx(
        sum(each.status != "ok" for each in found) / len(found)
    )


@pytest.mark.slow
def test_the_loss_of_a_run_is_that_of_its_rollouts(policy):
    """Dr. GRPO on the first pass: minus the mean over answers of length times advantage over `max_new_tokens`."""
    rows = [json.loads(line) for line in policy.data.read_text().splitlines()]
    policy.write_rows([{**row, "tier": "ba"[number % 3 == 0]} for number, row in enumerate(rows)])
    policy.build_plan(token_budget=160)
    train(policy.config(objective=grpo(reward="letters:of_tier", loss="dr_grpo", max_new_tokens=100), max_steps=1))
    found = [Rollout.of(line) for line in lines(policy, "run", "rollouts")]
    groups = list(groups_of(trained_of(found, alone=False, only_useful=False)))
    assert {is_useful(group) for group in groups} == {False, True}
    assert [is_useful(group) for group in groups] != sorted(map(is_useful, groups), reverse=True), (
        "one without comes before"
    )
    total = 0.0
    for group in groups:
        mean = sum(each.reward for each in group) / len(group)
        total += sum(each.length * (each.reward - mean) / 100 for each in group)
    count = sum(map(len, groups))
    assert lines(policy, "run")[0]["loss"] == pytest.approx(-total / count, abs=1e-6)
    assert total != pytest.approx(0, abs=1e-3)


@pytest.mark.slow
def test_an_edited_rollout_is_found(policy):
    train(policy.config(objective=grpo(), max_steps=1))
    file = policy.folder / "run/rollouts.jsonl"
    text = file.read_text()
    file.write_text(text.replace('"status":"ok"', '"status":"ko"', 1))
    with pytest.raises(CorruptCheckpoint, match="was changed"):
        list(verify_run(policy.folder / "run"))
    run, _ = RunEvidence.read(policy.folder / "run", Elsewhere(), Pins())
    file.write_text(re.sub(r'"seeds":\[\d', '"seeds":[9', text))
    with pytest.raises(CorruptCheckpoint, match="differs when it is drawn again"):
        replay_link(run, check_run(run.config), 3)


@pytest.mark.slow
def test_the_control_run_gets_the_rewards_of_the_step_in_another_order(policy):
    train(policy.config(objective=grpo(is_control=True), max_steps=1))
    found = [Rollout.of(line) for line in lines(policy, "run", "rollouts")]
    true, random = ([getattr(each, name) for each in found if each.is_whole] for name in ("true_reward", "reward"))
    assert sorted(true) == sorted(random)
    assert true != random


def test_answers_drawn_together_are_those_drawn_alone(setup):
    from lazarus_models import GenerationConfig, load
    from lazarus_models.generation import generate_tokens

    lm = load(setup.model)
    prompts = [[5, 6, 7], [5, 6, 7], [9, 10], [30, 31, 32, 33], [5, 6, 7]]
    requests = [Request(ids, rollout_seed(0, 0, index, 0), 12) for index, ids in enumerate(prompts)]
    together = draw_answers(lm.model, requests, temperature=0.9, stop_ids=lm.stop_ids, batch_size=3)
    for request, drawn in zip(requests, together, strict=True):
        config = GenerationConfig(max_new_tokens=12, temperature=0.9, seed=request.seed, stop_ids=lm.stop_ids)
        assert drawn.ids == list(generate_tokens(lm.model, list(request.ids), config))
        assert drawn.has_ended is (drawn.ids[-1] in lm.stop_ids)
        for place, line in drawn.lines.items():
            assert np.exp(line).sum() == pytest.approx(1, abs=1e-5)
            assert line[drawn.ids[place]] == pytest.approx(drawn.logprobs[place], abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "give `reward`"),
        ({"reward": "exact", "environment": "sudoku"}, "not both"),
        ({"reward": "exact", "choose": "signal"}, "prompts_per_step"),
        ({"reward": "exact", "signal_field": "tier"}, "signal_field"),
        ({"reward": "exact", "replace_flat": True}, "prompts_per_step"),
        ({"reward": "exact", "unfinished": "score"}, "unfinished"),
        ({"reward": "exact", "overlong_buffer": 300}, "overlong_buffer"),
        ({"reward": "exact", "reference": "adapters-off"}, "beta"),
        ({"reward": "exact", "group_size": 1}, "greater than or equal to 2"),
    ],
)
def test_settings_without_effect_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        GrpoSettings(**settings)


def test_settings_that_would_break_the_policy_are_refused(setup):
    from lazarus_train import LoraConfig

    for more, said in (
        ({"lora": LoraConfig(dropout=0.1)}, "dropout"),
        ({"neftune_alpha": 5.0}, "neftune_alpha"),
        ({"objective": grpo(beta=0.1, reference="adapters-off")}, "lora"),
        ({"objective": PpoSettings(reward="exact"), "ema": 0.9}, "ema"),
    ):
        with pytest.raises(ValueError, match=said):
            setup.config(**{"objective": grpo(), **more})


@pytest.mark.slow
def test_the_way_of_a_prompt_is_the_one_of_the_guide(policy):
    page = (Path(__file__).parents[3] / ".github/CONTRIBUTING.md").read_text("utf-8")
    section = page.partition("### The way of a prompt to its gradient")[2].partition("\n#")[0]
    hops = re.findall(r"^\d+\. `(lazarus_[\w.]+)`: ", section, re.MULTILINE)
    called: list[str] = []

    def note(frame, event, _):
        name = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
        if event == "call" and name in hops and name not in called:
            called.append(name)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        settings = grpo(prompts_per_step=1, choose="signal")
        train(policy.config(objective=settings, max_steps=1))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert len(hops) == 10
    assert called == hops


# Environments


class Counting:
    """Answers each text with its length; ends after two answers. Rewards 0.5, then the share of vowels in the second."""

    def reset(self, *, seed, task=None):
        self.seen = []
        return SimpleNamespace(text=f"seed {seed}")

    def step(self, action):
        self.seen.append(action)
        reply = SimpleNamespace(text=f"{len(action)} letters")
        done = len(self.seen) == 2
        reward = sum(each in "aeiou" for each in action) / (1 + len(action)) if done else 0.5
        return SimpleNamespace(observation=reply, reward=reward, done=done, truncated=False)


class Dying(Counting):
    def step(self, action):
        raise ConnectionError


@pytest.mark.slow
@pytest.mark.thorough
def test_a_conversation_has_the_ids_of_its_messages_and_trains_the_answers_alone(policy, monkeypatch):
    from lazarus_tokenkit import ChatSample, Encoder, Message, load_tokenizer

    monkeypatch.setattr("lazarus_train.rollouts.environments.environment_maker", lambda name: Counting)
    settings = grpo(reward=None, environment="counting", turns=3)
    train(policy.config(objective=settings, max_steps=1))
    encoder = Encoder(load_tokenizer(str(policy.model)))
    rows = [json.loads(line) for line in policy.data.read_text().splitlines()]
    found = [Rollout.of(line) for line in lines(policy, "run", "rollouts")]
    whole = [each for each in found if each.is_whole]
    assert len(whole) > 1
    for rollout in whole:
        first, second = rollout.texts
        vowels = sum(each in "aeiou" for each in second) / (1 + len(second))
        assert rollout.reward == pytest.approx(0.5 + vowels, abs=1e-5)
        assert len(rollout.seeds) == len(rollout.texts) == 2
        written = [token for token, drawn in zip(rollout.ids, rollout.is_drawn, strict=True) if not drawn]
        question = Message("user", rows[rollout.sample]["prompt"])
        placeholder = encoder.encode(ChatSample("0", (question, Message("assistant", "x"))))
        end = max(place for place, mask in enumerate(placeholder.loss_mask) if mask) + 1
        after = encoder.prompt([question, Message("assistant", "x"), Message("user", f"{len(first)} letters")])
        assert written == after[end:]
    links = {link.name: link for link in verify_run(policy.folder / "run", replay=4)}
    assert "the same bytes" in links["replay"].proof


@pytest.mark.slow
@pytest.mark.parametrize("limit", thinned(["turns", "environment"], ["environment"]))
def test_an_unfinished_episode_is_skipped_or_has_its_rewards_so_far(policy, monkeypatch, limit):
    class Endless(Counting):
        def step(self, action):
            return SimpleNamespace(**{**vars(super().step(action)), "done": False, "truncated": limit == "environment"})

    monkeypatch.setattr("lazarus_train.rollouts.environments.environment_maker", lambda name: Endless)
    settings = {"reward": None, "environment": "endless", "turns": 1 if limit == "turns" else 4}
    for unfinished in ("skip", "score"):
        train(policy.config(unfinished, objective=grpo(**settings, unfinished=unfinished), max_steps=1))
    skipped, scored = ([Rollout.of(line) for line in lines(policy, name, "rollouts")] for name in ("skip", "score"))
    assert {each.status for each in skipped} == {"truncated"}
    # 0.5 for each answer that the environment got; an answer that was cut gets no more
    assert {each.status for each in scored} == {"ok"}
    assert all(each.reward == 0.5 * len(each.texts) - 0.5 * (each.length == 200) for each in scored)
    assert {0.0, 0.5} <= {each.reward for each in scored}
    assert [each.ids for each in skipped] == [each.ids for each in scored]


@pytest.mark.slow
def test_an_environment_with_replies_of_another_form_is_one_line(policy, monkeypatch):
    class Other(Counting):
        def step(self, action):
            return "seen", 0.5, True, {}

    monkeypatch.setattr("lazarus_train.rollouts.environments.environment_maker", lambda name: Other)
    with pytest.raises(SetupError, match=r"`environment` gave \('seen', 0.5, True, {}\) for an answer") as found:
        train(policy.config(objective=grpo(reward=None, environment="other"), max_steps=1))
    assert found.value.code == "LR-E251"


@pytest.mark.slow
def test_answers_to_an_environment_that_dies_are_accounted_for_and_train_nothing(policy, monkeypatch):
    monkeypatch.setattr("lazarus_train.rollouts.environments.environment_maker", lambda name: Dying)
    train(policy.config(objective=grpo(reward=None, environment="dying"), max_steps=1))
    found = [Rollout.of(line) for line in lines(policy, "run", "rollouts")]
    assert {each.status for each in found} <= {"the environment raised ConnectionError", "truncated"}
    assert lines(policy, "run")[0]["grad_norm"] == 0
    before = (policy.model / "model.safetensors").read_bytes()
    assert (policy.folder / "run/final/model.safetensors").stat().st_size == pytest.approx(len(before), rel=0.1)
