"""What is cut, by laws; what a cut sample's loss is, by the sample that is as short by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lazarus_models
from lazarus_models.backend import mx
from lazarus_train import DiffusionSettings
from lazarus_train.data.batches import Batch, Part, make_batch
from lazarus_train.objectives.diffusion import DiffusionObjective
from lazarus_train.objectives.truncation import truncate
from lazarus_train.preflight.inputs import check_run


def batch_of(rows: list[list[int]], numbers: list[int] | None = None) -> Batch:
    """Rows of samples of such lengths, whose labels are all but their first tokens."""
    row_len = max(map(sum, rows)) + 2
    segment_ids = np.zeros((len(rows), row_len), dtype=np.int32)
    is_label = np.zeros((len(rows), row_len), dtype=np.int32)
    parts = []
    for row, lengths in enumerate(rows):
        start = 0
        for number, length in enumerate(lengths, 1):
            end = start + length
            segment_ids[row, start:end] = number
            is_label[row, start + 1 : end] = 1
            parts.append(Part(len(parts), row, start, end, length - 1, min(start + 1, end)))
            start = end
    labels = mx.array(is_label).astype(mx.bool_)
    places = mx.array(np.flatnonzero(is_label).astype(np.int32))
    numbers = list(range(len(rows))) if numbers is None else numbers
    return Batch(mx.array(segment_ids), mx.array(segment_ids), labels, places, tuple(parts), tuple(numbers), len(rows))


ROWS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), min_size=1, max_size=4)


@settings(deadline=None)
@given(ROWS, st.floats(0, 1), st.integers(0, 2**64 - 1))
def test_a_sample_keeps_a_beginning_with_a_label_and_counts_as_much(rows, share, seed):
    batch = batch_of(rows)
    cut = truncate(batch, share, seed)
    kept, is_label, weight = (np.array(each) for each in (cut.segment_ids, cut.is_label, cut.weight))
    for part in batch.parts:
        here = np.s_[part.row, part.start : part.end]
        assert (np.diff((kept[here] != 0).astype(int)) <= 0).all()
        assert (is_label[here] <= (kept[here] != 0)).all()
        assert (weight[here] * is_label[here]).sum() == pytest.approx(part.labels, rel=1e-5)
        assert is_label[here].any() == (part.labels > 0)


@given(ROWS, st.integers(0, 2**30))
def test_a_row_is_cut_the_same_whatever_it_is_computed_with(rows, seed):
    together = truncate(batch_of(rows), 0.7, seed)
    for number, row in enumerate(rows):
        alone = truncate(batch_of([row], [number]), 0.7, seed)
        width = alone.weight.shape[1]
        assert mx.array_equal(alone.is_label[0], together.is_label[number, :width])


def test_as_many_are_cut_as_asked_and_every_length_is_as_likely():
    batch = batch_of([[6]] * 4000)
    left = np.array(truncate(batch, 0.5, 3).is_label.sum(axis=1))
    counts = np.bincount(left, minlength=6)[1:] / 4000
    assert counts == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.6], abs=0.02)  # five labels, also where none is cut
    assert (np.array(truncate(batch, 0.0, 3).is_label.sum(axis=1)) == 5).all()


def test_the_loss_of_a_cut_sample_is_that_of_one_as_short(setup):
    setup.write_rows([{"text": f"{a} and {a} make {a + a}, said she to me."} for a in range(4)])
    setup.build_plan(mode="padded", token_budget=128)
    enforced, model = check_run(setup.config()), lazarus_models.load(setup.model).model
    step = enforced.plan.step(0)
    task = DiffusionObjective(DiffusionSettings(mask_id=299, truncated_share=1.0))
    plain = DiffusionObjective(DiffusionSettings(mask_id=299, truncated_share=0.0))
    for seed in range(5):
        batch = make_batch(step.rows[:1], enforced.dataset, step.row_len)
        cut = truncate(batch, 1.0, seed)
        short = Batch(batch.ids, cut.segment_ids, cut.is_label, batch.places, batch.parts, batch.numbers, 1)
        share = batch.parts[0].labels / cut.is_label.sum().item()
        expected = plain.loss(model, plain.prepare(short, seed))[0].item() * share
        assert task.loss(model, task.prepare(batch, seed))[0].item() == pytest.approx(expected, rel=1e-5)
