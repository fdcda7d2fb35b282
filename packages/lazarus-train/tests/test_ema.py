import json

import numpy as np
import pytest

import lazarus_models
import lazarus_models.trees
from lazarus_models.backend import mx, nn
from lazarus_train import train
from lazarus_train.engine.ema import Ema
from lazarus_train.errors import CorruptCheckpoint


def test_the_mean_is_what_the_formula_says():
    model = nn.Linear(1, 1, bias=False)
    model.weight = mx.array([[1.0]])
    ema = Ema(0.5, model)
    by_hand = 1.0
    for step, weight in enumerate((3.0, -1.0, 2.0, 8.0, 5.0, 1.0, 4.0, 9.0, 2.0, 6.0), 1):
        model.weight = mx.array([[weight]])
        ema.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        by_hand = decay * by_hand + (1 - decay) * weight
    assert decay == 0.5
    assert ema.state()["weight"].item() == pytest.approx(by_hand, rel=1e-6)


def test_a_mean_of_another_model_is_refused():
    ema = Ema(0.9, nn.Linear(2, 2))
    with pytest.raises(CorruptCheckpoint, match="belong to another model"):
        ema.load_state(Ema(0.9, nn.Linear(3, 2)).state())


def test_the_averaged_model_lies_beside_the_trained_one_and_is_measured_too(setup):
    train(setup.config(ema=0.9, eval_data={"held-out": setup.data}, max_steps=4))
    final = setup.folder / "run" / "final"
    start, trained, mean = (
        lazarus_models.trees.weights(lazarus_models.load(path).model) for path in (setup.model, final, final / "ema")
    )
    name = "model.layers.0.mlp.up_proj.weight"
    moved, moved_mean = (np.abs(np.array(each[name] - start[name])).max() for each in (trained, mean))
    assert 0 < moved_mean < moved
    lines = [json.loads(line) for line in (setup.folder / "run" / "metrics.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "eval_loss" in line]
    assert measured[0]["eval_ema_loss"] == measured[0]["eval_loss"]
    assert measured[1]["eval_ema_loss"] != measured[1]["eval_loss"]
