"""Every family trains as transformers and PyTorch train it: golden/families.json, made by golden/make_families.py."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from lazarus_models import load
from lazarus_models.backend import mx
from lazarus_models.families import family_of
from lazarus_models.trees import weights
from lazarus_train import OptimizerSettings
from lazarus_train.cpu.thread_parallel import Replicas
from lazarus_train.data.batches import Batch, Part
from lazarus_train.devices import device_policy
from lazarus_train.engine.gradients import LossGradients
from lazarus_train.engine.optim import Optimizer
from lazarus_train.engine.step import compute_gradients
from lazarus_train.layers.wrap import Wrapping, wrap_layers
from lazarus_train.objectives.causal import CausalObjective
from suite import FAMILIES, every_nth

GOLDEN = json.loads((Path(__file__).parent / "golden" / "families.json").read_text(encoding="utf-8"))
SETTINGS = GOLDEN["settings"]
ROWS, TOKENS = SETTINGS["rows"], SETTINGS["tokens"]


WAYS = ("as a run", "micro-batches", "recomputed")


def batch_of(step, rows):
    ids = np.random.default_rng(step).integers(3, 500, (ROWS, TOKENS))[rows].astype(np.int32)
    is_label = np.ones(ids.shape, dtype=np.bool_)
    is_label[:, 0] = False
    parts = tuple(Part(row, row, 0, TOKENS, TOKENS - 1, 1) for row in range(len(ids)))
    places = mx.array(np.flatnonzero(is_label).astype(np.int32))
    numbers = tuple(range(len(ids)))
    return Batch(
        mx.array(ids), mx.array(np.ones(ids.shape, dtype=np.int32)), mx.array(is_label), places, parts, numbers, ROWS
    )


@pytest.mark.slow
@pytest.mark.parametrize(("family", "way"), every_nth(itertools.product(FAMILIES, WAYS), 2), indirect=["family"])
def test_five_steps_are_pytorchs(family, way):
    golden, lm = GOLDEN["families"][family.name], load(family)
    wrap_layers(lm.model, Wrapping(low_memory=device_policy().is_lean, gradient_checkpointing=way == "recomputed"))
    lm.model.train()
    settings = OptimizerSettings(learning_rate=SETTINGS["rate"], weight_decay=SETTINGS["decay"], schedule="constant")
    optimizer, model = Optimizer(settings, lm.model), Replicas(lm.model, 1 if way == "recomputed" else 2)
    exact = golden.get("float64", golden)
    error = max(
        *(abs(a - b) / 2e-5 for a, b in zip(golden["losses"], exact["losses"], strict=True)),
        *(abs(a / b - 1) / 3e-4 for a, b in zip(golden["norms"], exact["norms"], strict=True)),
    )  # of PyTorch's own float32 beside its float64, in tolerances: 1.7 for Mamba, of which float32 decides little
    for step, (loss, norm) in enumerate(zip(exact["losses"], exact["norms"], strict=True)):
        batches = [[batch_of(step, slice(0, 2)), batch_of(step, slice(2, 3))]]
        if way == "recomputed":
            batches = [[batch_of(step, slice(0, 3))]]
        elif way == "micro-batches":
            batches = [[batch_of(step, slice(row, row + 1))] for row in range(ROWS)]
        found = compute_gradients(
            model, LossGradients(CausalObjective().loss), batches, ROWS * (TOKENS - 1), SETTINGS["clip"]
        )
        loose = 1 + 8 * error if step else 1
        assert found.loss == pytest.approx(loss, abs=2e-5 * loose)
        assert found.norm == pytest.approx(norm, rel=3e-4 * loose)
        optimizer.update(found.tree, SETTINGS["rate"])
        optimizer.evaluate()
    ours = family_of(lm.family).layout_of(lm.config).to_file(weights(lm.model))
    for name, (mean, magnitude) in golden["weights"].items():
        tensor = np.array(ours[name], dtype=np.float64)
        assert abs(tensor.mean() - mean) < 2e-5 * loose, name
        assert abs(np.abs(tensor).mean() - magnitude) < 2e-5 * loose, name
