"""`verify`, `contamination` and `card`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_core.console import show, show_line, write
from lazarus_corpus.cli.options import Data, IdField, Json, TextField, settings_of

if TYPE_CHECKING:
    from lazarus_corpus.contamination import EvaluationItems
    from lazarus_corpus.settings import SourceSettings


def verify(
    corpus: Annotated[Path, typer.Argument(help="Folder of the corpus.")],
    sources: Annotated[
        Path | None, typer.Option("--sources", help="SOURCES.toml; its documents are read again and compared.")
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Compare a corpus with its manifest: exit 0 if every part is whole, 1 at a part that is not.

    Example: corpus
    Example: corpus --sources sources.toml
    """
    from lazarus_corpus.output.origin import source_settings
    from lazarus_corpus.output.verify import verify_corpus

    settings = settings_of(sources, data, None) if sources is not None else None
    if settings is None and data:
        settings = source_settings(corpus, data)
    checks = list(verify_corpus(corpus, settings))
    bad = [check for check in checks if not check.ok]
    if as_json:
        show(json.dumps({"corpus": str(corpus), "ok": not bad, "checks": [check._asdict() for check in checks]}))
    else:
        for check in checks:
            show_line(f"{'ok ' if check.ok else 'BAD'} {check.name}: {check.found}")
        if bad:
            show_line(f"{corpus}: {bad[0].name} is not as the manifest says: {bad[0].found}")
    if bad:
        raise typer.Exit(1)


def contamination(
    against: Annotated[list[Path] | None, typer.Option("--against", help="Evaluation set; again for more.")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "-d", "--data", help="A file or folder of documents; again for more. With --run: where its data are now."
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", help="A run's folder: its data are searched, and the steps that saw a document are listed."
        ),
    ] = None,
    batch_plan: Annotated[
        Path | None, typer.Option("--batch-plan", help="With --run: present location of its plan.")
    ] = None,
    coverage: Annotated[
        float, typer.Option("--coverage", min=0.01, max=1, help="Share of an item's n-grams from which it counts.")
    ] = 0.35,
    ngram: Annotated[int, typer.Option("--ngram", min=2, max=30, help="Words of an n-gram.")] = 5,
    recall: Annotated[
        int,
        typer.Option(
            "--recall", min=0, help="Inject this many items in each of the known forms, and report the share found."
        ),
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the injection.")] = 0,
    text_field: TextField = "text",
    id_field: IdField = "id",
    as_json: Json = False,
) -> None:
    """Find documents with items of evaluation sets: exit 1 if there are any; with --run, if a step saw one.

    With --run, documents that the corpus of the run's data flagged are listed too, also without --against.

    Example: --against test.jsonl -d documents.jsonl --recall 100
    Example: --against test.jsonl --run run
    """
    from lazarus_core.settings import missing
    from lazarus_corpus.contamination import EvaluationItems, read_items
    from lazarus_corpus.settings import SourceSettings

    if run is None and not data:
        raise missing("'-d' / '--data'")
    if run is None and not against:
        raise missing("'--against'")
    if batch_plan is not None and run is None:
        raise typer.BadParameter("needs --run", param_hint="'--batch-plan'")
    if run is not None and (text_field, id_field) != ("text", "id"):
        raise typer.BadParameter("not with --run, which has the fields of the run", param_hint="'--text-field'")
    if recall and run is not None:
        raise typer.BadParameter("not with --run: measure it on the documents", param_hint="'--recall'")
    parts = read_items(against) if against else []
    items = EvaluationItems(parts, ngram, coverage) if against else None
    if run is not None:
        found = _show_run(run, data or [], batch_plan, items, as_json)
    else:
        assert items is not None and data, "checked above"
        source = SourceSettings(name="data", path=tuple(data), text_field=text_field, id_field=id_field)
        found = _show_documents(items, parts, source, recall, seed, as_json)
    if found:
        raise typer.Exit(1)


def _show_documents(
    items: "EvaluationItems",
    parts: list[tuple[str, str]],
    source: "SourceSettings",
    recall: int,
    seed: int,
    as_json: bool,
) -> int:
    """Prints the documents with items and a summary; returns their number."""
    from lazarus_corpus.injection import measure_recall
    from lazarus_corpus.sources.read import files_of, read_file

    found = 0
    total = 0
    documents: list[str] = []
    for path in files_of(source):
        for document in read_file(path, source):
            total += 1
            if len(documents) < 500:
                documents.append(document.text)
            hit = items.find(document.text)
            if hit is not None:
                found += 1
                if as_json:
                    write(json.dumps({"id": document.id, "place": document.place, **hit._asdict()}) + "\n")
                else:
                    show_line(f"{document.place}: {hit.item}, {hit.coverage:.0%} of its n-grams")
    shares = measure_recall(items, parts, documents, recall, seed) if recall else {}
    if as_json:
        write(json.dumps({"documents": total, "found": found, "too_short": items.too_short, "recall": shares}) + "\n")
    else:
        show_line(f"{found:,} of {total:,} documents contain an item; {len(items.names):,} texts compared")
        if items.too_short:
            show_line(f"{items.too_short:,} texts are too short to be compared")
        for form, share in shares.items():
            show_line(f"  recall, {form:<24} {share:.1%}")
    return found


def _show_run(
    run: Path, data: list[Path], batch_plan: Path | None, items: "EvaluationItems | None", as_json: bool
) -> int:
    """Prints the documents with items, the steps that saw them, and a summary; returns how many were seen."""
    from lazarus_corpus.exposure import contaminated_rows, read_run

    audited = read_run(run, data, batch_plan)
    found = 0
    steps: set[int] = set()
    seen = 0
    for each in contaminated_rows(audited, items):
        found += 1
        seen += bool(each.seen)
        steps.update(place.step for place in each.seen)
        if as_json:
            listed = [place._asdict() for place in each.seen]
            write(json.dumps({**each._asdict(), "seen": listed}) + "\n")
            continue
        source = f", source {each.source}" if each.source else ""
        share = "flagged by the build" if each.coverage is None else f"{each.coverage:.0%} of its n-grams"
        show_line(f"{each.id} ({each.place}{source}): {each.item}, {share}")
        for place in each.seen:
            show_line(f"  step {place.step}, row {place.row}, its tokens {place.tokens[0]} to {place.tokens[1]}")
        if not each.seen:
            show_line("  in no step")
    if as_json:
        summary = {
            "run": str(run),
            "steps": audited.steps,
            "found": found,
            "seen": seen,
            "steps_with_one": sorted(steps),
        }
        write(json.dumps(summary) + "\n")
    else:
        show_line(
            f"{seen:,} of {found:,} documents with an item were seen, in {len(steps):,} of {audited.steps:,} steps"
        )
    return seen


def card(corpus: Annotated[Path, typer.Argument(help="Folder of the corpus.")]) -> None:
    """Print the data card of a corpus.

    Example: corpus
    """
    from lazarus_corpus.errors import OutputError
    from lazarus_corpus.output.manifest import read_manifest

    read_manifest(corpus)
    path = corpus / "card.md"
    if not path.is_file():
        raise OutputError(f"{path}: missing; build the corpus again", "LD-E144")
    write(path.read_text("utf-8"))
