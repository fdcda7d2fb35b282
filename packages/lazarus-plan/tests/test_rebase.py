"""A child keeps the trained steps to the byte, and every sample stands as often as it should."""

import hashlib
import json
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
from lazarus_plan.errors import CorruptPlan, PlanningError, StalePlan
from lazarus_plan.format import encode_step
from lazarus_plan.numbering import Numbering
from lazarus_plan.report.explain import explain_sample
from lazarus_plan.testing import length_caches, plan_configs
from lazarus_plan.verify import verify_plan
from suite import chosen, examples

LENGTHS = [17, 30, 64, 5, 12, 40, 33, 9, 21, 58, 3, 47, 26, 11, 62, 8, 19, 35, 44, 14]
MANY = [1 + 7 * n % 60 for n in range(40)]


def cache_of(lengths: list[int], name: str = "lengths", *, digests: bool = False) -> LengthCache:
    def about(number: int) -> dict[str, str]:
        digest = hashlib.sha256(f"{name}{number}".encode()).hexdigest()
        return {"h": digest[:8], "row": digest[8:16]} if digests else {}

    rows = [LengthRow(f"{name}{n}", length, **about(n)) for n, length in enumerate(lengths)]  # pyright: ignore[reportArgumentType] # by name
    return LengthCache.from_rows(rows, name=name)


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


@pytest.mark.parametrize("more", [(0, 2), (2, 0), (1, 1)], ids=["last", "first", "both"])
@pytest.mark.parametrize("mix", [name for name in MIXES if name != "stages"])
def test_rows_appended_to_any_source_are_taken_in(tmp_path: Path, mix: str, more: tuple[int, int]):
    caches = [cache_of(LENGTHS, "a"), cache_of(MANY, "b")]
    parent = build_plan(caches, PlanConfig(**{"token_budget": 192, "row_len": 64, "epochs": 2, **MIXES[mix]}))  # pyright: ignore[reportArgumentType] # by name
    grown = [cache_of([*LENGTHS, 20, 21][: 20 + more[0]], "a"), cache_of([*MANY, 20, 21][: 40 + more[1]], "b")]
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


@st.composite
def grown_sources(draw: st.DrawFn) -> tuple[list[LengthCache], list[list[LengthCache]]]:
    """Two or three sources, and twice the same sources with rows appended to some of them."""
    longest = st.integers(1, 40)
    lengths = draw(st.lists(st.lists(longest, min_size=1, max_size=12), min_size=2, max_size=3))
    stages = [lengths]
    for _ in range(2):
        stages.append([[*each, *draw(st.lists(longest, max_size=3))] for each in stages[-1]])
    digests = draw(st.booleans())
    first, *later = (
        [cache_of(each, f"s{number}-", digests=digests) for number, each in enumerate(stage)] for stage in stages
    )
    return first, later


def rows_of(plan: BatchPlan, step: int) -> list[list[tuple[tuple[int, int], int, int, object]]]:
    """Source and position, place and span of every sample of a step, row by row."""
    numbering = Numbering.of_plan(plan.metadata)
    return [
        [(numbering.place(each.sample), each.start, each.end, each.span) for each in row.segments]
        for row in plan.step(step).rows
    ]


@settings(max_examples=examples(60))
@given(grown_sources(), plan_configs(40), st.data())
def test_rows_can_be_appended_to_any_sources_again_and_again(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: tuple[list[LengthCache], list[list[LengthCache]]],
    config: PlanConfig,
    data: st.DataObject,
):
    caches, later = drawn
    plan = build_plan(caches, config)
    for grown in later:
        steps = data.draw(st.integers(1, len(plan) - 1)) if len(plan) > 1 else 0
        if not steps:
            return
        parent, plan = plan, check_child(plan, grown, steps, tmp_path_factory.mktemp("grown") / "plan")
        assert [rows_of(plan, at) for at in range(steps)] == [rows_of(parent, at) for at in range(steps)]
        numbering = Numbering.of_plan(plan.metadata)
        assert plan.metadata.plan_format_version == (2 if numbering.stored is None else 3)
        placed = set(
            zip(numbering.source_of(plan.sample).tolist(), numbering.position_of(plan.sample).tolist(), strict=True)
        )
        every = {(source, position) for source, cache in enumerate(grown) for position in range(len(cache))}
        assert placed == every
        lengths = {place: int(grown[place[0]].length[place[1]]) for place in every}
        for at in range(len(plan)):
            for row in rows_of(plan, at):
                for place, start, end, span in row:
                    assert end - start == lengths[place] or (span is not None and end - start <= lengths[place])


def test_a_plan_whose_last_source_grew_has_the_format_of_before(tmp_path: Path):
    caches = [cache_of(LENGTHS, "a"), cache_of(MANY, "b")]
    parent = build_plan(caches, PlanConfig(token_budget=192, row_len=64))
    last = rebase_plan(parent, 1, [caches[0], cache_of([*MANY, 9], "b")])
    assert (last.metadata.plan_format_version, last.metadata.numbering) == (2, None)
    first = check_child(parent, [cache_of([*LENGTHS, 9], "a"), caches[1]], 1, tmp_path / "child")
    assert (first.metadata.plan_format_version, first.metadata.numbering) == (3, ((0, 20), (1, 40), (0, 1)))
    both = [cache_of([*LENGTHS, 9, 8], "a"), cache_of([*MANY, 7], "b")]
    again = check_child(first, both, 2, tmp_path / "grandchild")
    assert again.metadata.numbering == ((0, 20), (1, 40), (0, 2), (1, 1))
    assert explain_sample(again, 61)["source"] == "a"
    assert explain_sample(again, 61)["position"] == 21


EDITS = {
    "belongs to plan format 3": {"plan_format_version": 2},
    "is empty, or of a source": {"numbering": [[0, 20], [1, 40], [2, 1]]},
    "empty, or of": {"numbering": [[0, 20], [1, 40], [0, 1], [1, 0]]},
    "are not the rows of": {"numbering": [[0, 20], [1, 40], [0, 2]]},
    "not in its shortest form": {"numbering": [[0, 20], [1, 39], [1, 1], [0, 1]]},
    "`plan_id` does not match": {"numbering": [[0, 19], [1, 40], [0, 2]]},
}


@pytest.mark.parametrize("message", EDITS)
def test_ranges_that_were_edited_are_refused(tmp_path: Path, message: str):
    caches = [cache_of(LENGTHS, "a"), cache_of(MANY, "b")]
    parent = build_plan(caches, PlanConfig(token_budget=192, row_len=64))
    save_plan(rebase_plan(parent, 1, [cache_of([*LENGTHS, 9], "a"), caches[1]]), tmp_path / "plan")
    document = tmp_path / "plan/metadata.json"
    members = json.loads(document.read_bytes()) | EDITS[message]
    if message.startswith("`plan_id`"):
        members["sources"][1]["offset"] = 19
    document.write_text(json.dumps(members, indent=2) + "\n", "utf-8")
    with pytest.raises(CorruptPlan, match=message) as caught:
        load_plan(tmp_path / "plan")
    assert caught.value.code == "LP-E151"
