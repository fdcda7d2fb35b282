"""`build` and `analyze`."""

import json
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lazarus_core.console import say, show, show_line
from lazarus_corpus.cli.options import (
    Against,
    Data,
    IdField,
    Json,
    Languages,
    PersonalData,
    Rules,
    Seed,
    Sets,
    SourcesFile,
    TextField,
    Threshold,
    Validation,
    Workers,
    settings_of,
    words,
)

if TYPE_CHECKING:
    from lazarus_corpus.build import Report


def build(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the corpus.")],
    sources: SourcesFile = None,
    data: Data = None,
    text_field: TextField = "text",
    id_field: IdField = "id",
    rules: Rules = None,
    languages: Languages = None,
    personal_data: PersonalData = None,
    threshold: Threshold = None,
    against: Against = None,
    validation: Validation = None,
    seed: Seed = None,
    sets: Sets = None,
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
    from lazarus_corpus.build import build_corpus

    settings = _settings(
        sources,
        data,
        sets,
        (text_field, id_field),
        rules,
        languages,
        personal_data,
        threshold,
        against,
        validation,
        seed,
    )
    if analyze_only:
        _analyze(settings, workers, as_json)
        return
    report = build_corpus(settings, output, workers=workers, executor=executor, tokenizer=tokenizer)
    _show(report, as_json, str(output))
    if not as_json:
        first = min((output / "shards").iterdir())
        say(f"next: lazarus data lengths build -d {shlex.quote(str(first))} -t TOKENIZER -o lengths.jsonl")


def analyze(
    sources: SourcesFile = None,
    data: Data = None,
    text_field: TextField = "text",
    id_field: IdField = "id",
    rules: Rules = None,
    languages: Languages = None,
    personal_data: PersonalData = None,
    threshold: Threshold = None,
    against: Against = None,
    sets: Sets = None,
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Count what a build would change and remove, without writing a corpus.

    Example: -d documents.jsonl --languages en,de
    """
    settings = _settings(
        sources, data, sets, (text_field, id_field), rules, languages, personal_data, threshold, against, None, None
    )
    _analyze(settings, workers, as_json)


def _settings(
    sources: Path | None,
    data: list[Path] | None,
    sets: list[str] | None,
    fields: tuple[str, str],
    rules: str | None,
    languages: str | None,
    personal_data: str | None,
    threshold: float | None,
    against: list[Path] | None,
    validation: float | None,
    seed: int | None,
) -> Any:
    return settings_of(
        sources,
        data,
        sets,
        fields,
        seed=seed,
        filters__rules=words(rules),
        filters__languages=words(languages),
        cleaning__personal_data=personal_data,
        dedup__threshold=threshold,
        contamination__against=tuple(against) if against else None,
        split__validation=validation,
    )


def _analyze(settings: Any, workers: int, as_json: bool) -> None:
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
