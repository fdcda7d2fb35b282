"""Masked diffusion against exact enumeration: four tokens, three letters, every pattern of masks."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lazarus_models
from lazarus_models.backend import mx
from lazarus_train import DiffusionSettings, MntpSettings
from lazarus_train.data.batches import Batch, Part
from lazarus_train.engine.evaluation import held_out, plan_held_out
from lazarus_train.objectives.base import make_objective
from lazarus_train.objectives.diffusion import DiffusionObjective
from lazarus_train.objectives.masking import (
    EPSILON,
    Noised,
    diffusion_nll,
    joint,
    mask_exactly,
    mask_share,
    mask_times,
    mask_tokens,
    mntp_nll,
)
from lazarus_train.objectives.mntp import MntpObjective
from lazarus_train.preflight.inputs import check_run
from suite import examples

LETTERS, TOKENS, MASK = 3, 4, 3


def mask_count(ids, is_maskable, mask_id, key) -> Noised:
    """Exactly k tokens of each row, all draws from one key."""
    count_key, order_key = mx.random.split(key)
    counts = mx.random.uniform(shape=(ids.shape[0],), key=count_key)
    return mask_exactly(ids, is_maskable, mask_id, counts, mx.random.uniform(shape=ids.shape, key=order_key))


def mask_some(ids, is_maskable, mask_id, key) -> Noised:
    """Every token with its row's probability, all draws from one key."""
    time_key, mask_key = mx.random.split(key)
    share = mask_share(mask_times(ids.shape[0], time_key))
    return mask_tokens(ids, is_maskable, mask_id, share, mx.random.uniform(shape=ids.shape, key=mask_key))


def exact_logits(distribution: np.ndarray) -> np.ndarray:
    """log q(token | what is not masked) for every pattern of letters and masks: (4, 4, 4, 4, N, V)."""
    table = np.zeros((LETTERS + 1,) * TOKENS + (TOKENS, LETTERS))
    for pattern in itertools.product(range(LETTERS + 1), repeat=TOKENS):
        seen = distribution[tuple(slice(None) if each == MASK else slice(each, each + 1) for each in pattern)]
        for place in range(TOKENS):
            marginal = seen.sum(axis=tuple(axis for axis in range(TOKENS) if axis != place))
            if marginal.size == LETTERS:  # masked
                table[(*pattern, place)] = np.log(marginal / marginal.sum())
    return table


@pytest.mark.parametrize("mask", [mask_some, mask_count])
def test_with_exact_conditionals_the_loss_is_the_negative_log_likelihood(mask):
    """Masks in any order are the chain rule in any order, so the bound is tight: a reference without any model."""
    random = np.random.default_rng(0)
    distribution = random.dirichlet(np.full(LETTERS**TOKENS, 0.5)).reshape((LETTERS,) * TOKENS)
    table = mx.array(exact_logits(distribution).astype(np.float32))
    rows = 200_000
    for sequence in ((0, 1, 2, 0), (2, 2, 1, 1)):
        ids = mx.broadcast_to(mx.array(sequence), (rows, TOKENS))
        noised = mask(ids, mx.ones(ids.shape, dtype=mx.bool_), MASK, mx.random.key(7))
        logits = table[tuple(noised.ids[:, place] for place in range(TOKENS))]
        loss = diffusion_nll(logits, ids, noised).item() / rows
        assert loss == pytest.approx(-math.log(distribution[sequence]), rel=0.02)


def test_exactly_k_masks_vary_less():
    ids = mx.zeros((4000, 64), dtype=mx.int32)
    everything = mx.ones(ids.shape, dtype=mx.bool_)
    spread = {
        mask: mask(ids, everything, MASK, mx.random.key(1)).weight.sum(axis=1) for mask in (mask_some, mask_count)
    }
    assert mx.allclose(spread[mask_count], mx.array(64.0))
    assert spread[mask_some].std().item() > 1.0
    assert spread[mask_some].mean().item() == pytest.approx(64.0, rel=0.02)


@given(st.integers(1, 40), st.integers(0, 2**30))
def test_times_are_spread_evenly(rows, seed):
    times = sorted(mask_times(rows, mx.random.key(seed)).tolist())
    assert all(0 <= time < 1 for time in times)
    gaps = [second - first for first, second in itertools.pairwise(times)]
    assert gaps == pytest.approx([1 / rows] * (rows - 1), abs=1e-5)


@pytest.mark.parametrize("rows", [2, 8, 31])
def test_every_row_gets_every_time_and_its_place_tells_nothing(rows):
    """With (u + i) / R a row always had the same R-th of the times: long samples, the last of a step, were hardly masked."""
    draws = 2000
    times = np.array([np.array(mask_times(rows, mx.random.key(seed))) for seed in range(draws)])
    assert times.min(axis=0).max() < 0.02
    assert times.max(axis=0).min() > 0.98
    assert np.abs(times.mean(axis=0) - 0.5).max() < 5 * (1 / 12 / draws) ** 0.5
    places = np.broadcast_to(np.arange(rows), times.shape)
    assert abs(np.corrcoef(places.ravel(), times.ravel())[0, 1]) < 0.03


def test_rows_side_by_side_do_not_get_times_side_by_side():
    """Rows of like lengths lie together: without a permutation they would share a part of the times."""
    times = np.array([np.array(mask_times(8, mx.random.key(seed))) for seed in range(100)])
    steps = np.round((np.diff(times, axis=1) % 1.0) * 8).astype(int)
    assert len(set(steps.ravel().tolist())) == 7


def step_of(sequences, numbers=None) -> Batch:
    """Rows of one sample each, as rows `numbers` of a step; all but the first token are labels."""
    rows = len(sequences)
    ids = mx.array(np.array(sequences, dtype=np.int32))
    is_label = np.ones(ids.shape, dtype=np.bool_)
    is_label[:, 0] = False
    parts = tuple(Part(row, row, 0, TOKENS + 1, TOKENS, 1) for row in range(rows))
    numbers = tuple(range(rows)) if numbers is None else numbers
    places = mx.array(np.flatnonzero(is_label).astype(np.int32))
    return Batch(ids, mx.ones(ids.shape, dtype=mx.int32), mx.array(is_label), places, parts, numbers, STEP_ROWS)


STEP_ROWS = 120


@pytest.mark.slow
@pytest.mark.thorough
def test_the_loss_of_a_step_is_unbiased_whatever_the_place_of_a_row():
    """Exact enumeration, N = 4, V = 3: rows that are alike lie together, as rows of like lengths do in a plan."""
    distribution = np.random.default_rng(0).dirichlet(np.full(LETTERS**TOKENS, 0.5)).reshape((LETTERS,) * TOKENS)
    table = mx.array(exact_logits(distribution).astype(np.float32))
    kinds = [(0, 1, 2, 0), (1, 1, 0, 2), (2, 2, 1, 1), (0, 0, 0, 2)]
    wanted = -np.log([distribution[kind] for kind in kinds])
    order = np.argsort(wanted)  # the likeliest first
    batch = step_of([(0, *kinds[kind]) for kind in np.repeat(order, STEP_ROWS // len(kinds))])
    task = DiffusionObjective(DiffusionSettings(mask_id=MASK, truncated_share=0.0))
    total, seeds = 0.0, 200
    for seed in range(seeds):
        drawn = task.prepare(batch, seed).random_inputs
        noised = Noised(drawn["ids"][:, 1:], drawn["is_masked"][:, 1:], drawn["weight"][:, 1:])
        logits = table[tuple(noised.ids[:, place] for place in range(TOKENS))]
        total += diffusion_nll(logits, batch.ids[:, 1:], noised).item() / STEP_ROWS / seeds
    assert total == pytest.approx(wanted.mean(), rel=0.02)


@settings(deadline=None, max_examples=examples(20))
@given(st.lists(st.integers(0, 3), min_size=12, max_size=12), st.sampled_from(["diffusion", "mntp"]))
def test_what_is_drawn_for_a_row_does_not_depend_on_what_it_is_computed_with(owners, kind):
    """`owners` deals the rows of a step to micro-batches, ranks or threads."""
    sequences = [(0, row % LETTERS, *(0, 1, 2)) for row in range(len(owners))]
    diffusion = DiffusionObjective(DiffusionSettings(mask_id=MASK, truncated_share=0.5))
    task = diffusion if kind == "diffusion" else MntpObjective(MntpSettings(mask_id=MASK))
    whole = task.prepare(step_of(sequences), 5).random_inputs
    for owner in set(owners):
        rows = tuple(row for row, each in enumerate(owners) if each == owner)
        part = task.prepare(step_of([sequences[row] for row in rows], rows), 5).random_inputs
        assert all(mx.array_equal(part[name], whole[name][mx.array(rows)]) for name in whole)


@pytest.mark.parametrize("kind", ["diffusion", "mntp"])
def test_a_held_out_loss_does_not_depend_on_rows_at_once(setup, kind, monkeypatch):
    lm = lazarus_models.load(setup.model)
    dataset = check_run(setup.config()).dataset
    settings = DiffusionSettings(mask_id=299, draws=3) if kind == "diffusion" else MntpSettings(mask_id=299)
    objective = make_objective(settings)
    found = []
    for rows in (1, 3, 8):
        monkeypatch.setattr("lazarus_train.engine.evaluation.ROWS_AT_ONCE", rows)
        data = plan_held_out(dataset, objective, lm.tokenizer, "data")
        found.append(held_out(lm.model, objective, data).loss)
    assert found == pytest.approx([found[0]] * 3, rel=1e-6)


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 2**30), st.sampled_from([mask_some, mask_count]))
def test_only_maskable_tokens_are_masked_and_a_key_fixes_which(rows, tokens, seed, mask):
    random = np.random.default_rng(seed)
    ids = mx.array(random.integers(0, MASK, (rows, tokens)).astype(np.int32))
    is_maskable = mx.array(random.random((rows, tokens)) < 0.6)
    noised = mask(ids, is_maskable, MASK, mx.random.key(seed))
    assert not (noised.is_masked & ~is_maskable).any()
    assert mx.array_equal(noised.ids == MASK, noised.is_masked)
    assert mx.array_equal(mx.where(noised.is_masked, ids, noised.ids), ids)
    assert mx.array_equal(noised.weight > 0, noised.is_masked)
    assert mx.array_equal(mask(ids, is_maskable, MASK, mx.random.key(seed)).ids, noised.ids)
    if mask is mask_count:
        assert mx.array_equal(noised.is_masked.any(axis=1), is_maskable.any(axis=1))  # at least one where one can be


def test_the_weight_is_one_over_the_share():
    noised = mask_some(
        mx.zeros((1, 200_000), dtype=mx.int32), mx.ones((1, 200_000), dtype=mx.bool_), MASK, mx.random.key(3)
    )
    share = noised.is_masked.mean().item()
    assert noised.weight.max().item() == pytest.approx(1 / share, rel=0.01)
    assert noised.weight.max().item() <= 1 / EPSILON


def test_mntp_counts_the_mask_of_the_predicted_token():
    logits = mx.random.normal((1, 4, 3), key=mx.random.key(0))
    ids = mx.array([[0, 1, 2, 1]])
    is_masked = mx.array([[True, False, True, False]])  # the first has nothing before it
    noised = Noised(mx.where(is_masked, MASK, ids), is_masked, is_masked.astype(mx.float32))
    before = np.array(logits)[0, 1].astype(np.float64)
    by_hand = math.log(np.exp(before).sum()) - before[2]
    assert mntp_nll(logits, ids, noised).item() == pytest.approx(by_hand, abs=1e-5)


def test_the_joint_loss_lies_between_its_parts():
    diffusion, causal = mx.array(3.0), mx.array(1.0)
    assert [joint(diffusion, causal, share).item() for share in (0.0, 0.25, 1.0)] == [1.0, 1.5, 3.0]


@pytest.mark.parametrize("shift", [0.0, 15.0], ids=["flat", "one likely token"])
@pytest.mark.parametrize("nll, first", [(diffusion_nll, 0), (mntp_nll, 1)], ids=["diffusion", "mntp"])
def test_the_loss_of_a_large_vocabulary_is_that_of_float64(nll, first, shift):
    """With 50,304 tokens and a likely one, the log-sum-exp of MLX on a CPU is wrong by 4e-4 a token, always in one direction."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (2, 12, 50_304)).astype(np.float32)
    ids = generator.integers(0, 50_304, (2, 12))
    logits[..., 7] += shift
    weight = generator.random((2, 12)).astype(np.float32)
    wide, shown = logits.astype(np.float64), slice(0, 12 - first)
    normalizer = np.log(np.exp(wide - 30).sum(-1)) + 30
    picked = np.take_along_axis(wide[:, shown], ids[:, first:, None], -1)[..., 0]
    expected = (weight[:, first:] * (normalizer[:, shown] - picked)).sum()
    noised = Noised(mx.array(ids), mx.array(weight) > 0, mx.array(weight))
    value, slope = mx.value_and_grad(lambda logits: nll(logits, mx.array(ids), noised))(mx.array(logits))
    assert value.item() == pytest.approx(expected, rel=5e-7)
    softmax = np.exp(wide[:, shown] - normalizer[:, shown, None])
    np.put_along_axis(softmax, ids[:, first:, None], np.take_along_axis(softmax, ids[:, first:, None], -1) - 1, -1)
    assert np.abs(np.array(slope)[:, shown] - weight[:, first:, None] * softmax).max() < 5e-6
