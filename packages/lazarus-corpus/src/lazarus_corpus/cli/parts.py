"""`dedup` and `split`: single parts of a build, on JSON Lines."""

from pathlib import Path
from typing import Annotated

import typer

from lazarus_core.commands import Force
from lazarus_core.console import show_line
from lazarus_corpus.cli.options import IdField, TextField, Workers


def dedup(
    data: Annotated[list[Path], typer.Option("-d", "--data", help="A file or folder of documents; again for more.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the corpus.")],
    threshold: Annotated[
        float, typer.Option("--threshold", min=0.01, max=1, help="Smallest Jaccard similarity of near duplicates.")
    ] = 0.8,
    text_field: TextField = "text",
    id_field: IdField = "id",
    workers: Workers = 1,
) -> None:
    """Remove equal and nearly equal documents, and change nothing else.

    Example: -d documents.jsonl --threshold 0.9 -o corpus
    """
    from lazarus_corpus.build import build_corpus
    from lazarus_corpus.settings import CleaningSettings, CorpusSettings, DedupSettings, SourceSettings, SplitSettings

    source = SourceSettings(name="data", path=tuple(data), text_field=text_field, id_field=id_field)
    settings = CorpusSettings(
        sources=(source,),
        cleaning=CleaningSettings(unicode=False, newlines=False),
        dedup=DedupSettings(threshold=threshold),
        split=SplitSettings(validation=0.0),
    )
    report = build_corpus(settings, output, workers=workers)
    removed = ", ".join(f"{count:,} {rule}" for rule, count in report.removed.items()) or "none"
    show_line(f"{report.read:,} documents read, {report.documents:,} kept; removed: {removed}")


def split(
    data: Annotated[list[Path], typer.Option("-d", "--data", help="JSON Lines; again for more.")],
    train: Annotated[Path, typer.Option("--train", help="File of the training rows.")],
    validation_output: Annotated[Path, typer.Option("--validation-output", help="File of the validation rows.")],
    share: Annotated[float, typer.Option("--validation", min=0.0, max=0.99, help="Share of validation rows.")] = 0.01,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed.")] = 0,
    id_field: Annotated[str, typer.Option("--id-field", help="Field with a stable id.")] = "id",
    group_field: Annotated[
        str, typer.Option("--group-field", help="Field that names what stays in one split.")
    ] = "group",
    force: Force = False,
) -> None:
    """Divide rows by the hash of their id or group; equal rows are never in both files.

    Example: -d rows.jsonl --train train.jsonl --validation-output validation.jsonl --validation 0.05
    """
    from lazarus_corpus.split import split_rows

    counts = split_rows(
        data, train, validation_output, share=share, seed=seed, id_field=id_field, group_field=group_field, force=force
    )
    show_line(f"{counts[0]:,} training rows: {train}; {counts[1]:,} validation rows: {validation_output}")
