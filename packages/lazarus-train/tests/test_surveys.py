"""What losses take over a whole step: KTO's mismatched answers, laws of their order, and independence of how they are computed."""

import itertools
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lazarus_models
import lazarus_models.trees
from lazarus_models.backend import mx
from lazarus_plan import LengthCache, LengthRow, PlanConfig, build_plan
from lazarus_train import PreferenceSettings, train
from lazarus_train.data.dataset import Dataset
from lazarus_train.engine.evaluation import held_out, plan_held_out
from lazarus_train.errors import SetupError
from lazarus_train.objectives.base import Bindings, Group, held_out_group, make_objective, step_group
from lazarus_train.objectives.preference import PreferenceObjective
from lazarus_train.objectives.reference import ModelReference
from lazarus_train.objectives.surveys import mismatched, mismatched_batches
from lazarus_train.preflight.inputs import check_run
from suite import every_nth

PAIRS = [
    {"prompt": f"What is {a} and {b}?", "chosen": f"{a + b}.", "rejected": f"I say {a * b + 7} it is."}
    for a in range(4)
    for b in range(4)
]


def pairs(count: int) -> Dataset:
    """Pairs whose ids tell sample (hundreds), side (tens) and whether they are of prompt (1) or answer (2)."""
    ids, mask, parts, splits = [], [], {}, [0]
    for sample in range(count):
        for side in (0, 1):
            prompt, answer = 1 + sample % 3, 1 + (sample + side) % 4
            ids += [100 * sample + 10 * side + 1] * prompt + [100 * sample + 10 * side + 2] * answer
            mask += [False] * prompt + [True] * answer
            parts[sample] = (*parts.get(sample, ()), prompt + answer)
        splits.append(len(ids))
    lengths = LengthCache.from_rows(
        LengthRow(str(sample), last - first) for sample, (first, last) in enumerate(pairwise(splits))
    )
    return Dataset(lengths, np.array(ids, dtype=np.int32), np.array(mask), np.array(splits), parts)


def sides(example) -> tuple[tuple[int, int], tuple[int, int]]:
    """Sample and side of an example's prompt and of its answer."""
    prompt, answer = example.ids[~example.is_label], example.ids[example.is_label]
    assert len(set(prompt)) == len(set(answer)) == 1
    assert prompt[0] % 10 == 1
    assert answer[0] % 10 == 2
    return divmod(int(prompt[0]) // 10, 10), divmod(int(answer[0]) // 10, 10)


@given(st.permutations(range(6)).flatmap(lambda order: st.integers(2, 6).map(lambda count: order[:count])))
def test_each_prompt_gets_the_answer_before_its_own_as_trl_rotates_a_batch(samples):
    found = [sides(example) for example in mismatched(Group(0, tuple(samples)), pairs(6))]
    order = [(sample, side) for side in (0, 1) for sample in samples]
    assert [prompt for prompt, _ in found] == order
    assert [answer for _, answer in found] == [order[-1], *order[:-1]]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_no_prompt_gets_an_answer_of_its_own_sample(samples):
    """Also where a step holds a sample twice, or one alone, which borrows."""
    lender = None if len(set(samples)) > 1 else (samples[0] + 1) % 4
    for prompt, answer in map(sides, mismatched(Group(0, tuple(samples), lender), pairs(4))):
        assert prompt[0] != answer[0]


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 60), st.integers(2, 6))
def test_ranks_and_batches_share_the_examples_out_whole(size, tokens, count):
    dataset, group = pairs(count), Group(0, tuple(range(count)))
    examples = mismatched(group, dataset)
    seen = []
    for rank in range(size):
        for batch in mismatched_batches(group, dataset, tokens, rank, size):
            assert batch.ids.size <= tokens or len(batch.parts) == 1
            for part in batch.parts:
                assert np.array_equal(np.array(batch.ids)[part.row, : part.end], examples[part.sample].ids)
                assert part.labels == examples[part.sample].is_label.sum()
                seen.append(part.sample)
    assert sorted(seen) == list(range(len(examples)))


@pytest.mark.parametrize("budget", [13, 39])
def test_the_group_of_a_step_is_its_samples_in_the_order_of_rows_and_a_lone_one_has_a_lender(budget):
    dataset = pairs(7)
    plan = build_plan(dataset.lengths, PlanConfig(token_budget=budget, row_len=13, epochs=2))
    for index in range(len(plan)):
        group = step_group(plan, index)
        assert group.samples == tuple(segment.sample for row in plan.step(index).rows for segment in row.segments)
        assert (group.lender is None) == (len(set(group.samples)) > 1)
        assert group.lender not in group.samples
    assert held_out_group(plan).samples == tuple(range(7))
    assert budget > 13 or any(step_group(plan, index).lender is not None for index in range(len(plan)))


@pytest.mark.parametrize("loss", ["dpo", "ipo", "hinge", "kto", "kto_pair"])
def test_a_held_out_loss_does_not_depend_on_rows_at_once(setup, loss, monkeypatch):
    setup.write_rows(PAIRS)
    setup.build_plan(token_budget=192, row_len=96)
    lm, other = lazarus_models.load(setup.model), lazarus_models.load(setup.model)
    moved = {name: 1.3 * each for name, each in lazarus_models.trees.weights(other.model).items()}
    lazarus_models.trees.set_weights(other.model, moved)
    dataset = check_run(setup.config(objective={"kind": "preference"})).dataset
    objective = make_objective(PreferenceSettings(loss=loss))
    task, found = objective.bind(Bindings(dataset, lm.tokenizer, None, ModelReference(other.model))), []
    for rows in (1, 3, 16):
        monkeypatch.setattr("lazarus_train.engine.evaluation.ROWS_AT_ONCE", rows)
        result = held_out(lm.model, task, plan_held_out(dataset, objective, lm.tokenizer, "data"))
        found.append([result.loss, *result.metrics.values()])
    assert np.allclose(found, found[0], rtol=1e-5, atol=1e-6)
    assert loss != "kto" or result.metrics["kl"] > 0


def test_a_kto_run_computes_the_reference_of_every_step_and_resumes(setup):
    setup.write_rows(PAIRS)
    setup.build_plan(token_budget=192, row_len=96, epochs=2)
    objective = {"kind": "preference", "loss": "kto"}
    train(setup.config("cached", objective=objective, max_steps=4))
    train(setup.config("copy", objective=objective | {"reference": "copy"}, max_steps=4))
    ours, theirs = (read_losses(setup.folder / name) for name in ("cached", "copy"))
    assert ours == pytest.approx(theirs, rel=1e-5)
    train(setup.config("cached", objective=objective, max_steps=6))  # more steps than the table was made for
    train(setup.config("straight", objective=objective, max_steps=6))
    assert read_losses(setup.folder / "cached") == read_losses(setup.folder / "straight")


def test_a_step_of_one_pair_borrows_and_one_pair_alone_is_refused(setup):
    setup.write_rows(PAIRS[:2])
    setup.build_plan(token_budget=64, row_len=64)
    objective = {"kind": "preference", "loss": "kto"}
    train(setup.config(objective=objective))
    assert read_losses(setup.folder / "run")[0] == pytest.approx(1.0, abs=1e-6)
    setup.write_rows(PAIRS[:1])
    setup.build_plan(token_budget=64, row_len=64)
    with pytest.raises(SetupError, match="needs another one's answer"):
        train(setup.config("other", objective=objective))


@pytest.mark.parametrize(("loss", "micro_rows"), every_nth(itertools.product(["kto", "kto_pair"], [1, 2]), 3))
def test_a_run_does_not_depend_on_micro_batches(setup, loss, micro_rows):
    setup.write_rows(PAIRS)
    setup.build_plan(token_budget=96 * 4, row_len=96)
    objective = {"kind": "preference", "loss": loss}
    for name, rows in (("whole", None), ("parts", micro_rows)):
        train(setup.config(name, objective=objective, micro_rows=rows, max_steps=3))
    assert read_losses(setup.folder / "parts") == pytest.approx(read_losses(setup.folder / "whole"), rel=1e-5)


def read_losses(run: Path) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def test_the_point_carries_no_gradient(setup):
    """Whoever differentiates through a survey by mistake gets nothing for it."""
    setup.write_rows(PAIRS)
    setup.build_plan(token_budget=192, row_len=96)
    dataset = check_run(setup.config(objective={"kind": "preference"})).dataset
    task = PreferenceObjective(PreferenceSettings(loss="kto"), dataset, ModelReference(None))

    def point(ratio):
        return task.survey.settle(Group(0, (0, 1)), {"ratio": ratio, "examples": mx.array(4.0)})["point"]

    assert point(mx.array(8.0)).item() == 2.0
    assert point(mx.array(-8.0)).item() == 0.0
    assert mx.grad(point)(mx.array(8.0)).item() == 0.0
