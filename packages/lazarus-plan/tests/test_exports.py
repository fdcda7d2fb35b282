"""Exported files run by themselves and replay the plan to the token."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lazarus_plan import BatchPlan, LengthCache, PlanConfig, PlanCursor, build_plan, save_plan
from lazarus_plan.exports import Target, export

LENGTHS = [17, 30, 64, 5, 12, 40, 33, 9, 21, 58]


def load(target: Target) -> ModuleType:
    source = export(target)
    assert "lazarus_plan" not in source
    module = ModuleType(f"exported_{target}")
    sys.modules[module.__name__] = module
    exec(compile(source, f"<{target}>", "exec"), module.__dict__)
    return module


@pytest.fixture
def data() -> list[dict[str, list[int]]]:
    return [{"input_ids": [100 * n + token for token in range(length)]} for n, length in enumerate(LENGTHS)]


def saved(make_cache: Any, path: Path, **settings: Any) -> BatchPlan:
    cache: LengthCache = make_cache(LENGTHS)
    plan = build_plan(cache, PlanConfig(**{"token_budget": 192, "row_len": 64, "epochs": 2, **settings}))
    save_plan(plan, path)
    return plan


@pytest.mark.parametrize("settings", [{}, {"mode": "padded"}, {"row_len": 48, "oversize": "split"}], ids=str)
def test_the_places_are_those_of_the_cursor(make_cache: Any, tmp_path: Path, settings: dict[str, Any]):
    plan = saved(make_cache, tmp_path / "plan", **settings)
    for rank in range(3):
        steps = load("torch").PlanBatchSampler(str(tmp_path / "plan"), rank, 3)
        for index, share in enumerate(PlanCursor(plan, rank, 3)):
            due = [
                (s.sample, number, s.start, s.end, s.span[0] if s.span else 0)
                for number, row in enumerate(row for batch in share.micro_batches for row in batch)
                for s in row.segments
            ]
            assert [place[:5] for place in steps.step(index)] == due


def test_rows_hold_the_tokens_of_the_plan(make_cache: Any, data: Any, tmp_path: Path):
    plan = saved(make_cache, tmp_path / "plan")
    module = load("grain")
    source = module.PlanSource(str(tmp_path / "plan"), data)
    assert len(source) == len(plan)
    for index in range(len(plan)):
        batch = source[index]
        for number, row in enumerate(plan.step(index).rows):
            for at, segment in enumerate(row.segments, 1):
                where = slice(segment.start, segment.end)
                assert batch["input_ids"][number][where].tolist() == data[segment.sample]["input_ids"]
                assert set(batch["segment_ids"][number][where].tolist()) == {at}
                assert batch["position_ids"][number][where].tolist() == list(range(segment.end - segment.start))
                assert batch["labels"][number][segment.start] == -100
        assert int((batch["segment_ids"] > 0).sum()) == plan.step(index).tokens


def test_other_tokens_than_planned_are_refused(make_cache: Any, data: Any, tmp_path: Path):
    saved(make_cache, tmp_path / "plan")
    data[0]["input_ids"].pop()
    source = load("grain").PlanSource(str(tmp_path / "plan"), data)
    with pytest.raises(ValueError, match="sample 0 has other tokens than the plan"):
        list(map(source.__getitem__, range(len(source))))


def test_mlx_batches_are_rows_of_one_sample(make_cache: Any, data: Any, tmp_path: Path):
    mx = pytest.importorskip("mlx.core", reason="needs mlx")
    plan = saved(make_cache, tmp_path / "plan", mode="padded")
    batches = list(load("mlx").plan_batches(str(tmp_path / "plan"))([each["input_ids"] for each in data], 1, 64))
    assert [int(lengths[:, 1].sum()) for _, lengths in batches] == plan.tokens.tolist()
    assert isinstance(batches[0][0], mx.array)
    saved(make_cache, tmp_path / "packed")
    with pytest.raises(ValueError, match="cannot keep packed samples apart"):
        next(iter(load("mlx").plan_batches(str(tmp_path / "packed"))(data, 1, 64)))


def test_the_head_of_the_torch_file_says_what_a_batch_holds_and_how_a_model_takes_it():
    head = export("torch").partition("# For torch")[2].partition("class")[0]
    for name in (*load("torch").fill_rows([], []), "model(**batch, use_cache=False)"):
        assert name in head, name


def test_the_trl_mixin_brings_the_loader():
    assert callable(load("trl").FollowsPlan.get_train_dataloader)
