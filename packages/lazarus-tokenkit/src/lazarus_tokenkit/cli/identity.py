"""The commands `fingerprint`, `compare` and `benchmark`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_core.commands import Force
from lazarus_core.console import say, show, show_table
from lazarus_tokenkit.cli.options import (
    AsJson,
    TextOption,
    TokenizerName,
    check_fields,
    load,
    one_of,
    read_text,
    with_fields,
)
from lazarus_tokenkit.tables import heads

if TYPE_CHECKING:
    from lazarus_tokenkit.samples.schemas import FieldNames
    from lazarus_tokenkit.tokenizers.protocol import Tokenizer

First = Annotated[str, typer.Option("-t1", "--first", help="First tokenizer, in the forms of --tokenizer.")]
Second = Annotated[str, typer.Option("-t2", "--second", help="Second tokenizer, in the forms of --tokenizer.")]
SomeData = Annotated[list[Path] | None, typer.Option("-d", "--data", help="Data file or directory.")]


def fingerprint(
    tokenizer: TokenizerName,
    as_json: AsJson = False,
    save: Annotated[Path | None, typer.Option("--save", help="Write the fingerprint to this file.")] = None,
    verify: Annotated[
        Path | None, typer.Option("--verify", help="Compare with a saved fingerprint; exit 1 if it differs.")
    ] = None,
    force: Force = False,
) -> None:
    """Print the fingerprint of a tokenizer, by component.

    Example: -t gpt2 --save gpt2.fingerprint.json
    Example: -t gpt2 --verify gpt2.fingerprint.json
    """
    from lazarus_core.outputs import check_output
    from lazarus_tokenkit.fingerprint import compute_fingerprint, save_fingerprint, verify_fingerprint
    from lazarus_tokenkit.outputs import FINGERPRINT

    if save is None and force:
        raise typer.BadParameter("--force has no effect without --save")
    if save is not None:
        inputs = [path for path in (verify, Path(tokenizer)) if path is not None]
        check_output(save, FINGERPRINT, inputs=inputs, force=force)
    found = compute_fingerprint(load(tokenizer))
    if verify is not None:
        verify_fingerprint(found, verify)
        say(f"{tokenizer} has the fingerprint in {verify}")
    if save is not None:
        save_fingerprint(found, save, force=force)
        say(f"wrote {save}")
    if as_json:
        show(json.dumps(found.to_json(), indent=2))
    else:
        show(found.text())


@with_fields
def compare(
    first: First,
    second: Second,
    text: Annotated[str | None, typer.Argument(help="Text to compare, or `-` for stdin.")] = None,
    data: SomeData = None,
    *,
    fields: "FieldNames",
    as_json: AsJson = False,
    text_option: TextOption = None,
) -> None:
    """Compare two tokenizers on a text or a corpus.

    Example: --first gpt2 --second byte "Hello, world"
    """
    from lazarus_tokenkit.analysis.comparison import compare_tokenizers
    from lazarus_tokenkit.samples.documents import read_documents

    text = one_of(text, text_option, "TEXT and --text")
    if text is None and data is None:
        raise typer.BadParameter("give a text to compare, or a data set with --data")
    if text is not None and data is not None:
        raise typer.BadParameter("give a text or --data, not both")
    check_fields(fields, data)
    one, other = load(first), load(second)
    text = None if text is None else read_text(text)
    documents = [text] if text is not None else list(read_documents(data or [], fields))
    found = compare_tokenizers(one, other, documents)
    if as_json:
        show(json.dumps(found.to_json(), indent=2))
        return
    if text is not None:
        sides = zip(found.names, (one, other), strict=True)
        show("\n".join(_side(name, each, text) for name, each in sides) + "\n")
    show_table(found.text(), heads(found.blocks()))


@with_fields
def benchmark(
    tokenizer: TokenizerName,
    data: SomeData = None,
    *,
    fields: "FieldNames",
    repeats: Annotated[
        int, typer.Option("--repeats", help="Runs of each engine; the fastest counts.", min=1, max=1000)
    ] = 3,
    as_json: AsJson = False,
) -> None:
    """Measure the speed of all installed engines.

    Example: -t gpt2 -d train.jsonl
    """
    from lazarus_tokenkit.benchmark import SAMPLE, measure_speed
    from lazarus_tokenkit.samples.documents import read_documents
    from lazarus_tokenkit.tables import aligned, number

    check_fields(fields, data)
    documents = SAMPLE if data is None else list(read_documents(data, fields))
    found = measure_speed(load(tokenizer), documents, repeats)
    if as_json:
        show(json.dumps([speed.to_json() for speed in found], indent=2))
        return
    rows = [("engine", "MB/s", "documents/s", "tokens/s", "")]
    rows += [
        (
            each.name,
            number(each.megabytes_per_s, 2),
            number(each.documents_per_s, 0),
            number(each.tokens_per_s, 0),
            each.note,
        )
        for each in found
    ]
    show_table(aligned(rows, right=[1, 2, 3]))


def _side(name: str, tokenizer: "Tokenizer", text: str) -> str:
    from lazarus_tokenkit.analysis.comparison import cut_view

    found = tokenizer.segment_batch([text], parse_special=False)[0]
    return f"{name}: {len(found.ids)} tokens\n{cut_view(text, found)}"
