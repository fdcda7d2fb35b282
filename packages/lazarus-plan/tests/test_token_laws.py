"""The laws hold for loaders that follow a plan, and find every fault of their table."""

import importlib.util
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from lazarus_plan import BatchPlan, LengthCache, LengthRow, PlanConfig, build_plan, save_plan, testing
from lazarus_plan.exports import export
from lazarus_plan.exports.rows import PlannedBatches
from lazarus_plan.exports.steps import PlanSteps
from lazarus_plan.testing import (
    check_coverage,
    check_determinism,
    check_elastic,
    check_elastic_resume,
    check_loader,
    check_micro_batches,
    check_resume,
    check_tokens,
    numbered_tokens,
    planned_tokens,
)
from lazarus_plan.testing.token_laws import difference

_SPEC = importlib.util.spec_from_file_location("toy_loader", Path(__file__).with_name("toy_loader.py"))
assert _SPEC is not None and _SPEC.loader is not None
toys = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(toys)
FAULTS: dict[str, str] = toys.FAULTS
ToyLoader: Any = toys.ToyLoader

README = Path(__file__).parents[1] / "README.md"
PLAN, TOKENS, MASKS = toys.toy_plan()
Load = Callable[[int, int, int], Any]


def toy(fault: str = "") -> Load:
    return lambda rank, world_size, state: ToyLoader(PLAN, TOKENS, MASKS, rank, world_size, state, fault)


def sample_rows(steps: Iterable[Any]) -> list[Any]:
    return [[batch["samples"] for batch in step] for step in steps]


def by_resume(load: Load) -> None:
    check_resume(lambda next_step: load(0, 1, next_step))


def by_elastic(load: Load) -> None:
    check_elastic(PLAN, lambda rank, world_size: sample_rows(load(rank, world_size, 0)), range(1, 4))


LAWS: dict[str, Callable[[Load], None]] = {
    "check_micro_batches": partial(check_micro_batches, PLAN),
    "check_tokens": lambda load: check_tokens(PLAN, load, TOKENS, masks=MASKS),
    "check_coverage": lambda load: check_coverage(PLAN, load, TOKENS),
    "check_determinism": check_determinism,
    "check_elastic_resume": lambda load: check_elastic_resume(
        PLAN, load, TOKENS, masks=MASKS, state_of=lambda loader: loader.state
    ),
    "check_resume": by_resume,
    "check_elastic": by_elastic,
}


def found_by(fault: str) -> list[str]:
    """The laws that a loader with this fault breaks."""
    ToyLoader.shared.seed(1)
    broken: list[str] = []
    for name, law in LAWS.items():
        try:
            law(toy(fault))
        except AssertionError:
            broken.append(name)
    return broken


def table() -> str:
    lines = ["| fault | found by |", "|---|---|"]
    for fault, meant in FAULTS.items():
        names = sorted(found_by(fault), key=lambda name: (name != meant, list(LAWS).index(name)))
        lines.append(f"| {fault} | {', '.join(f'**`{name}`**' if name == meant else f'`{name}`' for name in names)} |")
    return "\n".join(lines)


def test_the_toy_plan_has_everything_that_can_go_wrong():
    segments = [segment for index in range(len(PLAN)) for row in PLAN.step(index).rows for segment in row.segments]
    assert any(segment.span is not None and segment.span[0] for segment in segments)
    assert any(len(row.segments) > 1 for row in PLAN.step(0).rows)
    assert any(row.tokens < 48 for index in range(len(PLAN)) for row in PLAN.step(index).rows)
    assert len(PLAN.metadata.epochs) == 2 and {len(PLAN.step(index).rows) for index in range(len(PLAN))} >= {2}


def test_a_loader_without_a_fault_breaks_no_law():
    assert found_by("") == []
    check_loader(PLAN, toy(), TOKENS, masks=MASKS)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_law_that_is_meant_for_a_fault_finds_it(fault: str):
    assert FAULTS[fault] in found_by(fault)


def test_the_table_is_what_the_laws_find():
    due = table()
    assert due in (testing.__doc__ or ""), due
    assert due in README.read_text("utf-8"), due


@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if FAULTS[fault] not in ("check_resume", "check_elastic_resume")]
)
def test_all_laws_together_find_what_each_finds(fault: str):
    with pytest.raises(AssertionError):
        check_loader(PLAN, toy(fault), TOKENS, masks=MASKS)


@pytest.mark.parametrize(
    ("law", "fault", "words"),
    [
        (
            "check_tokens",
            "a cut sample begins at its first token in every row",
            r"step \d+, rank 0 of 1, micro-batch \d+, row 0, token \d+: `input_ids` is \d+ \(token 0 of sample \d+\), "
            r"the plan has \d+ \(token \d\d of sample \d+; row \d+ of the plan\)",
        ),
        (
            "check_tokens",
            "padding has another id",
            r"`input_ids` is 7 .*, the plan has 0 \(padding; row \d+ of the plan\)",
        ),
        ("check_tokens", "labels ignore the loss mask", r"`labels` is \d+, the plan has -100 \(token 1 of sample \d+"),
        (
            "check_tokens",
            "all samples of a row are one segment",
            r"`segment_ids` is 1, the plan has 2 \(token 0 of sample",
        ),
        ("check_tokens", "positions run on from one sample to the next", r"`position_ids` is \d+, the plan has 0 \("),
        ("check_tokens", "every rank has all rows", r"step 0, rank 1 of 2, .*: all rows of the step were there before"),
        ("check_tokens", "a rank leaves its last row out", r"step 0: none of 1 rank has row 1 of the plan \(sample"),
        (
            "check_coverage",
            "the last token of every sample is missing",
            r"epoch 0, 1 rank: id 17 \(token 16 of sample 0\) comes 0 times, the plan has it 1 time$",
        ),
        (
            "check_coverage",
            "every rank has all rows",
            r"epoch 0, 2 ranks: id 1 \(token 0 of sample 0\) comes 2 times, the plan has it 1 time: step \d+, rank 0 of 2,"
            r" micro-batch \d, row 0; step \d+, rank 1 of 2",
        ),
        (
            "check_micro_batches",
            "a rank without rows has no micro-batch",
            r"step 0: rank 2 of 3 has 0 micro-batches, rank 0 has 1",
        ),
        ("check_micro_batches", "the last step is missing", r"rank 0 of 1 yields 7 of 8 steps"),
        (
            "check_determinism",
            "rows are drawn from a random state that all loaders share",
            r"step \d+, rank 0 of 1: another time \[0\] `input_ids` \[0\] \[\d+\] is \d+, not \d+",
        ),
        (
            "check_elastic_resume",
            "the state counts steps of all ranks together",
            r"stopped after 1 step on 1 rank, resumed on 2: rank 0 of 2 yields more than 7 steps",
        ),
        (
            "check_resume",
            "resuming leaves a step out",
            r"resumed at step 1, the loader yields another stream: has length 6, not 7",
        ),
    ],
)
def test_messages_name_the_place_and_both_values(law: str, fault: str, words: str):
    ToyLoader.shared.seed(1)
    with pytest.raises(AssertionError, match=words):
        LAWS[law](toy(fault))


def test_resuming_a_step_late_on_other_ranks_names_the_stop_and_the_row():
    def load(rank: int, world_size: int, next_step: int) -> Iterable[Any]:
        late = next_step + (world_size == 2 and 0 < next_step < len(PLAN) - 1)
        return [*toy()(rank, world_size, late), *toy()(rank, world_size, len(PLAN) - 1)][: len(PLAN) - next_step]

    check_tokens(PLAN, load, TOKENS, masks=MASKS)
    with pytest.raises(AssertionError, match=r"stopped after 1 step on 1 rank, resumed on 2: step 1, rank 0 of 2"):
        check_elastic_resume(PLAN, load, TOKENS, masks=MASKS)


def test_a_checkpoint_may_keep_any_state():
    def load(rank: int, world_size: int, state: Any) -> Any:
        return toy()(rank, world_size, state["step"] if state else 0)

    check_elastic_resume(PLAN, load, TOKENS, masks=MASKS, state_of=lambda loader: {"step": loader.state})


def test_the_steps_before_a_stop_are_compared_too():
    with pytest.raises(
        AssertionError, match=r"before the stop after 1 step: step 0, rank 1 of 2, .*: all rows of the step"
    ):
        check_elastic_resume(PLAN, toy("every rank has all rows"), TOKENS, [2], masks=MASKS, stops=[1])
    with pytest.raises(AssertionError, match=r"before the stop after 8 steps: rank 0 of 1 yields 7 steps"):
        check_elastic_resume(PLAN, toy("the last step is missing"), TOKENS, masks=MASKS, stops=[8])


@pytest.mark.parametrize("convert", [np.array, np.asarray, list, lambda rows: np.array(rows, dtype=np.int32)])
def test_a_step_may_be_one_batch_of_lists_or_arrays(convert: Callable[[Any], Any]):
    def load(rank: int, world_size: int, next_step: int) -> Iterable[Any]:
        for step in toy()(rank, world_size, next_step):
            names = ("input_ids", "position_ids", "segment_ids", "labels")
            yield {name: convert([row for batch in step for row in batch[name]]) for name in names}

    check_loader(PLAN, load, TOKENS, masks=MASKS)


def test_ranks_may_be_dealt_rows_in_any_way():
    def load(rank: int, world_size: int, next_step: int) -> Iterable[Any]:
        for step in toy()(0, 1, next_step):
            rows = [step[at : at + 1] for at in range(len(step) - 1 - rank, -1, -world_size)]
            mine = [batch for each in rows for batch in each]
            size = -(-len(step) // world_size)
            yield mine + [{name: [] for name in step[0]}] * (size - len(mine))

    check_loader(PLAN, load, TOKENS, masks=MASKS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda batch: batch.pop("labels"),
            r"step 0, rank 0 of 1, micro-batch 0: the batch has no `labels`; name in `fields`",
        ),
        (lambda batch: batch.update(labels=[[1.5] * 48]), "`labels` has the type float64, not integers"),
        (lambda batch: batch.update(labels=[[1] * 48, [1]]), "`labels` has rows of different lengths"),
        (lambda batch: batch.update(labels=[1] * 48), r"`labels` has the shape \(48,\), not \(rows, row_len\)"),
        (lambda batch: batch.update(labels=[[1] * 47]), "the arrays have different shapes"),
        (
            lambda batch: batch.update({name: [values[0][:40]] for name, values in batch.items()}),
            "row 0 has 40 tokens, the plan's rows of this step have 48",
        ),
    ],
)
def test_batches_of_another_shape_are_named(change: Callable[[Any], Any], words: str):
    def load(rank: int, world_size: int, next_step: int) -> Iterable[Any]:
        for step in toy()(rank, world_size, next_step):
            for batch in step:
                change(batch)
            yield step

    with pytest.raises(AssertionError, match=words):
        check_tokens(PLAN, load, TOKENS, masks=MASKS)


def test_fields_that_a_loader_does_not_have_are_left_out():
    def load(rank: int, world_size: int, next_step: int) -> Iterable[Any]:
        return [[{"input_ids": batch["input_ids"]} for batch in step] for step in toy()(rank, world_size, next_step)]

    check_loader(PLAN, load, TOKENS, fields=("input_ids",))
    with pytest.raises(AssertionError, match="`fields` are `input_ids` and more of"):
        check_tokens(PLAN, load, TOKENS, fields=("input_ids", "tokens"))


def test_tokens_that_do_not_fit_the_plan_are_named():
    with pytest.raises(AssertionError, match="`tokens` has 11 samples, the plan has a sample 11"):
        check_tokens(PLAN, toy(), TOKENS[:11])
    with pytest.raises(AssertionError, match=r"`masks` of sample 0 has 5 values, the plan places 0 to 17"):
        check_tokens(PLAN, toy(), TOKENS, masks=[MASKS[0][:5], *MASKS[1:]])


def test_a_stream_without_an_end_is_stopped():
    def load(rank: int, world_size: int, next_step: int) -> Iterable[Any]:
        while True:
            yield from toy()(rank, world_size, 0)

    with pytest.raises(AssertionError, match="rank 0 of 1 yields more than 8 steps"):
        check_micro_batches(PLAN, load)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"a": [1, 2]}, {"a": (1, 2)}, None),
        ({"a": np.array([1, 2])}, {"a": np.array([1, 3])}, "`a` [1] is 3, not 2"),
        ([{"a": 1}], [{"b": 1}], "[0] the names are ['b'], not ['a']"),
        ([1], [], "has length 0, not 1"),
        ("x", None, "is None, not 'x'"),
    ],
)
def test_differences_are_named(first: Any, second: Any, words: str | None):
    assert difference(first, second) == words


@pytest.mark.parametrize("micro_batches", [1, 3])
@given(drawn=planned_tokens())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exported_steps_obey_all_laws(
    tmp_path_factory: pytest.TempPathFactory, micro_batches: int, drawn: tuple[BatchPlan, list[list[int]]]
):
    plan, tokens = drawn
    masks = [[int(at % 3 > 0) for at in range(len(ids))] for ids in tokens]
    data = [{"input_ids": ids, "mask": mask} for ids, mask in zip(tokens, masks, strict=True)]
    folder = str(tmp_path_factory.mktemp("plan") / "plan")
    save_plan(plan, Path(folder))

    def load(rank: int, world_size: int, next_step: int) -> Iterable[Any]:
        batches = PlannedBatches(PlanSteps(folder, rank, world_size, micro_batches), data)
        for step in range(next_step, len(plan)):
            yield [batches[step * micro_batches + part] for part in range(micro_batches)]

    check_loader(plan, load, tokens, masks=masks)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"mode": "padded"}, {"row_len": 48, "oversize": "split"}], ids=str)
def test_the_exported_torch_loader_obeys_all_laws(tmp_path: Path, settings: dict[str, Any]):
    pytest.importorskip("torch", reason="needs torch")
    module = ModuleType("exported_torch")
    sys.modules[module.__name__] = module
    exec(compile(export("torch"), "<torch>", "exec"), module.__dict__)
    cache = LengthCache.from_rows(LengthRow(f"s{n}", length) for n, length in enumerate(toys.LENGTHS))
    plan = build_plan(cache, PlanConfig(**{"token_budget": 192, "row_len": 64, "epochs": 2, **settings}))
    save_plan(plan, tmp_path / "plan")
    data = [{"input_ids": ids, "mask": mask} for ids, mask in zip(TOKENS, MASKS, strict=True)]

    def load(rank: int, world_size: int, next_step: int) -> Iterable[Any]:
        steps = module.PlanSteps(str(tmp_path / "plan"), rank, world_size, micro_batches=2)
        return module.plan_loader(steps, data, next_step)

    check_loader(plan, load, TOKENS, masks=MASKS)


def test_a_rank_without_rows_may_take_part_with_a_row_of_padding():
    padding = {"input_ids": [[0] * 48], "position_ids": [[0] * 48], "segment_ids": [[0] * 48], "labels": [[-100] * 48]}

    def load(rank: int, world_size: int, next_step: int) -> Iterable[Any]:
        return [[*step, padding] for step in toy()(rank, world_size, next_step)]

    check_loader(PLAN, load, TOKENS, masks=MASKS)
    padding["labels"][0][5] = 0
    with pytest.raises(AssertionError, match=r"micro-batch 2, row 0: all rows of the step were there before this one"):
        check_tokens(PLAN, load, TOKENS, masks=MASKS)


def test_epochs_of_repeated_and_weighted_sources_count_their_passes():
    caches = [
        LengthCache.from_rows(LengthRow(f"{n}", length) for n, length in enumerate(each)) for each in ([9, 5], [7])
    ]
    tokens = numbered_tokens([9, 5, 7])
    plan = build_plan(caches, PlanConfig(token_budget=32, row_len=16, repeats=(1, 3)))

    def load(rank: int, world_size: int, next_step: int) -> Iterable[Any]:
        masks = [[1] * len(ids) for ids in tokens]
        return ToyLoader(plan, tokens, masks, rank, world_size, next_step)

    check_loader(plan, load, tokens)
