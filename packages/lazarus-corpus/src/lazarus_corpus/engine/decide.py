"""Second stage: equal and near documents of all tasks, budgets, split, order, and the division into shards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_core.atomic import whole_folder
from lazarus_corpus.dedup.clusters import near_duplicates
from lazarus_corpus.dedup.minhash import shingles
from lazarus_corpus.documents import Removal, stable_json
from lazarus_corpus.engine.ingest import EXAMPLE_CHARACTERS
from lazarus_corpus.engine.work import Texts, index_type, read_spec, task_folder, write_removals

SPLITS = ("train", "validation")
"""Names of the splits, by the field `validation` of the index."""


def decide(folder: Path) -> None:
    """Runs the stage; nothing if it ran.

    Args:
        folder: The work folder, with all tasks of the first stage.
    """
    if (folder / "decide").exists():
        return
    with whole_folder(folder / "decide") as made:
        _Decision(folder).run(made)


class _Decision:
    """The documents of all tasks, numbered by ascending content digest; equal ones by id and source."""

    def __init__(self, folder: Path) -> None:
        spec = read_spec(folder)
        self.settings = spec.settings
        self.texts = Texts(folder, len(spec.files))
        dedup = self.settings.dedup
        self.type = index_type(dedup.bands if dedup.near else 0)
        parts = [np.fromfile(task_folder(folder, task) / "index.bin", self.type) for task in range(len(spec.files))]
        self.index: NDArray[Any] = np.concatenate(parts) if parts else np.empty(0, self.type)
        self.task = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        self.removed: list[Removal] = []
        self._sort()

    def _sort(self) -> None:
        digest = self.index["digest"]
        order = np.lexsort((digest[:, 1], digest[:, 0]))
        self.index, self.task = self.index[order], self.task[order]
        digest = self.index["digest"]
        self.is_copy = np.zeros(len(self.index), bool)
        self.is_copy[1:] = (digest[1:] == digest[:-1]).all(axis=1)
        starts = np.flatnonzero(~self.is_copy)
        ends = np.r_[starts[1:], len(self.index)] if len(starts) else starts
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            if end - start > 1:  # equal texts: the smallest id first
                named = sorted(range(start, end), key=lambda number: self._names(number))
                self.index[start:end], self.task[start:end] = self.index[named], self.task[named]

    def _members(self, number: int) -> dict[str, str]:
        record = self.index[number]
        return self.texts.read(int(self.task[number]), int(record["offset"]), int(record["bytes"]))

    def _names(self, number: int) -> tuple[str, str]:
        members = self._members(number)
        return members["id"], members["source"]

    def run(self, made: Path) -> None:
        """Writes the files of the stage.

        Args:
            made: The folder.
        """
        kept = np.flatnonzero(~self.is_copy)
        survivors = self._without_near(kept)
        self._remove_copies(survivors)
        kept = np.unique(survivors)
        kept = self._within_budgets(kept)
        order = self._ordered(kept)
        np.save(made / "order.npy", order)
        write_removals(made / "removed.jsonl", iter(sorted(self.removed)))
        (made / "shards.json").write_bytes(stable_json([list(each) for each in self._shards(order)]))
        (made / "report.json").write_bytes(stable_json(self._report(order)))
        self.texts.close()

    def _remove(self, number: int, rule: str, witness: str) -> None:
        members = self._members(number)
        example = members["text"][:EXAMPLE_CHARACTERS]
        self.removed.append(Removal(members["id"], members["source"], rule, witness, example))

    def _remove_copies(self, survivors: NDArray[Any]) -> None:
        """Removes documents whose text another one has; the witness is the document that survives for both."""
        place = -1
        for number in range(len(self.index)):
            if not self.is_copy[number]:
                place += 1
            else:
                self._remove(number, "equal", self._names(int(survivors[place]))[0])

    def _without_near(self, kept: NDArray[Any]) -> NDArray[Any]:
        """The survivor of each document, and removals of the others."""
        dedup = self.settings.dedup
        if not dedup.near or not len(kept):
            return kept

        def bands() -> Iterator[Any]:
            for band in range(dedup.bands):
                yield np.ascontiguousarray(self.index["bands"][kept, band])

        def read(place: int) -> Any:
            return shingles(self._members(int(kept[place]))["text"], dedup.ngram)

        components, edges = near_duplicates(len(kept), bands(), read, dedup.threshold)
        roots = components.roots()
        for place in np.flatnonzero(roots != np.arange(len(kept))).tolist():
            survivor = self._names(int(kept[int(roots[place])]))[0]
            edge = edges[place]
            neighbour = edge.one if edge.other == place else edge.other
            through = "" if neighbour == roots[place] else f" through {self._names(int(kept[neighbour]))[0]}"
            self._remove(int(kept[place]), "near", survivor if not through else survivor + through)
        return kept[roots]

    def _within_budgets(self, kept: NDArray[Any]) -> NDArray[Any]:
        """The documents of each source up to its budget, by ascending hash of their ids."""
        is_within = np.ones(len(kept), bool)
        for number, source in enumerate(self.settings.sources):
            if source.max_characters is None:
                continue
            own = np.flatnonzero(self.index["source"][kept] == number)
            own = own[np.argsort(self.index["key"][kept[own]], kind="stable")]
            total = np.cumsum(self.index["characters"][kept[own]].astype(np.int64))
            beyond = own[total > source.max_characters]
            is_within[beyond] = False
            for place in beyond.tolist():
                self._remove(int(kept[place]), "budget", f"{source.max_characters:,} characters of {source.name}")
        return kept[is_within]

    def _ordered(self, kept: NDArray[Any]) -> NDArray[Any]:
        """Records of the kept documents in the order of the corpus: split, hash of the id, content digest."""
        index, digest = self.index[kept], self.index["digest"][kept]
        order = np.lexsort((digest[:, 1], digest[:, 0], index["key"], index["validation"]))
        fields = ("digest", "key", "offset", "bytes", "characters", "source", "validation", "flag")
        made = np.empty(len(kept), [("task", "<u4"), ("suffix", "u1"), *((name, self.type[name]) for name in fields)])
        for name in fields:
            made[name] = index[name][order]
        made["task"] = self.task[kept][order]
        made["suffix"] = self._repeats(made)
        return made

    def _repeats(self, order: NDArray[Any]) -> NDArray[Any]:
        """Whether the id of a document is that of another one too; then the digest is added to it."""
        repeated = np.zeros(len(order), bool)
        by_key = np.argsort(order["key"], kind="stable")
        same = order["key"][by_key][1:] == order["key"][by_key][:-1]
        for place in np.flatnonzero(same).tolist():
            pair = by_key[[place, place + 1]]
            ids = [
                self.texts.read(*(int(order[name][each]) for name in ("task", "offset", "bytes")))["id"]
                for each in pair
            ]
            repeated[pair] |= ids[0] == ids[1]
        return repeated

    def _shards(self, order: NDArray[Any]) -> Iterator[tuple[str, int, int]]:
        """Name, first and last place of each shard: as many characters as fit, at least one document."""
        most = self.settings.shards.characters
        for value, split in enumerate(SPLITS):
            places = np.flatnonzero(order["validation"] == value)
            if not len(places):
                continue
            total = np.cumsum(order["characters"][places].astype(np.int64))
            start, number, used = 0, 0, 0
            while start < len(places):
                end = max(start + 1, int(np.searchsorted(total, used + most, "right")))
                yield f"{split}-{number:05d}.jsonl.gz", int(places[0]) + start, int(places[0]) + end
                used, start, number = int(total[end - 1]), end, number + 1

    def _report(self, order: NDArray[Any]) -> dict[str, Any]:
        kept: dict[str, list[int]] = {}
        for number in range(len(self.settings.sources)):
            own = order["source"] == number
            if own.any():
                kept[str(number)] = [int(own.sum()), int(order["characters"][own].sum(dtype=np.int64))]
        return {"kept": kept}
