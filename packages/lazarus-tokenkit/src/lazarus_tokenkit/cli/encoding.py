"""The commands `encode`, `decode` and `vocab`."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_core.commands import Force
from lazarus_core.console import progress, say, show
from lazarus_tokenkit.cli.options import (
    AsJson,
    EngineOption,
    Template,
    TextOption,
    TokenizerName,
    load,
    one_of,
    parse_ids,
    read_text,
    with_fields,
)
from lazarus_tokenkit.errors import TokenkitError

if TYPE_CHECKING:
    from lazarus_tokenkit.samples.schemas import FieldNames
    from lazarus_tokenkit.tokenizers.engines import EngineName
    from lazarus_tokenkit.tokenizers.protocol import Tokenizer

Ids = Annotated[str, typer.Option("--ids", help="Token ids, separated by commas or spaces.")]


@with_fields
def encode(
    tokenizer: TokenizerName,
    fields: "FieldNames",
    text: Annotated[
        str | None, typer.Argument(help="Text to encode, or `-` for stdin. Special tokens in it are parsed.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("-d", "--data", help="Encode a data set instead of TEXT, in the forms of `lengths build`."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write with --data, .jsonl or .parquet.")
    ] = None,
    template: Template = None,
    engine: EngineOption = "huggingface",
    pieces: Annotated[
        bool, typer.Option("--pieces", help="Show token boundaries and the bytes of each token.")
    ] = False,
    literal: Annotated[bool, typer.Option("--literal", help="Encode special tokens as ordinary text.")] = False,
    force: Force = False,
    as_json: AsJson = False,
    text_option: TextOption = None,
) -> None:
    """Print the ids of a text, or write those of a data set.

    No special token is added to a text. The file of a data set has ids and loss masks of every sample, for any trainer.

    Example: -t gpt2 "Hello, world" --pieces
    Example: -t smollm2-360m -d train.jsonl -o encoded.parquet
    """
    from lazarus_tokenkit.samples.schemas import FieldNames

    text = one_of(text, text_option, "TEXT and --text")
    if data:
        _refuse_with("--data", {"TEXT": text is not None, "--pieces": pieces, "--literal": literal})
        if output is None:
            raise TokenkitError("--data needs --output: name a .jsonl or .parquet file", "LT-E501")
        _encode_data(data, tokenizer, output, fields, template, engine, force, as_json)
        return
    if text is None:
        raise TokenkitError("give TEXT to encode, or a data set with --data and --output", "LT-E501")
    only_with_data = {
        "--output": output,
        "--template": template,
        "--force": force,
        "--..-field": fields != FieldNames(),
    }
    _refuse_with("TEXT", only_with_data | {"--engine": engine != "huggingface"})
    _show_ids(load(tokenizer), read_text(text), pieces=pieces, literal=literal, as_json=as_json)


def _show_ids(loaded: "Tokenizer", text: str, *, pieces: bool, literal: bool, as_json: bool) -> None:
    """Prints the ids of a text, and with `pieces` where each token begins and ends."""
    if not (pieces or as_json):  # offsets need the bytes of the whole vocabulary: 0.4 s for 200,000 tokens
        show(",".join(map(str, loaded.encode(text, parse_special=not literal))))
        return
    found = loaded.segment_batch([text], parse_special=not literal)[0]
    if as_json:
        members = {
            "ids": found.ids,
            "tokens": [loaded.decode([number]) for number in found.ids],
            "pieces": _pieces(found.ids, loaded.vocab),
            "offsets": [list(span) for span in zip(found.starts, found.ends, strict=True)],
            "count": len(found.ids),
        }
        show(json.dumps(members))
        return
    from lazarus_tokenkit.analysis.comparison import cut_view
    from lazarus_tokenkit.tables import aligned

    show(",".join(map(str, found.ids)))
    show(f"\n{cut_view(text, found)}\n")
    rows = zip(found.ids, _pieces(found.ids, loaded.vocab), found.starts, found.ends, strict=True)
    show(aligned([(str(number), repr(piece), f"{start}:{end}") for number, piece, start, end in rows], right=[0]))


def decode(
    tokenizer: TokenizerName,
    ids: Ids,
    skip_special: Annotated[bool, typer.Option("--skip-special", help="Leave special tokens out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the text of ids.

    Example: -t gpt2 --ids 15496,11,995
    """
    loaded = load(tokenizer)
    text = loaded.decode(parse_ids(ids, loaded), skip_special=skip_special)
    show(json.dumps({"text": text}) if as_json else text)


def vocab(
    tokenizer: TokenizerName,
    search: Annotated[
        str | None, typer.Argument(help="List only pieces that contain this text, or match it with --regex.")
    ] = None,
    regex: Annotated[bool, typer.Option("--regex", help="SEARCH is a regular expression.")] = False,
    first: Annotated[int, typer.Option("--from", help="First id.", min=0)] = 0,
    last: Annotated[int | None, typer.Option("--to", help="Last id.", min=0)] = None,
    special: Annotated[bool, typer.Option("--special", help="List only special tokens.")] = False,
    limit: Annotated[int, typer.Option("--limit", help="Largest number of lines; 0 prints all.", min=0)] = 50,
    as_json: AsJson = False,
    search_option: Annotated[str | None, typer.Option("--search", hidden=True, help="The text, as SEARCH.")] = None,
) -> None:
    """List the vocabulary: id, piece and text.

    Example: -t gpt2 hello --limit 20
    """
    from lazarus_tokenkit.tables import aligned

    search = one_of(search, search_option, "SEARCH and --search")
    loaded = load(tokenizer)
    try:
        pattern = None if search is None else re.compile(search if regex else re.escape(search))
    except re.error as error:
        raise TokenkitError(f"{search!r} is not a regular expression: {error}", "LT-E501") from error
    specials = {number: text for text, number in loaded.special_tokens.items()}
    found: list[tuple[int, str, str]] = []
    for piece, number in loaded.vocab.items():
        text = loaded.token_bytes.get(number, b"").decode(errors="backslashreplace")
        is_wanted = first <= number and (last is None or number <= last) and (not special or number in specials)
        if is_wanted and (pattern is None or pattern.search(piece) or pattern.search(text)):
            found.append((number, piece, text))
    shown = found[:limit] if limit else found
    if as_json:
        show(
            json.dumps(
                [
                    {"id": number, "piece": piece, "text": text, "special": number in specials}
                    for number, piece, text in shown
                ]
            )
        )
    elif shown:
        rows = [
            (str(number), piece, repr(text), "special" if number in specials else "") for number, piece, text in shown
        ]
        show(aligned(rows, right=[0]))
    say(f"{len(shown):,} of {len(found):,} matching entries; {len(loaded.vocab):,} in all, {loaded.vocab_size:,} rows")


def _refuse_with(mode: str, given: Mapping[str, object]) -> None:
    """Refuses options that have no effect in a mode."""
    if names := [name for name, value in given.items() if value]:
        raise TokenkitError(f"{', '.join(names)} cannot be given with {mode}: omit one", "LT-E501")


def _encode_data(
    data: list[Path],
    tokenizer: str,
    output: Path,
    fields: "FieldNames",
    template: str | None,
    engine: "EngineName",
    force: bool,
    as_json: bool,
) -> None:
    from lazarus_tokenkit.cli.lengths import show_receipt
    from lazarus_tokenkit.encoded_data import write_encoded
    from lazarus_tokenkit.encoding.encoder import Encoder
    from lazarus_tokenkit.lengths.stats import LengthTally
    from lazarus_tokenkit.samples.read import count_lines

    encoder = Encoder(load(tokenizer), template)
    tally = LengthTally()
    with progress("encoding", total=count_lines(data), unit="samples") as advance:
        header = write_encoded(data, encoder, output, fields, advance, engine, tally, force)
    show_receipt(tally.stats, header, encoder.chat_template.name, as_json)
    if not as_json:
        say(f"wrote {output}: one row a sample, with `input_ids` and `mask`")


def _pieces(ids: list[int], vocab: Mapping[str, int]) -> list[str]:
    pieces = {number: piece for piece, number in vocab.items()}
    return [pieces.get(number, "") for number in ids]
