"""A child keeps the trained steps to the byte, and every sample stands as often as it should."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_plan import (
    BatchPlan,
    LengthCache,
    LengthRow,
    PlanConfig,
    Stage,
    build_plan,
    load_plan,
    rebase_plan,
    save_plan,
)
from lazarus_plan.errors import PlanningError, StalePlan
from lazarus_plan.format import encode_step
from lazarus_plan.testing import length_caches, plan_configs
from lazarus_plan.verify import verify_plan
from suite import chosen, examples

LENGTHS = [17, 30, 64, 5, 12, 40, 33, 9, 21, 58, 3, 47, 26, 11, 62, 8, 19, 35, 44, 14]
MANY = [1 + 7 * n % 60 for n in range(40)]


def cache_of(lengths: list[int], name: str = "lengths") -> LengthCache:
    return LengthCache.from_rows([LengthRow(f"{name}{n}", length) for n, length in enumerate(lengths)], name=name)


def check_child(parent: BatchPlan, caches: list[LengthCache], steps: int, path: Path, **changes: Any) -> BatchPlan:
    """The laws of a child; `load_plan` checks how often every sample stands, the rebuild that lengths decide all of it."""
    child = rebase_plan(parent, steps, caches, parent.metadata.config.model_copy(update=changes))
    assert [encode_step(child, at) for at in range(steps)] == [encode_step(parent, at) for at in range(steps)]
    save_plan(child, path)
    assert load_plan(path).plan_id == child.plan_id
    assert list(verify_plan(path, caches=caches, rebuild=True))[-1] == "rebuild: the same plan, to the byte"
    return child


@settings(max_examples=examples(60))
@given(length_caches(min_size=2), plan_configs(), st.data())
def test_every_mode_and_policy_can_be_rebased_at_every_step(
    tmp_path_factory: pytest.TempPathFactory, cache: LengthCache, config: PlanConfig, data: st.DataObject
):
    parent = build_plan(cache, config)
    if len(parent) > 1:
        steps = data.draw(st.integers(1, len(parent) - 1))
        changes = data.draw(st.sampled_from([{}, {"seed": 9}, {"token_budget": 3 * parent.row_len}, {"epochs": 5}]))
        check_child(parent, [cache], steps, tmp_path_factory.mktemp("rebase") / "plan", **changes)


def samples_by_epoch(plan: BatchPlan) -> list[np.ndarray]:
    splits = [int(plan.step_splits[epoch.first_step]) for epoch in plan.metadata.epochs]
    return np.split(plan.sample, splits[1:])


MIXES = {
    "proportional": {},
    "repeats": {"repeats": (1, 3)},
    "weights, all": {"stages": (Stage(sources=(0, 1), weights=(3, 1)),)},
    "weights, all, repeats": {"stages": (Stage(sources=(0, 1), weights=(1, 2)),), "repeats": (2, 1)},
    "weights, first": {"stages": (Stage(sources=(0, 1), weights=(1, 3), until="first"),)},
    "stages": {"stages": (Stage(sources=(0,)), Stage(sources=(0, 1), weights=(1, 4))), "repeats": (1, 2)},
    "padded": {"mode": "padded", "repeats": (2, 1)},
    "bucketed": {"mode": "bucketed", "bucket_edges": (16, 32, 64)},
    "split": {"row_len": 24, "oversize": "split", "repeats": (1, 2)},
}


@pytest.mark.slow
@pytest.mark.parametrize("mix", MIXES)
def test_several_sources_can_be_rebased_at_every_step(tmp_path: Path, mix: str):
    caches = [cache_of(LENGTHS, "a"), cache_of(MANY, "b")]
    parent = build_plan(caches, PlanConfig(**{"token_budget": 192, "row_len": 64, "epochs": 2, **MIXES[mix]}))  # pyright: ignore[reportArgumentType] # by name
    for steps in chosen(range(1, len(parent))):
        child = check_child(parent, caches, steps, tmp_path / "plan", token_budget=128)
        if "first" not in mix:
            assert all(set(epoch.tolist()) == set(range(60)) for epoch in samples_by_epoch(child))


@pytest.mark.parametrize("mix", [name for name in MIXES if name != "stages"])
def test_rows_appended_to_the_last_source_are_taken_in(tmp_path: Path, mix: str):
    caches = [cache_of(LENGTHS, "a"), cache_of(MANY, "b")]
    parent = build_plan(caches, PlanConfig(**{"token_budget": 192, "row_len": 64, "epochs": 2, **MIXES[mix]}))  # pyright: ignore[reportArgumentType] # by name
    grown = [caches[0], cache_of([*MANY, 20, 21], "b")]
    end_of_first = parent.metadata.epochs[1].first_step
    for steps in (1, end_of_first, end_of_first + 1):
        child = check_child(parent, grown, steps, tmp_path / "plan")
        first, second = (set(epoch.tolist()) for epoch in samples_by_epoch(child))
        if "first" not in mix:
            assert {60, 61} <= second and ({60, 61} <= first) == (steps == 1)
            assert child.metadata.epochs[0].absent == (None if steps == 1 else 2)


def test_what_no_child_can_have_is_refused(make_cache: Callable[..., LengthCache], plan: BatchPlan):
    caches = [cache_of(LENGTHS, "a"), cache_of(MANY, "b")]
    parent = build_plan(caches, PlanConfig(token_budget=192, row_len=64, **MIXES["stages"]))  # pyright: ignore[reportArgumentType] # by name
    in_second_stage = parent.metadata.epochs[0].stages[1].first_step + 1
    for steps, lengths, code in (
        (1, caches[:1], "LP-E133"),
        (1, [cache_of([*LENGTHS, 3], "a"), caches[1]], "LP-E134"),
        (0, caches, "LP-E134"),
        (len(parent), caches, "LP-E134"),
    ):
        with pytest.raises(PlanningError) as caught:
            rebase_plan(parent, steps, lengths)
        assert caught.value.code == code
    assert rebase_plan(parent, in_second_stage, [caches[0], cache_of([*MANY, 9], "b")])
    for name, value in (("row_len", 32), ("mode", "padded"), ("oversize", "split"), ("repeats", (2, 2)), ("align", 2)):
        with pytest.raises(PlanningError, match=f"`{name}` cannot change"):
            rebase_plan(parent, 1, caches, parent.metadata.config.model_copy(update={name: value}))
    with pytest.raises(PlanningError, match="1 epochs end before"):
        rebase_plan(plan, 6, make_cache(), plan.metadata.config.model_copy(update={"epochs": 1}))


def test_a_stage_that_was_trained_takes_no_new_rows(tmp_path: Path):
    caches = [cache_of(LENGTHS, "a"), cache_of(MANY, "b")]
    stages = (Stage(sources=(1,)), Stage(sources=(0, 1)))
    parent = build_plan(caches, PlanConfig(token_budget=192, row_len=64, stages=stages))
    grown = [caches[0], cache_of([*MANY, 9], "b")]
    second = parent.metadata.epochs[0].stages[1].first_step
    check_child(parent, grown, second - 1, tmp_path / "plan")
    with pytest.raises(PlanningError, match="stage 0 of the epoch is trained, without sample 60") as caught:
        rebase_plan(parent, second, grown)
    assert caught.value.code == "LP-E134"


def test_a_sample_of_which_a_piece_was_trained_keeps_its_length():
    lengths = [100, 20, 30, 90, 24, 7]
    parent = build_plan(cache_of(lengths), PlanConfig(token_budget=24, row_len=24, oversize="split"))
    firsts = [
        [place.span for row in parent.step(at).rows for place in row.segments if not place.sample] for at in range(6)
    ]
    steps = next(at for at, spans in enumerate(firsts, 1) if spans)
    assert (96, 100) not in firsts[steps - 1], "its last piece is still to come"
    assert rebase_plan(parent, steps, cache_of(lengths))
    for length in (99, 101, 48):
        with pytest.raises(StalePlan, match="sample 0 was trained"):
            rebase_plan(parent, steps, cache_of([length, *lengths[1:]]))


def test_the_end_of_a_truncated_sample_may_change():
    parent = build_plan(cache_of([100, 20, 90]), PlanConfig(token_budget=24, row_len=24, oversize="truncate"))
    assert rebase_plan(parent, 2, cache_of([101, 20, 80]))


@pytest.mark.parametrize("changes", [{"rows": {}}, {"h": {}}], ids=["row", "tokens"])
def test_a_trained_sample_of_other_content_is_refused(
    plan: BatchPlan, make_cache: Callable[..., LengthCache], changes: dict[str, dict[int, str]]
):
    trained, later = plan.step(0).samples[0], plan.step(3).samples[0]
    (name,) = changes
    assert rebase_plan(plan, 1, make_cache(**{name: {later: "ffffffff"}}))
    with pytest.raises(StalePlan, match=f"sample {trained} was trained") as caught:
        rebase_plan(plan, 1, make_cache(**{name: {trained: "ffffffff"}}))
    assert caught.value.code == "LP-E130"


def test_a_child_of_a_child_keeps_the_steps_of_both(tmp_path: Path):
    cache = cache_of(MANY)
    parent = build_plan(cache, PlanConfig(token_budget=256, row_len=64, epochs=2))
    child = check_child(parent, [cache], 2, tmp_path / "child", token_budget=128)
    grandchild = check_child(child, [cache], 4, tmp_path / "grandchild", token_budget=64)
    assert [grandchild.step(at) for at in range(4)] == [child.step(at) for at in range(4)]
