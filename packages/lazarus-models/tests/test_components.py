import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_models.backend import mx
from lazarus_models.components import MoE, Rope, load_balance_loss
from lazarus_models.components.mamba import Mamba, Mamba2
from lazarus_models.components.recurrent import Recurrent
from lazarus_models.components.rope import wavelengths
from lazarus_models.components.selective_scan import CHUNK, scan
from lazarus_models.components.state_cache import ArraysCache
from lazarus_models.config import Mamba2Config, MambaConfig, MoEConfig, RecurrentConfig, RopeConfig
from lazarus_models.errors import UnsupportedModel
from suite import examples


def noise(*shape, seed=0):
    return mx.random.normal(shape, key=mx.random.key(seed))


@settings(deadline=None, max_examples=examples(20))
@given(tokens=st.sampled_from([1, 2, 7, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5]), started=st.booleans())
def test_the_scan_equals_a_plain_loop(tokens, started):
    decay, drive = mx.sigmoid(noise(2, tokens, 3, 4)), noise(2, tokens, 3, 4, seed=1)
    state = noise(2, 3, 4, seed=2) if started else mx.zeros((2, 3, 4))
    expected = []
    current = np.array(state)
    for token in range(tokens):
        current = np.array(decay[:, token]) * current + np.array(drive[:, token])
        expected.append(current)
    found = scan(decay, drive, state if started else None)
    assert np.abs(np.array(found) - np.stack(expected, axis=1)).max() < 1e-5


def test_mamba2_equals_its_definition():
    config = Mamba2Config(num_heads=4, head_dim=3, state=5, groups=2, time_step_limit=(0.01, 0.9))
    layer = Mamba2(8, config)
    x = noise(1, 11, 8)
    inner = 12
    projected = np.array(layer.in_proj(x))[0]
    gate, heard, steps = projected[:, :inner], projected[:, inner:-4], projected[:, -4:]
    kernel, bias = np.array(layer.conv1d.weight)[..., 0], np.array(layer.conv1d.bias)
    padded = np.concatenate([np.zeros((3, heard.shape[1])), heard])
    heard = np.stack([(padded[t : t + 4] * kernel.T).sum(axis=0) for t in range(11)]) + bias
    heard = heard / (1 + np.exp(-heard))
    inputs, b, c = heard[:, :inner].reshape(11, 4, 3), heard[:, inner : inner + 10], heard[:, inner + 10 :]
    steps = np.clip(np.log1p(np.exp(steps + np.array(layer.dt_bias))), 0.01, 0.9)
    decay = np.exp(-np.exp(np.array(layer.A_log)) * steps)
    state, rows = np.zeros((4, 3, 5)), []
    for t in range(11):
        shared = np.repeat(b[t].reshape(2, 5), 2, axis=0)
        state = decay[t][:, None, None] * state + (steps[t][:, None] * inputs[t])[..., None] * shared[:, None]
        rows.append((state * np.repeat(c[t].reshape(2, 5), 2, axis=0)[:, None]).sum(-1) + inputs[t])  # D is one
    out = np.stack(rows).reshape(11, inner) * (gate / (1 + np.exp(-gate)))
    groups = out.reshape(11, 2, 6)
    out = (groups / np.sqrt((groups**2).mean(-1, keepdims=True) + 1e-6)).reshape(11, inner)
    expected = out @ np.array(layer.out_proj.weight).T
    assert np.abs(np.array(layer(x))[0] - expected).max() < 1e-5


@pytest.mark.parametrize("kind", ["mamba", "mamba2", "min_gru"])
def test_masked_tokens_change_no_state(kind):
    if kind == "mamba":
        layer = Mamba(8, MambaConfig(inner=16, state=4, rank=2))
    elif kind == "min_gru":
        layer = Recurrent(8, RecurrentConfig(kind=kind, inner=8))
    else:
        layer = Mamba2(8, Mamba2Config(num_heads=4, head_dim=4, state=4))
    x, more = noise(1, 6, 8), noise(1, 1, 8, seed=5)
    alone, padded = ArraysCache(2), ArraysCache(2)
    layer(x, None, alone)
    expected = layer(more, None, alone)
    layer(mx.concatenate([noise(1, 3, 8, seed=9), x], axis=1), mx.arange(9)[None] >= 3, padded)
    assert mx.allclose(layer(more, None, padded), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_cell_that_cannot_skip_padding_says_so(kind):
    layer = Recurrent(8, RecurrentConfig(kind=kind, inner=8))
    with pytest.raises(UnsupportedModel, match="cannot skip padding; give rows of one length"):
        layer(noise(1, 3, 8), mx.array([[False, True, True]]))


def test_experts_equal_a_loop_over_experts():
    for router in ("chosen", "all", "sigmoid"):
        layer = MoE(8, MoEConfig(num_experts=5, num_experts_per_tok=2, width=6, router=router))
        x = noise(1, 40, 8)  # more than 64 choices: sorted by expert inside
        chosen, shares = (np.array(part)[0] for part in layer.route(x))
        stack = layer.switch_mlp
        gate, up, down = (np.array(part.weight) for part in (stack.gate_proj, stack.up_proj, stack.down_proj))
        expected = np.zeros((40, 8))
        for token in range(40):
            for expert, share in zip(chosen[token], shares[token], strict=True):
                heard = np.array(x)[0, token] * (share if router == "sigmoid" else 1)
                inside = gate[expert] @ heard
                out = down[expert] @ (inside / (1 + np.exp(-inside)) * (up[expert] @ heard))
                expected[token] += out * (1 if router == "sigmoid" else share)
        assert np.abs(np.array(layer(x))[0] - expected).max() < 1e-5, router


def test_the_load_balance_loss_grows_with_imbalance():
    even = mx.eye(4)[None] * 5
    assert load_balance_loss(even, k=1).item() == pytest.approx(1.0, abs=1e-5)
    assert load_balance_loss(mx.broadcast_to(even[:, :1], (1, 4, 4)), k=1).item() > 3


def test_yarn_keeps_fast_pairs_and_stretches_slow_ones():
    config = RopeConfig(
        rope_type="yarn", rope_theta=150000.0, factor=32.0, original_max_position_embeddings=4096, truncate=False
    )
    plain = 150000.0 ** (np.arange(0, 64, 2) / 64)
    found = np.array(wavelengths(64, config))
    assert np.allclose(found[:8], plain[:8])
    assert np.allclose(found[-8:], 32 * plain[-8:])
    assert Rope(64, config)._magnitude == pytest.approx(0.1 * math.log(32) + 1)


@pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="what MLX cannot multiply on a CPU")
@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_experts_in_half_precision_on_a_cpu_are_refused_in_one_line(dtype):
    layer = MoE(8, MoEConfig(num_experts=4, num_experts_per_tok=2, width=6))
    with pytest.raises(UnsupportedModel, match="float32 only; load the model with `dtype` float32"):
        layer(mx.ones((1, 2, 8), dtype=dtype))
