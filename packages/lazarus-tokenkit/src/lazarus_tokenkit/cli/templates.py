"""The commands of `templates`: list, show, validate, apply."""

import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from lazarus_core.bounded import MAX_FILE_BYTES, read_bytes
from lazarus_core.console import say, show, show_table
from lazarus_tokenkit.cli.options import AsJson, TokenizerName, load
from lazarus_tokenkit.errors import TokenkitError

Name = Annotated[str, typer.Argument(help="Name in `templates list`, `own`, or a Jinja file.")]
SomeTokenizer = Annotated[
    str | None,
    typer.Option("-t", "--tokenizer", help="Tokenizer whose special tokens are checked, and whose template `own` is."),
]


def list_(tokenizer: SomeTokenizer = None, as_json: AsJson = False) -> None:
    """List the built-in templates and their special tokens.

    Example: -t my-tokenizer
    """
    from lazarus_tokenkit.tables import aligned
    from lazarus_tokenkit.templates.registry import REGISTRY, missing_tokens

    loaded = None if tokenizer is None else load(tokenizer)
    missing = {name: missing_tokens(loaded, entry) if loaded else [] for name, entry in REGISTRY.items()}
    if as_json:
        rows = [
            {
                "name": name,
                "special_tokens": list(entry.special_tokens),
                "roles": list(entry.roles),
                "end_of_turn": entry.end_of_turn,
                "system": entry.has_system,
            }
            | ({"missing": missing[name]} if loaded else {})
            for name, entry in REGISTRY.items()
        ]
        show(json.dumps(rows, indent=2))
        return
    head = ("name", "ends turns by", "needs" if loaded is None else f"lacks in {loaded.name}")
    words = {
        name: " ".join([*entry.special_tokens, *entry.roles] if loaded is None else missing[name] or ["nothing"])
        for name, entry in REGISTRY.items()
    }
    show_table(aligned([head, *((name, entry.end_of_turn, words[name]) for name, entry in REGISTRY.items())]))


def show_(name: Name, tokenizer: SomeTokenizer = None) -> None:
    """Print the Jinja source of a template.

    Example: chatml
    """
    from lazarus_tokenkit.templates.registry import REGISTRY, choose_template

    if tokenizer is None and name in REGISTRY:
        show(REGISTRY[name].source.rstrip("\n"))
    else:
        show(choose_template(load(tokenizer or "byte"), name, "2026-01-01").source.rstrip("\n"))


def validate(name: Name, tokenizer: TokenizerName, as_json: AsJson = False) -> None:
    """Test a template with a tokenizer; exit 1 on errors.

    Example: chatml -t my-tokenizer
    """
    from lazarus_tokenkit.checks.templates import failures, validate_template
    from lazarus_tokenkit.tables import aligned
    from lazarus_tokenkit.templates.registry import choose_template

    loaded = load(tokenizer)
    found = validate_template(choose_template(loaded, name, "2026-01-01"), loaded)
    if as_json:
        show(json.dumps([vars(each) for each in found], indent=2))
    else:
        show(aligned([("ok" if each.holds else each.level, each.name, each.evidence) for each in found]))
    broken = failures(found)
    say(f"{name}: {len(broken)} error(s)" if broken else f"{name}: 0 error(s)")
    raise typer.Exit(1 if broken else 0)


def apply(
    name: Name,
    tokenizer: TokenizerName,
    conversation: Annotated[
        Path, typer.Argument(help="JSON file with a list of messages, or an object with `messages`.")
    ],
    prompt: Annotated[bool, typer.Option("--prompt", help="Add the header of the assistant's turn.")] = False,
    date: Annotated[str, typer.Option("--date", help="Date that the template receives as today.")] = "2026-01-01",
    as_json: AsJson = False,
) -> None:
    """Render a conversation; --json shows ids and loss too.

    Example: chatml -t my-tokenizer conversation.json --prompt
    """
    from lazarus_tokenkit.encoding.encoder import Encoder
    from lazarus_tokenkit.samples.json_rows import parse_json
    from lazarus_tokenkit.samples.kinds import ChatSample, PromptSample
    from lazarus_tokenkit.samples.schemas import FieldNames, to_sample

    encoder = Encoder(load(tokenizer), name, date)
    value = parse_json(_read(conversation), conversation)
    row: dict[str, Any] = cast("dict[str, Any]", value) if isinstance(value, dict) else {"messages": value}
    if not isinstance(row.get("messages"), list):
        raise TokenkitError(f"{conversation} is neither a list of messages nor an object with `messages`", "LT-E502")
    if prompt:
        row = {"prompt": row["messages"]} | {key: each for key, each in row.items() if key != "messages"}
    fields = FieldNames(prompt="prompt") if prompt else FieldNames(messages="messages")
    try:
        sample = to_sample(row, fields, "0")
    except TokenkitError as error:
        raise TokenkitError(f"{conversation}: {error.message}", error.code) from error
    assert isinstance(sample, ChatSample | PromptSample), "`fields` names a conversation or a prompt"
    encoded = encoder.encode(sample)  # refuses a template that drops tools or calls
    text = encoder.chat_template.render(sample.messages, add_generation_prompt=prompt, tools=sample.tools)
    show(json.dumps({"text": text, "ids": encoded.ids, "loss_mask": encoded.loss_mask}) if as_json else text)


def _read(path: Path) -> bytes:
    if str(path) == "-":
        import sys

        return sys.stdin.buffer.read(MAX_FILE_BYTES)
    return read_bytes(path)
