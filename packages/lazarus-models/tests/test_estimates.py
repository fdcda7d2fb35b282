import pytest

from lazarus_models import LoraConfig, apply_lora, load
from lazarus_models.adapters import adapter_weights
from lazarus_models.components.state_cache import ArraysCache
from lazarus_models.composition.estimates import estimate
from lazarus_models.trees import parameter_count

NAMES = ["gemma3_text", "gpt_oss", "jamba", "llama", "llama4_text", "mamba", "mixtral", "granitemoehybrid"]


@pytest.mark.parametrize("name", NAMES)
def test_an_estimate_counts_what_is_there(data, name):
    lm = load(data / "models/families" / name)
    said = estimate(lm.model.config, context=100, bytes_per_weight=4)
    assert said.parameters == parameter_count(lm.model)
    assert said.active_parameters <= said.parameters
    cache = lm.model.make_cache()
    for start in range(0, 100, 10):
        lm.model(mx_ids(start), cache=cache)
    held = sum(array.nbytes for layer in cache for array in arrays(layer))
    assert said.cache_bytes == held


def mx_ids(start):
    from lazarus_models.backend import mx

    return (mx.arange(10) + start)[None]


def arrays(layer):
    if isinstance(layer, ArraysCache):
        return layer.state[0]
    keys, values, *_ = layer.state
    return [each[:, :, : layer.size()] for each in (keys, values)]


@pytest.mark.parametrize("name", ["llama", "jamba", "qwen3"])
def test_lora_is_counted_as_it_is_made(data, name):
    lm = load(data / "models/families" / name)
    said = estimate(lm.model.config, rank=4)
    apply_lora(lm.model, LoraConfig(rank=4), seed=0)
    assert said.lora_parameters == sum(tensor.size for tensor in adapter_weights(lm.model).values())


def test_a_dense_llama_costs_two_operations_a_weight(stories):
    said = estimate(stories.model.config, context=1)
    assert said.flops_per_token == 2 * 260_032 + 5 * 4 * 64
    assert said.training_bytes == 16 * 260_032


def test_the_cache_of_a_quantized_model_is_not_quantized(stories):
    four, half = (estimate(stories.model.config, bytes_per_weight=each) for each in (0.5625, 2.0))
    assert four.cache_bytes == half.cache_bytes
    assert four.weights_bytes == round(0.5625 * 260_032)


@pytest.mark.parametrize("name", ["stories260k", "families/llama", "families/mixtral", "families/gemma3_text"])
def test_activations_are_within_a_factor_of_two_of_the_measured_ones(data, name):
    from lazarus_models.backend import mx, nn

    lm = load(data / "models" / name)
    ids = mx.arange(256)[None]

    def loss(model):
        return nn.losses.cross_entropy(model(ids), ids).mean()

    mx.eval(lm.model.parameters())
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    mx.eval(nn.value_and_grad(lm.model, loss)(lm.model))
    weights = 4 * parameter_count(lm.model)
    measured = mx.get_peak_memory() - before - weights  # without the gradients
    said = estimate(lm.model.config, context=256)
    assert measured / 2 < said.activation_bytes < 2 * measured, (measured, said.activation_bytes)
