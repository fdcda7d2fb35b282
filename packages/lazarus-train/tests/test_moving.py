"""Law 19: one step moves every parameter that has a gradient, by its rule alone, for every optimizer and family.

The rules are computed here from the formulas, in float64, for the first step.
"""

from pathlib import Path

import numpy as np
import pytest

from lazarus_models import LoraConfig, apply_lora, load
from lazarus_models.backend import mx, nn
from lazarus_models.components import guessed_role, parameter_roles
from lazarus_models.trees import evaluate, flatten, unflatten, weights
from lazarus_train import OptimizerSettings
from lazarus_train.cpu.adam import VectorAdam
from lazarus_train.distributed import ProcessGroup
from lazarus_train.engine.ema import Ema
from lazarus_train.engine.freeze import freeze_matching
from lazarus_train.engine.optim import Optimizer, is_decayed, is_hidden_matrix
from lazarus_train.engine.precision import computing_in_bfloat16
from lazarus_train.layers.wrap import Wrapping, wrap_layers

OPTIMIZERS = ("adamw", "muon", "adafactor", "lion", "sgd")
RATE, DECAY = 1e-2, 0.5


def gradients_of(model):
    """Real gradients of some random tokens, as a step computes them."""
    ids = mx.random.randint(3, 500, (2, 24), key=mx.random.key(0))
    model.train()
    slopes = nn.value_and_grad(model, lambda ids: nn.losses.cross_entropy(model(ids)[:, :-1], ids[:, 1:]).mean())(ids)[
        1
    ]
    evaluate(slopes)
    return flatten(slopes)


def numbers(tensors):
    return {name: np.array(tensor, dtype=np.float64) for name, tensor in tensors.items()}


def adamw(slope):
    return slope / (np.abs(slope) + 1e-8)


def adafactor(slope):
    squares = slope**2 + 1e-30
    if slope.ndim >= 2:
        rows, columns = squares.mean(axis=-1, keepdims=True), squares.mean(axis=-2, keepdims=True)
        squares = rows / rows.mean(axis=-2, keepdims=True) * columns
    update = slope / np.sqrt(squares)
    return update / max(1.0, np.sqrt((update**2).mean()))


def muon(slope):
    update = 0.05 * slope + 0.95 * 0.05 * slope
    update = update.T if update.shape[0] > update.shape[1] else update
    update = update / (np.linalg.norm(update) + 1e-7)
    for _ in range(5):
        gram = update @ update.T
        update = 3.4445 * update + (-4.7750 * gram + 2.0315 * gram @ gram) @ update
    update = update.T if slope.shape[0] > slope.shape[1] else update
    return update * max(1, slope.shape[0] / slope.shape[1]) ** 0.5


RULES = {"adamw": adamw, "lion": np.sign, "sgd": lambda slope: slope, "adafactor": adafactor}
MAPS, PULLED = ("linear", "adapter"), ("linear", "adapter", "experts", "head")


def expected_update(optimizer, role, slope):
    if optimizer != "muon":
        return RULES[optimizer](slope)
    return muon(slope) if role in MAPS and slope.ndim == 2 else adamw(slope)


def settings_of(optimizer):
    rates = {"muon_learning_rate": RATE} if optimizer == "muon" else {}
    return OptimizerSettings(name=optimizer, learning_rate=RATE, weight_decay=DECAY, **rates)


def assert_moved_by_rule(model, optimizer, slopes):
    """Every trainable parameter, number by number."""
    roles, before = parameter_roles(model), numbers(flatten(model.trainable_parameters()))
    others = {name: each for name, each in numbers(weights(model)).items() if name not in before}
    moving = Optimizer(settings_of(optimizer), model)
    moving.update(unflatten(slopes), RATE)
    moving.evaluate()
    after = numbers(weights(model))
    for name, slope in numbers(slopes).items():
        pulled = before[name] * (1 - RATE * DECAY if roles[name] in PULLED else 1)
        update = expected_update(optimizer, roles[name], slope)
        difference = np.abs(after[name] - (pulled - RATE * update))
        assert difference.max() < RATE * (3e-3 if optimizer == "muon" else 2e-4) + 1e-6, (name, roles[name])
        large = np.abs(slope) > 1e-6
        still = after[name][large & (np.abs(update) > 1e-3)] == before[name][large & (np.abs(update) > 1e-3)]
        assert still.mean() < 0.02 if still.size else True, name
    assert all(np.array_equal(after[name], each) for name, each in others.items())


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_parameter_with_a_gradient_moves_by_its_rule(family, optimizer):
    model = load(family).model
    assert_moved_by_rule(model, optimizer, gradients_of(model))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("layout", ["transposed", "broadcast", "sliced"])
def test_the_layout_of_a_parameter_in_memory_changes_nothing(optimizer, layout):
    class Layer(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.weight = weight

    weight, slope = (mx.random.normal((6, 8), key=mx.random.key(seed)) for seed in (1, 2))
    if layout == "broadcast":
        weight = mx.broadcast_to(weight[0], (6, 8))
    plain = Layer(mx.array(weight.tolist()))
    strided = {
        "transposed": lambda: mx.swapaxes(mx.contiguous(mx.swapaxes(weight, 0, 1)), 0, 1),
        "broadcast": lambda: weight,
        "sliced": lambda: mx.concatenate([weight, weight], axis=1)[:, :8],
    }[layout]()
    model = Layer(strided)
    evaluate(model.parameters())
    assert not np.asarray(model.weight).flags.c_contiguous
    for each in (plain, model):
        moving = Optimizer(settings_of(optimizer), each)
        for _ in range(2):
            moving.update({"weight": slope}, RATE)
            moving.evaluate()
    assert mx.array_equal(model.weight, plain.weight)


@pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="the kernel is a CPU's")
@pytest.mark.parametrize("strided", ["parameter", "m", "v"])
def test_a_kernel_that_writes_in_place_refuses_a_view(strided):
    adam = VectorAdam((0.9, 0.99), 1e-8, cores=1)
    arrays = {name: mx.zeros((4, 3)) for name in ("parameter", "m", "v")}
    arrays[strided] = mx.swapaxes(mx.zeros((3, 4)), 0, 1)
    evaluate(arrays)
    adam.init({})
    adam.state["step"] = mx.array(1)
    adam.learning_rate = 0.1
    with pytest.raises(AssertionError, match="is a strided view in memory"):
        adam.apply_single(mx.ones((4, 3)), arrays["parameter"], {name: arrays[name] for name in ("m", "v")})


def test_a_loaded_model_is_row_contiguous(family):
    assert all(np.asarray(tensor).flags.c_contiguous for tensor in weights(load(family).model).values())


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_adapters_move_by_their_rule(family, kind):
    model = load(family).model
    apply_lora(model, LoraConfig(kind=kind, rank=2), seed=0)
    slopes = {
        name: mx.random.normal(each.shape, key=mx.random.key(len(name))) for name, each in gradients_of(model).items()
    }
    assert {name.rpartition(".")[2] for name in slopes} == {"lora_a", "lora_b"} | ({"m"} if kind == "dora" else set())
    assert_moved_by_rule(model, "adamw", slopes)


def test_frozen_parameters_stay_and_the_others_move(family):
    model = load(family).model
    freeze_matching(model, ["*norm*", "*layers.0.*"])
    slopes = gradients_of(model)
    assert not any("norm" in name or "layers.0." in name for name in slopes)
    assert_moved_by_rule(model, "adamw", slopes)


@pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="lean layers are a CPU's")
def test_gradients_of_lean_layers_move_every_parameter(family):
    plain, lean = (load(family).model for _ in range(2))
    wrap_layers(lean, Wrapping(low_memory=True))
    slopes, others = gradients_of(lean), gradients_of(plain)
    assert slopes.keys() == others.keys() == flatten(plain.trainable_parameters()).keys()
    assert all(mx.allclose(slopes[name], others[name], atol=1e-5, rtol=1e-3) for name in slopes)
    assert_moved_by_rule(lean, "adamw", slopes)


def test_the_mean_of_weights_follows_every_parameter(family):
    model = load(family).model
    ema, before, slopes = Ema(0.9, model), numbers(weights(model)), gradients_of(model)
    moving = Optimizer(settings_of("adamw"), model)
    moving.update(unflatten(slopes), RATE)
    moving.evaluate()
    ema.update(1)
    after = numbers(weights(model))
    for name, mean in numbers(ema.state()).items():
        share = 2 / 11  # the early decay
        assert np.abs(mean - share * before[name] - (1 - share) * after[name]).max() < 1e-5, name


def test_gradients_in_bfloat16_move_float32_weights(real_data):
    model = load(real_data / "models/families/granite").model

    def loss(ids):
        with computing_in_bfloat16(model):
            return nn.losses.cross_entropy(model(ids)[:, :-1].astype(mx.float32), ids[:, 1:]).mean()

    slopes = flatten(nn.value_and_grad(model, loss)(mx.random.randint(3, 500, (2, 24), key=mx.random.key(0)))[1])
    assert {each.dtype for each in slopes.values()} == {mx.float32}
    assert_moved_by_rule(model, "adamw", slopes)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_processes_move_each_its_share_and_together_all(real_data, monkeypatch, optimizer):
    monkeypatch.setattr(ProcessGroup, "join", lambda self, mine, like: {**like, **mine})
    folder = real_data / "models/families/gpt_oss"
    whole = load(folder).model
    slopes = gradients_of(whole)
    assert_moved_by_rule(whole, optimizer, slopes)
    expected, before, moved = weights(whole), weights(load(folder).model), []
    for rank in range(2):
        model = load(folder).model
        moving = Optimizer(settings_of(optimizer), model, ProcessGroup(rank, 2))
        moving.update(unflatten(slopes), RATE)
        moving.evaluate()
        after = weights(model)
        moved.append({name for name in after if not mx.array_equal(after[name], before[name])})
        assert all(mx.array_equal(after[name], expected[name]) for name in moved[-1])
    assert not moved[0] & moved[1]
    assert moved[0] | moved[1] == {name for name in expected if not mx.array_equal(expected[name], before[name])}


def test_roles_guessed_by_name_are_the_descriptions(family):
    model = load(family).model
    roles = parameter_roles(model)
    assert roles == {name: guessed_role(name, tensor.ndim) for name, tensor in weights(model).items()}


def test_what_each_rule_moves_is_the_golden_table(family):
    """Regenerate with `python packages/lazarus-train/tests/golden/make_rules.py MODELS` and read the difference."""
    import importlib.util

    golden = Path(__file__).parent / "golden"
    spec = importlib.util.spec_from_file_location("make_rules", golden / "make_rules.py")
    make_rules = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_rules)
    assert make_rules.section(family) in (golden / "rules.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("family", ["mamba", "jamba", "granitemoehybrid", "mixtral"], indirect=True)
def test_muon_and_decay_leave_alone_what_is_no_linear_map(family):
    model = load(family).model
    roles = parameter_roles(model)
    spared = {"state", "convolution", "router", "embedding", "norm", "bias", "vector"}
    for name, tensor in weights(model).items():
        last = name.rpartition(".")[2]
        if roles[name] in spared or last in ("A_log", "D", "dt_bias") or "conv1d" in name or "router" in name:
            assert not is_hidden_matrix(name, tensor, roles[name]), name
            assert not is_decayed(name, tensor, roles[name]), name
    assert any(is_hidden_matrix(name, tensor, roles[name]) for name, tensor in weights(model).items())
