"""The commands `info` and `estimate`, which do not load weights."""

from dataclasses import asdict
from typing import Annotated

import typer

from lazarus_models.cli.options import AsJson, Model, show_table


def info(model: Model, as_json: AsJson = False) -> None:
    """Describe a model from its config and the headers of its weights.

    Example: -m smollm2-360m
    """
    from math import prod

    from lazarus_models.config.huggingface import TransformerConfig
    from lazarus_models.families import family_of
    from lazarus_models.loading.hub import locate
    from lazarus_models.loading.huggingface import stored_config, stored_tensors

    path, revision = locate(model)
    config = stored_config(path)
    stored = stored_tensors(path, config)
    architecture = family_of(config.model_type).architecture(config)
    attention = {}
    if isinstance(config, TransformerConfig):
        attention = {
            "heads": config.num_attention_heads,
            "key_value_heads": config.num_key_value_heads,
            "rope": config.rope.rope_type,
        }
    said = {
        "family": config.model_type,
        **({"revision": revision} if revision else {}),
        "parameters": sum(prod(tensor.shape) for tensor in stored.values()),
        "dtype": "+".join(sorted({tensor.dtype for tensor in stored.values()})),
        "layers": config.num_hidden_layers,
        "mixers": "+".join(sorted({block.mixer.kind for block in architecture.blocks})),
        "hidden_size": config.hidden_size,
        **attention,
        "vocab_size": config.vocab_size,
        "context": config.max_position_embeddings,
        "tied_head": config.tie_word_embeddings,
        "packed_rows": architecture.supports_packing,
    }
    show_table(said, as_json)


def estimate(
    model: Model,
    context: Annotated[int, typer.Option("--context", min=1, help="Assume this many tokens in the cache.")] = 2048,
    bits: Annotated[
        int, typer.Option("--bits", min=2, max=32, help="Assume this many bits a weight; below 16 means quantized.")
    ] = 16,
    rank: Annotated[int, typer.Option("--rank", min=1, max=65536, help="Assume this rank of LoRA.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Estimate memory and operations of a model from its config.

    Example: -m smollm2-360m --context 4096 --bits 4
    """
    from lazarus_models.composition.estimates import estimate as costs
    from lazarus_models.families import family_of, read_config
    from lazarus_models.loading.hub import locate

    config = read_config(locate(model).path)
    grouped = 0.5 if bits < 16 else 0.0  # a scale and a bias of 16 bits for 64 weights
    said = asdict(
        costs(
            family_of(config.model_type).architecture(config),
            context=context,
            bytes_per_weight=(bits + grouped) / 8,
            rank=rank,
        )
    )
    show_table(said, as_json)
