"""`lazarus-models`: continue a prompt, describe a model, look at the machine."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lazarus_plan.console import run, say, show, version_option

app = typer.Typer(
    name="lazarus-models",
    help="Language models on MLX, in the Hugging Face layout.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

model_app = typer.Typer(
    help="Make a new model, or describe one.", rich_markup_mode=None, no_args_is_help=True, add_completion=False
)
"""`lazarus model`."""

_Model = Annotated[Path, typer.Option("--model", help="Directory with config.json, safetensors and tokenizer.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.callback()
def _root(version: Annotated[bool, version_option("lazarus-models")] = False) -> None:  # pyright: ignore[reportUnusedFunction] (typer calls it)
    pass


@app.command()
def infer(
    model: _Model,
    prompt: Annotated[str, typer.Option("--prompt", help="What to continue or answer.")],
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="New tokens at most.")] = 256,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 takes the likeliest token.")] = 0.0,
    top_k: Annotated[int, typer.Option("--top-k", min=0, help="Draw from the k likeliest tokens; 0 for all.")] = 0,
    top_p: Annotated[float, typer.Option("--top-p", max=1.0, help="Draw from the fewest tokens that reach p.")] = 1.0,
    min_p: Annotated[
        float,
        typer.Option("--min-p", min=0.0, max=1.0, help="Draw from tokens this likely, as a share of the likeliest."),
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Fixes the text.")] = 0,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text as it is, without the chat template.")] = False,
    as_json: _Json = False,
) -> None:
    """Continue a prompt: the text on stdout, one line of statistics on stderr."""
    from pydantic import ValidationError

    from lazarus_models.config import in_words
    from lazarus_models.errors import GenerationError
    from lazarus_models.generation import generate
    from lazarus_models.huggingface import load
    from lazarus_models.sample import GenerationConfig

    try:
        config = GenerationConfig(
            max_new_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed
        )
    except ValidationError as error:
        raise GenerationError(in_words(error), "LM-E144") from error
    lm = load(model)
    done = generate(lm, prompt, config, raw=raw, on_text=str if as_json else _write)
    rate = round(done.tokens_per_s, 1)
    _write((json.dumps({**asdict(done), "tokens_per_s": rate}, ensure_ascii=False) if as_json else "") + "\n")
    say(f"{len(done.ids)} tokens in {done.seconds:.2f} s ({rate} tok/s)")


@model_app.command()
@app.command()
def info(model: _Model, as_json: _Json = False) -> None:
    """Describe a model from its config and the headers of its weights."""
    from math import prod

    from lazarus_models.config import TransformerConfig
    from lazarus_models.families import family_of, read_config
    from lazarus_models.huggingface import stored_tensors

    config = read_config(model)
    stored = stored_tensors(model, config)
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
    _table(said, as_json)


@model_app.command()
@app.command()
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
    from lazarus_models.errors import ConfigError
    from lazarus_models.huggingface import save
    from lazarus_models.parameters import parameter_count
    from lazarus_models.presets import new as make
    from lazarus_tokenkit import load_tokenizer

    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ConfigError(f"{output} exists; choose another directory, or remove it", "LM-E106")
    lm = make(preset, load_tokenizer(tokenizer), seed=seed, vocab_size=vocab_size)
    save(lm, output)
    say(f"{parameter_count(lm.model):,} parameters, preset {preset}, vocabulary {lm.config.vocab_size}, seed {seed}")
    show(str(output))


@app.command()
def doctor(as_json: _Json = False) -> None:
    """Say what this machine multiplies matrices with, how fast, and what would make it faster."""
    from lazarus_models.doctor import diagnose

    found = diagnose()
    if as_json:
        show(json.dumps(asdict(found), ensure_ascii=False))
        return
    blas = " ".join(str(part) for part in (found.blas.library, found.blas.version, found.blas.core) if part)
    threads = f", {found.blas.threads} threads" if found.blas.threads else ""
    builtin = f" ({found.gflops_builtin:.0f} with the built-in BLAS)" if found.gflops_builtin else ""
    _table(
        {
            "mlx": found.mlx,
            "mlx-lm": found.mlx_lm,
            "device": f"{found.device} {found.device_name}",
            "blas": f"{blas}{threads}: {found.blas.reason}",
            "float32": f"{found.gflops:.0f} GFLOP/s{builtin}",
        },
        as_json=False,
    )
    if found.advice:
        say(found.advice)


def _write(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()


def _table(rows: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        show(json.dumps(rows, ensure_ascii=False))
        return
    width = max(map(len, rows))
    for name, value in rows.items():
        show(f"{name:<{width}}  {value:,}" if type(value) is int else f"{name:<{width}}  {value}")


def main() -> None:
    """The console script."""
    run(app, "lazarus-models")
