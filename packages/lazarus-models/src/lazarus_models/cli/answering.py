"""`infer` and `chat`: what a model answers."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_core.cli_options import shared_options
from lazarus_core.console import flush_results, say, show, write
from lazarus_models.cli.options import Adapter, AnyBase, AsJson, Model, load_model, read_text, show_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from lazarus_models.generation.generate import Generation
    from lazarus_models.generation.sampling import GenerationConfig

MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="New tokens at most.")]
Draft = Annotated[
    str | None, typer.Option("--draft", help="A smaller model that guesses ahead: the same text, sooner.")
]
System = Annotated[str | None, typer.Option("--system", help="Instructions, or @FILE to read them from.")]
Drawing = dict[str, Any]


def _drawing(
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 takes the likeliest token.")] = 0.0,
    top_k: Annotated[int, typer.Option("--top-k", min=0, help="Draw from the k likeliest tokens; 0 for all.")] = 0,
    top_p: Annotated[float, typer.Option("--top-p", max=1.0, help="Draw from the fewest tokens that reach p.")] = 1.0,
    min_p: Annotated[
        float,
        typer.Option("--min-p", min=0.0, max=1.0, help="Draw from tokens this likely, as a share of the likeliest."),
    ] = 0.0,
    repetition_penalty: Annotated[
        float, typer.Option("--repetition-penalty", help="Above 1 makes what came before less likely.")
    ] = 1.0,
    frequency_penalty: Annotated[
        float, typer.Option("--frequency-penalty", help="Taken from a logit for each time it came.")
    ] = 0.0,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="A text that ends the answer; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Fixes the text.")] = 0,
) -> Drawing:
    return {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "frequency_penalty": frequency_penalty,
        "stop": tuple(stop or ()),
        "seed": seed,
    }


with_drawing = shared_options("drawing", _drawing)
"""Gives a command the options of how tokens are drawn, and what they say as its `drawing`."""


@with_drawing
def infer(
    model: Model = "",
    prompt: Annotated[list[str] | None, typer.Option("--prompt", help="What to answer; may be repeated.")] = None,
    prompt_file: Annotated[
        Path | None, typer.Option("--prompt-file", help="One prompt a line; - for standard input, as one prompt.")
    ] = None,
    system: System = None,
    adapter: Adapter = None,
    any_base: AnyBase = False,
    draft: Draft = None,
    ahead: Annotated[int, typer.Option("--ahead", min=1, help="Tokens that --draft guesses at a time.")] = 4,
    max_tokens: MaxTokens = 256,
    *,
    drawing: Drawing,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text as it is, without the chat template.")] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Prompts answered together.")] = 8,
    list_models: Annotated[bool, typer.Option("--list", help="Show the short names of published models.")] = False,
    as_json: AsJson = False,
) -> None:
    """Answer prompts: the text on stdout, one line of statistics on stderr.

    One prompt is written as it comes; several are answered together, each behind its number, in their order.
    """
    if list_models:
        from lazarus_models.loading.hub import MODELS

        show_table(MODELS, as_json)
        return
    from lazarus_models.errors import GenerationError

    prompts = _prompts(prompt or [], prompt_file)
    if not model or not prompts:
        raise GenerationError("`infer` needs --model and --prompt or --prompt-file; --list shows names", "LM-E144")
    config = _config(max_new_tokens=max_tokens, **drawing)
    from lazarus_models.chat.history import ChatHistory
    from lazarus_models.generation.batch import generate_batch
    from lazarus_models.generation.generate import generate
    from lazarus_models.generation.speculative import generate_with_draft
    from lazarus_models.loading.huggingface import load

    lm = load_model(model, adapter, any_base=any_base)
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
    answers = generate_batch(lm, asked, config, raw=raw, batch_size=batch_size, on_done=_in_order(as_json))
    seconds = max(done.seconds for done in answers)
    tokens = sum(len(done.ids) for done in answers)
    say(f"{tokens} tokens for {len(answers)} prompts in {seconds:.2f} s ({tokens / seconds:.1f} tok/s)")


@with_drawing
def chat(
    model: Model,
    system: System = None,
    adapter: Adapter = None,
    any_base: AnyBase = False,
    max_tokens: MaxTokens = 512,
    *,
    drawing: Drawing,
) -> None:
    """Talk to a model: /reset begins anew, /history shows what was said, Ctrl-C stops an answer, /exit or Ctrl-D ends."""
    config = _config(max_new_tokens=max_tokens, **drawing)
    from lazarus_models.chat.history import ChatHistory
    from lazarus_models.generation.generate import generate
    from lazarus_models.generation.prompt_cache import PromptCache

    lm = load_model(model, adapter, any_base=any_base)
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
            try:
                done = generate(lm, asked.messages, config, on_text=_write, cache=cache)
            except KeyboardInterrupt:
                cache = PromptCache.empty(lm.model)  # it may have read a token that was not written down
                _write("\n")
                say("stopped; what you asked is forgotten")
                continue
            _write("\n")
            say(done.stats.summary)
            history = asked.assistant(done.text)


def _config(**settings: Any) -> "GenerationConfig":
    from pydantic import ValidationError

    from lazarus_models.config.huggingface import in_words
    from lazarus_models.errors import GenerationError
    from lazarus_models.generation.sampling import GenerationConfig

    try:
        return GenerationConfig(**settings)
    except ValidationError as error:
        raise GenerationError(in_words(error), "LM-E144") from error


def _prompts(given: list[str], file: Path | None) -> list[str]:
    if file is None:
        return given
    if str(file) == "-":
        return [*given, read_text(file).rstrip("\n")]
    return [*given, *filter(None, read_text(file).splitlines())]


def _instructions(system: str | None) -> str | None:
    if system is not None and system.startswith("@"):
        return read_text(Path(system[1:])).rstrip("\n")
    return system


def _in_order(as_json: bool) -> "Callable[[int, Generation], None]":
    """What prints answers in the order of their prompts, each as soon as those before it are finished."""
    finished: dict[int, Generation] = {}
    number = 0

    def show_next(index: int, done: "Generation") -> None:
        nonlocal number
        finished[index] = done
        while number in finished:
            done = finished.pop(number)
            number += 1
            _write((_answer_json(done) if as_json else f"[{number}] {done.text}") + "\n")

    return show_next


def _ask(sign: str) -> str | None:
    stream: Any = sys.stdin  # None where the shell closed it
    if stream is None:
        return None
    if stream.isatty():
        _write(sign)
    line: str = stream.readline()
    return line.strip() if line else None


def _answer_json(done: "Generation") -> str:
    said = {**asdict(done), "tokens_per_s": round(done.tokens_per_s, 1)}
    if done.logprobs is None:
        del said["logprobs"]
    return json.dumps(said, ensure_ascii=False)


def _write(piece: str) -> None:
    write(piece)
    flush_results()
