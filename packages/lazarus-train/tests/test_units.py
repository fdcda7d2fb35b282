import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan import PlanConfig, build_plan
from lazarus_plan.report.summary import lost_answers, receipt
from lazarus_tokenkit import Encoder, FieldNames, load_tokenizer
from lazarus_train.data.dataset import Dataset, read_dataset
from lazarus_train.objectives.causal import CausalObjective
from lazarus_train.objectives.loss_normalizer import lost_labels

ENCODER = Encoder(load_tokenizer("byte"), "plain")


def read(path: Path, sizes: list[tuple[int, int]]) -> Dataset:
    """Samples of so many letters in prompt and answer."""
    rows = [{"prompt": "p" * before, "completion": "c" * after} for before, after in sizes]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return read_dataset(path, ENCODER, FieldNames())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("units")


@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), min_size=1, max_size=12),
    oversize=st.sampled_from(["truncate", "split"]),
)
def test_samples_without_labels_left_are_those_whose_pieces_have_none(
    folder: Path, sizes: list[tuple[int, int]], oversize: str
):
    dataset = read(folder / "rows.jsonl", sizes)
    plan = build_plan(
        dataset.lengths, PlanConfig.model_validate({"token_budget": 64, "row_len": 16, "oversize": oversize})
    )
    left = dict.fromkeys(range(len(sizes)), 0)
    for sample, start, length in zip(plan.sample.tolist(), plan.span_start.tolist(), plan.length.tolist(), strict=True):
        start = max(start, 0)
        left[sample] += int(dataset.sample(sample)[1][start + 1 : start + length].sum())
    lost = [sample for sample, labels in left.items() if labels == 0]
    assert lost_labels(plan, dataset).tolist() == lost
    if oversize == "truncate":  # one answer at the end: what the receipt counts from the lengths alone
        assert lost_answers(plan, [dataset.lengths]) == len(lost)


def test_the_trainer_and_the_receipt_name_samples_that_lost_their_answers(
    folder: Path, caplog: pytest.LogCaptureFixture
):
    dataset = read(folder / "cut.jsonl", [(3, 2), (60, 2), (3, 2), (60, 2)])
    plan = build_plan(dataset.lengths, PlanConfig(token_budget=128, row_len=32, oversize="truncate"))
    CausalObjective().loss_normalizer(plan, dataset)
    assert "cuts off every token that carries loss of 2 of 4 samples, the first sample 1 of" in caplog.text
    assert "lost      the answers of 2 cut samples" in receipt(plan, [dataset.lengths])
    assert "lost" not in receipt(plan)


def test_nothing_is_said_where_answers_are_left(folder: Path, caplog: pytest.LogCaptureFixture):
    dataset = read(folder / "kept.jsonl", [(3, 2), (20, 50)])
    plan = build_plan(dataset.lengths, PlanConfig(token_budget=64, row_len=32, oversize="truncate"))
    CausalObjective().loss_normalizer(plan, dataset)
    assert not caplog.text and "lost" not in receipt(plan, [dataset.lengths])
    assert np.array_equal(lost_labels(plan, dataset), [])
