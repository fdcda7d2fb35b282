"""What computes in bfloat16 and what stays in float32, and that runs in mixed precision keep the laws."""

import json
import math

import pytest

import lazarus_models
import lazarus_models.trees
from lazarus_models.backend import mx
from lazarus_models.trees import flatten
from lazarus_train import OptimizerSettings, Watcher, train
from lazarus_train.data.batches import make_batch
from lazarus_train.engine.gradients import LossGradients
from lazarus_train.engine.precision import computing_in_bfloat16
from lazarus_train.engine.step import compute_gradients
from lazarus_train.errors import Interrupted, SetupError
from lazarus_train.layers.wrap import Wrapping, wrap_layers
from lazarus_train.objectives.causal import CausalObjective
from lazarus_train.objectives.forward import causal_sum
from lazarus_train.preflight.inputs import check_run
from lazarus_train.preflight.model import check_model


def losses(setup, run):
    lines = (setup.folder / run / "metrics.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


@pytest.mark.parametrize("recomputes", [False, True])
def test_a_step_computes_in_bfloat16_and_its_gradients_and_weights_are_float32(setup, recomputes):
    model = lazarus_models.load(setup.model).model
    enforced = check_run(setup.config())
    step = enforced.plan.step(0)
    batch = make_batch(step.rows, enforced.dataset, step.row_len)
    wrap_layers(model, Wrapping(gradient_checkpointing=recomputes))
    before = flatten(model.parameters())
    seen = []

    def loss_sum(model, batch):
        with computing_in_bfloat16(model):
            seen.append(model(batch.ids).dtype)
            return causal_sum(model, batch), {}

    mixed = compute_gradients(model, LossGradients(loss_sum), [batch], int(enforced.units[0]), 1e9)
    assert seen == [mx.bfloat16]
    assert {each.dtype for each in flatten(mixed.tree).values()} == {mx.float32}
    after = flatten(model.parameters())
    assert all(after[name].dtype == mx.float32 and mx.array_equal(after[name], before[name]) for name in before)
    plain_gradients = LossGradients(lambda model, batch: (causal_sum(model, batch), {}))
    plain = compute_gradients(model, plain_gradients, [batch], int(enforced.units[0]), 1e9)
    assert mixed.loss != plain.loss
    assert mixed.loss == pytest.approx(plain.loss, rel=1e-2)
    assert mixed.norm == pytest.approx(plain.norm, rel=5e-2)


def test_updates_too_small_for_bfloat16_add_up(setup):
    rate = OptimizerSettings(learning_rate=1e-6, schedule="constant", weight_decay=0.0)
    train(setup.config(mixed_precision=True, optimizer=rate))
    start, end = (
        lazarus_models.trees.weights(lazarus_models.load(path).model)["model.embed_tokens.weight"]
        for path in (setup.model, setup.folder / "run/final")
    )
    moved = mx.abs(end - start).max().item()
    assert 1e-6 < moved < 1e-4


def test_a_run_learns_as_in_float32_and_is_warned_of_on_a_cpu(setup):
    said: list[str] = []
    train(setup.config("mixed", mixed_precision=True), watcher=Watcher(on_warning=said.append))
    train(setup.config("plain"))
    assert losses(setup, "mixed") != losses(setup, "plain")
    assert losses(setup, "mixed") == pytest.approx(losses(setup, "plain"), rel=2e-2)
    assert ["`mixed_precision`" in line for line in said] == [True]


@pytest.mark.parametrize("recomputes", [False, True])
def test_stopped_and_resumed_the_run_is_the_same_bits(setup, stop_after, recomputes):
    settings = {"mixed_precision": True, "recomputes": recomputes, "neftune_alpha": 5.0, "max_steps": 6}
    train(setup.config("straight", **settings))
    with pytest.raises(Interrupted):
        train(setup.config("stopped", **settings), watcher=stop_after(3))
    train(setup.config("stopped", **settings))
    assert setup.fingerprints("stopped") == setup.fingerprints("straight")


@pytest.mark.parametrize("reference", ["cached", "copy", "adapters-off"])
def test_dpo_starts_at_ln_2_in_mixed_precision_too(setup, lora_settings, reference):
    setup.write_rows([{"prompt": f"{a}?", "chosen": f"{a}.", "rejected": f"No, {a + 1}."} for a in range(9)])
    setup.build_plan(row_len=64, token_budget=256)
    lora = lora_settings.model_copy(update={"dropout": 0.0})
    objective = {"kind": "preference", "reference": reference}
    settings = {"mixed_precision": True, "lora": lora, "objective": objective, "max_steps": 1}
    train(setup.config(**settings, eval_data={"held-out": setup.data}))
    lines = [json.loads(line) for line in (setup.folder / "run/metrics.jsonl").read_text().splitlines()]
    assert [lines[0]["eval_loss"], lines[1]["loss"]] == pytest.approx([math.log(2)] * 2, abs=1e-6)


@pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="what MLX cannot multiply on a CPU")
def test_experts_on_a_cpu_are_refused_before_the_first_step(setup, real_data):
    config = setup.config(mixed_precision=True).model_copy(update={"model": real_data / "models/families/mixtral"})
    lm, enforced, objective = lazarus_models.load(config.model), check_run(setup.config()), CausalObjective()
    with pytest.raises(SetupError, match="`mixed_precision` with a mixtral model on a CPU"):
        check_model(lm, enforced, config, objective, None, print)
    check_model(lm, enforced, config.model_copy(update={"mixed_precision": False}), objective, None, print)
