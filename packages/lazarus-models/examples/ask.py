"""Ask any supported model, or see that every family works, without a download.

`python ask.py smollm2-360m "What is a lockfile?"`, or `python ask.py --test-tiny`.
"""

import sys

from lazarus_models import GenerationConfig, ModelConfig, UnifiedPipeline, generate, init_model
from lazarus_models.families import ModelFamilyType, canonical
from lazarus_tokenkit import load_tokenizer

TINY = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "intermediate_size_mlp": 64,
    "shared_intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 300,
    "sliding_window": 8,
    "attention_chunk_size": 8,
    "num_local_experts": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "attn_layer_period": 2,
    "attn_layer_offset": 1,
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_d_state": 8,
    "layer_types": None,
}
HYBRID = {"layer_types": ["mamba", "mamba", "attention", "mamba"]}


def tiny_config(family: ModelFamilyType) -> ModelConfig:
    """Four small layers of a family."""
    more = HYBRID if family is ModelFamilyType.GRANITE_HYBRID else {}
    return canonical({**TINY, **more, "model_type": family}, family)


def test_tiny() -> None:
    """Fresh models of every family answer over bytes."""
    tokenizer = load_tokenizer("byte")
    for family in ModelFamilyType:
        if family is ModelFamilyType.COMPOSED:  # as different as their descriptions
            continue
        lm = init_model(tiny_config(family), tokenizer, seed=0)
        done = generate(lm, "2 + 2 = ", GenerationConfig(max_new_tokens=16))
        sys.stdout.write(f"{family}: {len(done.ids)} tokens\n")


def main() -> None:
    """Asks, or tries."""
    if sys.argv[1:] == ["--test-tiny"]:
        test_tiny()
        return
    model, question = sys.argv[1:]
    reply = UnifiedPipeline.from_pretrained(model).chat(question)
    sys.stdout.write(reply.text + "\n")
    sys.stderr.write(reply.stats.summary + "\n")


if __name__ == "__main__":
    main()
