"""Mode stable: an edited, added or removed sample changes few steps."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from lazarus_plan import (
    BatchPlan,
    LengthCache,
    LengthRow,
    PlanConfig,
    build_plan,
    diff_plans,
    load_plan,
    rebase_plan,
    save_plan,
)
from lazarus_plan.errors import PlanningError

Rows = list[tuple[int, int]]
CONFIG = PlanConfig(token_budget=2048, row_len=512, mode="stable")


def rows_of(count: int, seed: int = 0) -> Rows:
    """Lengths and contents of samples."""
    drawn = random.Random(seed)
    return [(drawn.randint(5, 400), drawn.getrandbits(32)) for _ in range(count)]


def plan_of(rows: Rows, config: PlanConfig = CONFIG, *, has_digests: bool = True) -> BatchPlan:
    digests = [f"{content:08x}" if has_digests else None for _, content in rows]
    lines = (LengthRow(f"s{digest or n}", rows[n][0], h=digest, row=digest) for n, digest in enumerate(digests))
    return build_plan(LengthCache.from_rows(lines), config)


ROWS = rows_of(1000)
EDITS: dict[str, Callable[[Rows], Rows]] = {
    "a row edited": lambda rows: [*rows[:500], (rows[500][0] + 9, 77), *rows[501:]],
    "a row added at the end": lambda rows: [*rows, (99, 78)],
    "a row added in front": lambda rows: [(99, 79), *rows],
    "a row removed from the middle": lambda rows: rows[:500] + rows[501:],
    "two rows exchanged": lambda rows: [rows[1], rows[0], *rows[2:]],
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_the_steps_of_two_chunks_at_most(name: str):
    plan, edited = plan_of(ROWS), plan_of(EDITS[name](ROWS))
    chunks = 1 << (int(plan.tokens.sum()) // (4 * CONFIG.token_budget)).bit_length() - 1
    kept = diff_plans(plan, edited)["kept_steps"]
    assert chunks == 16 and len(edited) - kept <= 2 * -(-len(plan) // chunks) + 4
    packed = CONFIG.model_copy(update={"mode": "packed"})
    assert (
        diff_plans(plan_of(ROWS, packed), plan_of(EDITS[name](ROWS), packed))["kept_steps"] < kept
        or "exchanged" in name
    )


@pytest.mark.parametrize("has_digests", [True, False])
def test_the_order_of_the_data_is_not_the_order_of_the_plan(has_digests: bool):
    plan = plan_of(ROWS, has_digests=has_digests)
    first = sorted(plan.step(0).samples)
    assert first[-1] - first[0] > 500
    assert plan_of(ROWS, has_digests=has_digests).plan_id == plan.plan_id
    assert plan_of(ROWS, CONFIG.model_copy(update={"seed": 1})).plan_id != plan.plan_id


def test_padding_costs_little(tmp_path: Path):
    stable, packed = (plan_of(rows_of(5000), CONFIG.model_copy(update={"mode": mode})) for mode in ("stable", "packed"))
    rows = [sum(len(plan.step(index).rows) for index in range(len(plan))) for plan in (stable, packed)]
    assert rows[1] <= rows[0] <= 1.05 * rows[1]
    save_plan(stable, tmp_path / "plan")
    assert load_plan(tmp_path / "plan").plan_id == stable.plan_id


def test_epochs_have_other_orders_and_a_window_sets_the_chunk():
    plan = plan_of(ROWS, CONFIG.model_copy(update={"epochs": 2}))
    half = plan.metadata.epochs[1].first_step
    assert plan.step(0).samples != plan.step(half).samples
    assert len(plan_of(ROWS, CONFIG.model_copy(update={"window": 10}))) > len(plan_of(ROWS))


def test_equal_samples_keep_the_order_of_the_data():
    rows = [(40, 7)] * 30
    lines = [LengthRow(f"s{n}", length, h="00000007", row="00000007") for n, (length, _) in enumerate(rows)]
    plan = build_plan(LengthCache.from_rows(lines), CONFIG)
    assert sorted(sample for step in map(plan.step, range(len(plan))) for sample in step.samples) == list(range(30))


def test_a_row_length_must_be_given():
    with pytest.raises(PlanningError, match="`mode` stable needs `row_len`"):
        plan_of(ROWS, CONFIG.model_copy(update={"row_len": None}))


def test_what_needs_whole_passes_is_refused():
    with pytest.raises(ValueError, match="`repeats` have no effect"):
        PlanConfig(token_budget=64, row_len=64, mode="stable", repeats=(2,))


def test_the_rest_of_a_stable_plan_is_planned_anew():
    caches = [
        LengthCache.from_rows(LengthRow(f"s{n}", length) for n, (length, _) in enumerate(rows_of(count)))
        for count in (60, 70)
    ]
    child = rebase_plan(build_plan(caches[0], CONFIG), 2, caches[1])
    placed = sorted(sample for step in map(child.step, range(len(child))) for sample in step.samples)
    assert placed == list(range(70))
