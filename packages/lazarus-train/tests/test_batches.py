import numpy as np
import pytest

from lazarus_plan import PlanCursor
from lazarus_plan.errors import StalePlan
from lazarus_train.data.batches import PADDING, make_batch, row_digests
from lazarus_train.preflight.inputs import check_run


def test_every_token_of_a_step_stands_where_the_plan_says(setup):
    enforced = check_run(setup.config())
    for share in PlanCursor(enforced.plan):
        batch = make_batch(share.step.rows, enforced.dataset, share.step.row_len)
        assert int((np.array(batch.segment_ids) != PADDING).sum()) == share.step.tokens
        for place, row in enumerate(share.step.rows):
            for number, segment in enumerate(row.segments, 1):
                where = slice(segment.start, segment.end)
                ids, _ = enforced.dataset.sample(segment.sample)
                assert batch.ids[place, where].tolist() == ids.tolist()
                assert set(batch.segment_ids[place, where].tolist()) == {number}
                assert not batch.is_label[place, segment.start].item()


def test_the_labels_of_a_step_are_those_of_its_batches(setup):
    for policy in ("truncate", "split"):
        setup.build_plan(row_len=16, oversize=policy)
        enforced = check_run(setup.config())
        for share in PlanCursor(enforced.plan):
            batch = make_batch(share.step.rows, enforced.dataset, share.step.row_len)
            assert int(batch.is_label.sum().item()) == enforced.units[share.step.index]


def test_a_span_is_that_part_of_the_sample(setup):
    setup.build_plan(row_len=16, oversize="split", epochs=1)
    enforced = check_run(setup.config())
    spans = [segment for share in PlanCursor(enforced.plan) for row in share.step.rows for segment in row.segments]
    whole = {sample: [] for sample in range(len(enforced.dataset))}
    for segment in sorted(spans, key=lambda segment: (segment.sample, segment.span or (0, 0))):
        whole[segment.sample] += enforced.dataset.sample(segment.sample, segment.span)[0].tolist()
    assert all(ids == enforced.dataset.sample(sample)[0].tolist() for sample, ids in whole.items())


def test_a_length_that_is_not_the_plans_is_refused(setup):
    enforced = check_run(setup.config())
    row = enforced.plan.step(0).rows[0]
    longer = row._replace(segments=(row.segments[0]._replace(end=row.segments[0].end + 1),))
    with pytest.raises(StalePlan, match=f"sample {row.segments[0].sample} has"):
        make_batch([longer], enforced.dataset, 96)


def test_one_other_token_is_another_digest(setup):
    enforced = check_run(setup.config())
    rows = enforced.plan.step(0).rows
    before = row_digests(rows, enforced.dataset)
    enforced.dataset.ids[int(enforced.dataset.splits[rows[0].segments[0].sample])] += 1
    after = row_digests(rows, enforced.dataset)
    assert before[0] != after[0]
    assert before[1:] == after[1:]
