"""`new` and `convert`: directories and files of models, written."""

from pathlib import Path
from typing import Annotated

import typer

from lazarus_core.console import say, show
from lazarus_models.cli.options import Adapter, AnyBase, Model, read_text

_MEASURED = 20_000  # tokens: a perplexity within a percent, in seconds for a small model


def new(
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory for the model.")],
    preset: Annotated[str, typer.Option("--preset", help="Shape: nano, tiny-test, micro, tiny, small, medium.")],
    tokenizer: Annotated[str, typer.Option("-t", "--tokenizer", help="A tokenizer's directory or file, or `byte`.")],
    vocab_size: Annotated[
        int | None, typer.Option("--vocab-size", min=1, help="Rows of the embedding [default: the tokenizer's].")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same weights.")] = 0,
) -> None:
    """Make a model with fresh weights."""
    from lazarus_core.atomic import whole_folder
    from lazarus_core.outputs import check_folder
    from lazarus_models.composition.presets import new as make
    from lazarus_models.loading.huggingface import save
    from lazarus_models.trees import parameter_count
    from lazarus_tokenkit import load_tokenizer

    check_folder(output, "a model", code="LM-E106")
    lm = make(preset, load_tokenizer(tokenizer), seed=seed, vocab_size=vocab_size)
    with whole_folder(output) as folder:
        save(lm, folder)
    say(f"{parameter_count(lm.model):,} parameters, preset {preset}, vocabulary {lm.config.vocab_size}, seed {seed}")
    show(str(output))


def convert(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory for the new model, or a file FILE.gguf.")],
    bits: Annotated[int | None, typer.Option("--bits", help="Quantize to 2, 3, 4, 5, 6 or 8 bits.")] = None,
    group_size: Annotated[int, typer.Option("--group-size", help="Weights that share a scale.")] = 64,
    recipe: Annotated[str | None, typer.Option("--recipe", help="mixed_2_6, mixed_3_4, mixed_3_6, mixed_4_6.")] = None,
    adapter: Adapter = None,
    any_base: AnyBase = False,
    dtype: Annotated[str | None, typer.Option("--dtype", help="float32, float16 or bfloat16.")] = None,
    text: Annotated[
        Path | None, typer.Option("--text", help="Measure perplexity on it before and after, in windows of 512 tokens.")
    ] = None,
) -> None:
    """Write a model anew: merged with an adapter, in another precision, quantized, or as one GGUF file."""
    from lazarus_core.atomic import whole_folder
    from lazarus_core.outputs import check_folder
    from lazarus_models.adapters.files import load_adapter, merge_adapter
    from lazarus_models.errors import ConfigError
    from lazarus_models.loading.gguf import export_gguf
    from lazarus_models.loading.huggingface import load, save
    from lazarus_models.loading.quantized_layers import MIXED, WINDOW, perplexity, quantize

    check_folder(output, "a model", code="LM-E106")
    if dtype not in (None, "float32", "float16", "bfloat16"):
        raise ConfigError(f"`--dtype` {dtype!r}: float32, float16 or bfloat16", "LM-E106")
    if (recipe is not None and recipe not in MIXED) or bits not in (None, 2, 3, 4, 5, 6, 8):
        raise ConfigError(f"`--bits` is one of 2, 3, 4, 5, 6, 8 and `--recipe` of {', '.join(MIXED)}", "LM-E106")
    lm = load(model, dtype=dtype)
    ids = lm.tokenizer.encode(read_text(text))[:_MEASURED] if text else []
    before = perplexity(lm, ids) if ids else None
    if adapter is not None:
        load_adapter(lm.model, adapter, any_base=any_base)
        lm = merge_adapter(lm)
    if bits is not None or recipe is not None:
        lm = quantize(lm, bits=bits or 4, group_size=group_size, recipe=recipe)
    if before is not None:
        say(
            f"perplexity {before:.3f} before, {perplexity(lm, ids):.3f} after, of {len(ids):,} tokens in windows of {WINDOW}"
        )
    if output.suffix == ".gguf":
        export_gguf(lm, output)
    else:
        with whole_folder(output) as folder:
            save(lm, folder)
    show(str(output))
