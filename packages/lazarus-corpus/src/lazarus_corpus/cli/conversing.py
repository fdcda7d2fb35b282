"""`conversations`, `preferences` and `dialogues`: chat samples and preferences as JSON Lines."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from lazarus_core.commands import Force
from lazarus_core.console import show_line, warn
from lazarus_core.outputs import OutputKind, begins_with, whole_output
from lazarus_corpus.errors import SourceError

Data = Annotated[list[Path], typer.Option("-d", "--data", help="A file of rows; again for more.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="JSON Lines.")]
_TEXT = r'"(?:[^"\\\n]|\\.)*"'
"""A text in JSON."""
CHATS = OutputKind(
    "conversations",
    begins_with(rf'\{{(?:"id":{_TEXT},)?(?:"(?:group|category)":{_TEXT},)?"messages":\['),
    "LD-E131",
)
PAIRS = OutputKind("preferences", begins_with(rf'\{{(?:"id":{_TEXT},)?"prompt":\['), "LD-E131")


def conversations(
    data: Data,
    output: Output,
    form: Annotated[
        str,
        typer.Option(
            "--form",
            help="auto, dolly, alpaca, completion, question, sharegpt, openai, dialogue, turns, transcript or oasst. Files "
            ".txt are transcripts: turns begin with `user:` or `assistant:`; a line `dialogue` in angle brackets divides.",
        ),
    ] = "auto",
    force: Force = False,
) -> None:
    """Write rows of public data sets as conversations: Dolly, Alpaca, ShareGPT, OpenAI, dialogues, transcripts, OASST.

    Example: -d dolly.jsonl -o chats.jsonl
    """
    from lazarus_corpus.conversations.forms import conversations as read

    found = (row for row, _ in read(_talks(data), form))
    show_line(f"{_write(found, output, CHATS, data, force):,} conversations: {output}")


def preferences(data: Data, output: Output, force: Force = False) -> None:
    """Write preferences with `prompt`, `chosen` and `rejected`, without those whose answers are equal.

    Example: -d pairs.jsonl -o preferences.jsonl
    """
    from lazarus_corpus.conversations.preferences import Counts
    from lazarus_corpus.conversations.preferences import preferences as read

    counts: list[Counts] = []
    _write(read(_rows(data), counts), output, PAIRS, data, force)
    show_line(f"{counts[0].kept:,} preferences: {output}")
    if counts[0].equal:
        warn(f"{counts[0].equal:,} rows have equal chosen and rejected answers and were dropped")


def dialogues(
    facts: Annotated[
        Path, typer.Option("--facts", help="JSON: category, then names with values, or questions with answers.")
    ],
    output: Output,
    per_category: Annotated[
        int, typer.Option("--per-category", min=1, max=1_000_000, help="Dialogues of a category.")
    ] = 30,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed.")] = 0,
    force: Force = False,
) -> None:
    """Write synthetic dialogues about facts; the same file for the same facts and seed.

    Example: --facts facts.json --per-category 30 --seed 0 -o dialogues.jsonl
    """
    from lazarus_corpus.conversations.dialogues import dialogues as make
    from lazarus_corpus.conversations.dialogues import read_facts

    known = read_facts(facts)
    count = _write(make(known, per_category, seed), output, CHATS, [facts], force)
    show_line(f"{count:,} dialogues of {len(known):,} categories, seed {seed}: {output}")


def _talks(paths: list[Path]) -> Iterator[tuple[dict[str, Any], str]]:
    from lazarus_corpus.conversations.forms import transcripts
    from lazarus_corpus.sources.read import text_of

    for path in paths:
        if path.suffix.lower() == ".txt":
            yield from transcripts(text_of(path), str(path))
        else:
            yield from _rows([path])


def _rows(paths: list[Path]) -> Iterator[tuple[dict[str, Any], str]]:
    from lazarus_tokenkit.samples import read_objects

    for path in paths:
        for row in read_objects(path):
            yield row.members, row.place


def _write(rows: Iterable[dict[str, Any]], output: Path, kind: OutputKind, inputs: list[Path], force: bool) -> int:
    from lazarus_corpus.documents import json_line

    count = 0
    with whole_output(output, kind, inputs=inputs, force=force) as stream:
        for row in rows:
            count += 1
            stream.write(json_line(row, f"{output}: row {count}", is_compact=True))
        if not count and kind is PAIRS:
            shown = ", ".join(str(path) for path in inputs[:3])
            raise SourceError(f"{shown}: no preferences are left: give rows with two different answers", "LD-E110")
    return count
