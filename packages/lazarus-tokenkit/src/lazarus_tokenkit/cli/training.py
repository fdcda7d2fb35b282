"""The commands of `train`: bpe, sentencepiece, char."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lazarus_core.console import say, show, warn
from lazarus_core.reasons import plain_reason
from lazarus_tokenkit.cli.options import AsJson, Data, with_fields

if TYPE_CHECKING:
    from lazarus_tokenkit.samples.schemas import FieldNames
    from lazarus_tokenkit.training.run import Kind

Output = Annotated[
    Path, typer.Option("-o", "--output", help="New directory for the tokenizer, its report card and its fingerprint.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the estimated time and memory, and stop.")]
Special = Annotated[list[str] | None, typer.Option("--special", help="Special token. The order decides the ids.")]
VocabSize = Annotated[
    int, typer.Option("-v", "--vocab-size", help="Number of ids, including special tokens and bytes.", min=1)
]


@with_fields
def bpe(
    data: Data,
    output: Output,
    vocab_size: VocabSize = 8192,
    special: Special = None,
    min_frequency: Annotated[
        int, typer.Option("--min-frequency", help="Occurrences that a pair needs to be merged.", min=1)
    ] = 2,
    split_digits: Annotated[bool, typer.Option("--split-digits", help="Make each digit a separate token.")] = False,
    *,
    fields: "FieldNames",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train a byte-level BPE, which encodes every text.

    Example: -d corpus.txt --vocab-size 8000 -o my-tokenizer
    """
    from lazarus_tokenkit.tokenizers.trainers.bpe import END_OF_TEXT, BpeConfig

    config = _checked(
        lambda: BpeConfig(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            special_tokens=tuple(special or [END_OF_TEXT]),
            split_digits=split_digits,
        )
    )
    _train(data, output, config, "bpe", fields, dry_run, as_json)


@with_fields
def sentencepiece(
    data: Data,
    output: Output,
    vocab_size: VocabSize = 8192,
    special: Special = None,
    model_type: Annotated[
        Literal["bpe", "unigram"],
        typer.Option("--model-type", help="bpe merges pairs of pieces; unigram chooses the most likely pieces."),
    ] = "bpe",
    keep_digits: Annotated[bool, typer.Option("--keep-digits", help="Allow tokens of several digits.")] = False,
    *,
    fields: "FieldNames",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train a SentencePiece model: BPE or unigram.

    Example: -d corpus.txt --vocab-size 8000 --model-type unigram -o my-tokenizer
    """
    from lazarus_tokenkit.tokenizers.trainers.sentencepiece import SentencePieceConfig

    config = _checked(
        lambda: SentencePieceConfig(
            vocab_size=vocab_size,
            model_type=model_type,
            special_tokens=tuple(special or ()),
            split_digits=not keep_digits,
        )
    )
    _train(data, output, config, "sentencepiece", fields, dry_run, as_json)


@with_fields
def char(
    data: Data,
    output: Output,
    fields: "FieldNames",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make a tokenizer of the characters in the data.

    Example: -d corpus.txt -o my-tokenizer
    """
    _train(data, output, None, "char", fields, dry_run, as_json)


def _train(
    data: list[Path], output: Path, config: Any, kind: "Kind", fields: "FieldNames", dry_run: bool, as_json: bool
) -> None:
    from lazarus_core.outputs import check_folder
    from lazarus_tokenkit.training.card import freeze
    from lazarus_tokenkit.training.run import estimate, train_files

    check_folder(output, "a trained tokenizer", code="LT-E118")
    if dry_run:
        found = estimate(data, kind, fields)
        line = (
            f"{found.documents:,} documents with {found.bytes:,} bytes for training, {found.held_out:,} held out;"
            f" about {max(found.seconds, 1):.0f} s and {max(found.memory_mb, 1):.0f} MB"
        )
        show(json.dumps(vars(found), indent=2) if as_json else line)
        return
    tokenizer, card = train_files(data, config, fields, output.name)
    freeze(tokenizer, card, output)
    if config is not None and tokenizer.vocab_size < config.vocab_size:
        warn(f"{tokenizer.vocab_size:,} ids instead of {config.vocab_size:,}: the text has no more pairs to merge")
    show(json.dumps(card.to_json(), indent=2) if as_json else card.markdown())
    say(f"wrote {output}; next: lazarus tokenizer doctor -t {shlex.quote(str(output))}")


def _checked(make: Callable[[], Any]) -> Any:
    from pydantic import ValidationError

    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(plain_reason(first["msg"])) from error
