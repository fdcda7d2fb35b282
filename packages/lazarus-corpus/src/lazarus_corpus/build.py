"""Builds a corpus: reads, cleans, filters, deduplicates, splits and writes documents.

The corpus is a function of the set of documents and the settings. The order of files, their division, the number of workers, the
executor and interruptions make no difference: each of its files has the same bytes.
"""

import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lazarus_core.atomic import remove_folder, whole_folder
from lazarus_core.errors import LazarusError, OutputTaken
from lazarus_core.outputs import check_names
from lazarus_corpus.dedup.minhash import share_found
from lazarus_corpus.documents import Removal
from lazarus_corpus.engine.decide import decide
from lazarus_corpus.engine.execute import Executor, run_stage
from lazarus_corpus.engine.ingest import RAW, RAW_DIGEST, own_units
from lazarus_corpus.engine.partitions import read_records
from lazarus_corpus.engine.work import Spec, file_sha256, read_removals, start_work, task_folder
from lazarus_corpus.engine.write import shards_of
from lazarus_corpus.errors import SettingError, SourceError
from lazarus_corpus.filters.chain import make_filters
from lazarus_corpus.injection import recall_of_build
from lazarus_corpus.output.card import card_text, texts_of
from lazarus_corpus.output.lock import locked
from lazarus_corpus.output.manifest import FORMAT, MANIFEST, SourceDigest, public_settings, write_manifest
from lazarus_corpus.output.removals import FLAG, write_removed
from lazarus_corpus.settings import CorpusSettings, DedupSettings, SourceSettings
from lazarus_corpus.sources.read import HUB, files_of, inner_path

logger = logging.getLogger(__name__)

MAX_TASKS = 256
"""Most tasks of the first stage; more files share tasks."""
_SHARE_FOUND = 0.75
"""Smallest probability, without a warning, that a pair at the threshold is compared."""
OUTPUTS = ("shards", MANIFEST, "removed.jsonl", "flagged.jsonl", "card.md")
"""Names in the folder of a corpus."""


class Report(NamedTuple):
    """What a build did.

    Args:
        documents: Documents in the corpus.
        characters: Characters in the corpus.
        read: Documents that were read.
        removed: Removed documents by rule.
        digest: Digest of the manifest; empty for an analysis.
    """

    documents: int
    characters: int
    read: int
    removed: dict[str, int]
    digest: str


def build_corpus(
    settings: CorpusSettings,
    output: Path | str,
    *,
    workers: int = 1,
    executor: Executor = "local",
    tokenizer: str | None = None,
) -> Report:
    """Builds a corpus. An interrupted build goes on where it stopped if settings and input files are the same.

    Args:
        settings: Sources and what is done with their documents.
        output: The folder: absent, empty, or an earlier corpus, which is replaced.
        workers: Processes at a time.
        executor: Where tasks run.
        tokenizer: Tokenizer for the number of tokens in the card; None for none.

    Returns:
        Counts and the digest of the corpus.

    Raises:
        SourceError: A source cannot be read.
        SettingError: A setting needs an extra that is not installed, or the output has no name.
        SourceError: No document is left.
        OutputTaken: The folder holds other files, or an input.
        OutputError: Another process builds the same output.
        TokenkitError: The tokenizer cannot be loaded.
    """
    output = Path(output)
    if output.name in ("", ".."):
        raise SettingError(
            f"{output} is no name of a folder: give one for the corpus, such as {output / 'corpus'}", "LD-E127"
        )
    check_names(output, OUTPUTS, "a corpus", code="LD-E130")
    for path in _read_paths(settings):
        if inner_path(path, output) is not None:
            raise OutputTaken(f"{path} is an input: give another folder for the corpus than {output}", "LD-E131")
    if tokenizer is not None:
        from lazarus_tokenkit import load_tokenizer

        load_tokenizer(tokenizer)  # one that cannot be read is refused before the work
    with locked(output):
        return _build(settings, output, workers, executor, tokenizer)


def _build(settings: CorpusSettings, output: Path, workers: int, executor: Executor, tokenizer: str | None) -> Report:
    work = output.parent / f".{output.name}.work"
    try:
        tasks = _start(settings, work, str(output), executor)
        _stages(settings, work, tasks, workers, executor)
        _require_documents(settings, work, tasks)
        shards = shards_of(work)
        run_stage("write", work, len(shards), workers=workers, executor=executor)
        report = _publish(settings, work, tasks, output, tokenizer)
    except LazarusError:  # another input or setting starts anew; a kill or a full disk does not come here
        if work.exists() and executor == "local":
            remove_folder(work)
        raise
    remove_folder(work)
    return report


def _read_paths(settings: CorpusSettings) -> Iterator[Path]:
    """The files and folders that a build reads."""
    for source in settings.sources:
        yield from (path for path in source.path if not str(path).startswith(HUB))
    yield from settings.contamination.against


def _named(settings: CorpusSettings) -> str:
    names = [str(path) for source in settings.sources for path in source.path]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _require_documents(settings: CorpusSettings, work: Path, tasks: int) -> None:
    if not shards_of(work):
        rules = Counter(each.rule for each in _removals(work, tasks))
        why = ", ".join(f"{count:,} {rule}" for rule, count in sorted(rules.items()))
        raise SourceError(
            f"{_named(settings)}: no document is left, removed {why}: change these rules"
            if why
            else f"{_named(settings)}: no documents: give files with documents",
            "LD-E110",
        )


def analyze_corpus(settings: CorpusSettings, work: Path | str, *, workers: int = 1) -> Report:
    """Does all of a build but the writing of shards.

    Args:
        settings: Sources and what is done with their documents.
        work: A folder for the files of the analysis.
        workers: Processes at a time.

    Raises:
        SourceError: A source cannot be read.
        SettingError: A setting needs an extra that is not installed.
    """
    work = Path(work)
    tasks = _start(settings, work, None)
    _stages(settings, work, tasks, workers, "local")
    report = _report(_counts(settings, work, tasks), "")
    if not report.read:
        raise SourceError(f"{_named(settings)}: no documents: give files with documents", "LD-E110")
    return report


def from_files(paths: Sequence[Path | str] | Path | str, **settings: Any) -> CorpusSettings:
    """Settings of a corpus of one source, `data`.

    Args:
        paths: Files or folders, or one of them.
        settings: Other settings by name.
    """
    paths = [paths] if isinstance(paths, str | Path) else paths
    source = SourceSettings(name="data", path=tuple(Path(path) for path in paths))
    return CorpusSettings(sources=(source,), **settings)


def _start(settings: CorpusSettings, work: Path, output: str | None, executor: Executor = "local") -> int:
    """Prepares the work folder; the number of tasks of the first stage."""
    make_filters(settings.filters)  # a missing extra is refused before the work
    _warn_of_few_bands(settings.dedup)
    folder = None if output is None else Path(output)
    found = [(number, path) for number, source in enumerate(settings.sources) for path in files_of(source, folder)]
    if not found:
        raise SourceError("the sources have no files", "LD-E101")
    for path in settings.contamination.against:
        if not path.exists():
            raise SourceError(f"{path} does not exist: give an evaluation set", "LD-E124")
    # Machines of an executor may have another current folder; here, errors name files as they were given.
    files = [
        (number, str(path) if executor == "local" or str(path).startswith(HUB) else str(path.resolve()))
        for number, path in found
    ]
    tasks = [tuple(files[first::MAX_TASKS]) for first in range(min(MAX_TASKS, len(files)))]
    local = [file for _, name in files if not name.startswith(HUB) for file in _parts(Path(name))]
    inputs = [[str(path), file_sha256(path)] for path in (*local, *settings.contamination.against)]
    if executor != "local":
        settings = _with_whole_paths(settings)
    start_work(work, Spec(settings, tuple(tasks), output), inputs)
    return len(tasks)


def _warn_of_few_bands(dedup: DedupSettings) -> None:
    """Warns if most pairs at the threshold have no equal band, and so are not compared."""
    found = share_found(dedup.threshold, dedup.bands, dedup.rows)
    if not dedup.near or found >= _SHARE_FOUND:
        return
    count = dedup.bands * dedup.rows
    others = ((count // rows, rows) for rows in range(dedup.rows - 1, 0, -1) if count // rows <= 256)
    better = next((pair for pair in others if share_found(dedup.threshold, *pair) >= _SHARE_FOUND), None)
    shown = f"near duplicates of similarity {dedup.threshold:g} are found with a probability of {found:.0%}"
    if better is not None:
        shown += (
            f"; with dedup.bands={better[0]} and dedup.rows={better[1]} of {share_found(dedup.threshold, *better):.0%}"
        )
    logger.warning("%s", shown)


def _with_whole_paths(settings: CorpusSettings) -> CorpusSettings:
    """Settings whose evaluation sets are found from any folder."""
    against = tuple(path.resolve() for path in settings.contamination.against)
    contamination = settings.contamination.model_copy(update={"against": against})
    return settings.model_copy(update={"contamination": contamination})


def _parts(path: Path) -> list[Path]:
    """The files of a saved data set, or the file itself."""
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def _stages(settings: CorpusSettings, work: Path, tasks: int, workers: int, executor: Executor) -> None:
    if settings.dedup.units != "none":
        run_stage("units", work, tasks, workers=workers, executor=executor)
        own_units(work, tasks)
    run_stage("ingest", work, tasks, workers=workers, executor=executor)
    decide(work)


def _removals(work: Path, tasks: int) -> Iterator[Removal]:
    for task in range(tasks):
        yield from read_removals(task_folder(work, task) / "removed.jsonl")
    yield from read_removals(work / "decide" / "removed.jsonl")


class _Counts(NamedTuple):
    read: list[Counter[str]]
    kept: dict[int, tuple[int, int]]
    changed: Counter[str]
    removed: dict[str, int]
    flagged: int


def _counts(settings: CorpusSettings, work: Path, tasks: int) -> _Counts:
    read = [Counter[str]() for _ in settings.sources]
    changed: Counter[str] = Counter()
    for task in range(tasks):
        report = json.loads((task_folder(work, task) / "report.json").read_bytes())
        changed.update(report["counts"])
        for total, part in zip(read, report["read"], strict=True):
            total.update(part)
    decided = json.loads((work / "decide" / "report.json").read_bytes())
    kept = {int(number): (int(count), int(size)) for number, (count, size) in decided["kept"].items()}
    rules = Counter(each.rule for each in _removals(work, tasks))
    flagged = rules.pop(FLAG, 0)
    return _Counts(read, kept, changed, dict(sorted(rules.items())), flagged)


def _report(counts: _Counts, digest: str) -> Report:
    return Report(
        sum(count for count, _ in counts.kept.values()),
        sum(size for _, size in counts.kept.values()),
        sum(each["documents"] for each in counts.read),
        counts.removed,
        digest,
    )


def _publish(settings: CorpusSettings, work: Path, tasks: int, output: Path, tokenizer: str | None) -> Report:
    """Writes the corpus from the parts in the work folder."""
    counts = _counts(settings, work, tasks)
    with whole_folder(output) as made:
        (made / "shards").mkdir()
        shards: list[dict[str, Any]] = []
        for name, _, _ in shards_of(work):
            shutil.copyfile(work / "write" / name, made / "shards" / name)
            shards.append(json.loads((work / "write" / f"{name}.json").read_bytes()))
        with tempfile.TemporaryDirectory(dir=work) as scratch:
            removed = write_removed(_removals(work, tasks), made, Path(scratch))
            content = _manifest(settings, work, tasks, counts, shards, Path(scratch))
        recall = recall_of_build(settings, texts_of(made, shards))
        if recall is not None:
            content["contamination"] = recall
        digest = write_manifest(made, content)
        (made / "card.md").write_text(card_text(content, removed, digest, made, tokenizer), "utf-8")
    return _report(counts, digest)


def _manifest(
    settings: CorpusSettings, work: Path, tasks: int, counts: _Counts, shards: list[dict[str, Any]], scratch: Path
) -> dict[str, Any]:
    digests = [SourceDigest(scratch / f"source-{number}") for number in range(len(settings.sources))]
    for task in range(tasks):
        for chunk in read_records(task_folder(work, task) / RAW, RAW_DIGEST):
            for number, digest in enumerate(digests):
                digest.add(chunk["digest"][chunk["source"] == number].tobytes())
    sources = [
        {
            "name": source.name,
            "license": source.license,
            "weight": source.weight,
            "documents_read": counts.read[number]["documents"],
            "characters_read": counts.read[number]["characters"],
            "documents": counts.kept.get(number, (0, 0))[0],
            "characters": counts.kept.get(number, (0, 0))[1],
            "digest": digests[number].hexdigest(),
        }
        for number, source in enumerate(settings.sources)
    ]
    return {
        "format": FORMAT,
        "settings": public_settings(settings),
        "sources": sorted(sources, key=lambda each: each["name"]),
        "changed": dict(sorted(counts.changed.items())),
        "removed": counts.removed,
        "flagged": counts.flagged,
        "documents": sum(shard["documents"] for shard in shards),
        "characters": sum(shard["characters"] for shard in shards),
        "shards": shards,
    }
