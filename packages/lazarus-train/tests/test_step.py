"""Law 2 (accumulation = one big batch) and law 6 (packing changes nothing), through the trainer's own code."""

import pytest

import lazarus_models
from lazarus_models.backend import mx
from lazarus_models.trees import flatten
from lazarus_plan import PlanCursor, load_plan
from lazarus_plan.plan import Row, Segment
from lazarus_train.data.batches import make_batch
from lazarus_train.engine.gradients import LossGradients
from lazarus_train.engine.step import compute_gradients
from lazarus_train.objectives.causal import CausalObjective
from lazarus_train.preflight.inputs import check_run


def causal_loss(model, batch):
    return CausalObjective().loss(model, batch)


def gradients(setup, micro_rows, step=0):
    enforced = check_run(setup.config())
    share = PlanCursor(enforced.plan, micro_rows=micro_rows).share(step)
    batches = [make_batch(rows, enforced.dataset, share.step.row_len) for rows in share.micro_batches]
    model = lazarus_models.load(setup.model).model
    return compute_gradients(model, LossGradients(causal_loss), batches, int(enforced.units[step]), 1e9), len(batches)


def assert_close(first, second, tolerance):
    assert first.loss == pytest.approx(second.loss, rel=tolerance)
    assert first.norm == pytest.approx(second.norm, rel=tolerance * 10)
    ours, theirs = flatten(first.tree), flatten(second.tree)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert mx.abs(ours[name] - theirs[name]).max().item() < tolerance, name


def test_micro_batches_are_one_batch(setup):
    setup.build_plan(token_budget=96 * 5)
    whole, _ = gradients(setup, None)
    for micro_rows in (1, 2, 3):
        parts, count = gradients(setup, micro_rows)
        assert count > 1
        assert_close(parts, whole, 1e-6)


def test_two_packed_samples_have_the_loss_and_gradients_they_have_alone(setup):
    dataset = check_run(setup.config()).dataset
    model = lazarus_models.load(setup.model).model
    first, second = (int(length) for length in dataset.lengths.length[:2])
    packed = Row((Segment(0, 0, first), Segment(1, first, first + second)))
    alone = [Row((Segment(0, 0, first),)), Row((Segment(1, 0, second),))]
    labels = sum(int(dataset.sample(sample)[1][1:].sum()) for sample in (0, 1))
    together = compute_gradients(model, LossGradients(causal_loss), [make_batch([packed], dataset, 96)], labels, 1e9)
    apart = compute_gradients(
        model, LossGradients(causal_loss), [make_batch([row], dataset, 64) for row in alone], labels, 1e9
    )
    assert_close(together, apart, 1e-5)


@pytest.mark.parametrize("family", ["mamba", "jamba", "granitemoehybrid", "llama4_text"])
def test_padded_rows_of_a_model_with_state_have_the_gradients_of_unpadded_ones(family, setup, real_data):
    dataset = check_run(setup.config()).dataset
    model = lazarus_models.load(real_data / "models/families" / family).model
    assert not model.config.supports_packing
    rows = [Row((Segment(sample, 0, int(dataset.lengths.length[sample])),)) for sample in (0, 1)]
    labels = sum(int(dataset.sample(sample)[1][1:].sum()) for sample in (0, 1))
    together = compute_gradients(model, LossGradients(causal_loss), [make_batch(rows, dataset, 64)], labels, 1e9)
    exact = [make_batch([row], dataset, row.tokens) for row in rows]
    apart = compute_gradients(model, LossGradients(causal_loss), exact, labels, 1e9)
    assert_close(together, apart, 1e-5 * max(1.0, apart.norm / 10))  # the gradients of random weights are large


def test_a_prompt_decides_the_answer_but_carries_no_loss_of_its_own(setup):
    dataset = check_run(setup.config()).dataset
    length = int(dataset.lengths.length[0])
    batch = make_batch([Row((Segment(0, 0, length),))], dataset, 96)
    labels = batch.is_label[0].tolist()
    ids, loss_mask = dataset.sample(0)
    assert labels[:length] == [False, *loss_mask[1:].tolist()]
    assert not any(labels[length:])
    first = labels.index(True)
    tokenizer = lazarus_models.load(setup.model).tokenizer
    assert tokenizer.decode(ids[:first].tolist()) == "What is 0 and 0?\n"
    assert tokenizer.decode(ids[first:].tolist(), skip_special=True) == "0 and 0 make 0."
    assert ids[-1] == tokenizer.eos_id


def test_gradients_are_clipped_to_the_norm(setup):
    enforced = check_run(setup.config())
    share = PlanCursor(load_plan(setup.plan)).share(0)
    batch = make_batch(share.step.rows, enforced.dataset, share.step.row_len)
    model = lazarus_models.load(setup.model).model
    found = compute_gradients(model, LossGradients(causal_loss), [batch], int(enforced.units[0]), 0.01)
    norm = sum(gradient.square().sum().item() for gradient in flatten(found.tree).values()) ** 0.5
    assert found.norm > 0.01
    assert norm == pytest.approx(0.01, rel=1e-3)
