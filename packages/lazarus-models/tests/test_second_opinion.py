"""Larger random models of each family that mlx-lm computes rightly, against mlx-lm: code that none of ours shares."""

import numpy as np
import pytest

from lazarus_models import GenerationConfig, init_model, save
from lazarus_models.backend import mx
from lazarus_models.families import canonical
from lazarus_models.generation import generate_tokens
from lazarus_models.trees import set_weights, weights
from suite import thinned

LARGER = {
    "hidden_size": 256,
    "intermediate_size": 320,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 400,
    "max_position_embeddings": 512,
    "rope_theta": 20000.0,
    "tie_word_embeddings": False,
}
FAMILIES = {
    "llama": {"attention_bias": True, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    "qwen3": {"tie_word_embeddings": True},
    "mixtral": {"num_local_experts": 6, "num_experts_per_tok": 3},
    "olmoe": {"num_experts": 12, "num_experts_per_tok": 5, "norm_topk_prob": True},
    "gemma3_text": {
        "sliding_window": 16,
        "sliding_window_pattern": 3,
        "query_pre_attn_scalar": 50,
        "tie_word_embeddings": True,
    },
    "granite": {
        "attention_multiplier": 0.2,
        "residual_multiplier": 0.4,
        "embedding_multiplier": 3.0,
        "logits_scaling": 2.0,
    },
    "granitemoe": {
        "num_local_experts": 5,
        "num_experts_per_tok": 2,
        "attention_multiplier": 0.2,
        "logits_scaling": 2.0,
    },
    "mamba": {"intermediate_size": 512, "state_size": 12, "conv_kernel": 3, "time_step_rank": 20, "use_bias": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("family", thinned(FAMILIES, ["gemma3_text", "granitemoe", "mamba"]))
@pytest.mark.thorough
def test_a_larger_model_computes_what_mlx_lm_computes(family, byte_tokenizer, tmp_path):
    import mlx_lm
    from mlx_lm.generate import generate_step

    config = canonical({**LARGER, **FAMILIES[family], "model_type": family}, family)
    lm = init_model(config, byte_tokenizer, seed=0, vocab_size=400)
    noisy = {
        name: tensor + mx.random.normal(tensor.shape, scale=0.05, key=mx.random.key(place))
        for place, (name, tensor) in enumerate(weights(lm.model).items())
    }
    set_weights(lm.model, noisy)
    save(lm, tmp_path)
    theirs, _ = mlx_lm.load(str(tmp_path))
    ids = mx.random.randint(0, 400, (2, 90), key=mx.random.key(7))
    ours, expected = np.array(lm.model(ids)), np.array(theirs(ids))
    assert np.abs(ours - expected).max() < 1e-5 * np.ptp(expected)
    prompt = ids[0, :40].tolist()
    greedy = [int(token) for token, _ in generate_step(mx.array(prompt), theirs, max_tokens=20)]
    assert list(generate_tokens(lm.model, prompt, GenerationConfig(max_new_tokens=20))) == greedy
