"""The commands `new`, `import` and `convert`, which write models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_core.console import say, show
from lazarus_models.cli.options import Adapter, AnyBase, Model, add_adapter, check_any_base, read_text

if TYPE_CHECKING:
    from lazarus_models.loading.loaded_model import LoadedModel

_GROUP_SIZE = 64
_PRECISIONS = ("float32", "float16", "bfloat16")
_MEASURED = 20_000  # tokens of --text: enough for a perplexity within one percent, in seconds for a small model


def new(
    output: Annotated[Path, typer.Option("-o", "--output", help="Write the model to this directory.")],
    preset: Annotated[
        str, typer.Option("--preset", help="Use this size: nano, tiny-test, micro, tiny, small, medium or base.")
    ],
    tokenizer: Annotated[
        str, typer.Option("-t", "--tokenizer", help="Use the tokenizer in this directory or file, or `byte`.")
    ],
    vocab_size: Annotated[
        int | None,
        typer.Option("--vocab-size", min=1, help="Use this many rows of the embedding [default: the tokenizer's]."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Use this random seed for the weights.")] = 0,
) -> None:
    """Create a model with random weights.

    Example: --preset nano -t byte -o model
    """
    from lazarus_core.atomic import whole_folder
    from lazarus_core.outputs import check_folder
    from lazarus_models.composition.presets import init_model
    from lazarus_models.loading.huggingface import save
    from lazarus_models.trees import parameter_count
    from lazarus_tokenkit import load_tokenizer

    check_folder(output, "a model", code="LM-E106")
    lm = init_model(preset, load_tokenizer(tokenizer), seed=seed, vocab_size=vocab_size)
    with whole_folder(output) as folder:
        save(lm, folder)
    say(f"{parameter_count(lm.model):,} parameters, preset {preset}, vocabulary {lm.config.vocab_size}, seed {seed}")
    show(str(output))


def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE.gguf", help="Read this GGUF file.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Write the model to this directory.")],
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            help="Write weights as float32, float16 or bfloat16 [default: the file's; float32 if it is quantized].",
        ),
    ] = None,
) -> None:
    """Convert one GGUF file to a directory that this package, transformers and mlx-lm open.

    Example: SmolLM2-135M-Instruct.Q4_1.gguf -o smollm2
    """
    from lazarus_core.atomic import whole_folder
    from lazarus_core.outputs import check_folder
    from lazarus_models.errors import ConfigError
    from lazarus_models.loading.gguf.load import load_gguf
    from lazarus_models.loading.huggingface import save
    from lazarus_models.trees import parameter_count

    check_folder(output, "a model", code="LM-E106")
    if dtype not in (None, *_PRECISIONS):
        raise ConfigError(f"`--dtype` must be float32, float16 or bfloat16, not {dtype!r}", "LM-E106")
    lm = load_gguf(file, dtype=dtype or "file")
    with whole_folder(output) as folder:
        save(lm, folder)
    template = "with" if lm.tokenizer.chat_template else "without"
    say(
        f"{lm.family}, {parameter_count(lm.model):,} parameters, {lm.config.vocab_size:,} tokens, {template} a chat template"
    )
    show(str(output))


def convert(
    model: Model,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Write the model to this directory, or to a file FILE.gguf.")
    ],
    bits: Annotated[int | None, typer.Option("--bits", help="Quantize to 2, 3, 4, 5, 6 or 8 bits.")] = None,
    group_size: Annotated[
        int | None,
        typer.Option(
            "--group-size",
            min=1,
            help=f"Quantize groups of this many weights with a common scale [default: {_GROUP_SIZE}].",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Quantize with a recipe: mixed_2_6, mixed_3_4, mixed_3_6 or mixed_4_6."),
    ] = None,
    adapter: Adapter = None,
    any_base: AnyBase = False,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="Convert weights to float32, float16 or bfloat16.")
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option("--text", help="Measure perplexity on this file before and after, in windows of 512 tokens."),
    ] = None,
) -> None:
    """Convert a model: merge an adapter, change the precision, quantize, or export one GGUF file.

    Example: -m smollm2-360m --bits 4 -o smollm2-360m-4bit
    """
    from lazarus_core.atomic import whole_folder
    from lazarus_core.outputs import check_folder
    from lazarus_models.adapters.files import merge_adapter
    from lazarus_models.errors import ConfigError
    from lazarus_models.loading.assembly import set_precision
    from lazarus_models.loading.dequantized import dequantize, fits_plain
    from lazarus_models.loading.gguf import export_gguf
    from lazarus_models.loading.gguf.load import has_suffix
    from lazarus_models.loading.huggingface import load, save
    from lazarus_models.loading.quantized_layers import MIXED, WINDOW, quantize

    check_folder(output, "a model", code="LM-E106")
    if dtype not in (None, *_PRECISIONS):
        raise ConfigError(f"`--dtype` must be float32, float16 or bfloat16, not {dtype!r}", "LM-E106")
    is_file = has_suffix(output)
    _check_options(bits, group_size, recipe, dtype, is_file=is_file)
    check_any_base(adapter, any_base=any_base)
    if (recipe is not None and recipe not in MIXED) or bits not in (None, 2, 3, 4, 5, 6, 8):
        raise ConfigError(f"`--bits` must be 2, 3, 4, 5, 6 or 8, and `--recipe` one of {', '.join(MIXED)}", "LM-E106")
    lm = load(model, dtype=dtype if adapter is None else None)  # an adapter belongs to weights that are not rounded
    if "rope_parameters" in lm.config.raw and "rope_theta" not in lm.config.raw:
        say(
            "config.json gives RoPE as `rope_parameters` alone, which mlx-lm does not read; the new one has `rope_theta`, too"
        )
    ids = lm.tokenizer.encode(read_text(text))[:_MEASURED] if text else []
    if text and len(ids) < 2:
        raise ConfigError(f"{text} has {len(ids)} tokens: give a file with text to measure", "LM-E106")
    before = _perplexity(lm, ids, "perplexity before") if ids else None
    if adapter is not None:
        add_adapter(lm, adapter, any_base=any_base)
        lm = merge_adapter(lm)
        if dtype is not None:
            set_precision(lm.model, dtype)
    if bits is not None or recipe is not None:
        lm = quantize(lm, bits=bits or 4, group_size=group_size or _GROUP_SIZE, recipe=recipe)
    if is_file:
        export_gguf(lm, output)
    else:
        with whole_folder(output) as folder:
            save(lm, folder)
    if before is not None:
        after = _perplexity(dequantize(lm) if fits_plain(lm) else lm, ids, "perplexity after")
        say(f"perplexity {before:.3f} before, {after:.3f} after, of {len(ids):,} tokens in windows of {WINDOW}")
    show(str(output))


def _check_options(
    bits: int | None, group_size: int | None, recipe: str | None, dtype: str | None, *, is_file: bool
) -> None:
    """Refuses options that would have no effect."""
    from lazarus_models.errors import ConfigError

    if is_file and dtype not in (None, "float16"):
        raise ConfigError(f"`--dtype` {dtype} has no effect on a GGUF file, which is float16; remove it", "LM-E106")
    if bits is not None and recipe is not None:
        raise ConfigError(f"`--bits` has no effect with `--recipe` {recipe}, which has its own; remove one", "LM-E106")
    if group_size is not None and bits is None and recipe is None:
        raise ConfigError("`--group-size` has no effect without `--bits` or `--recipe`; give one of them", "LM-E106")


def _perplexity(lm: "LoadedModel", ids: list[int], title: str) -> float:
    from lazarus_core.console import progress
    from lazarus_models.loading.quantized_layers import perplexity

    with progress(title, total=len(ids) - 1, unit="tokens") as advance:
        return perplexity(lm, ids, on_tokens=advance)
