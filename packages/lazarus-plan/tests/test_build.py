from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan import BatchPlan, LengthCache, LengthRow, PlanConfig, build_plan, load_plan
from lazarus_plan import plan as plan_module
from lazarus_plan.checks import artifact as validation
from lazarus_plan.checks import multiplicity
from lazarus_plan.errors import PlanningError
from lazarus_plan.format import step_codec as codec
from lazarus_plan.format import store
from lazarus_plan.format.step_codec import encode_lines
from lazarus_plan.packing import balance, items
from lazarus_plan.packing import best_fit as packing
from lazarus_plan.packing import permutation as keyed
from lazarus_plan.packing import rows as packed
from lazarus_plan.packing import sorting as order
from lazarus_plan.testing import length_caches, plan_configs, plans


def epoch_pieces(plan: BatchPlan, epoch: int) -> list[tuple[int, int, int]]:
    about = plan.metadata.epochs[epoch]
    steps = [plan.step(index) for index in range(about.first_step, about.first_step + about.steps)]
    return [
        (segment.sample, *(segment.span or (0, segment.end - segment.start)))
        for step in steps
        for row in step.rows
        for segment in row.segments
    ]


BLOCKS = (
    (balance, "BLOCK_ROWS"),
    (codec, "BLOCK_SAMPLES"),
    (items, "BLOCK"),
    (keyed, "BLOCK"),
    (multiplicity, "PORTION"),
    (order, "BLOCK"),
    (packed, "BLOCK_ROWS"),
    (packing, "SORTED"),
    (plan_module, "BLOCK_STEPS"),
    (store, "BLOCK_BYTES"),
    (validation, "BLOCK"),
)


@given(length_caches(), plan_configs())
def test_the_same_input_gives_the_same_lines(cache: LengthCache, config: PlanConfig):
    first, second = build_plan(cache, config), build_plan(cache, config)
    assert list(encode_lines(first)) == list(encode_lines(second)) and first.plan_id == second.plan_id


@given(length_caches(), plan_configs())
def test_every_token_of_every_sample_stands_once_an_epoch(cache: LengthCache, config: PlanConfig):
    config = config.model_copy(update={"oversize": "split"})
    plan = build_plan(cache, config)
    for epoch in range(config.epochs):
        pieces = epoch_pieces(plan, epoch)
        tokens = Counter((sample, token) for sample, first, last in pieces for token in range(first, last))
        assert tokens == Counter((s, t) for s in range(len(cache)) for t in range(int(cache.length[s])))


@given(plans())
def test_segments_of_a_row_never_meet(plan: BatchPlan):
    for index in range(len(plan)):
        step = plan.step(index)
        for row in step.rows:
            end = 0
            for segment in row.segments:
                assert end <= segment.start < segment.end <= step.row_len
                end = segment.end


@given(length_caches(min_size=20, max_size=20))
def test_epochs_are_shuffled_by_keys_of_their_own(cache: LengthCache):
    plan = build_plan(cache, PlanConfig(token_budget=64, row_len=64, epochs=2))
    assert epoch_pieces(plan, 0) != epoch_pieces(plan, 1)


@given(length_caches(), st.integers(0, 2**52))
def test_another_seed_is_another_plan(cache: LengthCache, seed: int):
    config = PlanConfig(token_budget=64, row_len=64, seed=seed)
    other = config.model_copy(update={"seed": seed + 1})
    assert build_plan(cache, config).plan_id != build_plan(cache, other).plan_id


def test_row_len_is_the_smallest_multiple_of_64_that_holds_the_longest_sample():
    cache = LengthCache.from_rows([LengthRow("a", 65)])
    assert build_plan(cache, PlanConfig(token_budget=1000)).row_len == 128


def test_row_len_is_the_budget_where_no_multiple_of_64_fits():
    cache = LengthCache.from_rows([LengthRow("a", 65)])
    assert build_plan(cache, PlanConfig(token_budget=100)).row_len == 100


@pytest.mark.parametrize(("lengths", "code"), [([3, 200], "LP-E131"), ([3, 0], "LP-E132")])
def test_oversize_and_empty_samples_need_a_policy(lengths: list[int], code: str):
    cache = LengthCache.from_rows(LengthRow(f"s{place}", length) for place, length in enumerate(lengths))
    with pytest.raises(PlanningError, match=r"s1|longest") as caught:
        build_plan(cache, PlanConfig(token_budget=64))
    assert caught.value.code == code


def test_what_is_excluded_is_counted_by_reason():
    cache = LengthCache.from_rows([LengthRow("a", 3), LengthRow("b", 0), LengthRow("c", 99)])
    plan = build_plan(cache, PlanConfig(token_budget=64, oversize="exclude", zero_length="exclude"))
    assert plan.metadata.excluded.model_dump() == {"oversize": 1, "zero_length": 1}
    assert plan.sample.tolist() == [0]


def test_a_truncated_sample_says_which_tokens_stand():
    cache = LengthCache.from_rows([LengthRow("a", 99)])
    plan = build_plan(cache, PlanConfig(token_budget=64, oversize="truncate"))
    assert plan.step(0).rows[0].segments[0] == (0, 0, 64, (0, 64))


def test_a_sample_that_just_fills_its_row_is_whole():
    cache = LengthCache.from_rows([LengthRow("a", 64), LengthRow("b", 130)])
    plan = build_plan(cache, PlanConfig(token_budget=64, oversize="split"))
    segments = [plan.step(index).rows[0].segments[0] for index in range(len(plan))]
    assert sorted(segment[0::3] for segment in segments if segment.span is None) == [(0, None)]
    assert sorted(segment.span for segment in segments if segment.span) == [(0, 64), (64, 128), (128, 130)]


def test_nothing_left_to_plan_is_an_error():
    cache = LengthCache.from_rows([LengthRow("a", 0)])
    with pytest.raises(PlanningError, match="all 1 are excluded"):
        build_plan(cache, PlanConfig(token_budget=64, zero_length="exclude"))


def test_source_date_epoch_sets_the_build_time(cache: LengthCache, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    plan = build_plan(cache, PlanConfig(token_budget=128))
    assert plan.metadata.created_at.isoformat() == "2023-11-14T22:13:20+00:00"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(PlanningError, match="SOURCE_DATE_EPOCH"):
        build_plan(cache, PlanConfig(token_budget=128))


@pytest.mark.parametrize("oversize", ["split", "truncate"])
def test_how_much_is_looked_at_together_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, oversize: Literal["split", "truncate"]
):
    lengths = np.random.default_rng(0).integers(1, 200, 300).tolist()
    cache = LengthCache.from_rows(LengthRow(f"s{place}", length) for place, length in enumerate(lengths))
    config = PlanConfig(token_budget=256, row_len=64, epochs=2, oversize=oversize)
    at_once = build_plan(cache, config)
    for module, name in BLOCKS:
        monkeypatch.setattr(module, name, 7)
    in_blocks = build_plan(cache, config, tmp_path / "plan")
    assert in_blocks.plan_id == at_once.plan_id
    read = load_plan(tmp_path / "plan")
    for name in ("sample", "start", "length", "span_start"):
        assert np.array_equal(getattr(read, name), getattr(at_once, name))


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=30).filter(any),
    oversize=st.sampled_from(("exclude", "truncate", "split")),
    mode=st.sampled_from(("packed", "stable", "padded")),
)
def test_every_sample_has_its_tokens_beside_samples_without_any(lengths: list[int], oversize: str, mode: str):
    """Each policy for long samples together with the exclusion of empty ones."""
    if oversize == "exclude" and not any(0 < length <= 10 for length in lengths):
        return
    cache = LengthCache.from_rows(LengthRow(f"s{place}", length) for place, length in enumerate(lengths))
    config = PlanConfig.model_validate(
        {"token_budget": 20, "row_len": 10, "oversize": oversize, "zero_length": "exclude", "mode": mode}
    )
    plan = build_plan(cache, config)
    due = {
        "exclude": [length if length <= 10 else 0 for length in lengths],
        "truncate": [min(length, 10) for length in lengths],
        "split": lengths,
    }[oversize]
    placed = [0] * len(lengths)
    for sample, length in zip(plan.sample.tolist(), plan.length.tolist(), strict=True):
        placed[sample] += length
    assert placed == due
