"""Second stage: equal and near documents of all tasks, budgets, split, order, and the division into shards.

The index is on disk: it is sorted by `Partitions` and read in chunks. In memory are 9 bytes a document: its set of near
duplicates, a neighbour in it, and whether it is kept.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lazarus_core.atomic import whole_folder
from lazarus_corpus.dedup.clusters import NONE, Components, equal_values, near_duplicates
from lazarus_corpus.dedup.minhash import shingles
from lazarus_corpus.documents import Removal, stable_json
from lazarus_corpus.engine.ingest import EXAMPLE_CHARACTERS
from lazarus_corpus.engine.partitions import Partitions, Records, count_records, read_records
from lazarus_corpus.engine.work import ORDER, Texts, index_type, read_spec, removal_line, task_folder
from lazarus_corpus.settings import SourceSettings

SPLITS = ("train", "validation")
"""Names of the splits, by the field `validation` of the index."""
_COPY = np.dtype([("number", "<u8"), ("task", "<u4"), ("offset", "<u8"), ("bytes", "<u4")])
"""A document with the text of the document `number`."""
_BAND = np.dtype([("value", "<u8"), ("number", "<u8")])
_SHARE = np.dtype([("key", "<u8"), ("number", "<u8"), ("characters", "<u8")])
_VALUE = np.dtype("<u8")


def decide(folder: Path) -> None:
    """Runs the stage; nothing if it ran.

    Args:
        folder: The work folder, with all tasks of the first stage.
    """
    if (folder / "decide").exists():
        return
    with whole_folder(folder / "decide") as made:
        scratch = made / "scratch"
        scratch.mkdir()
        with (made / "removed.jsonl").open("wb") as removals:
            decision = _Decision(folder, scratch, removals)
            decision.number_documents()
            decision.remove_near()
            decision.remove_copies()
            decision.keep_budgets()
        decision.write_order(made)
        (made / "shards.json").write_bytes(stable_json(list(map(list, decision.shards(made / "order.bin")))))
        (made / "report.json").write_bytes(stable_json(decision.report(made / "order.bin")))
        decision.close()
        shutil.rmtree(scratch)


class _Decision:
    """The documents of all tasks, numbered by ascending content digest; of equal ones only that of the smallest id.

    Args:
        folder: The work folder.
        scratch: A folder for files of the stage.
        removals: Where removed documents are written, in any order.
    """

    def __init__(self, folder: Path, scratch: Path, removals: IO[bytes]) -> None:
        spec = read_spec(folder)
        self.settings, self.scratch, self.removals = spec.settings, scratch, removals
        self.texts = Texts(folder, len(spec.files))
        self.indexes = [task_folder(folder, task) / "index.bin" for task in range(len(spec.files))]
        self.num_bands = spec.settings.dedup.bands if spec.settings.dedup.near else 0
        self.documents = scratch / "documents.bin"
        self.count = 0
        self.kept: NDArray[np.bool_] = np.empty(0, bool)
        self.components = Components(0)

    def number_documents(self) -> None:
        """Sorts the index by content digest; writes documents, copies, and the values of each band."""
        kind = index_type(self.num_bands)
        carried = np.dtype([*((name, ORDER[name]) for name in ORDER.names or ()), ("bands", "<u8", (self.num_bands,))])
        total = sum(count_records(path, kind) for path in self.indexes)
        parts = Partitions(self.scratch / "digests", carried, total)
        for task, path in enumerate(self.indexes):
            for chunk in read_records(path, kind):
                records = np.zeros(len(chunk), carried)
                for name in kind.names or ():
                    records[name] = chunk[name]
                records["task"] = task
                parts.add(records, chunk["digest"][:, 0])
        bands = [self._band(band).open("wb") for band in range(self.num_bands)]
        with self.documents.open("wb") as documents, (self.scratch / "copies.bin").open("wb") as copies:
            for part in parts:
                ordered, is_copy = self._by_digest(part)
                firsts = ordered[~is_copy]
                documents.write(_as_type(firsts, ORDER).tobytes())
                repeats = _as_type(ordered[is_copy], _COPY)
                repeats["number"] = (self.count + np.cumsum(~is_copy) - 1)[is_copy]
                copies.write(repeats.tobytes())
                for band, stream in enumerate(bands):
                    stream.write(firsts["bands"][:, band].tobytes())
                self.count += len(firsts)
        for stream in bands:
            stream.close()
        self.by_number = self.documents.open("rb")

    def _by_digest(self, part: Records) -> tuple[Records, NDArray[np.bool_]]:
        """Records by digest, equal ones by id and source; and whether each has the digest of the one before."""
        digest = part["digest"]
        part = part[np.lexsort((digest[:, 1], digest[:, 0]))]
        is_copy = np.zeros(len(part), bool)
        is_copy[1:] = (part["digest"][1:] == part["digest"][:-1]).all(axis=1)
        starts = np.flatnonzero(~is_copy)
        ends = np.r_[starts[1:], len(part)]
        for place in np.flatnonzero(ends - starts > 1).tolist():
            start, end = int(starts[place]), int(ends[place])
            part[start:end] = part[sorted(range(start, end), key=lambda number: self._names(part[number]))]
        return part, is_copy

    def _band(self, band: int) -> Path:
        return self.scratch / f"band-{band:03d}.bin"

    def _members(self, record: Any) -> dict[str, str]:
        return self.texts.read(int(record["task"]), int(record["offset"]), int(record["bytes"]))

    def _names(self, record: Any) -> tuple[str, str]:
        members = self._members(record)
        return members["id"], members["source"]

    def _document(self, number: int) -> Any:
        self.by_number.seek(number * ORDER.itemsize)
        return np.frombuffer(self.by_number.read(ORDER.itemsize), ORDER)[0]

    def _id(self, number: int) -> str:
        return self._names(self._document(number))[0]

    def _remove(self, record: Any, rule: str, witness: str) -> None:
        members = self._members(record)
        example = members["text"][:EXAMPLE_CHARACTERS]
        self.removals.write(removal_line(Removal(members["id"], members["source"], rule, witness, example)))

    def remove_near(self) -> None:
        """Joins near duplicates and removes all of a set but its first document."""
        dedup = self.settings.dedup

        def read(number: int) -> Any:
            return shingles(self._members(self._document(number))["text"], dedup.ngram)

        self.components = near_duplicates(self.count, self._buckets(), read, dedup.threshold)
        self.kept = self.components.is_root()
        for number in self.components.joined():
            root, neighbour = self.components.root(number), int(self.components.neighbour[number])
            assert neighbour != NONE, "joined by a pair"
            through = "" if neighbour == root else f" through {self._id(neighbour)}"
            self._remove(self._document(number), "near", self._id(root) + through)

    def _buckets(self) -> Iterator[list[int]]:
        """Documents with an equal band: by band, by its value, by number."""
        for band in range(self.num_bands):
            parts = Partitions(self.scratch / "band", _BAND, self.count)
            first = 0
            for values in read_records(self._band(band), _VALUE):
                pairs = np.empty(len(values), _BAND)
                pairs["value"], pairs["number"] = values, np.arange(first, first + len(values))
                parts.add(pairs, values)
                first += len(values)
            for part in parts:
                yield from equal_values(part["value"], part["number"])
            self._band(band).unlink()

    def remove_copies(self) -> None:
        """Removes documents whose text another one has; the witness is the document that survives for both."""
        for chunk in read_records(self.scratch / "copies.bin", _COPY):
            for record in chunk:
                self._remove(record, "equal", self._id(self.components.root(int(record["number"]))))

    def keep_budgets(self) -> None:
        """Keeps the documents of each source up to its budget, by ascending hash of their ids."""
        for number, source in enumerate(self.settings.sources):
            if source.max_characters is not None:
                self._keep_budget(number, source, source.max_characters)

    def _keep_budget(self, number: int, source: SourceSettings, most: int) -> None:
        parts = Partitions(self.scratch / "budget", _SHARE, self.count)
        for first, chunk in self._chunks():
            own = np.flatnonzero(self.kept[first : first + len(chunk)] & (chunk["source"] == number))
            shares = _as_type(chunk[own], _SHARE)
            shares["number"] = first + own
            parts.add(shares, shares["key"])
        used = 0
        for part in parts:
            part = part[np.argsort(part["key"], kind="stable")]
            total = used + np.cumsum(part["characters"].astype(np.int64))
            used = int(total[-1])
            for place in part["number"][total > most].tolist():
                self.kept[place] = False
                self._remove(self._document(place), "budget", f"{most:,} characters of {source.name}")

    def _chunks(self) -> Iterator[tuple[int, Records]]:
        """Number of the first document, and documents, in order."""
        first = 0
        for chunk in read_records(self.documents, ORDER):
            yield first, chunk
            first += len(chunk)

    def write_order(self, made: Path) -> None:
        """Writes `order.bin`: the kept documents by split, hash of the id, content digest.

        Args:
            made: The folder.
        """
        parts = Partitions(self.scratch / "order", ORDER, int(self.kept.sum()))
        for first, chunk in self._chunks():
            chunk = chunk[self.kept[first : first + len(chunk)]]
            parts.add(chunk, chunk["key"])
        held_out = self.scratch / "held_out.bin"
        with (made / "order.bin").open("wb") as order:
            with held_out.open("wb") as validation:
                for part in parts:
                    digest = part["digest"]
                    part = part[np.lexsort((digest[:, 1], digest[:, 0], part["key"], part["validation"]))]
                    part["suffix"] = self._repeats(part)
                    order.write(part[part["validation"] == 0].tobytes())
                    validation.write(part[part["validation"] == 1].tobytes())
            with held_out.open("rb") as validation:
                shutil.copyfileobj(validation, order)

    def _repeats(self, order: Records) -> NDArray[np.bool_]:
        """Whether the id of a document is that of another one too; then the digest is added to it."""
        repeated = np.zeros(len(order), bool)
        by_key = np.argsort(order["key"], kind="stable")
        same = order["key"][by_key][1:] == order["key"][by_key][:-1]
        for place in np.flatnonzero(same).tolist():
            pair = by_key[[place, place + 1]]
            one, other = (self._members(order[each])["id"] for each in pair)
            repeated[pair] |= one == other
        return repeated

    def shards(self, order: Path) -> Iterator[tuple[str, int, int]]:
        """Name, first and last place of each shard: as many characters as fit, at least one document.

        Args:
            order: The file of the order.
        """
        most = self.settings.shards.characters
        numbers = [0, 0]
        split = start = place = used = 0
        for chunk in read_records(order, ORDER):
            for value, size in zip(chunk["validation"].tolist(), chunk["characters"].tolist(), strict=True):
                if place > start and (value != split or used + size > most):
                    yield _shard(split, numbers), start, place
                    start, used = place, 0
                split, place, used = value, place + 1, used + size
        if place > start:
            yield _shard(split, numbers), start, place

    def report(self, order: Path) -> dict[str, Any]:
        """Documents and characters of each source that has some.

        Args:
            order: The file of the order.
        """
        totals = [[0, 0] for _ in self.settings.sources]
        for chunk in read_records(order, ORDER):
            for number, total in enumerate(totals):
                own = chunk["source"] == number
                total[0] += int(own.sum())
                total[1] += int(chunk["characters"][own].sum(dtype=np.int64))
        return {"kept": {str(number): total for number, total in enumerate(totals) if total[0]}}

    def close(self) -> None:
        """Closes the files."""
        self.by_number.close()
        self.texts.close()


def _as_type(records: Records, kind: np.dtype[Any]) -> Records:
    """Records with the fields of a type; those that are missing are zero.

    Args:
        records: The records.
        kind: The type.
    """
    made = np.zeros(len(records), kind)
    for name in kind.names or ():
        if name in (records.dtype.names or ()):
            made[name] = records[name]
    return made


def _shard(split: int, numbers: list[int]) -> str:
    """The name of the next shard of a split.

    Args:
        split: Number of the split.
        numbers: Shards so far of each split; one is added.
    """
    numbers[split] += 1
    return f"{SPLITS[split]}-{numbers[split] - 1:05d}.jsonl.gz"
