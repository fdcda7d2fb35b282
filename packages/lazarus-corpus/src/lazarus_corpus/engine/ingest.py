"""First stage: each task reads its files, cleans, filters and signs their documents."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from lazarus_core.atomic import whole_folder
from lazarus_corpus.cleaning.clean import clean
from lazarus_corpus.contamination import evaluation_items
from lazarus_corpus.dedup.minhash import MinHash, shingles
from lazarus_corpus.dedup.units import unit_hashes, without_units
from lazarus_corpus.documents import Document, Removal, content_digest, is_held_out, order_key, source_key, stable_json
from lazarus_corpus.engine.partitions import Partitions, count_records, read_records
from lazarus_corpus.engine.work import index_type, read_spec, removal_line, task_folder
from lazarus_corpus.filters.chain import make_filters
from lazarus_corpus.settings import CorpusSettings
from lazarus_corpus.sources.read import read_file

EXAMPLE_CHARACTERS = 120
"""Characters of the start of a removed document that are kept as an example."""
UNITS = "units.bin"
"""File with the lines or paragraphs of documents, or with those that several documents have, as `OWNER`."""
OWNER = np.dtype([("unit", "<u8"), ("owner", "<u8")])
"""Hash of a line or paragraph, and start of the digest of a document that has it."""
RAW = "raw.bin"
"""File with the digests of the documents as they were read, for the digest of the source."""

RAW_DIGEST = np.dtype([("source", "<u2"), ("digest", "V16")])
"""Number of the source and `documents.source_key`."""


def ingest(folder: Path, task: int) -> None:
    """Runs one task; nothing if its folder exists.

    Args:
        folder: The work folder.
        task: Its number.
    """
    target = task_folder(folder, task)
    if target.exists():
        return
    spec = read_spec(folder)
    with whole_folder(target) as made:
        owners = _Owners(folder) if spec.settings.dedup.units != "none" else None
        _Ingest(spec.settings, owners).run(spec.files[task], made)


def collect_units(folder: Path, task: int) -> None:
    """Writes the hashes of the lines or paragraphs of the documents that the rules keep, each with the digest of its document.

    Args:
        folder: The work folder.
        task: Its number.
    """
    target = folder / "units" / f"{task:05d}"
    if target.exists():
        return
    spec = read_spec(folder)
    dedup = spec.settings.dedup
    assert dedup.units != "none"
    reader = _Ingest(spec.settings)
    with whole_folder(target) as made, (made / UNITS).open("wb") as stream:
        for number, path in spec.files[task]:
            for document in read_file(Path(path), spec.settings.sources[number]):
                if reader.kept_text(document) is None:  # what a rule removes keeps nothing from others
                    continue
                text = clean(document.text, spec.settings.cleaning).text
                units = unit_hashes(text, dedup.units, dedup.min_unit_characters)
                pairs = np.empty(len(units), OWNER)
                pairs["unit"] = np.fromiter(units, np.uint64, len(units))
                pairs["owner"] = int.from_bytes(content_digest(text)[:8], "big")
                stream.write(pairs.tobytes())


def own_units(folder: Path, tasks: int) -> None:
    """Writes which document keeps each line or paragraph that several have: that of the smallest digest.

    Args:
        folder: The work folder.
        tasks: Number of tasks.
    """
    target = folder / "owners"
    if target.exists():
        return
    paths = [folder / "units" / f"{task:05d}" / UNITS for task in range(tasks)]
    with whole_folder(target) as made, (made / UNITS).open("wb") as owners:
        parts = Partitions(made / "parts", OWNER, sum(count_records(path, OWNER) for path in paths))
        for path in paths:
            for chunk in read_records(path, OWNER):
                parts.add(chunk, chunk["unit"])
        for part in parts:
            pairs = np.unique(part)  # by unit, then by owner
            same = pairs["unit"][1:] == pairs["unit"][:-1]
            is_first = np.r_[True, ~same] & np.r_[same, False]
            owners.write(pairs[is_first].tobytes())


class _Owners:
    """Which document keeps a line or paragraph that several have."""

    def __init__(self, folder: Path) -> None:
        path = folder / "owners" / UNITS
        pairs: Any = np.memmap(path, OWNER, "r") if path.stat().st_size else np.empty(0, OWNER)
        self._units, self._owners = pairs["unit"], pairs["owner"]

    def keeps(self, owner: int, unit: int) -> bool:
        place = int(np.searchsorted(self._units, np.uint64(unit)))
        return place == len(self._units) or int(self._units[place]) != unit or int(self._owners[place]) == owner


class _Ingest:
    """One task of the first stage."""

    def __init__(self, settings: CorpusSettings, owners: "_Owners | None" = None) -> None:
        self.settings = settings
        self.filters = make_filters(settings.filters)
        self.items = evaluation_items(settings.contamination)
        dedup = settings.dedup
        self.minhash = MinHash(dedup.bands, dedup.rows) if dedup.near else None
        self.record = np.zeros((), index_type(dedup.bands if dedup.near else 0))
        self.owners = owners
        self.removals: IO[bytes] | None = None
        self.counts: Counter[str] = Counter()
        self.read = [Counter[str]() for _ in settings.sources]

    def run(self, files: tuple[tuple[int, str], ...], made: Path) -> None:
        """Writes the files of the task.

        Args:
            files: Number of the source and path of each file.
            made: The folder of the task.
        """
        offset = 0
        with ExitStack() as stack:
            names = ("documents.jsonl", "index.bin", RAW, "removed.jsonl")
            lines, index, raw, self.removals = (stack.enter_context((made / name).open("wb")) for name in names)
            for number, document, text, flag in self._kept(files, raw):
                members = {"id": document.id, "source": document.source, "text": text}
                if document.group:
                    members["group"] = document.group
                line = json.dumps(members, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode() + b"\n"
                lines.write(line)
                index.write(self._signed(number, document, text, flag, offset, len(line)))
                offset += len(line)
        (made / "report.json").write_bytes(
            stable_json({"counts": dict(self.counts), "read": [dict(each) for each in self.read]})
        )

    def _kept(self, files: tuple[tuple[int, str], ...], raw: Any) -> Iterator[tuple[int, Document, str, bool]]:
        for number, path in files:
            for document in read_file(Path(path), self.settings.sources[number]):
                self.read[number]["documents"] += 1
                self.read[number]["characters"] += len(document.text)
                raw.write(number.to_bytes(2, "little") + source_key(document))
                kept = self.kept_text(document)
                if kept is not None:
                    yield number, document, *kept

    def kept_text(self, document: Document) -> tuple[str, bool] | None:
        """The text to keep and whether it is flagged; None if a rule removed the document."""
        cleaned = clean(document.text, self.settings.cleaning)
        self.counts.update(cleaned.counts)
        text = cleaned.text
        if cleaned.rule:
            return self._remove(document, cleaned.rule, cleaned.witness, text)
        if self.owners is not None:
            text = self._own_units(text)
        for name, check in self.filters:
            text, reason = check(text)
            if reason is not None:
                return self._remove(document, name, reason, text)
        hit = None if self.items is None else self.items.find(text)
        if hit is None:
            return text, False
        witness = f"{hit.item} ({hit.coverage:.0%} of its n-grams)"
        if self.settings.contamination.action == "drop":
            return self._remove(document, "contamination", witness, text)
        self._remove(document, "flag", witness, text)
        return text, True

    def _own_units(self, text: str) -> str:
        dedup = self.settings.dedup
        assert self.owners is not None and dedup.units != "none"
        owner = int.from_bytes(content_digest(text)[:8], "big")
        owners = self.owners
        text, gone = without_units(text, dedup.units, dedup.min_unit_characters, lambda unit: owners.keeps(owner, unit))
        self.counts[f"repeated_{dedup.units}"] += gone
        return text

    def _remove(self, document: Document, rule: str, witness: str, text: str) -> None:
        if self.removals is not None:
            removal = Removal(document.id, document.source, rule, witness, text[:EXAMPLE_CHARACTERS])
            self.removals.write(removal_line(removal))

    def _signed(self, number: int, document: Document, text: str, flag: bool, offset: int, size: int) -> bytes:
        """The record of a kept document."""
        seed, record = self.settings.seed, self.record
        digest = content_digest(text)
        record["digest"] = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")
        record["key"] = order_key(seed, "order", document.id)
        record["offset"], record["bytes"], record["characters"] = offset, size, len(text)
        record["source"], record["flag"] = number, flag
        record["validation"] = is_held_out(document.group or document.id, self.settings.split.validation, seed)
        if self.minhash is not None:
            found = shingles(text, self.settings.dedup.ngram)
            # A text without words resembles no other: its bands are those of its digest.
            record["bands"] = self.minhash.bands_of(found if len(found) else np.asarray(record["digest"], np.uint64))
        return record.tobytes()
