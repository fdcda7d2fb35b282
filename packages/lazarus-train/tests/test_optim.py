"""Optimizers: torch's own 50 steps (golden/torch.json), formulas in NumPy, and a state that survives a file."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lazarus_models import ModelConfig, load, read_config
from lazarus_models.backend import mx, nn
from lazarus_models.families import family_of
from lazarus_models.tensor_files import load_tensors, save_tensors
from lazarus_models.trees import flatten, set_weights, unflatten, weights
from lazarus_train import OptimizerSettings
from lazarus_train.data.batches import Batch, Part
from lazarus_train.distributed import ProcessGroup
from lazarus_train.engine.gradients import LossGradients
from lazarus_train.engine.optim import Optimizer, is_decayed, shares
from lazarus_train.engine.schedule import learning_rate
from lazarus_train.engine.step import compute_gradients
from lazarus_train.errors import CorruptCheckpoint, SetupError
from lazarus_train.objectives.causal import CausalObjective

OPTIMIZERS = ("adamw", "muon", "adafactor", "lion", "sgd")


def causal_loss(model, batch):
    return CausalObjective().loss(model, batch)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(3, 5, bias=True)
        self.norm = nn.RMSNorm(3)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(4, 3)
        self.layers = [Block()]
        self.lm_head = nn.Linear(3, 4, bias=False)
        random = np.random.default_rng(0)
        fresh = {name: random.normal(size=each.shape).astype(np.float32) for name, each in weights(self).items()}
        set_weights(self, {name: mx.array(tensor) for name, tensor in fresh.items()})


MATRIX = "layers.0.q_proj.weight"


def gradients(step: int, scale: float = 1.0) -> dict:
    """Some gradients for every parameter of `Small`."""
    random = np.random.default_rng(100 + step)
    shapes = {name: tensor.shape for name, tensor in weights(Small()).items()}
    return {name: random.normal(size=shape).astype(np.float32) * scale for name, shape in shapes.items()}


def moved(settings: OptimizerSettings, steps: int, rate: float, scale: float = 1.0) -> dict[str, np.ndarray]:
    """The weights of `Small` after some steps."""
    model = Small()
    optimizer = Optimizer(settings, model)
    for step in range(steps):
        tree = {name: mx.array(slope) for name, slope in gradients(step, scale).items()}
        optimizer.update(unflatten(tree), rate)
        optimizer.evaluate()
    return {name: np.array(tensor) for name, tensor in weights(model).items()}


@pytest.mark.slow
def test_fifty_steps_are_torchs(tmp_path):
    golden = json.loads((Path(__file__).parent / "golden" / "torch.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"], **golden["shape"]})
    )
    config: ModelConfig = read_config(tmp_path)
    model = family_of(config.model_type).build(config)
    random = np.random.default_rng(0)
    fresh = {
        name: random.normal(size=tensor.shape) * 0.2 + (tensor.ndim == 1) for name, tensor in weights(model).items()
    }
    set_weights(model, {name: mx.array(tensor.astype(np.float32)) for name, tensor in fresh.items()})
    names = ("learning_rate", "min_learning_rate", "warmup_steps", "weight_decay", "max_grad_norm")
    settings = OptimizerSettings(**{name: golden[name] for name in names})
    optimizer = Optimizer(settings, model)
    rows, tokens = shape = golden["rows"], golden["tokens"]
    is_label = np.ones(shape, dtype=np.bool_)
    is_label[:, 0] = False
    places = mx.array(np.flatnonzero(is_label))
    parts = tuple(Part(row, row, 0, tokens, tokens - 1, 1) for row in range(rows))
    for index, step in enumerate(golden["steps"]):
        ids = mx.array(random.integers(0, config.vocab_size, shape).astype(np.int32))
        batch = Batch(ids, mx.ones_like(ids), mx.array(is_label), places, parts, tuple(range(rows)), rows)
        found = compute_gradients(
            model, LossGradients(causal_loss), [batch], rows * (tokens - 1), settings.max_grad_norm
        )
        rate = learning_rate(settings, index, len(golden["steps"]))
        assert rate == pytest.approx(step["rate"], rel=1e-9)
        assert found.loss == pytest.approx(step["loss"], abs=1e-5)
        assert found.norm == pytest.approx(step["norm"], rel=1e-4)
        optimizer.update(found.tree, rate)
        optimizer.evaluate()
    for name, tensor in weights(model).items():
        assert np.abs(np.array(tensor).ravel() - golden["final"][name]).max() < 1e-5, name


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_stopped_and_resumed_from_a_file_the_weights_are_the_same_bits(name, tmp_path):
    settings = OptimizerSettings(name=name, rate_factors={"*embed*": 0.5})
    straight, stopped = Small(), Small()
    whole, first = Optimizer(settings, straight), Optimizer(settings, stopped)
    for step in range(6):
        tree = unflatten({name: mx.array(slope) for name, slope in gradients(step).items()})
        whole.update(tree, 0.01)
        whole.evaluate()
        if step == 3:
            save_tensors(first.state(), tmp_path / "state.safetensors")
            first = Optimizer(settings, stopped)
            first.load_state(load_tensors(tmp_path / "state.safetensors"))
        first.update(tree, 0.01)
        first.evaluate()
    for one, other in ((weights(straight), weights(stopped)), (whole.state(), first.state())):
        assert one.keys() == other.keys()
        assert all(mx.array_equal(one[name], other[name]) for name in one)


def test_adamw_by_hand():
    settings = OptimizerSettings(weight_decay=0.2, beta1=0.9, beta2=0.99)
    weight = np.array(Small().layers[0].q_proj.weight, dtype=np.float64)
    mean = square = np.zeros_like(weight)
    for step in range(3):
        gradient = gradients(step)[MATRIX]
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        corrected = (mean / (1 - 0.9 ** (step + 1))) / (np.sqrt(square / (1 - 0.99 ** (step + 1))) + 1e-8)
        weight = weight * (1 - 0.1 * 0.2) - 0.1 * corrected
    assert np.abs(moved(settings, 3, 0.1)[MATRIX] - weight).max() < 1e-5


def test_lion_by_hand():
    settings = OptimizerSettings(name="lion", weight_decay=0.5)
    assert settings.beta2 == 0.99
    weight = np.array(Small().layers[0].q_proj.weight, dtype=np.float64)
    momentum = np.zeros_like(weight)
    for step in range(3):
        gradient = gradients(step)[MATRIX]
        direction = np.sign(0.9 * momentum + 0.1 * gradient)
        momentum = 0.99 * momentum + 0.01 * gradient
        weight = weight * (1 - 0.1 * 0.5) - 0.1 * direction
    assert np.abs(moved(settings, 3, 0.1)[MATRIX] - weight).max() < 1e-5


def test_sgd_by_hand():
    settings = OptimizerSettings(name="sgd", momentum=0.8, weight_decay=0.5)
    weight = np.array(Small().layers[0].q_proj.weight, dtype=np.float64)
    velocity = np.zeros_like(weight)
    for step in range(3):
        velocity = 0.8 * velocity + gradients(step)[MATRIX]
        weight = weight * (1 - 0.1 * 0.5) - 0.1 * velocity
    assert np.abs(moved(settings, 3, 0.1)[MATRIX] - weight).max() < 1e-5


def test_muon_by_hand():
    settings = OptimizerSettings(name="muon", learning_rate=0.01, muon_learning_rate=0.05, weight_decay=0.5)
    weight = np.array(Small().layers[0].q_proj.weight, dtype=np.float64)
    momentum = np.zeros_like(weight)
    for step in range(3):
        gradient = gradients(step)[MATRIX]
        momentum = 0.95 * momentum + 0.05 * gradient
        update = (0.05 * gradient + 0.95 * momentum).T  # Nesterov's; wide, as the iteration wants it
        update = update / np.linalg.norm(update)
        for _ in range(5):
            gram = update @ update.T
            update = 3.4445 * update + (-4.7750 * gram + 2.0315 * gram @ gram) @ update
        weight = weight * (1 - 0.05 * 0.5) - 0.05 * math.sqrt(5 / 3) * update.T
    found = moved(settings, 3, 0.01)
    assert np.abs(found[MATRIX] - weight).max() < 1e-4
    others = moved(OptimizerSettings(weight_decay=0.5), 3, 0.01)
    assert all(np.array_equal(found[name], others[name]) for name in others if name != MATRIX)


def test_adafactor_holds_a_row_and_a_column_for_a_matrix():
    optimizer = Optimizer(OptimizerSettings(name="adafactor"), Small())
    held = {name: tensor.shape for name, tensor in optimizer.state().items() if MATRIX in name}
    assert sorted(held.values()) == [(3,), (5,)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_spares_norms_biases_and_embeddings(name):
    settings = OptimizerSettings(name=name, weight_decay=0.5, learning_rate=0.1)
    if name == "muon":
        settings = settings.model_copy(update={"muon_learning_rate": 0.1})
    before = {name: np.array(tensor) for name, tensor in weights(Small()).items()}
    after = moved(settings, 1, 0.1, scale=0.0)
    for name, tensor in before.items():
        kept = 0.95 if name in (MATRIX, "lm_head.weight") else 1.0
        assert np.abs(after[name] - kept * tensor).max() < 1e-6, name


def test_rates_by_group():
    settings = OptimizerSettings(name="sgd", weight_decay=0.0, rate_factors={"*embed*": 0.0, "lm_*": 3.0, "*": 1.0})
    before = weights(Small())
    found = moved(settings, 1, 0.1)
    steps = {name: found[name] - np.array(tensor) for name, tensor in before.items()}
    assert not steps["embed_tokens.weight"].any()
    assert np.allclose(steps["lm_head.weight"], -0.3 * gradients(0)["lm_head.weight"], atol=1e-6)
    assert np.allclose(steps[MATRIX], -0.1 * gradients(0)[MATRIX], atol=1e-6)


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(SetupError, match="matches no trainable parameter; they have names such as `"):
        Optimizer(OptimizerSettings(rate_factors={"*embde*": 0.1}), Small())


def test_adapters_are_decayed():
    assert is_decayed("model.layers.0.self_attn.q_proj.lora_a", mx.zeros((4, 2)))
    assert not is_decayed("model.embed_tokens.weight", mx.zeros((4, 2)))


def test_vectors_of_any_name_are_spared():
    assert not is_decayed("model.layers.0.mixer.A_log", mx.zeros((4,)))
    assert not is_decayed("model.layers.0.self_attn.sinks", mx.zeros((4,)))


def test_adafactor_takes_the_rate_it_is_given():
    before = np.array(weights(Small())[MATRIX])
    settings = OptimizerSettings(name="adafactor", weight_decay=0.0)
    small, large = (moved(settings, 1, rate)[MATRIX] - before for rate in (0.01, 0.03))
    assert np.allclose(large, 3 * small, atol=1e-6)
    assert np.sqrt(np.square(small).mean()) == pytest.approx(0.01, rel=0.1)  # an update has size 1


def test_frozen_parameters_stay():
    model = Small()
    model.embed_tokens.freeze()
    optimizer = Optimizer(OptimizerSettings(), model)
    assert "embed" not in "".join(optimizer.state())
    before = weights(model)
    optimizer.update(
        unflatten({name: mx.ones_like(each) for name, each in flatten(model.trainable_parameters()).items()}), 0.1
    )
    optimizer.evaluate()
    same = {name for name, tensor in weights(model).items() if mx.array_equal(tensor, before[name])}
    assert same == {"embed_tokens.weight"}


def test_a_state_of_another_model_is_refused():
    optimizer = Optimizer(OptimizerSettings(), Small())
    state = optimizer.state()
    with pytest.raises(CorruptCheckpoint, match="another model or optimizer"):
        optimizer.load_state(dict(list(state.items())[1:]))


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "sgd", "beta1": 0.8},
        {"name": "adamw", "momentum": 0.9},
        {"name": "lion", "epsilon": 1e-6},
        {"decay_steps": 4},
        {"muon_learning_rate": 0.1},
    ],
)
def test_a_setting_without_effect_is_refused(settings):
    with pytest.raises(ValidationError, match="has no effect"):
        OptimizerSettings(**settings)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_settings_are_read_again_as_they_were_written(name):
    settings = OptimizerSettings(name=name)
    assert OptimizerSettings.model_validate(settings.model_dump(mode="json")) == settings


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 1000), min_size=1), st.integers(1, 5))
def test_shares_are_a_partition_and_none_is_larger_than_the_mean_by_more_than_one_piece(sizes, count):
    dealt = shares(sizes, count)
    assert sorted(name for share in dealt for name in share) == sorted(sizes)
    held = [sum(sizes[name] for name in share) for share in dealt]
    assert max(held) <= sum(sizes.values()) / count + max(sizes.values())


def test_a_process_keeps_the_moments_of_its_share_alone(setup):
    model = load(setup.model).model
    settings = OptimizerSettings()
    kept = [set(Optimizer(settings, model, ProcessGroup(rank, 3)).kept()) for rank in range(3)]
    whole = set(Optimizer(settings, model).kept())
    assert kept[0] | kept[1] | kept[2] == whole
    steps = {name for name in whole if name.endswith("/step")}
    assert kept[0] & kept[1] == kept[1] & kept[2] == steps
