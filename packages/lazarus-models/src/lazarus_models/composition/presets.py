"""Named model sizes, and the initialization of new models.

| preset    | width | MLP  | layers | heads | head tied | parameters at vocab 32,768 |
|-----------|-------|------|--------|-------|-----------|----------------------------|
| nano      | 32    | 96   | 2      | 2     | yes       | 1,075,360                  |
| tiny-test | 64    | 176  | 2      | 4     | yes       | 2,197,824                  |
| micro     | 128   | 512  | 4      | 4     | no        | 9,438,336                  |
| tiny      | 256   | 1024 | 6      | 4     | no        | 23,072,000                 |
| small     | 384   | 1536 | 7      | 6     | no        | 41,686,656                 |
| medium    | 512   | 2048 | 12     | 8     | no        | 83,898,880                 |
| base      | 768   | 2560 | 12     | 12    | yes       | 124,275,456                |

Initial weights: matrices are normal(0, `initializer_range`); those that write to the residual stream are divided by
sqrt(2 * layers) (GPT-2, Radford et al. 2019). Biases are zero; norms and state parameters have the values of their layers. The
cross-entropy starts at ln V.
"""

import math
from typing import Any

from lazarus_models.backend import mx, nn
from lazarus_models.config.dimensions import check_memory
from lazarus_models.config.huggingface import ModelConfig
from lazarus_models.errors import ConfigError
from lazarus_models.families import canonical, family_of
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.trees import set_weights, weights
from lazarus_tokenkit import Tokenizer


def _llama(width: int, mlp: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "tie_word_embeddings": False,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        **more,
    }


PRESETS: dict[str, dict[str, Any]] = {
    "nano": _llama(32, 96, 2, 2, tie_word_embeddings=True),
    "tiny-test": _llama(64, 176, 2, 4, tie_word_embeddings=True),
    "micro": _llama(128, 512, 4, 4),
    # Initial logits have the variance width * range^2, and the loss starts half of that above ln V: `medium` starts 0.102
    # above with the usual 0.02, and 0.026 above with 0.01.
    "tiny": _llama(256, 1024, 6, 4, initializer_range=0.01),
    "small": _llama(384, 1536, 7, 6, initializer_range=0.01),
    "medium": _llama(512, 2048, 12, 8, initializer_range=0.01),
    # Width, layers, heads and size of GPT-2 small (Radford et al. 2019); the MLP is as wide as that size allows.
    "base": _llama(768, 2560, 12, 12, tie_word_embeddings=True, initializer_range=0.01),
}

_RESIDUAL = (".o_proj.weight", ".down_proj.weight", ".out_proj.weight", ".c_proj.weight", ".output_linear.weight")

_BIASES = (".bias", ".b", ".bhn")  # the last two a GRU's


def preset(name: str, *, vocab_size: int) -> ModelConfig:
    """The config of a preset.

    Args:
        name: A key of `PRESETS`.
        vocab_size: Rows of the embedding.

    Raises:
        ConfigError: No preset has that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}; there are {', '.join(PRESETS)}", "LM-E104")
    return canonical({**PRESETS[name], "vocab_size": vocab_size}, f"preset {name!r}")


def init_model(
    preset_or_config: str | ModelConfig, tokenizer: Tokenizer, *, seed: int, vocab_size: int | None = None
) -> LoadedModel:
    """Initializes a new model for a tokenizer; the same seed gives the same bits.

    Args:
        preset_or_config: A name in `PRESETS`, or a config; its vocabulary size and special ids are replaced.
        tokenizer: Determines the special ids, and the vocabulary size if none is given.
        seed: Random seed of the weights, in [0, 2**64).
        vocab_size: Rows of the embedding, at least the tokenizer's vocabulary; None for the tokenizer's vocabulary.

    Raises:
        ConfigError: No preset has that name, `vocab_size` is below the tokenizer's, or the weights exceed the memory.
    """
    rows = vocab_size or tokenizer.vocab_size
    if rows < tokenizer.vocab_size:
        raise ConfigError(f"`vocab_size` {rows} is below the tokenizer's {tokenizer.vocab_size}", "LM-E105")
    base = preset(preset_or_config, vocab_size=rows) if isinstance(preset_or_config, str) else preset_or_config
    config = base.model_copy(
        update={
            "vocab_size": rows,
            "bos_token_id": tokenizer.bos_id,
            "eos_token_ids": () if tokenizer.eos_id is None else (tokenizer.eos_id,),
            "pad_token_id": tokenizer.pad_id,
            "dtype": "float32",
        }
    )
    family = family_of(config.model_type)
    check_memory(family.architecture(config), f"`{config.model_type}`")
    model = family.build(config)
    set_weights(model, initial_weights(model, config, seed=seed))
    return LoadedModel(model=model, tokenizer=tokenizer, config=config, family=config.model_type)


def initial_weights(model: nn.Module, config: ModelConfig, *, seed: int) -> dict[str, mx.array]:
    """Initial float32 weights for every parameter of a model, without the global random generator.

    Args:
        model: The model.
        config: Its config; `initializer_range` and `num_hidden_layers` are used.
        seed: Random seed, in [0, 2**64).
    """
    own = weights(model)
    fresh: dict[str, mx.array] = {}
    for key, (name, tensor) in zip(mx.random.split(mx.random.key(seed), len(own)), own.items(), strict=True):
        if name.endswith(_BIASES):
            fresh[name] = mx.zeros(tensor.shape)
        elif tensor.ndim == 1 or name.endswith("A_log"):
            fresh[name] = tensor  # norms, decay rates and sinks keep the constant values of their layers
        else:
            smaller = math.sqrt(2 * config.num_hidden_layers) if name.endswith(_RESIDUAL) else 1.0
            fresh[name] = mx.random.normal(tensor.shape, scale=config.initializer_range / smaller, key=key)
    return fresh
