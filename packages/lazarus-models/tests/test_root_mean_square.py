"""`rms_norm` against float64."""

import numpy as np
import pytest

from lazarus_models.backend import mx
from lazarus_models.ops import rms_norm


def expected(x, weight, eps=1e-5):
    x = np.array(x, dtype=np.float64)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * np.array(weight, dtype=np.float64)


@pytest.mark.parametrize("width", [8, 512, 576, 600, 2048])
def test_a_norm_is_that_of_float64_though_one_entry_is_large(width):
    """As the first token of a Llama: one entry is a thousand times the others; the rest is what a sum can lose."""
    draws = np.random.default_rng(width)
    x = draws.normal(0, 15, (3, 5, width)).astype(np.float32)
    x[:, 0, width // 10] = 25_000
    weight = draws.normal(1, 0.1, width).astype(np.float32)
    found = np.array(rms_norm(mx.array(x), mx.array(weight), 1e-5), dtype=np.float64)
    bound = 3e-7 if width >= 512 and width % 32 == 0 else 5e-6  # of MLX's own sum, one number after another
    assert (np.abs(found - expected(x, weight)) / np.abs(expected(x, weight))).max() < bound


def test_a_row_alone_is_the_row_in_a_crowd():
    x = mx.random.normal((7, 1024), key=mx.random.key(0))
    weight = mx.random.normal((1024,), key=mx.random.key(1))
    together = np.array(rms_norm(x, weight, 1e-6))
    assert all(np.array_equal(np.array(rms_norm(x[i : i + 1], weight, 1e-6))[0], together[i]) for i in range(7))


def test_without_a_gain_and_in_bfloat16():
    x = mx.random.normal((2, 1024), key=mx.random.key(0))
    assert np.allclose(np.array(rms_norm(x, None, 1e-6)), expected(x, 1.0, 1e-6), atol=1e-6)
    assert rms_norm(x.astype(mx.bfloat16), None, 1e-6).dtype == mx.bfloat16


def test_its_gradient_is_that_of_mlx():
    x = mx.random.normal((4, 512), key=mx.random.key(0))
    weight = mx.random.normal((512,), key=mx.random.key(1))
    ours = mx.grad(lambda *args: (rms_norm(*args, 1e-5) ** 3).sum(), argnums=(0, 1))(x, weight)
    theirs = mx.grad(lambda *args: (mx.fast.rms_norm(*args, 1e-5) ** 3).sum(), argnums=(0, 1))(x, weight)
    assert all(np.allclose(np.array(a), np.array(b), rtol=1e-4, atol=1e-4) for a, b in zip(ours, theirs, strict=True))
