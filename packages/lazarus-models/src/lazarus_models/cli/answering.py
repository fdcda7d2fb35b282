"""The commands `infer` and `chat`."""

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

    from lazarus_models.generation.autoregressive import Generation
    from lazarus_models.generation.sampling import GenerationConfig

MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Generate at most this many tokens.")]
Draft = Annotated[
    str | None,
    typer.Option("--draft", help="Use this smaller model for speculative decoding. The text stays the same."),
]
System = Annotated[str | None, typer.Option("--system", help="Use this system message. @FILE reads it from a file.")]
Drawing = dict[str, Any]


def _drawing(
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="Divide logits by this. 0 takes the most likely token.")
    ] = 0.0,
    top_k: Annotated[
        int, typer.Option("--top-k", min=0, help="Sample from the k most likely tokens. 0 means all tokens.")
    ] = 0,
    top_p: Annotated[
        float, typer.Option("--top-p", max=1.0, help="Sample from the fewest tokens with a total probability of p.")
    ] = 1.0,
    min_p: Annotated[
        float,
        typer.Option(
            "--min-p", min=0.0, max=1.0, help="Sample from tokens with at least this share of the largest probability."
        ),
    ] = 0.0,
    repetition_penalty: Annotated[
        float, typer.Option("--repetition-penalty", help="Make earlier tokens less likely (above 1).")
    ] = 1.0,
    frequency_penalty: Annotated[
        float, typer.Option("--frequency-penalty", help="Subtract this from a logit for each occurrence in the text.")
    ] = 0.0,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="End the answer before this text. May be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Use this random seed for sampling.")] = 0,
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
"""Adds the sampling options to a command, which receives their values as `drawing`."""


@with_drawing
def infer(
    model: Model = "",
    prompt: Annotated[list[str] | None, typer.Option("--prompt", help="Answer this prompt. May be repeated.")] = None,
    prompt_file: Annotated[
        Path | None,
        typer.Option("--prompt-file", help="Read one prompt from each line. - reads standard input as one prompt."),
    ] = None,
    system: System = None,
    adapter: Adapter = None,
    any_base: AnyBase = False,
    draft: Draft = None,
    ahead: Annotated[int, typer.Option("--ahead", min=1, help="Let --draft propose this many tokens a step.")] = 4,
    max_tokens: MaxTokens = 256,
    *,
    drawing: Drawing,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the prompt without the chat template.")] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Answer this many prompts together.")] = 8,
    list_models: Annotated[bool, typer.Option("--list", help="List the short names of published models.")] = False,
    as_json: AsJson = False,
) -> None:
    """Answer prompts. The text goes to stdout, one line of statistics to stderr.

    The answer to a single prompt is streamed. Several prompts are answered in batches, and each answer is printed with its
    number, in the order of the prompts.
    """
    if list_models:
        from lazarus_models.loading.hub import MODELS

        show_table(MODELS, as_json)
        return
    from lazarus_models.errors import GenerationError

    prompts = _prompts(prompt or [], prompt_file)
    if not model or not prompts:
        raise GenerationError("`infer` needs --model, and --prompt or --prompt-file; --list shows names", "LM-E144")
    config = _config(max_new_tokens=max_tokens, **drawing)
    from lazarus_models.chat.history import ChatHistory
    from lazarus_models.generation.autoregressive import generate
    from lazarus_models.generation.batch import generate_batch
    from lazarus_models.generation.speculative import generate_with_draft
    from lazarus_models.loading.huggingface import load

    lm = load_model(model, adapter, any_base=any_base)
    instructions = _instructions(system)
    if raw and instructions:
        raise GenerationError("`--system` has no effect with `--raw`; include it in the prompt", "LM-E144")
    asked = [one if raw else ChatHistory.of(instructions).user(one).messages for one in prompts]
    if draft is not None and len(asked) > 1:
        raise GenerationError("`--draft` supports one prompt only; remove it for several prompts", "LM-E144")
    if len(asked) == 1:
        on_text = str if as_json else _write
        if draft is None:
            done = generate(lm, asked[0], config, raw=raw, on_text=on_text)
        else:
            done = generate_with_draft(lm, load(draft), asked[0], config, raw=raw, ahead=ahead, on_text=on_text)
        _write((_answer_json(done) if as_json else "") + "\n")
        say(done.stats.summary)
        return
    _summarise(generate_batch(lm, asked, config, raw=raw, batch_size=batch_size, on_done=_in_order(as_json)))


def _summarise(answers: "list[Generation]") -> None:
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
    """Chat with a model.

    /reset starts a new conversation, /history shows the messages, Ctrl-C stops an answer, /exit or Ctrl-D quits.
    """
    config = _config(max_new_tokens=max_tokens, **drawing)
    from lazarus_models.chat.history import ChatHistory
    from lazarus_models.generation.autoregressive import generate
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
                cache = PromptCache.empty(lm.model)  # it may have read a token that is not recorded
                _write("\n")
                say("stopped; your last message is not part of the conversation")
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
    """A callback that prints answers in the order of the prompts, each as soon as all earlier ones are finished."""
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
