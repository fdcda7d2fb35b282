"""`lazarus-models`: continue a prompt, describe a model, look at the machine."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_plan.console import say, show, version_option

if TYPE_CHECKING:
    from lazarus_models.generation import Generation
    from lazarus_models.huggingface import LoadedModel
    from lazarus_models.sample import GenerationConfig

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

_Model = Annotated[
    str, typer.Option("--model", help="A directory, owner/name[@revision] on the hub, or a name of --list.")
]
_MEASURED = 20_000  # tokens: a perplexity within a percent, in seconds for a small model
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="New tokens at most.")]
_Temperature = Annotated[float, typer.Option("--temperature", min=0.0, help="0 takes the likeliest token.")]
_TopK = Annotated[int, typer.Option("--top-k", min=0, help="Draw from the k likeliest tokens; 0 for all.")]
_TopP = Annotated[float, typer.Option("--top-p", max=1.0, help="Draw from the fewest tokens that reach p.")]
_MinP = Annotated[
    float, typer.Option("--min-p", min=0.0, max=1.0, help="Draw from tokens this likely, as a share of the likeliest.")
]
_Repetition = Annotated[float, typer.Option("--repetition-penalty", help="Above 1 makes what came before less likely.")]
_Frequency = Annotated[float, typer.Option("--frequency-penalty", help="Taken from a logit for each time it came.")]
_Seed = Annotated[int, typer.Option("--seed", min=0, help="Fixes the text.")]
_Stop = Annotated[list[str] | None, typer.Option("--stop", help="A text that ends the answer; may be repeated.")]
_Adapter = Annotated[Path | None, typer.Option("--adapter", help="Directory of a LoRA adapter.")]
_Draft = Annotated[
    str | None, typer.Option("--draft", help="A smaller model that guesses ahead: the same text, sooner.")
]
_System = Annotated[str | None, typer.Option("--system", help="Instructions, or @FILE to read them from.")]


@app.callback()
def _root(version: Annotated[bool, version_option("lazarus-models")] = False) -> None:  # pyright: ignore[reportUnusedFunction] (typer calls it)
    pass


@app.command()
def infer(
    model: _Model = "",
    prompt: Annotated[list[str] | None, typer.Option("--prompt", help="What to answer; may be repeated.")] = None,
    prompt_file: Annotated[
        Path | None, typer.Option("--prompt-file", help="One prompt a line; - for standard input, as one prompt.")
    ] = None,
    system: _System = None,
    adapter: _Adapter = None,
    draft: _Draft = None,
    ahead: Annotated[int, typer.Option("--ahead", min=1, help="Tokens that --draft guesses at a time.")] = 4,
    max_tokens: _MaxTokens = 256,
    temperature: _Temperature = 0.0,
    top_k: _TopK = 0,
    top_p: _TopP = 1.0,
    min_p: _MinP = 0.0,
    repetition_penalty: _Repetition = 1.0,
    frequency_penalty: _Frequency = 0.0,
    stop: _Stop = None,
    seed: _Seed = 0,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text as it is, without the chat template.")] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Prompts answered together.")] = 8,
    list_models: Annotated[bool, typer.Option("--list", help="Show the short names of published models.")] = False,
    as_json: _Json = False,
) -> None:
    """Answer prompts: the text on stdout, one line of statistics on stderr.

    One prompt is written as it comes; several are answered together, each behind its number, in their order.
    """
    if list_models:
        from lazarus_models.hub import MODELS

        _table(MODELS, as_json)
        return
    from lazarus_models.errors import GenerationError

    prompts = _prompts(prompt or [], prompt_file)
    if not model or not prompts:
        raise GenerationError("`infer` needs --model and --prompt or --prompt-file; --list shows names", "LM-E144")
    config = _config(
        max_new_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        frequency_penalty=frequency_penalty,
        stop=tuple(stop or ()),
        seed=seed,
    )
    from lazarus_models.batch import generate_batch
    from lazarus_models.chat import ChatHistory
    from lazarus_models.generation import generate
    from lazarus_models.huggingface import load
    from lazarus_models.speculative import generate_with_draft

    lm = _loaded(model, adapter)
    instructions = _instructions(system)
    if raw and instructions:
        raise GenerationError("`--system` has no effect with `--raw`; put it into the prompt", "LM-E144")
    asked = [one if raw else ChatHistory.of(instructions).user(one).messages for one in prompts]
    if draft is not None and len(asked) > 1:
        raise GenerationError("`--draft` takes one prompt; several are faster answered together", "LM-E144")
    if len(asked) == 1:
        on_text = str if as_json else _write
        if draft is None:
            done = generate(lm, asked[0], config, raw=raw, on_text=on_text)
        else:
            done = generate_with_draft(lm, load(draft), asked[0], config, raw=raw, ahead=ahead, on_text=on_text)
        _write((_answer_json(done) if as_json else "") + "\n")
        say(done.stats.summary)
        return
    answers = generate_batch(lm, asked, config, raw=raw, batch_size=batch_size)
    for number, done in enumerate(answers, start=1):
        show(_answer_json(done) if as_json else f"[{number}] {done.text}")
    seconds = max(done.seconds for done in answers)
    tokens = sum(len(done.ids) for done in answers)
    say(f"{tokens} tokens for {len(answers)} prompts in {seconds:.2f} s ({tokens / seconds:.1f} tok/s)")


@app.command()
def chat(
    model: _Model,
    system: _System = None,
    adapter: _Adapter = None,
    max_tokens: _MaxTokens = 512,
    temperature: _Temperature = 0.0,
    top_k: _TopK = 0,
    top_p: _TopP = 1.0,
    min_p: _MinP = 0.0,
    repetition_penalty: _Repetition = 1.0,
    frequency_penalty: _Frequency = 0.0,
    stop: _Stop = None,
    seed: _Seed = 0,
) -> None:
    """Talk to a model: /reset begins anew, /history shows what was said, /exit or Ctrl-D ends."""
    config = _config(
        max_new_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        frequency_penalty=frequency_penalty,
        stop=tuple(stop or ()),
        seed=seed,
    )
    from lazarus_models.cache import PromptCache
    from lazarus_models.chat import ChatHistory
    from lazarus_models.generation import generate

    lm = _loaded(model, adapter)
    cache = PromptCache.empty(lm.model)
    history = ChatHistory.of(_instructions(system))
    say(f"{lm.family}; /reset, /history, /exit")
    while (line := _ask("> ")) is not None:
        if line == "/exit":
            break
        if line == "/reset":
            history = history.reset()
        elif line == "/history":
            for message in history:
                show(f"{message.role}: {message.content}")
        elif line:
            asked = history.user(line)
            done = generate(lm, asked.messages, config, on_text=_write, cache=cache)
            _write("\n")
            say(done.stats.summary)
            history = asked.assistant(done.text)


@app.command()
def serve(
    model: _Model,
    adapter: _Adapter = None,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 for any free one.")] = 8080,
    api_key: Annotated[
        str | None, typer.Option("--api-key", envvar="LAZARUS_API_KEY", help="What requests must present.")
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Of an answer, at most.")] = 2048,
    max_requests: Annotated[int, typer.Option("--max-requests", min=1, help="On their way at once, at most.")] = 64,
    max_body_bytes: Annotated[int, typer.Option("--max-body-bytes", min=1, help="Of a request, at most.")] = 1 << 20,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Texts computed together.")] = 8,
) -> None:
    """Serve a model behind OpenAI's interface, until Ctrl-C or SIGTERM."""
    import signal
    import threading

    from lazarus_models.errors import GenerationError
    from lazarus_models.serve import ServeConfig, Server

    config = ServeConfig(
        host=host,
        port=port,
        api_key=api_key,
        max_body_bytes=max_body_bytes,
        max_new_tokens=max_tokens,
        max_requests=max_requests,
        batch_size=batch_size,
    )
    lm = _loaded(model, adapter)
    try:
        server = Server(lm, Path(model).name, config)
    except OSError as error:
        raise GenerationError(
            f"cannot listen at {host}:{port}: {error.strerror}; give another `--host` or `--port`", "LM-E148"
        ) from error

    def stop(signum: int, frame: object) -> None:
        threading.Thread(target=server.shutdown).start()  # it waits for the loop that runs here

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    say(f"{server.name} at {server.address}/v1; Ctrl-C ends it")
    server.serve_forever()
    server.close()
    say("stopped; every answer on its way was finished")


@model_app.command()
@app.command()
def info(model: _Model, as_json: _Json = False) -> None:
    """Describe a model from its config and the headers of its weights."""
    from math import prod

    from lazarus_models.config import TransformerConfig
    from lazarus_models.families import family_of, read_config
    from lazarus_models.hub import locate
    from lazarus_models.huggingface import stored_tensors

    path, revision = locate(model)
    config = read_config(path)
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


@model_app.command()
@app.command()
def estimate(
    model: _Model,
    context: Annotated[int, typer.Option("--context", min=1, help="Tokens that the cache holds.")] = 2048,
    bits: Annotated[int, typer.Option("--bits", min=2, max=32, help="A weight: 32, 16, or less when quantized.")] = 16,
    rank: Annotated[int, typer.Option("--rank", min=1, help="Of LoRA.")] = 8,
    as_json: _Json = False,
) -> None:
    """Say what a model costs in memory and work, from its config alone."""
    from lazarus_models.estimates import estimate as costs
    from lazarus_models.families import family_of, read_config
    from lazarus_models.hub import locate

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
    _table(said, as_json)


@model_app.command()
@app.command()
def convert(
    model: _Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory for the new model, or a file FILE.gguf.")],
    bits: Annotated[int | None, typer.Option("--bits", help="Quantize to 2, 3, 4, 5, 6 or 8 bits.")] = None,
    group_size: Annotated[int, typer.Option("--group-size", help="Weights that share a scale.")] = 64,
    recipe: Annotated[str | None, typer.Option("--recipe", help="mixed_2_6, mixed_3_4, mixed_3_6, mixed_4_6.")] = None,
    adapter: _Adapter = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="float32, float16 or bfloat16.")] = None,
    text: Annotated[Path | None, typer.Option("--text", help="Measure perplexity on it before and after.")] = None,
) -> None:
    """Write a model anew: merged with an adapter, in another precision, quantized, or as one GGUF file."""
    from lazarus_models.adapters import load_adapter
    from lazarus_models.errors import ConfigError
    from lazarus_models.gguf import export_gguf
    from lazarus_models.huggingface import load, save
    from lazarus_models.lora import merge_lora
    from lazarus_models.quantization import MIXED, perplexity, quantize

    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ConfigError(f"{output} exists; choose another directory, or remove it", "LM-E106")
    if dtype not in (None, "float32", "float16", "bfloat16"):
        raise ConfigError(f"`--dtype` {dtype!r}: float32, float16 or bfloat16", "LM-E106")
    if (recipe is not None and recipe not in MIXED) or bits not in (None, 2, 3, 4, 5, 6, 8):
        raise ConfigError(f"`--bits` is one of 2, 3, 4, 5, 6, 8 and `--recipe` of {', '.join(MIXED)}", "LM-E106")
    lm = load(model, dtype=dtype)
    ids = lm.tokenizer.encode(_text(text))[:_MEASURED] if text else []
    before = perplexity(lm, ids) if ids else None
    if adapter is not None:
        load_adapter(lm.model, adapter)
        merge_lora(lm.model)
    if bits is not None or recipe is not None:
        lm = quantize(lm, bits=bits or 4, group_size=group_size, recipe=recipe)
    if before is not None:
        say(f"perplexity {before:.3f} before, {perplexity(lm, ids):.3f} after, of {len(ids):,} tokens")
    if output.suffix == ".gguf":
        export_gguf(lm, output)
    else:
        save(lm, output)
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
    builtin = ""
    if found.gflops_builtin:
        builtin = (
            f", {found.gflops / found.gflops_builtin:.0f} times the {found.gflops_builtin:.1f} of the built-in BLAS"
        )
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


def _config(**settings: Any) -> "GenerationConfig":
    from pydantic import ValidationError

    from lazarus_models.config import in_words
    from lazarus_models.errors import GenerationError
    from lazarus_models.sample import GenerationConfig

    try:
        return GenerationConfig(**settings)
    except ValidationError as error:
        raise GenerationError(in_words(error), "LM-E144") from error


def _loaded(model: str, adapter: Path | None) -> "LoadedModel":
    from lazarus_models.adapters import load_adapter
    from lazarus_models.huggingface import load

    lm = load(model)
    if adapter is not None:
        load_adapter(lm.model, adapter)
    return lm


def _prompts(given: list[str], file: Path | None) -> list[str]:
    if file is None:
        return given
    if str(file) == "-":
        return [*given, _text(file).rstrip("\n")]
    return [*given, *filter(None, _text(file).splitlines())]


def _instructions(system: str | None) -> str | None:
    if system is not None and system.startswith("@"):
        return _text(Path(system[1:])).rstrip("\n")
    return system


def _text(file: Path) -> str:
    """What a file says, or standard input for `-`."""
    from lazarus_models.errors import GenerationError

    try:
        return (sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise GenerationError(f"{file}: no text in UTF-8 (byte {error.start}); save it as that", "LM-E144") from error


def _ask(sign: str) -> str | None:
    if sys.stdin.isatty():
        _write(sign)
    line = sys.stdin.readline()
    return line.strip() if line else None


def _answer_json(done: "Generation") -> str:
    said = {**asdict(done), "tokens_per_s": round(done.tokens_per_s, 1)}
    if done.logprobs is None:
        del said["logprobs"]
    return json.dumps(said, ensure_ascii=False)


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
