"""The commands `infer` and `chat`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_core.console import say
from lazarus_models.cli.conversation import complete, converse, write_now
from lazarus_models.cli.diffusing import Masks, check_drawing, diffuse_all, with_masks
from lazarus_models.cli.drawing import Drawing, generation_config, with_drawing
from lazarus_models.cli.options import Adapter, AnyBase, AsJson, Model, load_model, show_table
from lazarus_models.cli.prompts import Asked, read_prompts
from lazarus_models.cli.system import System, SystemFile, system_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from lazarus_models.generation.autoregressive import Generation
    from lazarus_models.generation.sampling import GenerationConfig
    from lazarus_models.loading.loaded_model import LoadedModel

MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Generate at most this many tokens.")]
_MAX_TOKENS, _AHEAD = 256, 4
Draft = Annotated[
    str | None,
    typer.Option("--draft", help="Use this smaller model for speculative decoding. The text stays the same."),
]


@with_masks
@with_drawing
def infer(
    text: Annotated[str | None, typer.Argument(metavar="PROMPT", help="Answer this prompt.")] = None,
    model: Model = "",
    prompt: Annotated[list[str] | None, typer.Option("-p", "--prompt", help="Answer this prompt.")] = None,
    prompt_file: Annotated[
        Path | None,
        typer.Option("--prompt-file", help="Read one prompt from each line. - reads standard input as one prompt."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", help="Answer the rows of this JSON Lines file: `id`, and `prompt` or `messages`."),
    ] = None,
    system: System = None,
    system_file: SystemFile = None,
    adapter: Adapter = None,
    any_base: AnyBase = False,
    draft: Draft = None,
    ahead: Annotated[
        int | None,
        typer.Option("--ahead", min=1, help=f"Let --draft propose this many tokens a step [default: {_AHEAD}]."),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", min=1, help=f"Generate at most this many tokens [default: {_MAX_TOKENS}]."),
    ] = None,
    *,
    drawing: Drawing,
    masks: Masks,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the prompt without the chat template.")] = False,
    chats: Annotated[bool, typer.Option("--chat", help="Chat, as `chat` does.")] = False,
    interactive: Annotated[
        bool,
        typer.Option(
            "--interactive", help="Chat; with --raw, or a model without a chat template, continue each line instead."
        ),
    ] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Answer this many prompts together.")] = 8,
    list_models: Annotated[bool, typer.Option("--list", help="List the short names of published models.")] = False,
    as_json: AsJson = False,
) -> None:
    """Answer prompts. The text goes to stdout, one line of statistics to stderr.

    The prompt is the argument, --prompt, a line of --prompt-file, a row of --prompts, or standard input. The answer to a
    single prompt is streamed. Several prompts are answered in batches, and each answer is printed with its number, in the
    order of the prompts. With --json, each answer is an object with `id`, `prompt` and `response`.

    --total-length or --mask-token makes the answer by masked diffusion, for models that `lazarus train objective diffusion`
    or others trained so.

    Example: -m smollm2-360m -p "What is the capital of France?"
    Example: -m run/final --prompts questions.jsonl --json
    """
    if list_models:
        from lazarus_models.loading.hub import MODELS

        show_table(MODELS, as_json)
        return
    config = generation_config(max_new_tokens=max_tokens or _MAX_TOKENS, **drawing)
    if masks.is_given:
        check_drawing(drawing, config)
        _check_masks(masks, max_tokens, is_other=draft is not None or chats or interactive)
    instructions = system_message(system, system_file)
    if raw and instructions:
        option = "--system" if system_file is None else "--system-file"
        raise _refusal(f"`{option}` has no effect with `--raw`; include it in the prompt")
    texts = [*([] if text is None else [text]), *(prompt or [])]
    if chats or interactive:
        if texts or prompt_file is not None or prompts is not None or draft is not None or as_json:
            raise _refusal("--chat and --interactive read lines from the terminal; remove prompts, --draft and --json")
        if chats and raw:
            raise _refusal("`--raw` has no effect with `--chat`; use --interactive to continue lines")
        if not model:
            raise _refusal("`infer` needs --model, or the variable LAZARUS_MODEL; --list shows names")
        _interact(load_model(model, adapter, any_base=any_base), instructions, config, only_text=raw, only_chat=chats)
        return
    if not model:
        raise _refusal(
            "`infer` needs --model or the variable LAZARUS_MODEL, and a prompt, --prompt-file, --prompts or standard "
            "input; --list shows names"
        )
    asked = read_prompts(texts, prompt_file, prompts)
    _check_prompts(asked, raw=raw, draft=draft, ahead=ahead, has_rows=prompts is not None)
    lm = load_model(model, adapter, any_base=any_base)
    given = [each.prompt if raw else each.messages(instructions) for each in asked]
    if masks.is_given:
        _answer_by_masks(lm, asked, given, masks, drawing, max_tokens=config.max_new_tokens, raw=raw, as_json=as_json)
    elif len(asked) == 1 and prompts is None:
        _answer_one(lm, asked[0], given[0], config, raw=raw, draft=draft, ahead=ahead or _AHEAD, as_json=as_json)
    else:
        _answer_all(lm, asked, given, config, raw=raw, batch_size=batch_size, as_json=as_json)


@with_drawing
def chat(
    model: Model,
    system: System = None,
    system_file: SystemFile = None,
    adapter: Adapter = None,
    any_base: AnyBase = False,
    max_tokens: MaxTokens = 512,
    *,
    drawing: Drawing,
) -> None:
    """Chat with a model.

    /reset starts a new conversation, /history shows the messages, /help lists the commands, Ctrl-C stops an answer, /exit
    or Ctrl-D quits. A line that begins with a space is never a command.

    Example: -m smollm2-360m --system "Answer in one sentence."
    """
    config = generation_config(max_new_tokens=max_tokens, **drawing)
    instructions = system_message(system, system_file)
    converse(load_model(model, adapter, any_base=any_base), instructions, config)


def _check_masks(masks: Masks, max_tokens: int | None, *, is_other: bool) -> None:
    if is_other:
        raise _refusal("masked diffusion has no --draft, --chat and --interactive; remove them")
    if masks.total_length is not None and max_tokens is not None:
        raise _refusal("give one of `--total-length` and `--max-tokens`")


def _check_prompts(asked: list[Asked], *, raw: bool, draft: str | None, ahead: int | None, has_rows: bool) -> None:
    if not asked:
        raise _refusal("`infer` needs a prompt, --prompt-file, --prompts or standard input")
    if draft is not None and (has_rows or len(asked) > 1):
        raise _refusal("`--draft` supports one prompt only; remove it for several prompts, and for --prompts")
    if ahead is not None and draft is None:
        raise _refusal("`--ahead` has no effect without `--draft`; remove it")
    if raw and any(each.earlier for each in asked):
        raise _refusal("`--raw` continues a text; a row of --prompts has earlier messages")


def _interact(
    lm: "LoadedModel", instructions: str | None, config: "GenerationConfig", *, only_text: bool, only_chat: bool
) -> None:
    if only_text or (lm.tokenizer.chat_template is None and not only_chat):
        if instructions:
            raise _refusal("`--system` has no effect here: the model has no chat template; remove it, or use --chat")
        complete(lm, config)
    else:
        converse(lm, instructions, config)


def _answer_one(
    lm: "LoadedModel",
    asked: Asked,
    given: Any,
    config: "GenerationConfig",
    *,
    raw: bool,
    draft: str | None,
    ahead: int,
    as_json: bool,
) -> None:
    from lazarus_models.generation.autoregressive import generate
    from lazarus_models.generation.speculative import generate_with_draft
    from lazarus_models.loading.huggingface import load

    on_text = str if as_json else write_now
    if draft is None:
        done = generate(lm, given, config, raw=raw, on_text=on_text)
    else:
        done = generate_with_draft(lm, load(draft), given, config, raw=raw, ahead=ahead, on_text=on_text)
    write_now((_answer_json(asked, done) if as_json else "") + "\n")
    reading = done.first_token_s or done.seconds
    head = f"{len(done.ids)} tokens in {done.seconds:.2f} s"
    _say_speed(head, done.prompt_tokens, reading, len(done.ids), done.seconds)


def _answer_by_masks(
    lm: "LoadedModel",
    asked: list[Asked],
    given: list[Any],
    masks: Masks,
    drawing: Drawing,
    *,
    max_tokens: int,
    raw: bool,
    as_json: bool,
) -> None:
    show = _show_text if len(asked) == 1 and not as_json else _in_order(asked, as_json)
    done = diffuse_all(lm, given, masks, drawing, max_tokens=max_tokens, raw=raw, on_done=show)
    wrote, seconds = sum(len(each.ids) for each in done), sum(each.seconds for each in done)
    say(f"masked diffusion: {wrote} tokens for {len(done)} prompt(s) in {seconds:.2f} s, {wrote / seconds:.1f} tok/s")


def _answer_all(
    lm: "LoadedModel",
    asked: list[Asked],
    given: list[Any],
    config: "GenerationConfig",
    *,
    raw: bool,
    batch_size: int,
    as_json: bool,
) -> None:
    from lazarus_models.generation.batch import generate_batch

    show = _in_order(asked, as_json)
    read: list[tuple[int, float]] = []

    def note(tokens: int, took: float) -> None:
        read.append((tokens, took))

    answers = generate_batch(lm, given, config, raw=raw, batch_size=batch_size, on_done=show, on_read=note)
    seconds = max(done.seconds for done in answers)
    wrote = sum(len(done.ids) for done in answers)
    _say_speed(
        f"{wrote} tokens for {len(answers)} prompts in {seconds:.2f} s",
        sum(tokens for tokens, _ in read),
        sum(took for _, took in read),
        wrote,
        seconds,
    )


def _say_speed(head: str, read: int, reading_s: float, wrote: int, seconds: float) -> None:
    """One line of statistics: speeds of reading and writing, and the largest memory that MLX used."""
    from lazarus_models.backend import mx

    writing_s = seconds - reading_s
    writing = f", answer {(wrote - 1) / writing_s:.1f}" if wrote > 1 and writing_s > 0 else ""
    say(
        f"{head}: prompt {read / reading_s:.1f}{writing}, all {wrote / seconds:.1f} tok/s; "
        f"peak memory {mx.get_peak_memory() / 1e6:,.0f} MB"
    )


def _show_text(_: int, done: "Generation") -> None:
    write_now(done.text + "\n")


def _in_order(asked: list[Asked], as_json: bool) -> "Callable[[int, Generation], None]":
    """A callback that prints answers in the order of the prompts, each as soon as all earlier ones are finished."""
    finished: dict[int, Generation] = {}
    number = 0

    def show_next(index: int, done: "Generation") -> None:
        nonlocal number
        finished[index] = done
        while number in finished:
            done = finished.pop(number)
            line = _answer_json(asked[number], done) if as_json else f"[{asked[number].id}] {done.text}"
            number += 1
            write_now(line + "\n")

    return show_next


def _answer_json(asked: Asked, done: "Generation") -> str:
    said = {
        "id": asked.id,
        "prompt": asked.prompt,
        "response": done.text,
        **asdict(done),
        "tokens_per_s": round(done.tokens_per_s, 1),
    }
    if done.logprobs is None:
        del said["logprobs"]
    return json.dumps(said, ensure_ascii=False)


def _refusal(words: str) -> Exception:
    from lazarus_models.errors import GenerationError

    return GenerationError(words, "LM-E144")
