from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_plan import (
    BatchPlan,
    LengthCache,
    LengthRow,
    LengthsHeader,
    PlanConfig,
    Stage,
    build_plan,
    load_plan,
    save_plan,
    validate,
)
from lazarus_plan.errors import PlanningError
from lazarus_plan.packing.mixture import schedule
from lazarus_plan.report import count_mixture
from suite import examples

weights = st.lists(st.integers(1, 50), min_size=1, max_size=8)


@settings(max_examples=examples(300))
@given(weights, st.integers(1, 400))
def test_every_prefix_keeps_the_weights_to_less_than_a_row(weights: list[int], total: int):
    order = schedule(weights, total)
    counts = np.cumsum(order[:, None] == np.arange(len(weights)), axis=0)
    for source, weight in enumerate(weights):
        share = Fraction(weight, sum(weights))
        assert all(abs(int(count) - n * share) < 1 for n, count in enumerate(counts[:, source], 1))


def caches(*sizes: int) -> list[LengthCache]:
    return [
        LengthCache.from_rows((LengthRow(f"{source}-{n}", 5 + n * 7 % 30) for n in range(size)), name=f"source{source}")
        for source, size in enumerate(sizes)
    ]


@given(st.lists(st.sampled_from(["absent", "sha256:a", "sha256:b"]), min_size=1, max_size=5))
def test_a_plan_has_one_tokenizer(tokenizers: list[str]):
    sources = [
        LengthCache.from_rows([LengthRow(f"{n}", 8)], LengthsHeader(1, tokenizer=each), name=f"source{n}")
        for n, each in enumerate(tokenizers)
    ]
    if {"sha256:a", "sha256:b"} <= set(tokenizers):
        with pytest.raises(
            PlanningError, match=r"source\d and source\d were measured with different tokenizers"
        ) as error:
            build_plan(sources, PlanConfig(token_budget=16))
        assert error.value.code == "LP-E135"
    else:
        assert build_plan(sources, PlanConfig(token_budget=16)).metadata.epochs[0].steps > 0


def times(plan: BatchPlan, epoch: int) -> Counter[int]:
    about = plan.metadata.epochs[epoch]
    steps = range(about.first_step, about.first_step + about.steps)
    return Counter(sample for index in steps for sample in plan.step(index).samples)


@pytest.mark.parametrize("mode", ["packed", "padded"])
def test_each_source_is_seen_as_often_as_asked(mode: str, tmp_path: Path):
    config = PlanConfig(token_budget=128, row_len=64, epochs=2, repeats=(1, 3), mode=mode)  # pyright: ignore[reportArgumentType] # one of Mode
    plan = build_plan(caches(20, 10), config)
    assert times(plan, 0) == times(plan, 1) == Counter({n: 1 if n < 20 else 3 for n in range(30)})
    save_plan(plan, tmp_path / "plan")
    assert load_plan(tmp_path / "plan").plan_id == plan.plan_id


def test_weights_hold_at_every_step(tmp_path: Path):
    config = PlanConfig(token_budget=256, row_len=64, stages=(Stage(sources=(0, 1), weights=(3, 1)),))
    plan = build_plan(caches(200, 200), config)
    rows = np.zeros(2, dtype=int)
    for index in range(len(plan)):
        for row in plan.step(index).rows:
            rows[int(row.segments[0].sample >= 200)] += 1
        assert abs(rows[0] - rows.sum() * 3 / 4) < 1
    save_plan(plan, tmp_path / "plan")
    assert not [finding for finding in validate(tmp_path / "plan") if finding.is_error]


@pytest.mark.parametrize("until", ["all", "first"])
def test_weights_say_when_an_epoch_ends(until: str, tmp_path: Path):
    stage = Stage(sources=(0, 1), weights=(1, 1), until=until)  # pyright: ignore[reportArgumentType] # one of Until
    plan = build_plan(caches(100, 20), PlanConfig(token_budget=128, row_len=64, stages=(stage,)))
    seen = times(plan, 0)
    if until == "all":
        assert set(seen) == set(range(120)) and max(seen.values()) > 1
    else:
        assert all(seen[n] == 1 for n in range(100, 120)) and len(seen) < 120
    save_plan(plan, tmp_path / "plan")
    assert load_plan(tmp_path / "plan").plan_id == plan.plan_id


def test_stages_follow_one_another(tmp_path: Path):
    config = PlanConfig(token_budget=128, row_len=64, stages=(Stage(sources=(1,)), Stage(sources=(0, 1))))
    plan = build_plan(caches(20, 10), config)
    first, second = plan.metadata.epochs[0].stages
    assert first.first_step + first.steps == second.first_step
    assert all(sample >= 20 for index in range(first.steps) for sample in plan.step(index).samples)
    assert times(plan, 0) == Counter({n: 1 if n < 20 else 2 for n in range(30)})
    save_plan(plan, tmp_path / "plan")
    assert load_plan(tmp_path / "plan").plan_id == plan.plan_id


@pytest.mark.parametrize(
    "changes", [{"stages": (Stage(sources=(0,)),)}, {"stages": (Stage(sources=(0, 1, 2)),)}, {"repeats": (1,)}], ids=str
)
def test_sources_that_do_not_match_are_refused(changes: dict[str, object]):
    with pytest.raises(PlanningError) as caught:
        build_plan(caches(5, 5), PlanConfig(token_budget=64, **changes))  # pyright: ignore[reportArgumentType] # by name
    assert caught.value.code == "LP-E133"


def plain_counts(plan: BatchPlan) -> list[tuple[Counter[int], Counter[int]]]:
    """Rows and tokens of each source in every step, counted row by row."""
    found: list[tuple[Counter[int], Counter[int]]] = []
    ends = [source.offset + source.count for source in plan.metadata.sources]
    for index in range(len(plan)):
        rows, tokens = Counter[int](), Counter[int]()
        for row in plan.step(index).rows:
            sources = {next(n for n, end in enumerate(ends) if segment.sample < end) for segment in row.segments}
            (source,) = sources  # a row has samples of one source
            rows[source] += 1
            tokens[source] += row.tokens
        found.append((rows, tokens))
    return found


TWO_STAGES = (Stage(sources=(2, 0), weights=(1, 3), until="first"), Stage(sources=(0, 1, 2)))


@pytest.mark.parametrize(
    "config",
    [
        PlanConfig(token_budget=128, row_len=64, epochs=2, stages=(Stage(sources=(0, 1, 2), weights=(5, 2, 1)),)),
        PlanConfig(token_budget=192, row_len=64, epochs=2, stages=TWO_STAGES),
        PlanConfig(token_budget=192, row_len=64, repeats=(1, 3, 2)),
        PlanConfig(token_budget=192, row_len=64, mode="padded"),
        PlanConfig(token_budget=192, mode="bucketed", bucket_edges=(16, 48)),
        PlanConfig(token_budget=192, row_len=32, oversize="split"),
    ],
    ids=["weights", "two stages", "repeats", "padded", "bucketed", "split"],
)
def test_the_mixture_of_a_step_is_its_rows_and_tokens(config: PlanConfig):
    plan = build_plan(caches(30, 11, 17), config)
    counted = list(count_mixture(plan))
    assert len(counted) == len(plan)
    seen_rows, seen_tokens = Counter[int](), Counter[int]()
    for step, (rows, tokens) in zip(counted, plain_counts(plan), strict=True):
        seen_rows += rows
        seen_tokens += tokens
        for found, expected in (
            (step.rows, rows),
            (step.tokens, tokens),
            (step.seen_rows, seen_rows),
            (step.seen_tokens, seen_tokens),
        ):
            assert list(found) == [expected[source] for source in range(3)]
        assert sum(step.due_rows) == pytest.approx(sum(step.seen_rows))
        if len(config.stages) == 1 and config.mode == "packed":
            assert all(abs(seen - due) < 1 for seen, due in zip(step.seen_rows, step.due_rows, strict=True))
            assert step.asked == (5, 2, 1)
    last = plan.metadata.epochs[-1].stages[-1]
    assert counted[-1].asked == ((5, 2, 1) if len(config.stages) == 1 else last.rows)
    for begin in range(len(plan) + 1):
        assert list(count_mixture(plan, begin)) == counted[begin:]


def test_a_source_outside_the_stage_is_asked_for_nothing():
    plan = build_plan(caches(30, 11, 17), PlanConfig(token_budget=192, row_len=64, stages=TWO_STAGES))
    first, second = plan.metadata.epochs[0].stages
    counted = list(count_mixture(plan))
    assert {step.asked for step in counted[: first.steps]} == {(3, 0, 1)}
    assert {step.asked for step in counted[first.steps :]} == {second.rows}
    assert counted[first.steps - 1].due_rows[1] == 0 < counted[-1].due_rows[1]
