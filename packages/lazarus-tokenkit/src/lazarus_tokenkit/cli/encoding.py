"""Commands that turn text into ids and back: encode, decode, vocab."""

import json
import re
from collections.abc import Mapping
from typing import Annotated

import typer

from lazarus_core.console import say, show
from lazarus_tokenkit.cli.options import AsJson, TokenizerName, load, parse_ids, read_text
from lazarus_tokenkit.errors import TokenkitError

Ids = Annotated[str, typer.Option("--ids", help="Ids, separated by commas or spaces.")]


def encode(
    tokenizer: TokenizerName,
    text: Annotated[str, typer.Argument(help="Any text, `-` for stdin; special tokens in it count as such.")],
    pieces: Annotated[bool, typer.Option("--pieces", help="Show where tokens begin, and each with its bytes.")] = False,
    literal: Annotated[bool, typer.Option("--literal", help="Spell special tokens out, as text of people is.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the ids of a text; none are added."""
    loaded = load(tokenizer)
    text = read_text(text)
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
    show(",".join(map(str, found.ids)))
    if pieces:
        from lazarus_tokenkit.analysis.comparison import cut_view
        from lazarus_tokenkit.tables import aligned

        show(f"\n{cut_view(text, found)}\n")
        rows = zip(found.ids, _pieces(found.ids, loaded.vocab), found.starts, found.ends, strict=True)
        show(aligned([(str(number), repr(piece), f"{start}:{end}") for number, piece, start, end in rows], right=[0]))


def decode(
    tokenizer: TokenizerName,
    ids: Ids,
    skip_special: Annotated[bool, typer.Option("--skip-special", help="Leave special tokens out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the text of ids."""
    loaded = load(tokenizer)
    text = loaded.decode(parse_ids(ids, loaded), skip_special=skip_special)
    show(json.dumps({"text": text}) if as_json else text)


def vocab(
    tokenizer: TokenizerName,
    search: Annotated[
        str | None, typer.Argument(help="Only pieces with this text, or matching it with --regex.")
    ] = None,
    regex: Annotated[bool, typer.Option("--regex", help="SEARCH is a regular expression.")] = False,
    first: Annotated[int, typer.Option("--from", help="First id.", min=0)] = 0,
    last: Annotated[int | None, typer.Option("--to", help="Last id.", min=0)] = None,
    special: Annotated[bool, typer.Option("--special", help="Only special tokens.")] = False,
    limit: Annotated[int, typer.Option("--limit", help="Largest number of lines; 0 prints all.", min=0)] = 50,
    as_json: AsJson = False,
) -> None:
    """List the vocabulary: id, piece and text."""
    from lazarus_tokenkit.tables import aligned

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
    say(f"{len(shown):,} of {len(found):,} entries that fit; {len(loaded.vocab):,} in all, {loaded.vocab_size:,} rows")


def _pieces(ids: list[int], vocab: Mapping[str, int]) -> list[str]:
    pieces = {number: piece for piece, number in vocab.items()}
    return [pieces.get(number, "") for number in ids]
