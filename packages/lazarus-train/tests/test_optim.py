import math

import pytest

from lazarus_models.backend import mx, nn
from lazarus_train import OptimizerSettings
from lazarus_train.errors import CorruptCheckpoint
from lazarus_train.optim import AdamW, is_decayed


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(2, 2, bias=True)
        self.embed_tokens = nn.Embedding(3, 2)
        self.norm = nn.RMSNorm(2)


def test_the_first_updates_are_those_worked_by_hand():
    model = Small()
    weight = 0.5
    model.q_proj.weight = mx.full((2, 2), weight)
    settings = OptimizerSettings(learning_rate=0.1, weight_decay=0.2, beta1=0.9, beta2=0.99)
    optimizer = AdamW(settings, model)
    mean = square = 0.0
    for step, gradient in enumerate((0.3, -0.2, 0.1), 1):
        tree = {"q_proj": {"weight": mx.full((2, 2), gradient)}}
        optimizer.update(tree, 0.1)
        optimizer.evaluate()
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        corrected = (mean / (1 - 0.9**step)) / (math.sqrt(square / (1 - 0.99**step)) + 1e-8)
        weight = weight * (1 - 0.1 * 0.2) - 0.1 * corrected
        assert model.q_proj.weight[0, 0].item() == pytest.approx(weight, abs=1e-5)


def test_decay_spares_norms_biases_and_embeddings():
    model = Small()
    before = {"bias": model.q_proj.bias, "embedding": model.embed_tokens.weight, "norm": model.norm.weight}
    matrix = model.q_proj.weight
    optimizer = AdamW(OptimizerSettings(learning_rate=0.1, weight_decay=0.5), model)
    zeros = {
        "q_proj": {"weight": mx.zeros((2, 2)), "bias": mx.zeros(2)},
        "embed_tokens": {"weight": mx.zeros((3, 2))},
        "norm": {"weight": mx.zeros(2)},
    }
    optimizer.update(zeros, 0.1)
    optimizer.evaluate()
    after = {"bias": model.q_proj.bias, "embedding": model.embed_tokens.weight, "norm": model.norm.weight}
    assert all(mx.array_equal(before[name], after[name]) for name in before)
    assert mx.allclose(model.q_proj.weight, matrix * 0.95, atol=1e-6)


def test_adapters_are_decayed():
    assert is_decayed("model.layers.0.self_attn.q_proj.lora_a", mx.zeros((4, 2)))
    assert not is_decayed("model.embed_tokens.weight", mx.zeros((4, 2)))


def test_a_state_of_another_model_is_refused():
    optimizer = AdamW(OptimizerSettings(), Small())
    state = optimizer.state()
    with pytest.raises(CorruptCheckpoint, match="another model or optimizer"):
        optimizer.load_state(dict(list(state.items())[1:]))
