"""`build` and `analyze`."""

import json
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_core.commands import shared_options
from lazarus_core.console import say, show, show_line
from lazarus_corpus.cli.options import Json, Workers, corpus_settings

if TYPE_CHECKING:
    from lazarus_corpus.build import Report
    from lazarus_corpus.settings import CorpusSettings


@shared_options("settings", corpus_settings)
def build(
    settings: "CorpusSettings",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the corpus; needed without --analyze-only.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option("-t", "--tokenizer", help="Tokenizer for the number of tokens in the card.")
    ] = None,
    workers: Workers = 1,
    executor: Annotated[
        Literal["local", "ray", "slurm"], typer.Option("--executor", help="Where tasks run.")
    ] = "local",
    analyze_only: Annotated[
        bool, typer.Option("--analyze-only", help="Count what would happen; write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build a corpus: clean, filter, deduplicate, split and write documents.

    The bytes do not depend on the order or division of files, the number of workers, the executor, or interruptions.

    Example: -d documents.jsonl -o corpus
    Example: sources.toml --rules gopher,fineweb --against test.jsonl --workers 2 -o corpus
    """
    from lazarus_core.settings import missing
    from lazarus_corpus.build import build_corpus

    if analyze_only:
        _analyze(settings, workers, as_json)
        return
    if output is None:
        raise missing("'-o' / '--output'")
    report = build_corpus(settings, output, workers=workers, executor=executor, tokenizer=tokenizer)
    _show(report, as_json, str(output))
    if not as_json:
        first = min((output / "shards").iterdir())
        say(f"next: lazarus data lengths build -d {shlex.quote(str(first))} -t TOKENIZER -o lengths.jsonl")


@shared_options("settings", corpus_settings)
def analyze(settings: "CorpusSettings", workers: Workers = 1, as_json: Json = False) -> None:
    """Count what a build would change and remove, without writing a corpus.

    Example: -d documents.jsonl --languages en,de
    """
    _analyze(settings, workers, as_json)


def _analyze(settings: "CorpusSettings", workers: int, as_json: bool) -> None:
    from lazarus_corpus.build import analyze_corpus

    with tempfile.TemporaryDirectory(prefix="lazarus-corpus-") as folder:
        _show(analyze_corpus(settings, Path(folder) / "work", workers=workers), as_json, None)


def _show(report: "Report", as_json: bool, output: str | None) -> None:
    if as_json:
        content = report._asdict()
        if output is None:
            del content["digest"]
        show(json.dumps({**content, **({} if output is None else {"output": output})}))
        return
    show_line(f"{report.read:,} documents read, {report.documents:,} kept ({report.characters:,} characters)")
    for rule, count in report.removed.items():
        show_line(f"  {rule:<16} {count:>10,} removed")
    if output is not None:
        show_line(f"{output}: digest {report.digest[:16]}")
