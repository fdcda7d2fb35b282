from types import SimpleNamespace

import numpy as np
import pytest

from lazarus_models import LoraConfig, apply_lora, load, quantize, save
from lazarus_models.backend import mx, nn
from lazarus_models.loading import dequantize, perplexity
from lazarus_models.loading.dequantized import fits_plain, plain_bytes
from lazarus_models.trees import modules

IDS = mx.array([[1, 403, 407, 261, 378]])


def logits(lm):
    return np.array(lm.model(IDS))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", ["stories260k", "families/starcoder2", "families/qwen3"])
def test_plain_layers_compute_what_the_quantized_ones_do(data, name, bits):
    lm = quantize(load(data / "models" / name), bits=bits, group_size=32)
    expected, size = logits(lm), plain_bytes(lm)
    packed = {name for name, layer in modules(lm.model).items() if hasattr(layer, "scales")}
    plain = dequantize(lm)
    layers = modules(plain.model)
    assert not any(hasattr(layer, "scales") for layer in layers.values())
    assert size == sum(4 * layers[name].weight.size for name in packed) > 0
    assert np.abs(logits(plain) - expected).max() < 1e-5 * np.ptp(expected)
    assert not fits_plain(plain) and plain_bytes(plain) == 0


def test_adapters_on_quantized_layers_stay(data):
    lm = quantize(load(data / "models/stories260k"), bits=8, group_size=32)
    apply_lora(lm.model, LoraConfig(rank=2, targets=("q_proj",)), seed=0)
    adapted = [name for name in modules(lm.model) if name.endswith("q_proj.linear")]
    expected = logits(lm)
    dequantize(lm)
    assert adapted and all(type(modules(lm.model)[name]) is nn.Linear for name in adapted)
    assert np.abs(logits(lm) - expected).max() < 1e-4


def test_perplexity_reports_every_token(stories):
    counts = []
    perplexity(stories, [1, *range(5, 400)], window=128, on_tokens=counts.append)
    assert counts == [128, 128, 128, 11]


def test_the_commands_say_that_weights_are_converted(stories, tmp_path, capsys):
    from lazarus_models.cli.options import load_model

    save(quantize(load(stories.path), bits=8, group_size=32), tmp_path / "q8")
    lm = load_model(str(tmp_path / "q8"), None)
    assert "quantized weights are slow on a CPU: they are converted to float32 once (1 MiB)" in capsys.readouterr().err
    assert plain_bytes(lm) == 0


@pytest.mark.parametrize("vocabulary", [300, 131_072])
def test_perplexity_is_exact_for_large_vocabularies(vocabulary):
    """On a CPU, MLX's own sum of 131,072 exponentials is 2e-4 too small."""
    ids = list(range(9))
    logits = np.random.default_rng(0).normal(scale=3.0, size=(1, 8, vocabulary)).astype(np.float32)
    exact = logits.astype(np.float64)
    normalizer = np.log(np.exp(exact).sum(-1))
    expected = np.exp((normalizer - exact[0, np.arange(8), ids[1:]]).mean())
    lm = SimpleNamespace(model=lambda _: mx.array(logits), config=SimpleNamespace(vocab_size=vocabulary))
    assert perplexity(lm, ids) == pytest.approx(expected, rel=1e-5)
