"""Options that several commands share."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO, cast

import typer

from lazarus_core.cli_app import Alias
from lazarus_core.commands import shared_options
from lazarus_tokenkit.errors import TokenkitError

if TYPE_CHECKING:
    from lazarus_tokenkit.samples.schemas import FieldNames
    from lazarus_tokenkit.tokenizers.protocol import Tokenizer

TokenizerName = Annotated[
    str,
    typer.Option(
        "-t",
        "--tokenizer",
        help="`byte`, `char:CHARACTERS`, a tokenizer's directory or file, an OpenAI model, or a Hugging Face id.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Data = Annotated[
    list[Path],
    typer.Option(
        "-d",
        "--data",
        Alias("--file"),
        help="JSON Lines, JSON, CSV, Parquet or text file, or directory of texts.",
    ),
]
EngineOption = Annotated[
    Literal["auto", "huggingface", "tiktoken", "sentencepiece", "gigatoken"],
    typer.Option(
        "--engine", help="Engine that encodes. It is compared with the reference, which replaces it if ids differ."
    ),
]
Template = Annotated[
    str | None,
    typer.Option(help="Name in `templates list`, `own`, or Jinja file [default: the tokenizer's own, else plain]."),
]


TextOption = Annotated[str | None, typer.Option("--text", hidden=True, help="The text, as TEXT.")]


def one_of(argument: str | None, option: str | None, names: str) -> str | None:
    """Returns the value of an argument that can also be given as an option.

    Args:
        argument: Value of the argument.
        option: Value of the option.
        names: Both names, for the error.
    """
    if argument is not None and option is not None:
        raise typer.BadParameter(f"{names} are the same setting: give one")
    return option if argument is None else argument


def load(name: str) -> "Tokenizer":
    """Loads a tokenizer by name or path."""
    from lazarus_tokenkit.tokenizers.load import load_tokenizer

    return load_tokenizer(name)


def _fields(
    prompt_field: Annotated[str | None, typer.Option(help="Field of the prompt [default: prompt].")] = None,
    completion_field: Annotated[str | None, typer.Option(help="Field of the answer [default: completion].")] = None,
    text_field: Annotated[str | None, typer.Option(help="Field of a document [default: text].")] = None,
    messages_field: Annotated[str | None, typer.Option(help="Field of a conversation [default: messages].")] = None,
    label_field: Annotated[
        str | None, typer.Option(help="Field of the label of an answer, true or false, for KTO [default: not read].")
    ] = None,
) -> "FieldNames":
    from lazarus_tokenkit.samples.schemas import FieldNames

    return FieldNames(
        text=text_field,
        messages=messages_field,
        prompt=prompt_field,
        completion=completion_field,
        label=label_field,
    )


with_fields = shared_options("fields", _fields)
"""Adds the options that name fields to a command. The command receives `FieldNames` as its parameter `fields`."""


def check_fields(fields: "FieldNames", data: list[Path] | None) -> None:
    """Checks that options of fields are given with data only.

    Raises:
        typer.BadParameter: There is no data.
    """
    from lazarus_tokenkit.samples.schemas import FieldNames

    if not data and fields != FieldNames():
        raise typer.BadParameter("the options of fields have no effect without --data: give it, or omit them")


def read_text(text: str) -> str:
    """Returns the text of an argument, or reads stdin if the argument is `-`."""
    if text == "-":
        text = _read_stdin()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TokenkitError(f"the text is not UTF-8 from character {error.start + 1} on", "LT-E501") from error
    return text


def _read_stdin() -> str:
    stream = cast("TextIO | None", sys.stdin)  # None if the shell closed it
    if stream is None:
        raise TokenkitError("stdin is closed: give the text as an argument", "LT-E501")
    try:
        return stream.read()
    except UnicodeDecodeError as error:
        raise TokenkitError(f"stdin is not UTF-8 from byte {error.start + 1} on", "LT-E501") from error


def parse_ids(text: str, tokenizer: "Tokenizer") -> list[int]:
    """Parses a list of ids and checks their range.

    Args:
        text: Integers, separated by commas or spaces.
        tokenizer: Its `vocab_size` limits the ids.

    Raises:
        TokenkitError: A number is not an id of the tokenizer.
    """
    try:
        ids = [int(number) for number in text.replace(",", " ").split()]
    except ValueError as error:
        raise TokenkitError(f"--ids must be integers, such as 1,2,3: {error}", "LT-E501") from error
    for number in ids:
        if not 0 <= number < tokenizer.vocab_size:
            raise TokenkitError(
                f"id {number} is outside 0..{tokenizer.vocab_size - 1} of `{tokenizer.name}`", "LT-E501"
            )
    return ids
