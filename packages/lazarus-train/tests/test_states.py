"""Models whose layers carry a state: one sample a row, and nothing that shares a row."""

import json

import pytest

from lazarus_models import load
from lazarus_models.backend import mx
from lazarus_train import train
from lazarus_train.errors import SetupError


@pytest.fixture
def mamba(real_data):
    return real_data / "models" / "families" / "mamba"


def plan_for(setup, model, rows, **settings):
    """The rows planned with a model's own tokenizer."""
    from lazarus_plan import PlanConfig, build_plan, save_plan
    from lazarus_tokenkit import Encoder, FieldNames, load_tokenizer
    from lazarus_train.data.dataset import read_dataset

    setup.write_rows(rows)
    dataset = read_dataset(setup.data, Encoder(load_tokenizer(str(model))), FieldNames())
    save_plan(build_plan(dataset.lengths, PlanConfig(token_budget=256, row_len=64, **settings)), setup.plan)
    return dataset


@pytest.mark.slow
def test_padded_rows_have_the_loss_they_have_alone(setup, mamba):
    dataset = plan_for(setup, mamba, [{"prompt": "a" * n, "completion": "b c d"} for n in range(1, 5)], mode="padded")
    train(setup.config(max_steps=1).model_copy(update={"model": mamba}))
    line = json.loads((setup.folder / "run" / "metrics.jsonl").read_text())
    model = load(mamba).model
    total, labels = 0.0, 0
    for sample in range(len(dataset)):
        ids, loss_mask = dataset.sample(sample)
        logits = model(mx.array(ids)[None])[0]
        losses = mx.logsumexp(logits, axis=-1)[:-1] - logits[mx.arange(len(ids) - 1), mx.array(ids[1:])]
        total += (losses * mx.array(loss_mask[1:].astype("float32"))).sum().item()
        labels += int(loss_mask[1:].sum())
    assert line["loss_tokens"] == labels
    assert line["loss"] == pytest.approx(total / labels, abs=1e-4)


def test_what_shares_a_row_is_refused(setup, mamba):
    rows = [{"prompt": "a", "completion": "b c d"} for _ in range(4)]
    plan_for(setup, mamba, rows)
    with pytest.raises(SetupError, match="cannot separate the samples of a row"):
        train(setup.config().model_copy(update={"model": mamba}))
    plan_for(setup, mamba, [{"prompt": "a", "chosen": "b", "rejected": "c"}] * 2, mode="padded")
    with pytest.raises(SetupError, match="cannot separate the samples of a row"):
        train(setup.config(objective={"kind": "preference"}).model_copy(update={"model": mamba}))
